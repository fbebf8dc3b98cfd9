"""Steering a request on a real server: by update and by signal, well and badly said, and what failed again while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from activities import layout, retrying
from emulator.grid import Sheet
from headgate.errors import HeadgateError, InvalidRequest
from headgate.messages.sending import Retry
from headgate.messages.views import Control, ProgressView
from starter.client import BulkRequests
from starter.commands import RECORDED, Answered, CommandRefused
from starter.devserver import DevServer
from starter.selection import Selection
from starter.service import TemporalService, UnknownRequest
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, running_stack
from workflows import names

GARBAGE: tuple[Any, ...] = (
    "urgent",
    {"to": "high"},
    {"to": 7},
    {"by": ["ana"]},
    [1],
    5,
    None,
    {},
    "",
    {"more": {"than": "known"}},
)
COMMANDS = ("pause", "resume", "reprioritise", "cancel", "retry_failed")


def bulk(stack: Stack) -> BulkRequests:
    return BulkRequests(TemporalService(stack.client), stack.store)


def id_of(handle: Handle) -> str:
    return handle.id.removeprefix("bulk/")


async def begun(stack: Stack, *sheets: str, rows: int = 300, **options: Any) -> Handle:
    """A request that has begun to send, a call a row, and will be at it for long."""
    stack.spreadsheets(*sheets)
    lines = [append(f"{s}/{n}", s, user=s) for n in range(rows) for s in sheets]
    handle = await stack.submit(await stack.project(), lines, operations_per_call=1, **options)
    await eventually(lambda: len(stack.calls(*sheets)) > 4, timeout=30)
    return handle


async def task_failures(client: Client, workflow_id: str) -> int:
    """Workflow tasks that failed, in all runs: one that cannot go on fails again and again."""
    found = 0
    async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'"):
        async for event in client.get_workflow_handle(workflow_id, run_id=run.run_id).fetch_history_events():
            found += event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    return found


async def exists(client: Client, request_id: str) -> bool:
    try:
        await TemporalService(client).request(request_id)
    except UnknownRequest:
        return False
    return True


async def test_each_command_answers_and_one_that_cannot_come_true_says_why(stack: Stack) -> None:
    handle = await begun(stack, "answers")
    requests, name = bulk(stack), id_of(handle)
    assert await requests.pause(name, by="ana") == Answered(name, handle.id, "paused by ana")
    assert (await requests.pause(name, by="bob")).sentence == "it is paused already, by ana"
    assert (await stack.view(handle)).state == "paused"
    assert (await requests.resume(name)).sentence == "it goes on"
    assert (await requests.reprioritise(name, "urgent")).sentence == "its priority is urgent now, it was normal"
    assert (await stack.view(handle)).priority == "urgent"
    with pytest.raises(CommandRefused, match="'huge' is no priority"):
        await requests.reprioritise(name, "huge")  # type: ignore[arg-type]
    with pytest.raises(CommandRefused, match=r"^nothing has failed so far"):
        await requests.retry_failed(name)
    assert (await requests.cancel(name, by="eve")).sentence.startswith("cancelled by eve")
    with pytest.raises(CommandRefused, match="cancelled"):  # while it ends, and when it is over
        await requests.pause(name)
    assert (await asyncio.wait_for(handle.result(), 30)).state == "cancelled"
    with pytest.raises(CommandRefused, match=r"is over \(cancelled\): nothing to resume"):
        await requests.resume(name)
    with pytest.raises(UnknownRequest):
        await requests.pause("nobody-knows")


async def test_whatever_is_typed_in_the_web_ui_breaks_nothing(stack: Stack) -> None:
    """Every command with every kind of input, by both ways; then it still answers, and ends as it should."""
    handle = await begun(stack, "garbage", rows=40)
    for said in GARBAGE:
        for command in COMMANDS:
            if command == "cancel":
                continue  # well understood, it would end it
            await handle.signal(command, said)
            with contextlib.suppress(WorkflowUpdateFailedError):
                assert await handle.execute_update(command, said, result_type=str)
    for command in ("pause", "resume", "reprioritise", "retry_failed"):
        await handle.signal(command)
    await handle.execute_update("resume", result_type=str)
    for said in ([1], 5):
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("cancel", said)
        await handle.signal("cancel", said)
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.state, view.operations.succeeded) == ("completed", 40)
    assert view.priority == "urgent", "a bare text is a priority"
    assert stack.counted("garbage") == {f"garbage/{n}": 1 for n in range(40)}
    assert await task_failures(stack.client, handle.id) == 0


async def test_the_same_command_acts_once_whichever_way_it_comes(stack: Stack) -> None:
    handle = await begun(stack, "once")
    requests, name = bulk(stack), id_of(handle)
    first = await requests.pause(name, by="ana", command_id="c1")
    assert await requests.pause(name, by="ana", command_id="c1") == first
    await requests.resume(name, command_id="c2")
    await handle.signal("pause", Control(by="ana", id="c1"))
    assert await requests.pause(name, by="ana", command_id="c1") == first
    assert (await stack.view(handle)).state != "paused", "what was resumed since is not paused by a command that is old"
    await handle.signal("reprioritise", Control(to="low", id="c3"))
    assert (
        await requests.reprioritise(name, "low", command_id="c3")
    ).sentence == "its priority is low now, it was normal"
    await requests.cancel(name)
    await handle.result()


def with_failures(sheet: str) -> list[dict[str, Any]]:
    """Five rows for a sheet that is missing, and later, behind many good ones, four for a sheet that is gone by then."""
    lines = [append(f"early{n}", sheet, range="Later!A:B") for n in range(5)]
    lines += [append(f"a{n}", sheet) for n in range(20)]
    lines.append({"id": "drop", "op": "request", "spreadsheet": sheet, "request": {"deleteSheet": {"sheetId": 1}}})
    lines += [append(f"late{n}", sheet, range="Temp!A:B") for n in range(4)]
    return lines + [append(f"b{n}", sheet) for n in range(60)]


def written(stack: Stack, sheet: str) -> Counter[str]:
    """How often each row stands in any sheet."""
    return Counter(
        str(row[0]) for rows in stack.emulator.library.shown(sheet).values() for row in rows if row and row[0]
    )


def add_sheet(stack: Stack, spreadsheet: str, sheet_id: int, title: str) -> None:
    """What was missing is there."""
    stack.emulator.library.spreadsheets[spreadsheet].sheets.append(Sheet(sheet_id, title))


async def failures(stack: Stack, handle: Handle) -> int:
    return (await stack.view(handle)).operations.failed


async def test_what_has_failed_goes_again_while_it_runs_and_each_row_once(stack: Stack) -> None:
    """Twice said is once retried, by signal as well; a later command takes what failed since, and when it is over nothing is left."""
    stack.spreadsheets("again", titles=("Orders", "Temp"))
    lines, requests, name = with_failures("again"), bulk(stack), "again-and-again"
    options: dict[str, Any] = {"owner": "team-again", "priority": "low", "operations_per_call": 1}
    await requests.submit(lines, project=await stack.project(), user="bot", id=name, **options)
    handle: Handle = stack.client.get_workflow_handle(f"bulk/{name}", result_type=ProgressView)
    await eventually(lambda: _at_least(failures(stack, handle), 5), timeout=30)
    add_sheet(stack, "again", 77, "Later")
    both = [requests.retry_failed(name, command_id="c1") for _ in range(2)]
    await handle.signal("retry_failed", Control(id="c1"))
    one, two = await asyncio.gather(*both)
    assert one.sentence == two.sentence == f"5 operations go again as {name}.retry1"
    assert (one.submitted.id, one.operations, one.submitted.first) == (f"{name}.retry1", 5, True)
    other = await requests.retry_failed(name)
    assert (other.submitted.id, other.submitted.first) == (f"{name}.retry1", False), "nothing has failed since"

    await eventually(lambda: _at_least(failures(stack, handle), 9), timeout=40)
    add_sheet(stack, "again", 78, "Temp")
    later = await requests.retry_failed(name)
    assert (later.submitted.id, later.operations) == (f"{name}.retry2", 4)
    assert (await stack.view(handle)).state in ("running", "waiting"), "it ended before it could be retried"
    for retry in (f"{name}.retry1", f"{name}.retry2"):
        view = await asyncio.wait_for(requests.ended(retry), 60)
        assert view.operations.failed == 0
        assert (view.owner, view.priority) == ("team-again", "low")
    mine = [row async for row in requests.list(Selection(owner="team-again"))]
    assert {(row.id, row.project) for row in mine} == {
        (each, mine[0].project) for each in (name, f"{name}.retry1", f"{name}.retry2")
    }
    described = await stack.client.get_workflow_handle(f"bulk/{name}.retry1").describe()
    assert await described.static_summary() == f"retry of {name} · 5 lines · project {mine[0].project}"
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.state, view.operations.failed) == ("completed", 9)
    expected = [one["id"] for one in lines if one["op"] == "append"]
    assert written(stack, "again") == dict.fromkeys(expected, 1)
    after = await requests.retry_failed(name)
    assert (after.submitted.first, await exists(stack.client, f"{name}.retry3")) == (False, False)
    with pytest.raises(InvalidRequest, match="exists already"):  # the memo says what it was made of, as for any other
        await requests.submit([append("x", "again")], project="p", user="bot", id=f"{name}.retry1")


async def test_a_retry_that_cannot_be_made_fails_its_command_and_nothing_else(stack: Stack) -> None:
    stack.spreadsheets("unreadable", titles=("Orders", "Temp"))
    lines = with_failures("unreadable")
    handle = await stack.submit(await stack.project(), lines, operations_per_call=1)
    requests, name = bulk(stack), id_of(handle)
    await eventually(lambda: _at_least(failures(stack, handle), 5), timeout=30)
    path = layout.input_path(name, (await TemporalService(stack.client).request(name)).input_sha256)
    kept = await stack.store.get(path)
    assert kept is not None
    await stack.store.delete(path)
    with pytest.raises(CommandRefused, match=f"^the input of request {name} is not in the store"):
        await requests.retry_failed(name, command_id="c1")
    await handle.signal("retry_failed", Control(id="c2"))
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await handle.execute_update("retry_failed")
    assert isinstance(failed.value.cause, ApplicationError)
    await stack.store.put(path, kept)
    add_sheet(stack, "unreadable", 77, "Later")
    assert (await requests.retry_failed(name)).operations == 5
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.operations.failed, await task_failures(stack.client, handle.id)) == (9, 0)
    await requests.ended(f"{name}.retry1")
    rows = written(stack, "unreadable")
    assert {rows[f"early{n}"] for n in range(5)} == {1}


async def test_a_retry_that_fails_by_surprise_fails_its_command_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object) -> Retry:
        raise ApplicationError("the disk is gone", non_retryable=True)

    stack.spreadsheets("surprised", titles=("Orders", "Temp"))
    handle = await stack.submit(await stack.project(), with_failures("surprised"), operations_per_call=1)
    await eventually(lambda: _at_least(failures(stack, handle), 5), timeout=30)
    monkeypatch.setattr(retrying, "retry_of", broken)
    with pytest.raises(HeadgateError, match=r"^what has failed could not be read: the disk is gone$"):
        await bulk(stack).retry_failed(id_of(handle))
    await handle.signal("retry_failed")
    await bulk(stack).cancel(id_of(handle))
    assert (await asyncio.wait_for(handle.result(), 30)).state == "cancelled"
    assert await task_failures(stack.client, handle.id) == 0


async def test_more_commands_at_once_than_the_server_takes_updates(stack: Stack) -> None:
    """Ten are in flight at most; the others are said again, or recorded, and each acts once."""
    handle = await begun(stack, "crowded")
    requests, name = bulk(stack), id_of(handle)
    asked = await asyncio.gather(*(requests.pause(name, by=f"person {n}") for n in range(40)))
    assert {one.sentence for one in asked if one.heard} <= {
        *(f"paused by person {n}" for n in range(40)),
        *(f"it is paused already, by person {n}" for n in range(40)),
    }
    assert (await stack.view(handle)).state == "paused"
    await requests.cancel(name)
    assert (await asyncio.wait_for(handle.result(), 30)).state == "cancelled"


async def insists(requests: BulkRequests, name: str) -> list[Answered]:
    """Says one command after the other until the request is over, and meets the end of every run that there is."""
    answers: list[Answered] = []
    while True:
        try:
            answers.append(await requests.reprioritise(name, "low" if len(answers) % 2 else "normal"))
        except CommandRefused as refused:
            if "is over" in str(refused):
                return answers
            raise


async def test_a_command_is_known_in_the_runs_that_follow(start_server: StartServer, tmp_path: Path) -> None:
    """Continued as new every few dozen events, without a cache: pauses and retries of before are answered and not done again."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=80"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path, max_cached_workflows=0, max_concurrent_workflow_task_polls=1) as stack:
        stack.spreadsheets("long", titles=("Orders", "Temp"))
        lines = with_failures("long")
        handle = await stack.submit(await stack.project(), lines, operations_per_call=1)
        requests, name = bulk(stack), id_of(handle)
        await eventually(lambda: _at_least(failures(stack, handle), 5), timeout=60)
        add_sheet(stack, "long", 77, "Later")
        paused = await requests.pause(name, by="ana", command_id="c1")
        await requests.resume(name, command_id="c2")
        retried = await requests.retry_failed(name, command_id="c3")
        assert retried.submitted.id == f"{name}.retry1"
        run = (await handle.describe()).run_id

        async def continued() -> bool:
            return (await client.get_workflow_handle(handle.id).describe()).run_id != run

        insisting = asyncio.create_task(insists(requests, name))
        await eventually(continued, timeout=60)
        assert await requests.pause(name, by="ana", command_id="c1") == paused
        await client.get_workflow_handle(handle.id).signal("retry_failed", Control(id="c3"))
        assert (await requests.retry_failed(name, command_id="c3")).sentence == retried.sentence
        assert (await stack.view(client.get_workflow_handle(handle.id))).state != "paused"
        view = await asyncio.wait_for(requests.ended(name), 120)
        assert (view.state, view.operations.failed) == ("completed", 9)
        answers = await insisting
        assert len(answers) > 10
        assert all(one.heard for one in answers), "a run that ends keeps no command from the next one"
        assert (await requests.ended(f"{name}.retry1")).operations.succeeded == 5
        assert not await exists(client, f"{name}.retry2")
        rows = written(stack, "long")
        assert set(rows.values()) == {1}
        assert len(rows) == 5 + 20 + 60


async def test_without_a_worker_commands_are_kept_and_act_when_one_comes(tmp_path: Path) -> None:
    """In their order, each once, although each was sent both ways."""
    async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, say=print) as server:
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        async with running_stack(client, tmp_path) as stack:
            handle = await begun(stack, "nobody")
        requests, name = bulk(stack), id_of(handle)
        asked = [
            await requests.pause(name, by="ana"),
            await requests.resume(name, by="ana"),
            await requests.reprioritise(name, "urgent"),
            await requests.pause(name, by="bob"),
        ]
        assert [(one.sentence, one.heard) for one in asked] == [(RECORDED, False)] * 4
        async with running_stack(client, tmp_path) as stack:
            view = await eventually(lambda: _paused(stack, handle), timeout=30)
            assert (view.waiting.reason, view.priority) == ("paused by bob", "urgent")
            await requests.cancel(name)
            await handle.result()


async def _at_least(count: Any, wanted: int) -> bool:
    return bool(await count >= wanted)


async def _paused(stack: Stack, handle: Handle) -> Any:
    view = await stack.view(handle)
    return view if view.state == "paused" else None
