"""A bulk request's history as Temporal holds it, read event by event: all runs of its chain, the first one first.

1. The chain is found from its last run backwards: a run that was reset replaced another, and only its own history counts.
2. Runs that the server no longer has are left out; the fold says so.
3. Memory holds a page of events. What a payload of another release or a stranger says, and cannot be read, is None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, Literal, TypeVar, cast, get_args

from temporalio.api.common.v1 import Payloads, SearchAttributes
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.converter import DataConverter, decode_typed_search_attributes
from temporalio.service import RPCError, RPCStatusCode

from headgate import facts
from headgate.facts import Fact, Order, Result
from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.sending import AbandonLane, BatchDone, LeaseReport, ResendBatch, ResendReport, SendLease
from headgate.messages.tokens import TokenRequest
from headgate.messages.views import Control, ProgressView
from headgate.messages.words import State
from starter import connection

#: Messages between the parts of headgate: whatever else reaches a request is a command.
INTERNAL: Final = frozenset({"grant", "report"})
#: What older histories call a command.
OLD_NAMES: Final = {"cancel_request": "cancel"}
_ORDERS: Final[dict[str, list[type[Any]]]] = {
    "plan": [BulkRequest],
    "send_lease": [SendLease],
    "resend_batch": [ResendBatch],
    "abandon_lane": [AbandonLane],
    "ask_limiter": [str, TokenRequest],
}
_RESULTS: Final[dict[str, type[Any]]] = {
    "plan": PlanSummary,
    "send_lease": LeaseReport,
    "resend_batch": ResendReport,
    "abandon_lane": BatchDone,
}
_STATES: Final[tuple[str, ...]] = get_args(State)
STATE: Final = SearchAttributeKey.for_keyword("HeadgateState")
PERCENT: Final = SearchAttributeKey.for_int("HeadgatePercent")
#: Temporal's way to say that something came in between, or that the workflow is to be decided anew.
_NO_FAILURES: Final = {
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_UPDATE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_STICKY_TASK_QUEUE,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FAILOVER_CLOSE_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_PAUSE_REQUESTED_BEFORE_TASK_STARTED,
}
_DEEPEST: Final = 5
T = TypeVar("T")


async def history_facts(client: Client, workflow_id: str, *, follow: bool = False) -> AsyncIterator[Fact]:
    """The facts of a workflow's chain of runs; with `follow` also those to come, until it is over.

    Raises RPCError NOT_FOUND where the server has nothing of it.
    """
    runs = await _runs(client, workflow_id)
    last = runs[-1]
    while runs:
        run_id = runs.pop(0)
        reader = Reader(client.data_converter, run_id)
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        live = follow and run_id == last
        timeout = None if live else connection.RPC_TIMEOUT
        async for event in handle.fetch_history_events(wait_new_event=live, rpc_timeout=timeout):
            fact = await reader.fact(event)
            if fact is not None:
                yield fact
            if isinstance(fact, facts.Continued) and not runs:
                runs, last = [fact.run_id], fact.run_id


async def _runs(client: Client, workflow_id: str) -> list[str]:
    """The runs of the chain that the server still has, the first one first."""
    run_id = (await client.get_workflow_handle(workflow_id).describe(rpc_timeout=connection.RPC_TIMEOUT)).run_id
    runs: list[str] = []
    while run_id:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            first = await anext(handle.fetch_history_events(page_size=1, rpc_timeout=connection.RPC_TIMEOUT))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or not runs:
                raise
            break
        runs.append(run_id)
        run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id
    return runs[::-1]


class Reader:
    """Events of one run into facts, one by one and in their order."""

    def __init__(self, converter: DataConverter, run_id: str) -> None:
        self._converter = converter
        self._run_id = run_id
        self._ordered: dict[int, str] = {}

    async def fact(self, event: HistoryEvent) -> Fact | None:
        """What the event says that an audit could want to know; None for what is Temporal's own affair."""
        attributes = event.WhichOneof("attributes")
        if attributes is None:
            return None
        said = getattr(event, attributes)
        when: dict[str, Any] = {"at_ns": event.event_time.ToNanoseconds(), "event": event.event_id}
        kind = attributes.removesuffix("_event_attributes")
        if kind.startswith("activity_task_"):
            return await self._activity(when, kind, said)
        if kind.startswith("workflow_task_"):
            return _decision(when, kind, said)
        match kind:
            case "workflow_execution_started":
                start = await self._read(said.input, BulkInput)
                # Nobody's client starts a schedule's request: its occurrence does.
                sender = said.identity or said.parent_workflow_execution.workflow_id
                return facts.Started(**when, start=start, sender=sender, run_id=self._run_id)
            case "workflow_execution_signaled" if said.signal_name == "report":
                report = await self._read(said.input, LeaseReport)
                return facts.Reported(**when, report=report) if report is not None else None
            case "workflow_execution_signaled" if said.signal_name not in INTERNAL:
                return await self._asked(when, said.signal_name, "signal", said.identity, "", said.input)
            case "workflow_execution_update_accepted":
                asked, meta = said.accepted_request.input, said.accepted_request.meta
                return await self._asked(when, asked.name, "update", meta.identity, meta.update_id, asked.args)
            case "workflow_execution_update_completed":
                refused = _why(said.outcome.failure) if said.outcome.HasField("failure") else ""
                answer = "" if refused else await self._read(said.outcome.success, str) or ""
                return facts.Answered(**when, asked=said.accepted_event_id, answer=answer, refused=refused)
            case "workflow_execution_cancel_requested":
                return _of_temporal(when, "cancel", said.identity, said.cause)
            case "workflow_execution_paused":
                return _of_temporal(when, "pause", said.identity, said.reason)
            case "workflow_execution_unpaused":
                return _of_temporal(when, "resume", said.identity, said.reason)
            case "upsert_workflow_search_attributes":
                return _shown(when, said.search_attributes)
            case "signal_external_workflow_execution_initiated" if said.signal_name == "request_tokens":
                told = await self._read(said.input, TokenRequest)
                return facts.Declared(**when, stopped=told.stopped) if told is not None else None
            case "workflow_execution_continued_as_new":
                return facts.Continued(**when, run_id=said.new_execution_run_id)
            case "workflow_execution_completed":
                view = await self._read(said.result, ProgressView)
                return facts.Closed(**when, state=view.state if view else "completed", how="completed", view=view)
            case "workflow_execution_failed":
                return facts.Closed(**when, state="failed", how="failed", why=_why(said.failure))
            case "workflow_execution_timed_out":
                return facts.Closed(**when, state="failed", how="timed out")
            case "workflow_execution_terminated":
                return facts.Closed(**when, state="failed", how="terminated", sender=said.identity, why=said.reason)
            case "workflow_execution_canceled":
                return facts.Closed(**when, state="cancelled", how="cancelled")
        return None

    async def _activity(self, when: dict[str, Any], kind: str, said: Any) -> Fact | None:
        match kind.removeprefix("activity_task_"):
            case "scheduled":
                name = said.activity_type.name
                self._ordered[when["event"]] = name
                order = await self._read(said.input, *_ORDERS[name]) if name in _ORDERS else None
                return facts.Ordered(**when, activity=name, order=cast(Order | None, order))
            case "started":
                failed = said.HasField("last_failure")
                return facts.Attempted(
                    **when,
                    ordered=said.scheduled_event_id,
                    attempt=said.attempt,
                    sender=said.identity,
                    why=_why(said.last_failure) if failed else "",
                    lost=failed and said.last_failure.HasField("timeout_failure_info"),
                )
            case "completed":
                wanted = _RESULTS.get(self._ordered.pop(said.scheduled_event_id, ""))
                result = cast(Result | None, await self._read(said.result, wanted)) if wanted else None
                return facts.Ended(**when, ordered=said.scheduled_event_id, result=result)
            case "failed" | "timed_out" | "canceled":
                self._ordered.pop(said.scheduled_event_id, None)
                why = "" if kind.endswith("canceled") else _why(said.failure)
                return facts.Ended(**when, ordered=said.scheduled_event_id, why=why)
        return None

    async def _asked(
        self, when: dict[str, Any], name: str, via: Literal["signal", "update"], sender: str, id_: str, said: Payloads
    ) -> Fact:
        control = await self._read(said, Control) or Control()
        command = OLD_NAMES.get(name, name)
        return facts.Asked(**when, command=command, via=via, sender=sender, update_id=id_, control=control)

    async def _read(self, payloads: Payloads, *types: type[T]) -> T | None:
        """The last of the values, which have these types; None where there are none, or others."""
        if not payloads.payloads:
            return None
        try:
            values = await self._converter.decode(payloads.payloads, list(types))
        except (
            ValueError,
            TypeError,
            LookupError,
            RuntimeError,
        ):  # whoever may send to Temporal may have sent anything
            return None
        return values[-1] if len(values) >= len(types) and isinstance(values[-1], types[-1]) else None


