"""How a limiter comes to life: whoever starts one looks at its id first, so that a lost one's calls leave every window.

Invariants:
1. A limiter that never existed starts at once: nobody can hold a token of its.
2. One that was lost (its last run has closed) is quiet until every token it may have given out has left its window.
3. Only the server's instants count: no host's clock is read.
4. A limiter keeps the settings that it was last given, and a pause of its project, also when it was lost: they stand in its
   history.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.errors import Unreachable
from headgate.messages.carried import LimiterInput
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import Control
from headgate.wording import words
from workflows.names import RATE_LIMITER_TYPE, RELEASE, WORKFLOW_QUEUE, rate_limiter_id

CONFIGURE: Final = "configure"
PAUSE: Final = "pause"
RESUME: Final = "resume"
#: A limiter may end between a signal and a look at it.
TRIES: Final = 5


async def limiter_start(client: Client, project: str, settings: LimiterSettings | None = None) -> LimiterInput | None:
    """The input for a limiter that starts now, None if one is running; `settings` of None means those of its last run, or Google's."""
    handle = client.get_workflow_handle(rate_limiter_id(project))
    try:
        last = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return LimiterInput(project=project, settings=settings, release=RELEASE)
    if last.status is WorkflowExecutionStatus.RUNNING:
        return None
    known, paused_by = await last_word(client, project)
    return LimiterInput(
        project=project,
        settings=settings or known,
        paused_by=paused_by,
        quiet_until_ns=_nanoseconds(last.close_time) + _memory_ns(known or LimiterSettings()),
        release=RELEASE,
    )


async def signal_with_start_limiter(client: Client, project: str, signal: str, arg: Any) -> None:
    """Deliver the signal to the project's limiter, which is started where none is running."""
    settings = arg if signal == CONFIGURE and isinstance(arg, LimiterSettings) else None
    for _ in range(TRIES):
        try:
            await client.get_workflow_handle(rate_limiter_id(project)).signal(signal, arg)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            return
        start = await limiter_start(client, project, settings)
        if start is not None:
            await _start(client, start, start_signal=signal, start_signal_args=[arg])
            return
    raise Unreachable(f"the limiter of project {project!r} starts and ends all the time: see its history")


async def start_limiter(client: Client, project: str) -> None:
    """Start the project's limiter where none is running."""
    start = await limiter_start(client, project)
    if start is not None:
        with contextlib.suppress(WorkflowAlreadyStartedError):
            await _start(client, start)


async def _start(client: Client, start: LimiterInput, **options: Any) -> None:
    await client.start_workflow(
        RATE_LIMITER_TYPE,
        start,
        id=rate_limiter_id(start.project),
        task_queue=WORKFLOW_QUEUE,
        static_summary=f"tokens of project {start.project}",
        **options,
    )


async def last_settings(client: Client, project: str) -> LimiterSettings | None:
    """What the limiter was last started with or told, whether or not a worker has seen it yet; None if nothing."""
    return (await last_word(client, project))[0]


async def last_word(client: Client, project: str) -> tuple[LimiterSettings | None, str]:
    """The settings that the limiter's last run was started with or told since, and who paused the project (`""`: nobody)."""
    handle = client.get_workflow_handle(rate_limiter_id(project))
    settings, paused_by = None, ""
    try:
        async for event in handle.fetch_history_events():
            settings, paused_by = await _said_in(client, event, settings, paused_by)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return settings, paused_by


async def _said_in(
    client: Client, event: HistoryEvent, settings: LimiterSettings | None, paused_by: str
) -> tuple[LimiterSettings | None, str]:
    converter = client.data_converter
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        started: LimiterInput = (await converter.decode(payloads, [LimiterInput]))[0]
        kept = started.checkpoint
        return (kept.settings, kept.paused_by) if kept else (started.settings, started.paused_by)
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
        signalled = event.workflow_execution_signaled_event_attributes
        payloads = signalled.input.payloads
        with contextlib.suppress(RuntimeError, ValueError):  # what the limiter could not read it did not take
            if signalled.signal_name == CONFIGURE and payloads:
                return (await converter.decode(payloads, [LimiterSettings]))[0], paused_by
            if signalled.signal_name == PAUSE:
                control: Control | None = (await converter.decode(payloads, [Control]))[0] if payloads else None
                return settings, words(control.by if control else "") or "someone"
            if signalled.signal_name == RESUME:
                return settings, ""
    return settings, paused_by


def _memory_ns(settings: LimiterSettings) -> int:
    """How long after a limiter's end one of its tokens can still count: the furthest grant, its use, its window."""
    return settings.furthest_ns + settings.token_valid_for_ns + settings.network_spread_ns + settings.window_ns


def _nanoseconds(instant: datetime | None) -> int:
    return 0 if instant is None else int(instant.timestamp() * 1_000_000) * 1_000
