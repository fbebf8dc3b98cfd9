"""Steering in bad moments, refusals late, and messages from people who typed too little: every request still ends, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import Stack, append, running_stack

REFUSED = {"kind": "write", "effect": "throttle", "level": "user"}


@pytest.mark.parametrize("paused", [False, True])
async def test_a_cancelled_request_ends_although_a_batch_is_being_resent(stack: Stack, paused: bool) -> None:
    """What was refused for a while is unprocessed, whether the cancel finds it between attempts or held by a pause."""
    sheet = f"resent-{paused}".lower()
    stack.spreadsheets(sheet)
    project = await stack.project()
    with stack.faults({**REFUSED, "spreadsheet": sheet}):
        handle = await stack.submit(project, [append(f"{sheet}{n}", sheet) for n in range(4)], operations_per_call=1)
        await eventually(lambda: len([c for c in stack.calls(sheet) if c["kind"] == "write"]) >= 1, timeout=30)
        if paused:
            await handle.signal("pause")
            await asyncio.sleep(4)
        await handle.signal("cancel_request")
        view = await asyncio.wait_for(handle.result(), 20)
    assert (view.state, view.operations.unprocessed) == ("cancelled", 4)
    results = await stack.results(handle, closed=True)
    assert {(r["outcome"], r["applied"]) for r in results.values()} == {("unprocessed", "no")}


async def test_a_look_up_that_is_refused_at_its_second_attempt_ends_the_lane(stack: Stack) -> None:
    """The first answer is a 503, the second says that there is no such spreadsheet: dead letters, and no call for each batch."""
    project = await stack.project()
    with stack.faults({"spreadsheet": "absent", "nth": 1, "effect": "error", "status": 503, "when": "before"}):
        handle = await stack.submit(project, [append(f"a{n}", "absent") for n in range(4)], operations_per_call=1)
        view = await asyncio.wait_for(handle.result(), 30)
    assert (view.operations.failed, view.operations.remaining) == (4, 0)
    assert len(stack.calls("absent")) == 2


@pytest.mark.parametrize("signal", ["reprioritise", "report", "grant"])
async def test_a_signal_that_says_too_little_changes_nothing(stack: Stack, signal: str) -> None:
    """Sent from the Web UI with no input at all."""
    sheet = f"mute-{signal}"
    stack.spreadsheets(sheet)
    handle = await stack.submit(await stack.project(), [append(f"{signal}{n}", sheet) for n in range(3)])
    await handle.signal(signal)
    assert (await asyncio.wait_for(handle.result(), 30)).operations.succeeded == 3


async def test_to_continue_as_new_while_a_batch_fails_again_and_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    """An attempt that fails after its cancellation was asked for is an attempt like another: the next run goes on with it."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=60"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path) as stack:
        stack.spreadsheets("bad", "good")
        project = await stack.project()
        lines = [append(f"{s}/{n}", s, user=s) for n in range(30) for s in ("bad", "good")]
        slow = {"spreadsheet": "bad", "kind": "write", "nth": [1, 2, 3, 4, 5], "effect": "error", "status": 503}
        with stack.faults({**slow, "when": "before", "seconds": 1.5}):
            handle = await stack.submit(project, lines, operations_per_call=1)
            view = await asyncio.wait_for(handle.result(), 60)
        assert view.operations.succeeded == 60
        assert stack.counted("bad", "good") == {f"{s}/{n}": 1 for n in range(30) for s in ("bad", "good")}