def _decision(when: dict[str, Any], kind: str, said: Any) -> Fact | None:
    """What went wrong with a workflow task; some end as failed although nothing did."""
    if kind == "workflow_task_timed_out":
        return facts.Troubled(**when, why="the worker that decided for it did not answer in time")
    if kind != "workflow_task_failed" or said.cause in _NO_FAILURES:
        return None
    if said.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW:
        return _of_temporal(when, "reset", said.identity, said.failure.message)
    named = WorkflowTaskFailedCause.Name(said.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
    return facts.Troubled(**when, why=_why(said.failure) or named.lower().replace("_", " "), sender=said.identity)


def _of_temporal(when: dict[str, Any], command: str, sender: str, why: str) -> Fact:
    """A command that Temporal itself knows, and the request does not hear of as one of its own."""
    return facts.Asked(**when, command=command, via="temporal", sender=sender, control=Control(), why=why)


def _shown(when: dict[str, Any], attributes: SearchAttributes) -> Fact:
    found = decode_typed_search_attributes(attributes)
    state = found.get(STATE)
    return facts.Shown(**when, state=cast(State, state) if state in _STATES else None, percent=found.get(PERCENT) or 0)


def _why(failure: Failure) -> str:
    """What failed, and what that came from, the outermost first; no stack trace."""
    said: list[str] = []
    while True:
        if failure.message and failure.message not in said:
            said.append(failure.message)
        if not failure.HasField("cause") or len(said) >= _DEEPEST:
            return ": ".join(said)
        failure = failure.cause
