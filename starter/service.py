"""What a person can ask of headgate: the protocol that the command line speaks, and its implementation over Temporal."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeVar, cast

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.audit import Audit
from headgate.errors import InvalidRequest, Unreachable
from headgate.facts import Entry
from headgate.message import Message
from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import CallCounts, Control, LimiterView, OperationCounts, ProgressView, Waiting
from headgate.messages.words import State
from headgate.steering import Command, spoken
from starter import commands, connection
from starter.commands import Answered, CommandRefused
from starter.history import history_facts
from starter.schedules import Schedules
from starter.selection import Selection
from starter.temporal_schedules import TemporalSchedules
from workflows import names
from workflows.limiter_start import CONFIGURE, last_settings, signal_with_start_limiter
from workflows.starting import OWNER, PERCENT, PRIORITY, PROJECT, STATE, SUBMITTED_AT, fingerprint, start_options
from workflows.submitted import submitted

QUERY_TIMEOUT: Final = timedelta(seconds=10)
_ENDED: Final[Mapping[WorkflowExecutionStatus, State]] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
}
Answer = TypeVar("Answer", bound=Message)


class NoWorker(Unreachable):
    """No worker answers: start one with `headgate worker`."""


#: An activity that no worker has taken for so long is taken by none.
UNTAKEN_FOR: Final = timedelta(seconds=10)
_PLANS: Final = {"plan", "load_page", "abandon_lane", "retry_failed"}


def untaken(description: WorkflowExecutionDescription, now: datetime) -> Waiting | None:
    """That no worker takes an activity of the request, where that is so: its workflow cannot know."""
    for pending in description.raw_description.pending_activities:
        waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        since = pending.scheduled_time.ToDatetime(UTC)
        if waits and pending.attempt <= 1 and now - since > UNTAKEN_FOR:
            role = "plan" if pending.activity_type.name in _PLANS else "send"
            return Waiting(
                reason=f"no worker ({role}) takes its work: start one with `headgate worker`", cause="no_worker"
            )
    return None


class UnknownRequest(InvalidRequest):
    """There is no such request."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that Temporal holds durably; `first` is False where an equal one was there before."""

    id: str
    workflow_id: str
    first: bool = True


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One line of `headgate list`, read from visibility: up to a second old."""

    id: str
    workflow_id: str
    state: str
    priority: str
    owner: str
    project: str
    percent: int
    started_at: str
    closed_at: str | None


class Service(Protocol):
    """Everything that the command line asks of the server; a test answers it from memory."""

    async def submit(self, request: BulkRequest, *, summary: str) -> Submitted: ...

    async def fingerprint(self, request_id: str) -> str | None: ...

    async def request(self, request_id: str) -> BulkRequest: ...

    async def progress(self, request_id: str) -> ProgressView: ...

    async def over(self, request_id: str) -> State | None: ...

    async def ended(self, request_id: str, within_s: float) -> bool: ...

    def requests(self, selection: Selection) -> AsyncIterator[RequestRow]: ...

    def history(self, request_id: str, *, follow: bool = False) -> AsyncIterator[Entry]: ...

    async def control(self, request_id: str, command: Command, control: Control) -> Answered: ...

    async def limiter_set(self, project: str, changes: Mapping[str, object]) -> LimiterSettings: ...

    async def limiter_control(self, project: str, action: Literal["pause", "resume"], control: Control) -> None: ...

    async def limiter_show(self, project: str) -> LimiterView: ...

    @property
    def schedules(self) -> Schedules: ...


def changed(present: LimiterSettings, changes: Mapping[str, object]) -> LimiterSettings:
    """The settings with these changes; raises InvalidRequest where they make no sense together."""
    users = {name: own.model_dump() for name, own in present.users.items()}
    for name, limits in cast(Mapping[str, Mapping[str, int | None]], changes.get("users", {})).items():
        users[name] = {**users.get(name, {}), **limits} if limits else {}
    kept = {name: limits for name, limits in users.items() if any(limits.values())}
    settings = LimiterSettings.model_validate({**present.model_dump(), **changes, "users": kept})
    floors = settings.floors.values()
    if min(floors) < 0 or sum(floors) > 1.000001:
        said = " + ".join(f"{floor:.0%}" for floor in floors)
        raise InvalidRequest(
            f"the floors {said} are more than the whole quota, or less than nothing: lower one of them"
        )
    return settings


class TemporalService:
    """`Service` over a Temporal client. Every call ends within half a minute, with an answer or one of `headgate.errors`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def submit(self, request: BulkRequest, *, summary: str) -> Submitted:
        """The request is started exactly once, whoever submits it how often; other content under its id is refused."""
        indexed = await connection.ensure_search_attributes(self._client)
        return await self.start(request, summary=summary, indexed=indexed)

    async def start(self, request: BulkRequest, *, summary: str, indexed: bool) -> Submitted:
        """As `submit`, by who knows already whether the namespace has headgate's search attributes."""
        workflow_id = names.bulk_request_id(request.id)
        with connection.rpc_errors(self._client):
            try:
                await self._start(request, summary, indexed=indexed)
            except (WorkflowAlreadyStartedError, RPCError) as error:
                if isinstance(error, RPCError) and error.status is not RPCStatusCode.ALREADY_EXISTS:
                    raise  # the client knows an earlier start by details that a proxy may drop: the status says it as well
                earlier = await self.fingerprint(request.id)
                if earlier is not None and earlier != fingerprint(request):
                    raise InvalidRequest(
                        f"request {request.id!r} exists already with another input, project, user, order or cap"
                    ) from None
                return Submitted(request.id, workflow_id, first=False)
        return Submitted(request.id, workflow_id)

    async def _start(self, request: BulkRequest, summary: str, *, indexed: bool) -> None:
        for patience in (0.2, 0.5, 1.0, 2.0, 0.0):
            try:
                await self._client.start_workflow(
                    names.BULK_REQUEST_TYPE,
                    BulkInput(request=request, indexed=indexed, release=names.RELEASE),
                    rpc_timeout=connection.RPC_TIMEOUT,
                    **start_options(request, summary=summary, indexed=indexed),
                )
            except RPCError as error:  # attributes that were registered a moment ago are not known everywhere yet
                if error.status is not RPCStatusCode.INVALID_ARGUMENT or not patience:
                    raise
                await asyncio.sleep(patience)
            else:
                return

    async def fingerprint(self, request_id: str) -> str | None:
        """The fingerprint that the request was first submitted with; None if there is no such request."""
        try:
            description = await self._describe(names.bulk_request_id(request_id))
        except UnknownRequest:
            return None
        return str((await description.memo()).get("fingerprint", ""))

    async def request(self, request_id: str) -> BulkRequest:
        """What was submitted under this id, as the server remembers it."""
        with connection.rpc_errors(self._client):
            request = await submitted(self._client, request_id)
        if request is None:
            raise UnknownRequest(f"there is no request {request_id!r}")
        return request

    async def progress(self, request_id: str) -> ProgressView:
        """Where the request stands: its worker's answer while it runs, its own last word once it is over."""
        workflow_id = names.bulk_request_id(request_id)
        description = await self._describe(workflow_id, f"there is no request {request_id!r}")
        if description.status is WorkflowExecutionStatus.COMPLETED:
            return await self._last_word(description)
        handle = self._client.get_workflow_handle(workflow_id, run_id=description.run_id)
        try:
            view = await self._query(handle, "progress", ProgressView)
        except Unreachable:
            if description.status is WorkflowExecutionStatus.RUNNING:
                raise
            return _last_known(request_id, description)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            return view.model_copy(update={"state": _ended_as(description)})
        missing = untaken(description, datetime.now(UTC))
        return view.model_copy(update={"waiting": missing}) if missing else view

    async def over(self, request_id: str) -> State | None:
        """How the request ended; None while it runs. Asks no worker."""
        description = await self._describe(names.bulk_request_id(request_id), f"there is no request {request_id!r}")
        if description.status is WorkflowExecutionStatus.RUNNING:
            return None
        if description.status is WorkflowExecutionStatus.COMPLETED:
            return (await self._last_word(description)).state
        return _ended_as(description)

    async def _last_word(self, description: WorkflowExecutionDescription) -> ProgressView:
        """What the request answered when it completed."""
        handle = self._client.get_workflow_handle(description.id, run_id=description.run_id, result_type=ProgressView)
        with connection.rpc_errors(self._client):
            view: ProgressView = await handle.result(follow_runs=False, rpc_timeout=connection.RPC_TIMEOUT)
        return view

    async def ended(self, request_id: str, within_s: float) -> bool:
        """True as soon as the request is over, False after `within_s` seconds; a long poll, which costs no query."""
        handle = self._client.get_workflow_handle(names.bulk_request_id(request_id))
        try:
            async with asyncio.timeout(within_s):
                await handle.result()
        except TimeoutError:
            return False
        except RPCError:  # the next question will say what is wrong
            await asyncio.sleep(within_s)
            return False
        except WorkflowFailureError:
            return True
        return True

    async def requests(self, selection: Selection) -> AsyncIterator[RequestRow]:
        """The requests that are meant, open ones before those that are over. Whether one waits its worker has to be asked."""
        query, found = selection.query(datetime.now(UTC)), 0
        asks = selection.state == "waiting"
        with connection.rpc_errors(self._client):
            try:
                async for execution in self._client.list_workflows(
                    query, page_size=min(selection.limit, _PAGE), rpc_timeout=connection.RPC_TIMEOUT
                ):
                    row = _row(execution)
                    if not selection.fits(row.owner, row.project):
                        continue
                    if asks:
                        if (await self.progress(row.id)).state != "waiting":
                            continue
                        row = replace(row, state="waiting")
                    yield row
                    found += 1
                    if found == selection.limit:
                        return
            except RPCError as error:
                if error.status is RPCStatusCode.INVALID_ARGUMENT and "Headgate" in error.message:
                    raise InvalidRequest(_NOT_INDEXED) from error
                raise

    async def history(self, request_id: str, *, follow: bool = False) -> AsyncIterator[Entry]:
        """Who did what and when, in the order of the request's history; with `follow` until it is over. Asks no worker."""
        audit = Audit()
        with connection.rpc_errors(self._client):
            try:
                async for fact in history_facts(self._client, names.bulk_request_id(request_id), follow=follow):
                    for entry in audit.fold(fact):
                        yield entry
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                raise UnknownRequest(
                    f"the server has no history of request {request_id!r}: it was never submitted, "
                    "or it ended longer ago than the namespace keeps histories"
                ) from error
        for entry in audit.unanswered():
            yield entry

    async def control(
        self, request_id: str, command: Command, control: Control, patience: commands.Patience = commands.PATIENT
    ) -> Answered:
        """The request's answer; where no worker gives one, the command is recorded and acts as soon as one runs.

        The same `control.id` acts once, however often it is said; one is drawn if missing. Raises `CommandRefused`, and
        InvalidRequest where the request is over or unknown.
        """
        if not control.id:
            control = control.model_copy(update={"id": f"{command}-{secrets.token_hex(8)}"})
        with connection.rpc_errors(self._client):
            try:
                return await commands.tell(self._client, request_id, command, control, patience)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                state = await self.over(request_id)
                if state is None:  # what ended was one of its runs
                    return await commands.tell(self._client, request_id, command, control, patience)
                sentence = f"request {request_id!r} is over ({state}): nothing to {spoken(command)}"
                raise CommandRefused(sentence) from error

    @property
    def schedules(self) -> Schedules:
        """Requests that begin later, or again and again."""
        return TemporalSchedules(self._client, self._state_of)

    async def _state_of(self, request_id: str) -> str | None:
        """The state of a request as far as the server knows it without a worker; None if it knows no such request."""
        try:
            description = await self._describe(names.bulk_request_id(request_id))
        except UnknownRequest:
            return None
        if description.status is WorkflowExecutionStatus.COMPLETED:
            return (await self._last_word(description)).state
        return _state(description)

    async def limiter_control(self, project: str, action: Literal["pause", "resume"], control: Control) -> None:
        """The emergency stop of a project, or its end, durably told to its limiter, which is started if need be."""
        with connection.rpc_errors(self._client):
            await signal_with_start_limiter(self._client, project, action, control)

    async def limiter_set(self, project: str, changes: Mapping[str, object]) -> LimiterSettings:
        """The limiter's settings with these changes, durably told to it, which is started if need be.

        A change of `users` is of those that it names alone; one whose limits are all None has none of its own any more.
        """
        await connection.ensure_search_attributes(self._client)
        with connection.rpc_errors(self._client):
            present = await last_settings(self._client, project) or LimiterSettings()
            settings = changed(present, changes)
            await signal_with_start_limiter(self._client, project, CONFIGURE, settings)
        return settings

    async def limiter_show(self, project: str) -> LimiterView:
        """What the project's limiter says of itself."""
        workflow_id = names.rate_limiter_id(project)
        await self._describe(
            workflow_id,
            f"project {project!r} has no limiter yet: its first request starts one, or `headgate limiter set --project {project}`",
        )
        handle = self._client.get_workflow_handle(workflow_id)
        return await self._query(handle, "show", LimiterView)

    async def _describe(self, workflow_id: str, unknown: str | None = None) -> WorkflowExecutionDescription:
        handle = self._client.get_workflow_handle(workflow_id)
        with connection.rpc_errors(self._client):
            try:
                return await handle.describe(rpc_timeout=connection.RPC_TIMEOUT)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                raise UnknownRequest(unknown) from error

    async def _query(self, handle: WorkflowHandle[Any, Any], query: str, answer: type[Answer]) -> Answer:
        """The workflow's answer, or `NoWorker`: the server was there a moment ago, so silence is the worker's."""
        with connection.rpc_errors(self._client):
            try:
                async with asyncio.timeout(QUERY_TIMEOUT.total_seconds() + 5):
                    view: Answer = await handle.query(query, result_type=answer, rpc_timeout=QUERY_TIMEOUT)
                    return view
            except WorkflowQueryFailedError as error:
                raise Unreachable(f"the worker cannot answer: {error}") from error
            except TimeoutError as error:
                raise NoWorker from error
            except RPCError as error:
                if error.status in _SILENT:
                    raise NoWorker from error
                raise


