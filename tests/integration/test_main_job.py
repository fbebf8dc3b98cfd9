"""The main job against a real server and the emulator: every kind of operation, faults, control, both workflows' long lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.messages.views import Control, LimiterView
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import FAST, Stack, append, running_stack
from workflows import names
from workflows.limiter_start import signal_with_start_limiter


async def test_every_kind_of_operation_takes_effect_once(stack: Stack) -> None:
    """Appends, updates, clears, raw requests and reads, merged, in order; bad lines become dead letters with their numbers."""
    stack.spreadsheets("kinds")
    project = await stack.project()
    lines: list[dict[str, Any] | bytes] = [
        append("a1", "kinds"),
        append("a2", "kinds"),
        {"id": "u1", "op": "update", "spreadsheet": "kinds", "range": "Orders!D1:E1", "values": [["x", "y"]]},
        {"id": "c1", "op": "clear", "spreadsheet": "kinds", "range": "Orders!E1"},
        {
            "id": "q1",
            "op": "request",
            "spreadsheet": "kinds",
            "request": {"addSheet": {"properties": {"title": "Later"}}},
        },
        {"id": "a3", "op": "append", "spreadsheet": "kinds", "range": "Later!A:A", "values": [["late"]]},
        b"{not json",
        {"id": "bad", "op": "explode", "spreadsheet": "kinds"},
        append("a1", "kinds"),
    ]
    handle = await stack.submit(project, lines)
    view = await handle.result()
    results = await stack.result_lines(handle)
    assert view.state == "completed"
    assert (view.operations.succeeded, view.operations.failed) == (6, 3)
    assert stack.cells("kinds") == [["a1", 1, None, "x"], ["a2", 1]]
    assert stack.emulator.library.shown("kinds")["Later"] == [["late"]]
    assert {results[n]["outcome"] for n in (7, 8, 9)} == {"failed"}
    assert all(results[n]["applied"] == "no" and results[n]["reason"] for n in (7, 8, 9))
    writes = [c for c in stack.calls("kinds") if c["kind"] == "write"]
    assert len(writes) == 1, "adjacent compatible operations travel in one call"


async def test_reads_come_back_and_are_merged(stack: Stack) -> None:
    """Duplicates and neighbours in one call; each operation gets its own values."""
    stack.spreadsheets("readable")
    project = await stack.project()
    await (await stack.submit(project, [append(f"r{n}", "readable") for n in range(3)])).result()
    before = len(stack.calls("readable"))
    ranges = {"x": "Orders!A1", "y": "Orders!A2:B3", "z": "Orders!A1"}
    lines = [{"id": name, "op": "read", "spreadsheet": "readable", "range": r} for name, r in ranges.items()]
    handle = await stack.submit(project, lines)
    await handle.result()
    results = await stack.results(handle)
    assert len(stack.calls("readable")) - before == 1
    assert [results[n]["reply"]["values"] for n in "xyz"] == [[["r0"]], [["r1", "1"], ["r2", "1"]], [["r0"]]]


async def test_lost_answers_and_refusals_neither_lose_nor_double_a_row(stack: Stack) -> None:
    """Answers lost after the apply, 503 before it, HTML, 429s and one bad operation: each row stands once or is a dead letter."""
    sheets = [f"faulty{n}" for n in range(4)]
    stack.spreadsheets(*sheets)
    project = await stack.project()
    rules = [
        {"kind": "write", "spreadsheet": "faulty0", "every": 3, "effect": "close", "when": "after"},
        {"kind": "write", "spreadsheet": "faulty1", "every": 2, "effect": "error", "status": 503, "when": "before"},
        {"kind": "write", "spreadsheet": "faulty2", "every": 3, "effect": "html", "status": 502, "when": "after"},
        {"kind": "write", "spreadsheet": "faulty3", "every": 4, "effect": "throttle", "level": "user"},
    ]
    lines = [append(f"{s}/{n}", s, user=s) for n in range(12) for s in sheets]
    beyond = {"op": "update", "spreadsheet": "faulty0", "range": "Orders!A5000", "values": [["x"]]}
    lines.append({"id": "out", "user": "faulty0", **beyond})
    with stack.faults(*rules):
        handle = await stack.submit(project, lines, operations_per_call=2)
        view = await asyncio.wait_for(handle.result(), 120)
    results = await stack.results(handle)
    expected = {f"{s}/{n}": 1 for n in range(12) for s in sheets}
    assert stack.counted(*sheets) == expected
    assert {name for name, r in results.items() if r["outcome"] == "succeeded"} == set(expected)
    assert results["out"]["outcome"] == "failed"
    assert view.calls.retried > 0
    for bucket, most in stack.worst(*sheets).items():
        assert most <= getattr(FAST, bucket)


async def test_pause_resume_reprioritise_and_cancel_act_while_it_runs(stack: Stack) -> None:
    """After a pause no call starts; after a resume it goes on; cancelled, the rest is unprocessed and every result is there."""
    sheets = [f"steered{n}" for n in range(3)]
    stack.spreadsheets(*sheets)
    project = await stack.project()
    lines = [append(f"{s}/{n}", s, user=s) for n in range(200) for s in sheets]
    handle = await stack.submit(project, lines, operations_per_call=1)
    await eventually(lambda: len(stack.calls(*sheets)) > 10, timeout=30)
    await handle.signal("pause", Control(by="ana"))

    async def paused() -> bool:
        return (await stack.view(handle)).state == "paused"

    await eventually(paused, timeout=10)
    await asyncio.sleep(2)
    count = len(stack.calls(*sheets))
    await asyncio.sleep(1.5)
    assert len(stack.calls(*sheets)) == count, "a call started more than 2 s after the pause"
    assert (await stack.view(handle)).waiting.reason == "paused by ana"
    await handle.signal("reprioritise", Control(to="urgent"))
    await handle.signal("resume")
    await eventually(lambda: len(stack.calls(*sheets)) > count + 10, timeout=15)
    assert (await stack.view(handle)).priority == "urgent"
    await handle.signal("cancel_request")
    view = await asyncio.wait_for(handle.result(), 30)
    assert view.state == "cancelled"
    assert view.operations.succeeded + view.operations.unprocessed == 600
    results = await stack.results(handle, closed=True)
    assert len(results) == 600
    applied = {name for name, r in results.items() if r["applied"] == "yes"}
    assert {name for name, times in stack.counted(*sheets).items() if times == 1} == applied


async def test_a_spreadsheet_that_does_not_exist_fails_without_a_call_for_each_batch(stack: Stack) -> None:
    """One look-up tells; the lane's operations are dead letters, and the other lane goes on."""
    stack.spreadsheets("there")
    project = await stack.project()
    lines = [append(f"g{n}", "gone") for n in range(6)] + [append("t", "there")]
    handle = await stack.submit(project, lines, operations_per_call=1)
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.operations.succeeded, view.operations.failed) == (1, 6)
    assert len(stack.calls("gone")) == 1
    assert all("not found" in r["reason"].lower() for n, r in (await stack.results(handle)).items() if n != "t")


