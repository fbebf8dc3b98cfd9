"""Postgres and workers go away and come back: the sending does not notice, and what is shown in the end is what happened."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from functools import partial

import pytest

from benchmarks.rig import Rig, Setting, rig
from headgate.messages.views import ProgressView
from tests.eventually import eventually
from tests.integration.stack import append
from tests.supabase.conftest import Database
from tests.supabase.platform.postgres import Postgres
from tests.supabase.projected import FrontDoor, most_in_a_second, shows

#: Ten calls a second: a hundred and eighty take about twenty seconds.
SETTING = Setting(per_project=50, per_user=50, window=5.0, users=1, latency_ms=20, spacing=0.02)
SHEETS = [f"sheet-{n}" for n in range(6)]


@pytest.fixture
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """A server that nobody else needs, since it will be stopped."""
    with Postgres(postgres.version) as server:
        yield server


def lines(count: int) -> list[dict[str, object]]:
    return [append(f"op-{n}", SHEETS[n % len(SHEETS)]) for n in range(count)]


async def arrivals(running: Rig) -> list[float]:
    """When the writes arrived, by the emulator's ledger."""
    return sorted(call["arrived"] for call in (await running.ledger())["calls"] if call["kind"] == "write")


async def test_postgres_that_stops_in_the_middle_and_at_the_end_delays_nothing_but_what_is_shown(
    own_postgres: Postgres,
) -> None:
    """Ten seconds without it while a request sends: no gap in the calls. Ended meanwhile, the request is over for Temporal at once."""
    door = FrontDoor(Database(own_postgres, own_postgres.database()))
    url = door.url.replace("postgres:postgres@", "headgate_projector:headgate_projector@")
    async with rig(SETTING, SHEETS, {"HEADGATE_PROJECTION_URL": url}) as running:
        first = await door.hand_in(running, lines(260))
        await eventually(lambda: door.row(first)["calls_made"] > 20, timeout=40)
        began = time.monotonic()
        await asyncio.to_thread(own_postgres.stop, "immediate")
        before = len(await arrivals(running))
        await asyncio.sleep(10)
        sent = await arrivals(running)
        assert len(sent) - before >= 0.5 * 10 * (time.monotonic() - began), (
            "it goes on (10 a second, on an idle machine)"
        )
        gaps = [later - earlier for earlier, later in itertools.pairwise(sent[before - 20 :])]
        assert max(gaps) < 5.0
        await asyncio.to_thread(own_postgres.start)
        shown = door.row(first)["version"]
        await eventually(lambda: door.row(first)["version"] > shown, timeout=15)

        await eventually(partial(nearly_done, running, first), timeout=60, interval=0.3)
        await asyncio.to_thread(own_postgres.stop, "immediate")
        stopped = time.monotonic()
        view = await running.ended(first, 30)
        ended = time.monotonic()
        assert view.state == "completed"
        assert ended - stopped < 25
        await asyncio.sleep(max(0.0, 10 - (ended - stopped)))
        await asyncio.to_thread(own_postgres.start)
        row = await eventually(partial(door.ended, first), timeout=25)
        assert shows(row, view)
        rows = [await running.rows(sheet) for sheet in SHEETS]
        assert sum(sum(one.values()) for one in rows) == 260
        log = (running.folder / "worker.log").read_text()
        assert "headgate_projector:headgate_projector" not in log
        send_says = [line for line in log.splitlines() if "Read model away" in line]
        assert 1 <= len(send_says) <= 4, "once each time, in each of two processes"
    assert most_in_a_second([one for one in door.seen(first)[first] if one["version"]]) == 1


async def nearly_done(running: Rig, request_id: str) -> bool:
    view = await running.progress(request_id)
    return view.operations.succeeded >= view.operations.total - 30


async def test_a_worker_that_is_killed_loses_nothing_of_what_is_shown_in_the_end(
    own_postgres: Postgres,
) -> None:
    """kill -9 in the middle, and once the request is over and its end is perhaps not shown yet."""
    door = FrontDoor(Database(own_postgres, own_postgres.database()))
    url = door.url.replace("postgres:postgres@", "headgate_projector:headgate_projector@")
    async with rig(SETTING, SHEETS, {"HEADGATE_PROJECTION_URL": url}) as running:
        request_id = await door.hand_in(running, [*lines(120), append("lost", "nowhere")])
        await eventually(lambda: door.row(request_id)["calls_made"] > 20, timeout=40)
        running.kill_worker()
        running.start_worker()
        view: ProgressView = await running.ended(request_id, 120)
        running.kill_worker()
        running.start_worker()
        row = await eventually(partial(door.ended, request_id), timeout=60)
        assert shows(row, view)
        assert [letter[1] for letter in door.letters(request_id)] == ["lost"]
    versions = [one["version"] for one in door.seen(request_id)[request_id] if one["version"]]
    assert versions == sorted({*versions})
