"""Lets one request go first, and says when it will be done now.

python -m starter.examples.urgent --id orders-7
"""

from __future__ import annotations

from starter.client import bulk_requests
from starter.examples import options, run

said = options(__doc__, id="orders-7", by="")


async def main() -> None:
    """The others keep their guaranteed share; what is under way with them is not touched."""
    async with bulk_requests() as requests:
        answered = await requests.reprioritise(said.id, "urgent", by=said.by)
        print(f"{said.id}: {answered.sentence}")
        if not answered.heard:  # recorded, and nobody to ask
            return
        async for view in requests.watch(said.id):
            if view.eta_at:  # known after a few calls
                print(f"{view.state}, {view.operations.remaining:,} to go, done at {view.eta_at}")
                return


if __name__ == "__main__":
    run(main)
