"""From an insert into `public.bulk_requests` to the workflow's start: five a second, then bursts of 500 in one transaction.

A real Postgres with all migrations, a real dev server without workers, and `headgate bridge` as a process of its own, all on
this machine. Each insert has its input with it, which the bridge puts into a store in a folder. Latency is the start time that
the Temporal server gave the workflow, less the moment before the insert was sent (`since_insert_was_called`) and less the
moment at which its commit was answered (`since_commit`: a start may be earlier than that answer, which counts as 0). Of a burst
the second counts. The clock is this machine's for all. The bars are those of the five a second, from the commit.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from benchmarks.readings import percentiles
from starter.devserver import DevServer
from tests.eventually import eventually
from tests.supabase.conftest import Database
from tests.supabase.front_door import LINE, FrontDoor, front_door
from tests.supabase.platform.postgres import Postgres
from workflows.names import SEARCH_ATTRIBUTES

PER_SECOND: Final = 5
BURST: Final = 500
BARS: Final = {"p50_ms": 50, "p99_ms": 500}
INSERT: Final = "insert into public.bulk_requests (organisation_id, operations) values (%s, %s) returning id"


class Inserts:
    """When each insert was called and its commit was answered (s since 1970), by request."""

    def __init__(self, door: FrontDoor, connection: psycopg.AsyncConnection[Any]) -> None:
        self._door = door
        self._connection = connection
        self.called: dict[str, float] = {}
        self.committed: dict[str, float] = {}

    async def insert(self, count: int) -> list[str]:
        """So many in one transaction; their ids."""
        called, ids = time.time(), []
        async with self._connection.transaction():
            for _ in range(count):
                made = await self._connection.execute(INSERT, (self._door.organisation, LINE.decode()))
                ids.append(str((await made.fetchone() or [""])[0]))
        committed = time.time()
        self.called |= dict.fromkeys(ids, called)
        self.committed |= dict.fromkeys(ids, committed)
        return ids


async def _starts(client: Client, organisation: str, count: int) -> dict[str, datetime]:
    """When the server started each workflow."""
    found: dict[str, datetime] = {}

    async def all_of_them() -> bool:
        listed = client.list_workflows(f"HeadgateOwner = '{organisation}'")
        found.update({run.id.removeprefix("bulk/"): run.start_time async for run in listed})
        return len(found) >= count

    await eventually(all_of_them, timeout=60, interval=0.5)
    return found


def _latencies(ids: list[str], since: dict[str, float], starts: dict[str, datetime]) -> dict[str, float]:
    late = [max(0.0, 1000 * (starts[one].astimezone(UTC).timestamp() - since[one])) for one in ids]
    return {f"{name}_ms" if name != "count" else name: round(n, 1) for name, n in percentiles(late).items()}


async def main(minutes: float = 1.0, size: int = BURST) -> dict[str, Any]:
    """Five a second for so long, then three bursts of `size`."""
    with Postgres(15) as postgres, tempfile.TemporaryDirectory(prefix="headgate-bench-") as folder:
        async with DevServer(SEARCH_ATTRIBUTES, ui_port=None) as server:
            client = await Client.connect(server.address, data_converter=pydantic_data_converter)
            async with front_door(Database(postgres, postgres.database()), Path(folder)) as door:
                return await _measured(door, client, server.address, minutes, size)


async def _measured(door: FrontDoor, client: Client, address: str, minutes: float, size: int) -> dict[str, Any]:
    load_before = os.getloadavg()
    bridge = await door.bridge(address)
    connection = await psycopg.AsyncConnection.connect(door.database.url(), autocommit=True)
    async with connection:
        inserts = Inserts(door, connection)
        warm = await inserts.insert(20)
        await eventually(door.is_done, timeout=60)
        steady: list[str] = []
        began = time.monotonic()
        while (due := began + len(steady) / PER_SECOND) < began + 60 * minutes:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            steady += await inserts.insert(1)
        await eventually(door.is_done, timeout=60)
        bursts = []
        for _ in range(3):
            bursts.append(await inserts.insert(size))
            await eventually(door.is_done, timeout=120)
    count = len(warm) + len(steady) + sum(map(len, bursts))
    starts = await _starts(client, door.organisation, count)
    code = await door.finished(bridge)
    since_commit = _latencies(steady, inserts.committed, starts)
    return {
        "five_a_second": {
            "seconds": 60 * minutes,
            "since_insert_was_called": _latencies(steady, inserts.called, starts),
            "since_commit": since_commit,
        },
        "bursts": [
            {
                "inserts": len(ids),
                "since_commit": _latencies(ids, inserts.committed, starts),
                "last_started_after_s": round(
                    max(starts[one].timestamp() for one in ids) - inserts.committed[ids[0]], 2
                ),
            }
            for ids in bursts
        ],
        "workflows": len(starts),
        "inserts": count,
        "bridge_exit_code": code,
        "machine": {"cores": os.cpu_count(), "load_before": load_before, "load_after": os.getloadavg()},
        "bars": BARS,
        "kept": all(since_commit[name] <= bar for name, bar in BARS.items()) and len(starts) == count,
    }
