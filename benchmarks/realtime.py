"""How long after a row's commit its watchers hear of it, on this machine and through the stand-in for Realtime.

Both clients at once: our TypeScript client on supabase-js (websocket, binary frames), and supabase-py's as it comes.
Then the same with every third message lost, where what was lost is made good by the row: by gaps, or after silence.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realtime import AsyncRealtimeClient

from benchmarks.readings import percentiles
from tests.eventually import eventually
from tests.supabase.platform.client import deno_client
from tests.supabase.platform.project import running_project
from tests.supabase.tenant import Tenant, tenant

EVERY_S = 0.05
LOST = 3


async def main(size: int = 400) -> dict[str, Any]:
    """Milliseconds from just before the commit to the callback, over `size` updates of one row, 20 a second."""
    with tempfile.TemporaryDirectory(prefix="realtime-") as folder:
        async with running_project(Path(folder)) as project:
            mine = await tenant(project)
            relay = project.stand_ins.relay
            whole = await _measured(mine, size)
            relay.faults.lose_every(LOST)
            lossy = await _measured(mine, size)
            return {
                "updates": size,
                "all_arrive": whole,
                "every_third_is_lost": {**lossy, "lost": len(relay.faults.lost)},
            }


async def _measured(mine: Tenant, size: int) -> dict[str, Any]:
    request, project = mine.request(), mine.project
    heard: dict[int, float] = {}
    raw = AsyncRealtimeClient(f"{project.url}/realtime/v1", token=project.key)
    await raw.connect()
    await raw.set_auth(mine.user.token)
    options: Any = {"config": {"private": True, "broadcast": None, "presence": None}}
    channel = raw.channel(f"request:{request}", options)

    def take(said: Any) -> None:
        heard.setdefault(said["payload"]["revision"], time.time())

    channel.on_broadcast("progress", take)
    await channel.subscribe()
    async with deno_client(project.url, project.key, mine.user.token) as client:
        watched = await client.watch(request)
        await eventually(lambda: watched.link == "live" and watched.last)
        committed = {}
        with mine.connection() as connection:
            for done in range(1, size + 1):
                row = connection.execute(
                    "update bulk_requests set status = 'running', version = version + 1, operations_total = %s,"
                    " operations_succeeded = %s where id = %s returning revision",
                    (size, done, request),
                ).fetchone()
                assert row is not None
                committed[int(row["revision"])] = time.time()
                connection.commit()
                await asyncio.sleep(EVERY_S)
        await eventually(lambda: mine.shows(watched.last, request), timeout=30)
        told = {one["revision"]: at / 1000 for one, at in zip(watched.requests, watched.at, strict=True)}
    await raw.close()
    return {
        "our_client_ms": _late(committed, told),
        "supabase_py_ms": _late(committed, heard),
        "our_client_heard": len(told.keys() & committed.keys()),
        "supabase_py_heard": len(heard),
        "our_client_knew_at_the_end": mine.shows(watched.last, request),
    }


def _late(committed: Mapping[int, float], told: Mapping[int, float]) -> Any:
    """How late each revision was known: told itself, or a later one in its place."""
    later: dict[int, float] = {}
    soonest = float("inf")
    for revision in sorted(committed, reverse=True):
        soonest = min(soonest, told.get(revision, soonest))
        later[revision] = soonest
    return percentiles([1000 * (later[one] - at) for one, at in committed.items() if later[one] != float("inf")])
