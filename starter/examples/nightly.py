"""A job of every night that may be started as often as anybody likes: a day's rows are written once.

    python -m starter.examples.nightly --day 2030-03-17

Cut off, it is simply started again: it finds its request, waits for it, and sends nothing twice. Other rows for the same
day are refused, since half of two reports would be none.
"""

from __future__ import annotations

from starter.client import bulk_requests
from starter.examples import options, run

said = options(__doc__, project="shop", user="alice", spreadsheet="shop", sheet="Sheet1", day="2030-03-17", regions=4)


async def main() -> int:
    """1 if something failed, so that the timer tells somebody."""
    where = {"op": "append", "spreadsheet": said.spreadsheet, "range": f"{said.sheet}!A:B"}
    # The same day makes the same rows, in the same order: that is what makes it the same request.
    rows = [
        {**where, "id": f"{said.day}/{number}", "values": [[f"{said.day}/{number}", number * number]]}
        for number in range(said.regions)
    ]
    async with bulk_requests() as requests:
        name = f"nightly-{said.project}-{said.day}"
        submitted = await requests.submit(rows, project=said.project, user=said.user, owner="nightly", id=name)
        print(f"{'submitted' if submitted.first else 'already there:'} {name}")
        view = await requests.ended(name)
        print(f"{view.state}: {view.operations.succeeded:,} of {view.operations.total:,}")
        return 1 if view.operations.failed else 0


if __name__ == "__main__":
    run(main)
