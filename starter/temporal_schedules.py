"""`Schedules` over those of Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecution,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from headgate.errors import InvalidRequest
from headgate.schedules import OccurrenceInput, Overlap, Timing, iso, occurrence_request
from starter import connection
from starter.schedules import (
    Occurrence,
    Scheduled,
    ScheduleRow,
    ScheduleStanding,
    StateOf,
    UnderWay,
    UnknownSchedule,
    refuse_other,
)
from workflows import names

#: A start that was missed, or that waits for the one before it, is good for so long: Temporal's own default.
CATCH_UP: Final = timedelta(days=365)
_OVERLAPS: Final[dict[Overlap, ScheduleOverlapPolicy]] = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "buffer-one": ScheduleOverlapPolicy.BUFFER_ONE,
    "allow-all": ScheduleOverlapPolicy.ALLOW_ALL,
}
_OVER: Final = frozenset({"completed", "cancelled", "failed"})
#: An occurrence's state while the server knows of no request of its.
_WITHOUT_REQUEST: Final[dict[WorkflowExecutionStatus | None, str]] = {
    WorkflowExecutionStatus.RUNNING: "starting",
    WorkflowExecutionStatus.COMPLETED: "forgotten",
    None: "forgotten",
}


def specification(timing: Timing) -> ScheduleSpec:
    """The timing in Temporal's terms."""
    at = datetime.fromtimestamp(timing.at_s, UTC) if timing.at_s else None
    if timing.every_s:
        offset = timedelta(seconds=timing.at_s % timing.every_s)
        interval = ScheduleIntervalSpec(every=timedelta(seconds=timing.every_s), offset=offset)
        return ScheduleSpec(intervals=[interval], start_at=at)
    if timing.cron:
        return ScheduleSpec(cron_expressions=[timing.cron], start_at=at, time_zone_name=timing.zone)
    assert at is not None
    calendar = ScheduleCalendarSpec(
        second=[ScheduleRange(at.second)],
        minute=[ScheduleRange(at.minute)],
        hour=[ScheduleRange(at.hour)],
        day_of_month=[ScheduleRange(at.day)],
        month=[ScheduleRange(at.month)],
        year=[ScheduleRange(at.year)],
    )
    return ScheduleSpec(calendars=[calendar])


