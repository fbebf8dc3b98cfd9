"""What is bad is found, said and left behind: counted by the emulator's ledger, looked at in its cells."""

from __future__ import annotations

import asyncio

import pytest

from headgate import repeating
from headgate.message import SECOND_NS
from headgate.messages.views import ProgressView
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append


async def test_a_cell_that_is_too_long_among_a_thousand_rows(stack: Stack) -> None:
    """The API names nothing: one dead letter, twelve more calls at most, and every other row stands once."""
    stack.spreadsheets("haystack")
    project = await stack.project()
    lines: list[dict[str, object]] = [append(f"h{n}", "haystack") for n in range(1000)]
    cell = {"userEnteredValue": {"stringValue": "x" * 60_000}}
    body = {"sheetId": 0, "fields": "userEnteredValue", "rows": [{"values": [cell]}]}
    lines[700] = {"id": "long", "op": "request", "spreadsheet": "haystack", "request": {"appendCells": body}}
    handle = await stack.submit(project, lines)
    view = await asyncio.wait_for(handle.result(), 120)
    assert (view.operations.succeeded, view.operations.failed) == (999, 1)
    results = await stack.results(handle)
    assert [name for name, r in results.items() if r["outcome"] == "failed"] == ["long"]
    assert stack.counted("haystack") == {f"h{n}": 1 for n in range(1000) if n != 700}
    writes = [call for call in stack.calls("haystack") if call["kind"] == "write"]
    assert len(writes) - 1 <= 12


async def test_a_spreadsheet_that_is_closed_to_the_user_fails_its_lane_at_once(stack: Stack) -> None:
    """Permission to read, none to write: one refused call for a lane of forty batches, and the sentence says whom to ask for."""
    stack.spreadsheets("closed", "open")
    project = await stack.project()
    lines = [append(f"c{n}", "closed") for n in range(40)] + [append("o", "open")]
    lines.append({"id": "look", "op": "read", "spreadsheet": "closed", "range": "Orders!A1"})
    with stack.faults({"kind": "write", "spreadsheet": "closed", "effect": "forbidden"}):
        handle = await stack.submit(project, lines, operations_per_call=1)
        view = await asyncio.wait_for(handle.result(), 60)
    assert (view.operations.succeeded, view.operations.failed) == (2, 40)
    writes = [call for call in stack.calls("closed") if call["kind"] == "write"]
    assert len(writes) <= 2
    results = await stack.results(handle)
    assert {results[f"c{n}"]["applied"] for n in range(40)} == {"no"}
    assert {results[f"c{n}"]["reason"] for n in range(40)} == {
        "user 'bot' may not do this in spreadsheet closed: The caller does not have permission"
    }


async def paused(stack: Stack, handle: Handle) -> ProgressView:
    """The view once the request has stopped by itself."""

    async def is_paused() -> ProgressView | None:
        view = await stack.view(handle)
        return view if view.state == "paused" else None

    view = await eventually(is_paused, timeout=30)
    assert view is not None
    return view


async def test_too_many_failures_pause_the_request_until_somebody_has_looked(stack: Stack) -> None:
    """It stops with the reason, a resume goes on, and it stops again only for as many failures more."""
    stack.spreadsheets("careful")
    project = await stack.project()
    bad = {"op": "update", "spreadsheet": "careful", "range": "Orders!A5000", "values": [["x"]]}
    lines: list[dict[str, object]] = []
    for part in ("a", "b"):
        lines += [{"id": f"{part}-bad{n}", **bad} for n in range(3)]
        lines += [append(f"{part}{n}", "careful") for n in range(40)]
    handle = await stack.submit(project, lines, operations_per_call=1, stop_after=3)
    for failures in (3, 6):
        view = await paused(stack, handle)
        assert view.operations.failed == failures
        assert view.operations.remaining > 0
        assert view.waiting.reason.startswith(f"paused by --stop-after 3: {failures} operations have failed")
        await asyncio.sleep(2)  # what was granted before is sent or lapses
        count = len(stack.calls("careful"))
        await asyncio.sleep(1.5)
        assert len(stack.calls("careful")) == count
        await handle.signal("resume")
    assert (await asyncio.wait_for(handle.result(), 60)).operations.succeeded == 80
    assert stack.counted("careful") == {f"{part}{n}": 1 for part in "ab" for n in range(40)}