_SILENT: Final = {RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED}

_PAGE: Final = 1_000
_NOT_INDEXED: Final = (
    "this namespace does not index requests by that yet: submit one, or `headgate doctor` says what is missing"
)


def _ended_as(execution: WorkflowExecution) -> State:
    """How Temporal says that the run ended; one that was terminated has failed."""
    return _ENDED.get(execution.status, "failed") if execution.status is not None else "failed"


def _state(execution: WorkflowExecution) -> str:
    """The state as far as visibility knows it; how Temporal ended the run beats what the run last said."""
    said = execution.typed_search_attributes.get(STATE)
    if execution.status in (None, WorkflowExecutionStatus.RUNNING):
        return said or "running"
    if execution.status is WorkflowExecutionStatus.COMPLETED and said:
        return said
    return _ended_as(execution)


def _row(execution: WorkflowExecution) -> RequestRow:
    attributes = execution.typed_search_attributes
    return RequestRow(
        id=execution.id.removeprefix(names.bulk_request_id("")),
        workflow_id=execution.id,
        state=_state(execution),
        priority=attributes.get(PRIORITY) or "",
        owner=attributes.get(OWNER) or "",
        project=attributes.get(PROJECT) or "",
        percent=attributes.get(PERCENT) or 0,
        started_at=(attributes.get(SUBMITTED_AT) or execution.start_time).isoformat(timespec="seconds"),
        closed_at=execution.close_time.isoformat(timespec="seconds") if execution.close_time else None,
    )


def _last_known(request_id: str, execution: WorkflowExecution) -> ProgressView:
    """A view of a request that ended without a last word, while no worker can replay it: its counts are not known."""
    attributes = execution.typed_search_attributes
    priority = attributes.get(PRIORITY)
    return ProgressView(
        id=request_id,
        state=_ended_as(execution),
        priority=priority if priority in ("urgent", "low") else "normal",
        owner=attributes.get(OWNER) or "",
        operations=OperationCounts(),
        calls=CallCounts(),
    )
