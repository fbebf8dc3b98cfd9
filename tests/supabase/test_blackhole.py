"""A database that neither answers nor refuses, as where a host or a way to it vanished: nobody waits for it for ever."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.projector import Projector
from activities.read_model import ReadModel
from headgate.databases import Database as Where
from starter import inbox
from starter.bridge import Bridge, Pace
from starter.carrying import Carrier
from tests.eventually import eventually
from tests.supabase.blackhole import way_to
from tests.supabase.conftest import Database
from tests.supabase.front_door import FrontDoor
from tests.supabase.projected import FrontDoor as Shown
from tests.supabase.projected import projector_of
from tests.supabase.test_read_model import told


async def test_a_bridge_gives_up_connections_that_do_not_answer_and_goes_on(
    door: FrontDoor, temporal_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut under open connections; afterwards that way stays cut for those, as where the host is another one now."""
    monkeypatch.setattr(inbox, "ANSWERS_WITHIN_S", 1.0)

    async def reach() -> Client:
        return temporal_client

    async with way_to(door.url) as way:
        where = Where.from_environ({"U": way.through(door.url)}, "U")
        assert where is not None
        bridge = Bridge(where, Carrier(reach, door.kept()), Pace(at_once=1, poll_s=0.2))
        running = asyncio.create_task(bridge.run())
        first = await door.submit()
        await eventually(door.is_done, timeout=30)
        way.cut()
        second = await door.submit()
        await asyncio.sleep(1)
        way.forget()
        way.mend()
        await eventually(door.is_done, timeout=30)
        assert {
            row["id"] for row in await door.sql("select id from public.bulk_requests where status = 'planning'")
        } == {
            first,
            second,
        }
        way.cut()
        await asyncio.sleep(0.5)
        bridge.end()
        await asyncio.wait_for(running, 25)


async def test_a_worker_ends_soon_while_its_read_model_does_not_answer(database: Database, tmp_path: Path) -> None:
    door = Shown(database)
    request_id, _ = door.row_for()
    url = projector_of(database).url
    async with way_to(url) as way:
        where = Where.from_environ({"U": way.through(url)}, "U")
        assert where is not None
        projector = Projector(ReadModel(where))
        async with projector.running():
            first, second = told(door, request_id, 1), told(door, request_id, 2)
            await projector.put(first)
            way.cut()
            projector.offer(second.request, second.progress)
            await asyncio.sleep(2)
            asked = time.monotonic()
        assert time.monotonic() - asked < 8, "a worker has to end within its grace, whatever else takes time"
