"""The audit of requests that really ran: what it tells is what the test did, and what the emulator's ledger counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode

from headgate.errors import InvalidRequest
from headgate.facts import Entry
from headgate.messages.views import Control
from headgate.senders import sender
from starter import connection
from starter.service import TemporalService
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, running_stack
from workflows import names

CANARY = "canary-4712"


def id_of(handle: Handle) -> str:
    return handle.id.removeprefix("bulk/")


async def told(stack: Stack, handle: Handle, *kinds: str) -> list[Entry]:
    """What the audit tells of the request, of these kinds if any are named."""
    entries = [entry async for entry in TemporalService(stack.client).history(id_of(handle))]
    return [entry for entry in entries if not kinds or entry.kind in kinds]


async def test_who_paused_resumed_and_cancelled_it(stack: Stack) -> None:
    """By signal and by update, by name and by the identity of whoever sent it; also while it runs."""
    stack.spreadsheets("steered-audit")
    project = await stack.project()
    lines = [append(f"h{n}", "steered-audit") for n in range(400)]
    handle = await stack.submit(project, lines, operations_per_call=1, owner="team-a")
    await eventually(lambda: len(stack.calls("steered-audit")) > 3, timeout=30)
    address = connection.address_of(stack.client)
    bob = await Client.connect(
        address,
        data_converter=pydantic_data_converter,
        identity=sender("bob", "desk"),
        namespace=stack.client.namespace,
    )
    bobs = bob.get_workflow_handle(handle.id)
    await handle.signal("pause", Control(by="ana", id="command-1"))

    async def paused() -> bool:
        return (await stack.view(handle)).state == "paused"

    await eventually(paused, timeout=10)
    calls_then = len([c for c in stack.calls("steered-audit") if c["kind"] == "write"])
    assert (
        await bobs.execute_update("reprioritise", Control(to="urgent")) == "its priority is urgent now, it was normal"
    )
    with pytest.raises(WorkflowUpdateFailedError):
        await bobs.execute_update("reprioritise", Control(to="soon"))
    await bobs.signal("pause", Control(id="command-1"))
    await bobs.execute_update("resume", Control())
    assert len(await told(stack, handle, "command")) == 4, (
        "it is told while it runs; what a validator refused is no event"
    )
    await eventually(lambda: len(stack.calls("steered-audit")) > calls_then + 4, timeout=30)
    await handle.signal("cancel_request", Control(by="carla"))
    view = await asyncio.wait_for(handle.result(), 30)

    commands = await told(stack, handle, "command")
    assert [(e.particulars["command"], e.by, e.particulars["via"], e.particulars["accepted"]) for e in commands] == [
        ("pause", "ana", "signal", True),
        ("reprioritise", "bob", "update", True),
        ("pause", "bob", "signal", True),
        ("resume", "bob", "update", True),
        ("cancel", "carla", "signal", True),
    ]
    assert commands[1].particulars["sender"] == "headgate/bob@desk"
    assert [e.particulars.get("repeated") for e in commands] == [False, None, True, None, None]
    assert [e.particulars["answer"] for e in commands[:2]] == [
        "paused by ana",
        "its priority is urgent now, it was normal",
    ]
    states = [e.particulars["state"] for e in await told(stack, handle, "state")]
    assert states == ["running", "paused", "running", "cancelled"]
    submitted, *_, ended = await told(stack, handle)
    assert (submitted.kind, submitted.particulars["owner"]) == ("submitted", "team-a")
    written = sum(stack.counted("steered-audit").values())
    writes = [c for c in stack.calls("steered-audit") if c["kind"] == "write"]
    counts = {"total": 400, "succeeded": written, "failed": 0, "unprocessed": 400 - written}
    assert (ended.kind, ended.particulars["state"], ended.particulars["operations"]) == ("ended", "cancelled", counts)
    assert view.calls.made == len(stack.calls("steered-audit"))
    assert ended.calls == len(stack.calls("steered-audit"))
    assert len(writes) == written


async def test_dead_letters_retries_and_a_pause_by_itself(stack: Stack) -> None:
    """Two lost answers are two retries of the batches that the ledger has twice; refused lines and operations say why."""
    stack.spreadsheets("troubled")
    project = await stack.project()
    lines: list[Any] = [append(f"t{n}", "troubled") for n in range(6)]
    lines += [{"id": "out", "op": "update", "spreadsheet": "troubled", "range": "Orders!A5000", "values": [["x"]]}]
    lines += [b"{not json", *(append(f"t{n}", "troubled") for n in range(6, 36))]
    fault = {"kind": "write", "spreadsheet": "troubled", "nth": [2, 6], "effect": "close", "when": "after"}
    with stack.faults(fault):
        handle = await stack.submit(project, lines, operations_per_call=1, stop_after=2)

        async def paused() -> bool:
            return (await stack.view(handle)).state == "paused"

        await eventually(paused, timeout=40)
        await handle.signal("resume", Control(by="ana"))
        await asyncio.wait_for(handle.result(), 40)
    (itself,) = await told(stack, handle, "paused_itself")
    assert "--stop-after 2: 2 operations have failed" in itself.says
    letters = await told(stack, handle, "dead_letters")
    assert [(e.particulars["of"], e.particulars["count"]) for e in letters] == [("planning", 1), ("batch", 1)]
    assert [e.particulars.get("spreadsheet") for e in letters] == [None, "troubled"]
    assert "beyond the last" in letters[1].says
    results = await stack.results(handle)
    assert [n for n, r in results.items() if r["outcome"] == "failed" and n != "8"] == ["out"]
    retries = [e for e in await told(stack, handle, "retry") if e.particulars["ended"] == "done"]
    assert all("no answer" in str(e.particulars["why"]) for e in retries)
    assert len(retries) == 2
    ended, calls = (await told(stack, handle, "ended"))[0], stack.calls("troubled")
    assert ended.calls == len(calls)
    once = 37 + 1  # a call for each operation that was planned, and the look-up of the titles
    assert sum(int(str(e.particulars["calls"])) - 1 for e in retries) == len(calls) - once


async def test_a_chain_of_runs_is_one_history(start_server: StartServer, tmp_path: Path) -> None:
    """Every few dozen events a new run: told whole, followed to its end, and from what is left once the first is deleted."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=50"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path) as stack:
        sheets = [f"chained{n}" for n in range(3)]
        stack.spreadsheets(*sheets)
        lines = [append(f"{s}/{n}", s, user=s) for n in range(80) for s in sheets]
        handle = await stack.submit(await stack.project(), lines, operations_per_call=1)

        async def followed() -> list[Entry]:
            return [e async for e in TemporalService(client).history(id_of(handle), follow=True)]

        following = asyncio.create_task(followed())
        await eventually(lambda: len(stack.calls(*sheets)) > 8, timeout=30)
        for number, (name, control) in enumerate(SAID):
            await handle.signal(name, control.model_copy(update={"id": f"said-{number}"}))
        await stack.completes(handle, lines, within=120)
        entries = await told(stack, handle)
        ran = 1 + len([e for e in entries if e.kind == "continued"])
        assert ran > 2
        runs = await eventually(lambda: _runs(client, handle.id, ran))
        assert [e.run for e in entries if e.kind == "continued"] == list(range(1, len(runs)))
        known = [str(e.particulars["next_run_id"]) for e in entries if e.kind == "continued"]
        assert [str(entries[0].particulars["run_id"]), *known] == [run.run_id for run in runs]
        assert (entries[-1].kind, entries[-1].succeeded) == ("ended", 240)
        assert entries[-1].calls == len(stack.calls(*sheets))
        assert await asyncio.wait_for(following, 30) == entries
        noted = await _noted(client, handle.id, runs[-1].run_id)
        answers = {e.particulars["id"]: e.particulars["answer"] for e in entries if e.particulars.get("accepted")}
        assert len(answers) == len(SAID) - 1
        assert answers == noted, "what came of the signals is what the request noted itself"

        await _delete(client, handle.id, runs[0].run_id)
        left = await told(stack, handle)
        assert [left[0].kind, left[-1].kind] == ["gap", "ended"]
        assert left[-1].document()["so_far"] == entries[-1].document()["so_far"]
        for run in runs[1:]:
            await _delete(client, handle.id, run.run_id)
        with pytest.raises(InvalidRequest, match="no history of request"):
            await told(stack, handle)


