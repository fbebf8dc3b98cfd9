"""Says why operations of a request have failed, hands in those again and nothing else, and waits for them.

    python -m starter.examples.again --id orders-7

The request may be over or still run; no operation is handed in twice, however often this runs.
"""

from __future__ import annotations

from starter.client import bulk_requests
from starter.examples import options, run

said = options(__doc__, id="orders-7", by="")


async def main() -> int:
    """1 if something failed again."""
    async with bulk_requests() as requests:
        view = await requests.progress(said.id)
        for reason, count in view.failures.items():
            print(f"{count:,} failed: {reason}")
        if not view.operations.failed:
            return 0
        # Here the cause has been dealt with: the sheet is there again, the user may write.
        retried = await requests.retry_failed(said.id, by=said.by)
        print(f"{said.id}: {retried.sentence}")
        view = await requests.ended(retried.submitted.id)
        print(f"{retried.submitted.id} {view.state}: {view.operations.succeeded:,} of {view.operations.total:,}")
        return 1 if view.operations.failed else 0


if __name__ == "__main__":
    run(main)
