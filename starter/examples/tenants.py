"""Hands in the rows of many tenants, who share one quota by turns, and shows who waits for what until all are done.

python -m starter.examples.tenants --tenants 5 --rows 200
"""

from __future__ import annotations

import asyncio

from starter.client import BulkRequests, bulk_requests
from starter.examples import options, run

said = options(__doc__, project="shop", user="alice", spreadsheet="shop", sheet="Sheet1", tenants=3, rows=100, id="t")


async def handed_in(requests: BulkRequests, tenant: str) -> str:
    """The tenant is the owner, by whom the quota is shared; the tenant's rows are one request."""
    where = {"op": "append", "spreadsheet": said.spreadsheet, "range": f"{said.sheet}!A:B"}
    rows = ({**where, "id": f"{tenant}-{n}", "values": [[f"{tenant}-{n}", n]]} for n in range(said.rows))
    made = await requests.submit(rows, project=said.project, user=said.user, owner=tenant, id=f"{said.id}-{tenant}")
    return made.id


async def shown(requests: BulkRequests, request_id: str) -> None:
    """What the tenant's request is at, whenever that is news."""
    async for view in requests.watch(request_id):
        waits = f", waits: {view.waiting.reason} until {view.waiting.until}" if view.waiting.reason else ""
        print(f"{view.owner}: {view.state}, {view.operations.remaining:,} to go{waits}", flush=True)


async def main() -> None:
    """All of them side by side."""
    async with bulk_requests() as requests:
        under_way = [await handed_in(requests, f"tenant-{number}") for number in range(1, said.tenants + 1)]
        await asyncio.gather(*(shown(requests, request_id) for request_id in under_way))


if __name__ == "__main__":
    run(main)