async def _runs(client: Client, workflow_id: str, many: int) -> list[WorkflowExecution]:
    """The runs that the server lists, the oldest first, once they are so many."""
    runs = [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    return sorted(runs, key=lambda run: run.start_time) if len(runs) >= many else []


#: Signals in turn: the last one is refused, and so leaves no note.
SAID = (
    ("pause", Control(by="ana")),
    ("pause", Control(by="bob")),
    ("reprioritise", Control(to="urgent")),
    ("reprioritise", Control(to="urgent")),
    ("resume", Control()),
    ("resume", Control()),
    ("reprioritise", Control(to="soon")),
)


async def _noted(client: Client, workflow_id: str, run_id: str) -> dict[str, str]:
    """The answers by command id that the request carried into this run."""
    events = client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(page_size=1)
    started = (await anext(events)).workflow_execution_started_event_attributes
    answers: dict[str, str] = json.loads(started.input.payloads[0].data)["checkpoint"]["steering"]["answers"]
    return answers


async def _delete(client: Client, workflow_id: str, run_id: str) -> None:
    """What a server does when a run's retention is over."""
    request = DeleteWorkflowExecutionRequest(namespace=client.namespace)
    request.workflow_execution.workflow_id, request.workflow_execution.run_id = workflow_id, run_id
    await client.workflow_service.delete_workflow_execution(request)

    async def gone() -> bool:
        try:
            await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND
        return False

    await eventually(gone, timeout=60)


async def test_who_terminated_it_and_why(stack: Stack) -> None:
    stack.spreadsheets("ended-hard")
    handle = await stack.submit(await stack.project(), [append("e", "ended-hard")])
    await handle.result()
    other = await stack.submit(
        await stack.project(), [append(f"e{n}", "ended-hard") for n in range(99)], operations_per_call=1
    )
    await eventually(lambda: len(stack.calls("ended-hard")) > 3, timeout=30)
    await other.terminate(reason="the wrong file")
    described = await other.describe()
    assert described.status is WorkflowExecutionStatus.TERMINATED
    (ended,) = await told(stack, other, "ended")
    assert (ended.particulars["how"], ended.particulars["why"]) == ("terminated", "the wrong file")
    assert ended.particulars["sender"] == stack.client.identity


async def test_a_run_that_was_reset_stands_in_for_the_one_before(stack: Stack) -> None:
    """What the run did that was given up is no part of it: one submission, the reset with its reason, one end."""
    stack.spreadsheets("twice")
    handle = await stack.submit(await stack.project(), [append("w", "twice")])
    await handle.result()
    given_up = (await handle.describe()).run_id
    request = ResetWorkflowExecutionRequest(namespace=stack.client.namespace, reason="once more", request_id="reset-1")
    request.workflow_execution.workflow_id, request.workflow_execution.run_id = handle.id, given_up or ""
    request.workflow_task_finish_event_id = 4
    run_id = (await stack.client.workflow_service.reset_workflow_execution(request)).run_id
    await asyncio.wait_for(stack.client.get_workflow_handle(handle.id, run_id=run_id).result(), 40)
    entries = await told(stack, handle)
    assert [e.kind for e in entries if e.kind in ("submitted", "command", "ended")] == ["submitted", "command", "ended"]
    assert entries[0].particulars["run_id"] == run_id
    assert [(e.particulars["command"], e.particulars["why"]) for e in entries if e.kind == "command"] == [
        ("reset", "once more")
    ]


async def test_neither_keys_nor_cells_are_in_it(start_server: StartServer, tmp_path: Path) -> None:
    """The token of the user, the cells of every row, errors that quote a cell: the export says what failed without them."""
    token, cell = f"{CANARY}-token", f"{CANARY}-cell"
    credentials = tmp_path / "credentials.toml"
    credentials.write_text(f'[users.bot]\ntype = "static_token"\ntoken = "{token}"\n')
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    lines: list[Any] = [{**append(f"p{n}", "private"), "values": [[cell, n]]} for n in range(6)]
    lines += [b'{"id": "x", "op": "append", "values": [["%s"]]}' % cell.encode()]
    said = f'Invalid value at "data.values" (TYPE_STRING), "{cell} isn\'t a number'
    rule = {"kind": "write", "spreadsheet": "private"}
    faults = [
        {**rule, "nth": 1, "effect": "unauthorized"},
        {**rule, "nth": 3, "effect": "error", "status": 400, "message": said},
        {**rule, "nth": 5, "effect": "error", "status": 503, "message": said},
    ]
    async with running_stack(client, tmp_path, credentials=credentials) as stack:
        stack.spreadsheets("private")
        with stack.faults(*faults):
            handle = await stack.submit(await stack.project(), lines, operations_per_call=1)
            await asyncio.wait_for(handle.result(), 60)
        entries = await told(stack, handle)
        assert {call["user"] for call in stack.calls("private")} == {token}, "the key was used"
        assert cell in json.dumps(stack.cells("private")), "the cells were written"
        letters = [e.says for e in entries if e.kind == "dead_letters"]
        assert any("Invalid value at …" in says for says in letters)
        assert any(e.kind == "retry" and "Invalid value at …" in e.says for e in entries)
        exported = json.dumps([entry.document() for entry in entries])
        assert CANARY not in exported
        assert handle.id.removeprefix("bulk/") in exported


async def test_the_connection_says_who_is_at_the_keyboard(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "dora")
    client = await connection.connect(connection.address_of(stack.client))
    stack.spreadsheets("signed")
    handle = await stack.submit(
        await stack.project(), [append(f"s{n}", "signed") for n in range(60)], operations_per_call=1
    )
    await TemporalService(client).control(id_of(handle), "cancel", Control())
    await asyncio.wait_for(handle.result(), 30)
    (command,) = await told(stack, handle, "command")
    assert command.by == "dora"
    assert str(command.particulars["sender"]).startswith("headgate/dora@")


async def test_nothing_is_told_of_a_request_that_nobody_knows(temporal_client: Client) -> None:
    with pytest.raises(InvalidRequest, match="no history of request 'nobody'"):
        [entry async for entry in TemporalService(temporal_client).history("nobody")]
    assert names.bulk_request_id("nobody") == "bulk/nobody"