class TemporalSchedules:
    """`Schedules` over a Temporal client. Every call ends within half a minute, with an answer or one of `headgate.errors`."""

    def __init__(self, client: Client, state_of: StateOf) -> None:
        self._client = client
        self._state_of = state_of

    async def create(self, start: OccurrenceInput) -> Scheduled:
        """The schedule is created exactly once, whoever asks how often; other content or times under its id are refused.

        Raises InvalidRequest also for a timing that Temporal cannot read or that never comes.
        """
        name = start.request.id
        earlier = await self.known(name)
        if earlier is None and start.timing.once and await self._state_of(name) is not None:
            raise InvalidRequest(f"request {name!r} exists already: choose another --id")
        start = start.model_copy(update={"indexed": await connection.ensure_search_attributes(self._client)})
        if earlier is None and await self._created(start):
            return Scheduled(name, names.schedule_id(name), await self._first_instant(name, start.timing))
        described = await self._describe(name)
        refuse_other(await self._decoded(described), start)
        return Scheduled(name, names.schedule_id(name), _next(described), first=False)

    async def _first_instant(self, name: str, timing: Timing) -> str | None:
        """The next instant, None if the only one has come already; a schedule that has none is deleted, and refused.

        An instant that comes just now is neither ahead nor counted for a moment.
        """
        for patience in (0.3, 0.7, 1.5, 0.0):
            described = await self._describe(name)
            if described.info.next_action_times or described.info.num_actions:
                return _next(described)
            await asyncio.sleep(patience)
        await self._deleted(name)
        raise InvalidRequest(f"this never comes, or is past: {timing.in_words}")

    async def _created(self, start: OccurrenceInput) -> bool:
        """False where there is one already."""
        timing, name = start.timing, start.request.id
        action = ScheduleActionStartWorkflow(
            names.OCCURRENCE_TYPE,
            start,
            id=names.occurrence_id(name),
            task_queue=names.WORKFLOW_QUEUE,
            static_summary=f"occurrence of {name}: {start.summary}",
        )
        schedule = Schedule(
            action=action,
            spec=specification(timing),
            policy=SchedulePolicy(overlap=_OVERLAPS[timing.overlap], catchup_window=CATCH_UP),
            state=ScheduleState(limited_actions=timing.once, remaining_actions=int(timing.once)),
        )
        with connection.rpc_errors(self._client):
            try:
                await self._client.create_schedule(
                    names.schedule_id(name), schedule, rpc_timeout=connection.RPC_TIMEOUT
                )
            except ScheduleAlreadyRunningError:
                return False
            except RPCError as error:
                if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                    raise
                raise InvalidRequest(f"Temporal cannot read {timing.in_words}: {error.message}") from error
        return True

    async def known(self, schedule_id: str) -> OccurrenceInput | None:
        """What the schedule's occurrences start from; None if there is no such schedule."""
        try:
            return await self._decoded(await self._describe(schedule_id))
        except UnknownSchedule:
            return None

    async def show(self, schedule_id: str) -> ScheduleRow:
        """The schedule with its last ten requests, the youngest first."""
        return await self._row(schedule_id, 10)

    async def all(self) -> AsyncIterator[ScheduleRow]:
        """Every schedule of headgate's with its last three requests; one that was made a moment ago may be missing."""
        prefix = names.schedule_id("")
        with connection.rpc_errors(self._client):
            found = await self._client.list_schedules(rpc_timeout=connection.RPC_TIMEOUT)
            listed = [one.id async for one in found if one.id.startswith(prefix)]
        for name in sorted(one.removeprefix(prefix) for one in listed):
            try:
                yield await self._row(name, 3)
            except UnknownSchedule:  # removed meanwhile
                continue

    async def pause(self, schedule_id: str, note: str) -> None:
        """Nothing is started until it is resumed; what runs goes on."""
        await self._patched(schedule_id, "pause", note)

    async def resume(self, schedule_id: str, note: str) -> ScheduleRow:
        """Occurrences are started again, from now on."""
        await self._patched(schedule_id, "resume", note)
        return await self.show(schedule_id)

    async def remove(self, schedule_id: str) -> UnderWay:
        """The schedule starts nothing any more; returns what goes on."""
        await self._patched(schedule_id, "pause", "is being removed")  # nothing starts behind the next look
        running = {_started(one) for one in (await self._describe(schedule_id)).info.running_actions}
        await self._deleted(schedule_id)
        return await self._by_state(running | await self._running(schedule_id))

    async def under_way(self, schedule_id: str | None = None) -> UnderWay:
        """What is under way of a schedule that may be gone, or of all; as far as visibility knows: up to a second old."""
        return await self._by_state(await self._running(schedule_id))

    async def _running(self, schedule_id: str | None) -> set[str]:
        query = f'WorkflowType = "{names.OCCURRENCE_TYPE}" AND ExecutionStatus = "Running"'
        if schedule_id is not None:
            query += f' AND TemporalScheduledById = "{names.schedule_id(schedule_id)}"'
        with connection.rpc_errors(self._client):
            found = self._client.list_workflows(query, rpc_timeout=connection.RPC_TIMEOUT)
            return {execution.id async for execution in found}

    async def _by_state(self, occurrences: Iterable[str]) -> UnderWay:
        running, starting = [], []
        for workflow_id in sorted(occurrences):
            request_id = await self._request_of(workflow_id)
            state = await self._state_of(request_id)
            if state is None:
                starting.append(request_id)
            elif state not in _OVER:
                running.append(request_id)
        return UnderWay(tuple(running), tuple(starting))

    async def _request_of(self, workflow_id: str) -> str:
        """The id of the request that an occurrence starts, by the occurrence's own input."""
        with connection.rpc_errors(self._client):
            async for event in self._client.get_workflow_handle(workflow_id).fetch_history_events(page_size=1):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                start: OccurrenceInput = (await self._client.data_converter.decode(payloads, [OccurrenceInput]))[0]
                return occurrence_request(start.request.id, start.timing, names.occurrence_at(workflow_id))
        raise UnknownSchedule(f"there is no occurrence {workflow_id!r}")

    async def _row(self, name: str, requests: int) -> ScheduleRow:
        described = await self._describe(name)
        start, info = await self._decoded(described), described.info
        next_at = _next(described)
        if start.timing.once and next_at is None:
            state: ScheduleStanding = "done" if info.num_actions else "missed"
        else:
            state = "paused" if described.schedule.state.paused else "active"
        begun = [_started(result.action) for result in reversed(info.recent_actions)][:requests]
        return ScheduleRow(
            id=name,
            state=state,
            when=start.timing.in_words,
            next_at=next_at if state == "active" else None,
            overlap=start.timing.overlap,
            note=described.schedule.state.note or "",
            project=start.request.project,
            owner=start.request.owner,
            priority=start.request.priority,
            summary=start.summary,
            started=info.num_actions,
            skipped=info.num_actions_skipped_overlap,
            missed=info.num_actions_missed_catchup_window,
            requests=tuple(await asyncio.gather(*(self._occurrence(start, one) for one in begun))),
        )

    async def _occurrence(self, start: OccurrenceInput, workflow_id: str) -> Occurrence:
        at = names.occurrence_at(workflow_id)
        request_id = occurrence_request(start.request.id, start.timing, at)
        state, status = await self._state_of(request_id), await self._status(workflow_id)
        if status is WorkflowExecutionStatus.FAILED and state != "failed":
            state = "not started"  # a request of that id is another's
        elif state is None:
            state = _WITHOUT_REQUEST.get(status, "not started")
        return Occurrence(request_id, iso(int(at.timestamp())), state)

    async def _status(self, workflow_id: str) -> WorkflowExecutionStatus | None:
        """How the occurrence stands by Temporal's own word; None where the server has forgotten it."""
        with connection.rpc_errors(self._client):
            try:
                handle = self._client.get_workflow_handle(workflow_id)
                return (await handle.describe(rpc_timeout=connection.RPC_TIMEOUT)).status
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                return None

    async def _patched(self, name: str, action: Literal["pause", "resume"], note: str) -> None:
        handle = self._client.get_schedule_handle(names.schedule_id(name))
        act = handle.pause if action == "pause" else handle.unpause
        with self._reaching(name):
            await act(note=note, rpc_timeout=connection.RPC_TIMEOUT)

    async def _deleted(self, name: str) -> None:
        with self._reaching(name):
            await self._client.get_schedule_handle(names.schedule_id(name)).delete(rpc_timeout=connection.RPC_TIMEOUT)

    async def _describe(self, name: str) -> ScheduleDescription:
        with self._reaching(name):
            handle = self._client.get_schedule_handle(names.schedule_id(name))
            return await handle.describe(rpc_timeout=connection.RPC_TIMEOUT)

    @contextmanager
    def _reaching(self, name: str) -> Iterator[None]:
        with connection.rpc_errors(self._client):
            try:
                yield
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                raise UnknownSchedule(f"there is no schedule {name!r}") from error

    async def _decoded(self, described: ScheduleDescription) -> OccurrenceInput:
        action = described.schedule.action
        assert isinstance(action, ScheduleActionStartWorkflow)
        start: OccurrenceInput = (await self._client.data_converter.decode(action.args, [OccurrenceInput]))[0]
        return start


def _started(execution: ScheduleActionExecution) -> str:
    assert isinstance(execution, ScheduleActionExecutionStartWorkflow)
    return execution.workflow_id


def _next(described: ScheduleDescription) -> str | None:
    """The next instant in ISO 8601, UTC."""
    times = described.info.next_action_times
    return iso(int(times[0].timestamp())) if times else None
