"""Sends the rows of a database (any iterable will do: a csv.DictReader, an asynchronous generator) to a sheet, and waits.

python -m starter.examples.rows --database orders.db
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from starter.client import bulk_requests
from starter.examples import options, run

said = options(
    __doc__, project="shop", user="alice", spreadsheet="shop", sheet="Sheet1", database="orders.db", id="rows"
)


def operations() -> Iterator[dict[str, Any]]:
    """One operation a row, with an id that leads back to it; a million need no more memory than one."""
    where = {"op": "append", "spreadsheet": said.spreadsheet, "range": f"{said.sheet}!A:C"}
    with sqlite3.connect(said.database) as database:
        for number, item, price in database.execute("SELECT number, item, price FROM orders ORDER BY number"):
            yield {**where, "id": f"order-{number}", "values": [[number, item, price]]}


async def main() -> int:
    """1 if a row failed."""
    async with bulk_requests() as requests:
        submitted = await requests.submit(operations(), project=said.project, user=said.user, id=said.id)
        view = await requests.ended(submitted.id)
        print(f"{view.state}: {view.operations.succeeded:,} rows in {view.calls.made:,} calls")
        async for result in requests.results(submitted.id, "failed"):
            print(f"{result['id']}: {result['reason']}")
        return 1 if view.operations.failed else 0


if __name__ == "__main__":
    run(main)
