"""One command to one request: by update where somebody answers, by signal where nobody does, and once under its id."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from headgate.errors import HeadgateError
from headgate.messages.views import Control
from headgate.steering import Command
from starter import commands
from starter.commands import RECORDED, Answered, CommandRefused, Patience, tell


def failed(kind: str, why: str = "why") -> WorkflowUpdateFailedError:
    return WorkflowUpdateFailedError(ApplicationError(why, type=kind))


def rpc(status: RPCStatusCode) -> RPCError:
    return RPCError("the server says so", status, b"")


@dataclass
class Request:
    """A request that does these things in turn, the last one for ever: an exception when asked, one in a tuple later, an answer."""

    does: list[Any]
    updates: list[tuple[str, Control, str]] = field(default_factory=list)
    signals: list[tuple[str, Control]] = field(default_factory=list)

    def get_workflow_handle(self, workflow_id: str) -> Request:
        assert workflow_id == "bulk/r1"
        return self

    async def start_update(self, name: str, control: Control, *, id: str, **options: Any) -> Any:
        self.updates.append((name, control, id))
        does = self.does.pop(0) if len(self.does) > 1 else self.does[0]
        if isinstance(does, BaseException):
            raise does
        return Update(does)

    async def signal(self, name: str, control: Control, **options: Any) -> None:
        self.signals.append((name, control))


@dataclass
class Update:
    outcome: Any

    async def result(self) -> str:
        if isinstance(self.outcome, tuple):
            raise self.outcome[0]
        return cast(str, self.outcome)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "PAUSES_S", (0.0, 0.0))


async def said(request: Request, command: Command = "pause") -> Answered:
    return await tell(cast(Client, request), "r1", command, Control(by="ana", id="c1"))


async def test_an_answer_is_the_requests_own() -> None:
    request = Request(["paused by ana"])
    assert await said(request) == Answered("r1", "bulk/r1", "paused by ana")
    assert [(name, control.id, update_id) for name, control, update_id in request.updates] == [("pause", "c1", "c1")]
    assert not request.signals


async def test_what_is_refused_is_not_recorded() -> None:
    request = Request([(failed("Refused", "nothing has failed"),)])
    with pytest.raises(CommandRefused, match=r"^nothing has failed"):
        await said(request)
    assert not request.signals


@pytest.mark.parametrize(
    "does",
    [
        WorkflowUpdateRPCTimeoutOrCancelledError(),
        rpc(RPCStatusCode.RESOURCE_EXHAUSTED),
        rpc(RPCStatusCode.FAILED_PRECONDITION),
        rpc(RPCStatusCode.UNAVAILABLE),
        (failed("RuntimeError", "no such handler"),),
        (failed("UnprocessedUpdate"),),
    ],
    ids=str,
)
@pytest.mark.parametrize(("command", "signal"), [("pause", "pause"), ("cancel", "cancel_request")])
async def test_where_nobody_answers_the_same_command_is_recorded(does: Any, command: Command, signal: str) -> None:
    request = Request([does])
    answered = await said(request, command)
    assert (answered.sentence, answered.heard) == (RECORDED, False)
    assert [(name, control.id) for name, control in request.signals] == [(signal, "c1")]


async def test_what_is_recorded_already_is_not_told_once_more() -> None:
    request = Request([WorkflowUpdateRPCTimeoutOrCancelledError()])
    patience = Patience(records=False)
    answered = await tell(cast(Client, request), "r1", "pause", Control(id="c1"), patience)
    assert (answered.sentence, answered.heard, request.signals) == (RECORDED, False, [])


@pytest.mark.parametrize(
    "first", [(failed("AcceptedUpdateCompletedWorkflow"),), (rpc(RPCStatusCode.NOT_FOUND),)], ids=str
)
async def test_the_end_of_a_run_is_followed_by_the_next_run(first: Any) -> None:
    request = Request([first, "paused by ana"])
    assert (await said(request)).sentence == "paused by ana"
    assert {update_id for _, _, update_id in request.updates} == {"c1"}
    for_ever = Request([first])
    assert not (await said(for_ever)).heard
    assert len(for_ever.updates) == 3


@pytest.mark.parametrize("status", [RPCStatusCode.NOT_FOUND, RPCStatusCode.PERMISSION_DENIED])
async def test_where_no_request_is_nothing_is_recorded(status: RPCStatusCode) -> None:
    request = Request([rpc(status)])
    with pytest.raises(RPCError):
        await said(request)
    assert not request.signals


async def test_what_was_accepted_and_could_not_be_done_is_no_refusal() -> None:
    request = Request([(failed("NotDone", "the store is away"),)])
    with pytest.raises(HeadgateError, match=r"^the store is away") as error:
        await said(request, "retry_failed")
    assert not isinstance(error.value, CommandRefused)
    assert not request.signals


async def test_a_caller_that_gives_up_sends_nothing_more() -> None:
    """The SDK says of a cancelled call that it timed out."""

    class Stuck(Request):
        async def start_update(self, name: str, control: Control, *, id: str, **options: Any) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise WorkflowUpdateRPCTimeoutOrCancelledError from None

    request = Stuck([])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await said(request)
    assert not request.signals