async def test_lines_that_were_refused_while_planning_count_as_failures(stack: Stack) -> None:
    """A file in the wrong form stops before its first call."""
    stack.spreadsheets("misread")
    project = await stack.project()
    handle = await stack.submit(project, [b"{no json"] * 5 + [append("m", "misread")], stop_after=5)
    assert (await paused(stack, handle)).operations.failed == 5
    assert stack.calls("misread") == []
    await handle.signal("resume")
    assert (await asyncio.wait_for(handle.result(), 60)).operations.succeeded == 1


async def test_writes_beyond_the_grid_make_room_first_where_they_may(stack: Stack) -> None:
    """A batch for each write: what one has added the next one knows, so that the grid is as large as it has to be."""
    stack.spreadsheets("growing", "fixed")
    project = await stack.project()
    lines: list[dict[str, object]] = []
    for n in range(1, 6):
        for spreadsheet in ("growing", "fixed"):
            place = f"Orders!A{n * 1000}:B{n * 1000}"
            line = {"id": f"{spreadsheet}{n}", "op": "update", "spreadsheet": spreadsheet, "range": place}
            lines.append({**line, "values": [[f"{spreadsheet}{n}", n]]})
    growing = [line for line in lines if line["spreadsheet"] == "growing"]
    handle = await stack.submit(project, growing, operations_per_call=1, grow=True)
    assert (await asyncio.wait_for(handle.result(), 60)).operations.succeeded == 5
    assert stack.counted("growing") == {f"growing{n}": 1 for n in range(1, 6)}
    assert stack.emulator.library.get("growing").sheets[0].row_count == 5000
    fixed = [line for line in lines if line["spreadsheet"] == "fixed"]
    handle = await stack.submit(project, fixed, operations_per_call=1)
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.operations.succeeded, view.operations.failed) == (1, 4)
    assert stack.emulator.library.get("fixed").sheets[0].row_count == 1000


async def test_after_a_slow_answer_later_batches_of_the_lane_are_smaller(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches of eight, the first is slow: one call, then two for each of the others; every row stands once."""
    monkeypatch.setattr(repeating, "SLOW_NS", 3 * SECOND_NS)
    monkeypatch.setattr(repeating, "QUICK_NS", 0)
    stack.spreadsheets("slow")
    project = await stack.project()
    lines = [append(f"s{n}", "slow") for n in range(24)]
    with stack.faults({"kind": "write", "spreadsheet": "slow", "nth": 1, "effect": "delay", "seconds": 4}):
        handle = await stack.submit(project, lines, operations_per_call=8)
        view = await asyncio.wait_for(handle.result(), 60)
    assert view.operations.succeeded == 24
    assert stack.counted("slow") == {f"s{n}": 1 for n in range(24)}
    assert len([call for call in stack.calls("slow") if call["kind"] == "write"]) == 5


async def test_without_fences_nothing_is_doubled_and_what_is_unknown_says_so(stack: Stack) -> None:
    """An answer lost after the apply: its rows stand once and are `unknown`, the others go on; no mark is left."""
    stack.spreadsheets("bare")
    project = await stack.project()
    lines = [append(f"b{n}", "bare") for n in range(6)]
    with stack.faults({"kind": "write", "spreadsheet": "bare", "nth": 3, "effect": "close", "when": "after"}):
        handle = await stack.submit(project, lines, operations_per_call=1, fences=False)

        async def three_are_settled() -> bool:
            counts = (await stack.view(handle)).operations
            return counts.succeeded + counts.failed >= 2

        await eventually(three_are_settled, timeout=30)
        await eventually(lambda: len(stack.calls("bare")) >= 4, timeout=30)
    await asyncio.sleep(3)
    assert stack.counted("bare") == {f"b{n}": 1 for n in range(3)}, "the lane rests: the lost call may still land"
    assert stack.emulator.library.get("bare").metadata == {}
    await handle.signal("cancel_request")
    await asyncio.wait_for(handle.result(), 60)
    results = await stack.results(handle, closed=True)
    assert [results[f"b{n}"]["applied"] for n in range(6)] == ["yes", "yes", "unknown", "no", "no", "no"]
