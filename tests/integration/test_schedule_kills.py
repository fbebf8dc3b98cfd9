"""Workers are killed while occurrences start, the server while they are due: each instant has one request, and each row stands
once for it."""

from __future__ import annotations

import asyncio
import json
import math
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.store import Store
from benchmarks.rig import PROJECT, Rig, Setting, rig
from starter.client import BulkRequests
from starter.service import TemporalService
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import append, running_stack
from workflows import names

SETTING = Setting(per_project=60, per_user=30, window=4.0, users=1, latency_ms=20, spacing=0.05)
EVERY_S = 4
#: How long after an instant the worker is killed: before it has seen the occurrence, while it takes the input, while it starts.
KILLS_AFTER_S = (0.02, 0.1, 0.2, 0.35)


async def headgate(running: Rig, *arguments: str, stdin: bytes = b"") -> list[Any]:
    """The JSON documents that a command answers."""
    done = await asyncio.to_thread(running.headgate, *arguments, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_a_worker_that_is_killed_while_occurrences_start_costs_nothing_but_time() -> None:
    row = append("row", "alpha")
    async with rig(SETTING, ("alpha",)) as running:
        arguments = (
            "--project",
            PROJECT,
            "--user",
            "u0",
            "--id",
            "often",
            f"--every={EVERY_S}s",
            "--overlap=allow-all",
        )
        (made,) = await headgate(running, "submit", "-", *arguments, stdin=json.dumps(row).encode())
        due = first = datetime.fromisoformat(made["next_at"]).timestamp()
        for after_s in KILLS_AFTER_S:
            while due + after_s < time.time():
                due += EVERY_S  # the worker of before is up again by then
            await asyncio.sleep(due + after_s - time.time())
            running.kill_worker()
            running.start_worker()
            due += 2 * EVERY_S
        until = time.time()
        await headgate(running, "schedules", "pause", "often")
        paused_at = time.time()

        async def ended() -> set[str]:
            """The requests, once all that were due are known and over."""
            requests = await headgate(running, "list")
            over = {one["id"] for one in requests if one["state"] == "completed"}
            return over if len(over) == len(requests) >= len(surely) else set()

        surely = named(first, until)
        requests = await eventually(ended, 60, 0.5)
        assert len(surely) > len(KILLS_AFTER_S)
        assert surely <= requests <= named(first, paused_at)
        assert (await running.rows("alpha"))["row"] == len(requests)
        (removed,) = await headgate(running, "schedules", "remove", "often")
        assert removed == {"id": "often", "running": [], "starting": [], "input_removed": True}


def named(first: float, last: float) -> set[str]:
    """The requests of the instants from the first to the last."""
    instants = range(int(first), math.floor(last) + 1, EVERY_S)
    return {datetime.fromtimestamp(at, UTC).strftime("often-%Y%m%dT%H%M%SZ") for at in instants}


async def test_a_server_that_was_away_makes_up_for_what_was_due(start_server: StartServer, tmp_path: Path) -> None:
    """It crashes before the instants and comes back after them."""
    server = await start_server(db=tmp_path / "temporal.db")
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    requests = BulkRequests(TemporalService(client), Store.open(str(tmp_path / "store")))
    at = math.ceil(time.time()) + 8
    start_at = datetime.fromtimestamp(at, UTC)
    made: dict[str, dict[str, Any]] = {
        "once": {},
        "each": {"every": "2s", "overlap": "allow-all"},
        "first": {"every": "2s"},
    }
    for name, when in made.items():
        row = append("row", name)
        await requests.schedule([row], project="p", user="bot", id=name, start_at=start_at, **when)
    await server.stop(abruptly=True)
    assert time.time() < at
    await eventually(lambda: time.time() > at + 5, 20)
    await server.start()
    missed = [f"-{datetime.fromtimestamp(due, UTC).strftime('%Y%m%dT%H%M%SZ')}" for due in (at, at + 2, at + 4)]

    async def made_up_for() -> bool:
        started = {name: (await requests.scheduled(name)).started for name in made}
        return started["once"] == 1 and started["each"] >= len(missed) and started["first"] == 1

    await eventually(made_up_for, 30)
    for name in ("each", "first"):
        await requests.pause_schedule(name)
    async with running_stack(client, tmp_path) as stack:
        stack.spreadsheets(*made)
        started = (await requests.scheduled("each")).started
        await eventually(lambda: stack.counted(*made)["row"] == 2 + started, 60)
        ran = await eventually(lambda: bulk_requests_of(client, 2 + started))
        assert {"once", f"first{missed[0]}", *(f"each{instant}" for instant in missed)} <= ran
        assert sum(one.startswith("first-") for one in ran) == 1, "what was due while that one ran was left out"
        assert stack.counted("once") == stack.counted("first") == {"row": 1}


async def bulk_requests_of(client: Client, count: int) -> set[str]:
    """The requests that visibility knows, once they are so many."""
    visible = client.list_workflows(f'WorkflowType = "{names.BULK_REQUEST_TYPE}"')
    found = {one.id.removeprefix(names.bulk_request_id("")) async for one in visible}
    return found if len(found) == count else set()