async def test_both_workflows_continue_as_new_under_load_without_a_cache(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Every few dozen events, replayed at every task: the same rows, the same quota."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=80"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    options = {"max_cached_workflows": 0, "max_concurrent_workflow_task_polls": 1}
    async with running_stack(client, tmp_path, **options) as stack:
        sheets = [f"long{n}" for n in range(6)]
        stack.spreadsheets(*sheets)
        project = await stack.project()
        lines = [append(f"{s}/{n}", s, user=s) for n in range(40) for s in sheets]
        handle = await stack.submit(project, lines, operations_per_call=1)
        view = await asyncio.wait_for(handle.result(), 150)
        assert view.operations.succeeded == 240
        assert stack.counted(*sheets) == {f"{s}/{n}": 1 for n in range(40) for s in sheets}
        for bucket, most in stack.worst(*sheets).items():
            assert most <= getattr(FAST, bucket)
        for workflow_id in (handle.id, names.rate_limiter_id(project)):
            runs = [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
            continued = [r for r in runs if r.status == WorkflowExecutionStatus.CONTINUED_AS_NEW]
            assert continued, f"{workflow_id} never continued as new"


async def test_a_limiter_that_was_terminated_is_quiet_and_the_request_goes_on(stack: Stack) -> None:
    """Its holders start it again; until its old tokens have left every window nothing is sent."""
    stack.spreadsheets("orphan")
    project = await stack.project()
    handle = await stack.submit(project, [append(f"o{n}", "orphan") for n in range(60)], operations_per_call=1)
    await eventually(lambda: len(stack.calls("orphan")) > 8, timeout=30)
    limiter = stack.client.get_workflow_handle(names.rate_limiter_id(project))
    await limiter.terminate("lost")
    await signal_with_start_limiter(stack.client, project, "settle", {"holder": "", "epoch": 0})
    view = await limiter.query("show", result_type=LimiterView)
    assert view.settings == FAST
    assert view.quiet_until_ns > view.now_ns
    assert (await asyncio.wait_for(handle.result(), 120)).operations.succeeded == 60
    assert stack.worst("orphan")["write_per_user"] <= FAST.write_per_user


@pytest.mark.parametrize("order", ["lane", "strict"])
async def test_strict_order_lets_a_read_see_the_writes_before_it(stack: Stack, order: str) -> None:
    """With `strict` reads and writes of a spreadsheet are one lane, in the order of the lines."""
    sheet = f"ordered-{order}"
    stack.spreadsheets(sheet)
    project = await stack.project()
    lines: list[dict[str, object]] = []
    for n in range(3):
        lines.append(append(f"w{n}", sheet))
        lines.append({"id": f"r{n}", "op": "read", "spreadsheet": sheet, "range": "Orders!A:A"})
    handle = await stack.submit(project, lines, order=order)
    assert (await asyncio.wait_for(handle.result(), 60)).operations.succeeded == 6
    results = await stack.results(handle)
    if order == "strict":
        assert [len(results[f"r{n}"]["reply"].get("values", [])) for n in range(3)] == [1, 2, 3]
