"""Commands in bad moments: while a request plans, while its first demand is on its way, in its last task."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

import worker
from activities.store import Store
from emulator.server import Emulator, EmulatorSettings
from headgate.messages.views import Control, ProgressView
from headgate.settings import Settings
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import FAST, Stack, append, running_stack
from workflows.bulk_request import BulkRequestWorkflow
from workflows.starting import PRIORITY, STATE

ROOMY = FAST.model_copy(
    update={"write_per_project": 600, "write_per_user": 600, "read_per_project": 600, "read_per_user": 600}
)
CANCELLED = 24


async def test_a_request_cancelled_at_any_moment_hands_back_every_token_that_was_not_used(stack: Stack) -> None:
    """The limiter's books against the emulator's ledger: what was given and not handed back is what arrived."""
    chance = random.Random(7)
    sheets = [f"moment{n}" for n in range(CANCELLED)]
    stack.spreadsheets(*sheets)
    project = await stack.project(ROOMY)

    async def cancelled(sheet: str, after: float) -> None:
        handle = await stack.submit(
            project, [append(f"{sheet}/{n}", sheet, user=f"{sheet}u{n % 4}") for n in range(200)], operations_per_call=1
        )
        await asyncio.sleep(after)
        await handle.signal("cancel", Control(by="ana"))
        view = await asyncio.wait_for(handle.result(), 30)
        assert view.state == "cancelled"

    for half in range(4):
        await asyncio.gather(*(cancelled(s, chance.uniform(0, 3.0)) for s in sheets[half::4]))
    await asyncio.sleep(1)
    shown = await stack.shown(project)
    assert shown.waiting == 0
    assert shown.granted - shown.returned == len(stack.calls(*sheets))


async def test_a_request_of_refused_lines_alone_ends_and_waits_for_nothing(stack: Stack) -> None:
    """Also where so many failures pause it: there is nothing left to pause."""
    handle = await stack.submit(await stack.project(), [b"no JSON", b"nor this"], stop_after=1)
    view = await asyncio.wait_for(handle.result(), 20)
    assert (view.state, view.operations.failed) == ("completed", 2)
    assert (view.waiting.reason, view.waiting.cause) == ("", "")


async def test_what_holds_a_request_back_is_said_also_after_it_continued_as_new(
    start_server: StartServer, tmp_path: Path
) -> None:
    """The limiter has told it before, and has no reason to tell it again."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=60"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path) as stack:
        stack.spreadsheets("kept")
        project = await stack.project()
        await stack.limiter(project).signal("pause", Control(by="ops"))
        handle = await stack.submit(project, [append("kept/1", "kept")])
        first = (await handle.describe()).run_id

        async def told() -> ProgressView | None:
            view = await stack.view(handle)
            return view if view.waiting.cause == "project_paused" else None

        before = await eventually(told, timeout=20)
        assert before is not None

        async def continued() -> bool:
            await handle.signal("reprioritise", Control(to=next(priorities)))
            latest = await client.get_workflow_handle(handle.id).describe()
            return latest.run_id != first

        priorities = itertools.cycle(["urgent", "low"])
        handle = client.get_workflow_handle_for(BulkRequestWorkflow.run, handle.id)
        await eventually(continued, timeout=30)
        after = await stack.view(handle)
        assert (after.state, after.waiting) == (before.state, before.waiting)
        assert after.version > before.version
        await stack.limiter(project).signal("resume")
        assert (await asyncio.wait_for(handle.result(), 30)).operations.succeeded == 1


async def test_what_is_said_before_the_plan_is_there_holds_once_it_is(stack: Stack) -> None:
    """A pause, a priority, and Temporal's own *Request Cancellation*, sent as soon as the request is recorded."""
    stack.spreadsheets("early", "ended")
    project = await stack.project()
    handle = await stack.submit(project, [append(f"early/{n}", "early") for n in range(3)], operations_per_call=1)
    await handle.signal("pause", Control(by="ana"))
    await handle.signal("reprioritise", Control(to="urgent"))

    async def paused() -> bool:
        return (await stack.view(handle)).state == "paused"

    await eventually(paused, timeout=20)
    indexed = (await handle.describe()).typed_search_attributes
    assert (indexed.get(STATE), indexed.get(PRIORITY)) == ("paused", "urgent")
    assert stack.calls("early") == []
    await handle.signal("resume")
    view = await asyncio.wait_for(handle.result(), 30)
    assert (view.operations.succeeded, view.priority, view.waiting.reason) == (3, "urgent", "")
    ended = await stack.submit(project, [append(f"ended/{n}", "ended") for n in range(3)])
    await ended.cancel()
    view = await asyncio.wait_for(ended.result(), 30)
    assert (view.state, view.operations.unprocessed, stack.calls("ended")) == ("cancelled", 3, [])


async def test_a_cancelled_request_says_why_it_is_not_over_yet(stack: Stack) -> None:
    """Answers were lost, and the API is away: what became of those writes is made certain once it is back, and not before."""
    sheets = [f"unknown{n}" for n in range(8)]
    stack.spreadsheets(*sheets)
    project = await stack.project(ROOMY)
    lines = [append(f"{s}/{n}", s, user=s) for s in sheets for n in range(60)]
    handle = await stack.submit(project, lines, operations_per_call=1)
    await eventually(lambda: len(stack.arrivals(*sheets)) > 8, timeout=30)
    away = {"kind": "read", "effect": "error", "status": 503, "when": "before"}
    with stack.faults({"kind": "write", "effect": "close", "when": "after"}, away):

        async def held_by_a_circuit() -> ProgressView | None:
            view = await stack.view(handle)
            return view if view.waiting.cause == "circuit" else None

        await eventually(held_by_a_circuit, timeout=40)
        await handle.signal("cancel", Control(by="ana"))

        async def cancelled() -> bool:
            return (await stack.view(handle)).state == "cancelled"

        await eventually(cancelled, timeout=10)
        assert await eventually(held_by_a_circuit, timeout=20)
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.state, view.waiting.reason) == ("cancelled", "")
    results = await stack.results(handle, closed=True)
    applied = {name for name, result in results.items() if result["applied"] == "yes"}
    assert stack.counted(*sheets) == dict.fromkeys(applied, 1)
    await asyncio.sleep(1)
    shown = await stack.shown(project)
    assert shown.granted - shown.returned == len(stack.calls(*sheets))


async def test_a_request_that_nobody_plans_can_be_cancelled(start_server: StartServer, tmp_path: Path) -> None:
    """No worker plans: half a minute after the cancel it is over, and its results call every line unprocessed."""
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with worker.workflow_worker(client):
        settings = Settings(store=str(tmp_path), cache_dir=tmp_path)
        stack = Stack(client, Emulator(EmulatorSettings(quota=False)), Store.open(str(tmp_path)), settings)
        handle = await stack.submit("unplanned", [append(f"row/{n}", "nowhere") for n in range(3)])
        await handle.execute_update("cancel", Control(by="ana"))
        view = await asyncio.wait_for(handle.result(), 60)
        assert (view.state, view.waiting.reason, view.eta_at) == ("cancelled", "", None)
        results = await stack.results(handle, closed=True)
        assert {result["outcome"] for result in results.values()} == {"unprocessed"}
        assert len(results) == 3
