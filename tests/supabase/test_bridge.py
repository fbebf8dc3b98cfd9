"""`headgate bridge` against a real Postgres and a real Temporal server: every row is carried once, whatever is killed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from temporalio.client import Client

from starter.devserver import DevServer
from tests.eventually import eventually
from tests.supabase.front_door import FrontDoor, started

REQUESTS = 1_000
SEED = 20261124


async def test_a_thousand_requests_are_a_thousand_workflows_while_bridges_are_killed(
    door: FrontDoor, temporal_server: DevServer, temporal_client: Client
) -> None:
    chance = random.Random(SEED)
    ids: list[str] = []
    kills = 0

    async def submitting() -> None:
        for n in range(REQUESTS):
            ids.append(await door.submit(name=f"request {n}"))
            await asyncio.sleep(0.01)

    async def bridging() -> None:
        nonlocal kills
        while not (submitted.done() and kills >= 8):
            process = await door.bridge(temporal_server.address)
            await asyncio.sleep(chance.uniform(1.5, 4.5))
            await door.killed(process)
            kills += 1

    submitted = asyncio.create_task(submitting())
    await asyncio.wait_for(asyncio.gather(submitted, bridging(), bridging()), 180)
    last = [await door.bridge(temporal_server.address) for _ in range(2)]
    await eventually(door.is_done, timeout=60)

    assert kills >= 8
    expected = Counter(f"bulk/{request_id}" for request_id in ids)
    assert len(expected) == REQUESTS

    async def found() -> bool:
        return (await started(temporal_client, door.organisation)).total() >= REQUESTS

    await eventually(found, timeout=30)
    assert await started(temporal_client, door.organisation) == expected
    kinds = await door.sql("select kind, attempts, count(*) from private.inbox group by 1, 2")
    assert [tuple(kind.values()) for kind in kinds] == [("start", 0, REQUESTS)]
    statuses = await door.sql("select status, count(*) from public.bulk_requests group by 1")
    assert [tuple(status.values()) for status in statuses] == [("planning", REQUESTS)]
    assert await door.sql("select from private.inputs") == []
    assert [await door.finished(process) for process in last] == [0, 0]
