"""How a limiter comes to life: whoever starts one looks at its id first, so that a lost one's calls leave every window.

Invariants:
1. A limiter that never existed starts at once: nobody can hold a token of its.
2. One that was lost (its last run has closed) is quiet until every token it may have given out has left its window.
3. One whose run closes between the look and the start is treated like a lost one.
4. A limiter keeps the settings that it was last given, also when it was lost: they stand in its history.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime
from typing import Any, Final

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.models import LimiterInput, LimiterSettings
from workflows.names import RATE_LIMITER_TYPE, WORKFLOW_QUEUE, rate_limiter_id

CONFIGURE: Final = "configure"


async def limiter_start(client: Client, project: str, settings: LimiterSettings | None = None) -> LimiterInput:
    """The input for a limiter that starts now; `settings` of None means those of its last run, or Google's."""
    handle = client.get_workflow_handle(rate_limiter_id(project))
    try:
        last = await handle.describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return LimiterInput(project=project, settings=settings)
    known = await last_settings(client, project)
    ended_ns = time.time_ns() if last.status is WorkflowExecutionStatus.RUNNING else _nanoseconds(last.close_time)
    return LimiterInput(
        project=project, settings=settings or known, quiet_until_ns=ended_ns + _memory_ns(known or LimiterSettings())
    )


async def signal_with_start_limiter(client: Client, project: str, signal: str, arg: Any) -> None:
    """Deliver the signal to the project's limiter, which is started where none is running."""
    try:
        await client.get_workflow_handle(rate_limiter_id(project)).signal(signal, arg)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    else:
        return
    settings = arg if signal == CONFIGURE and isinstance(arg, LimiterSettings) else None
    start = await limiter_start(client, project, settings)
    await client.start_workflow(
        RATE_LIMITER_TYPE,
        start,
        id=rate_limiter_id(project),
        task_queue=WORKFLOW_QUEUE,
        start_signal=signal,
        start_signal_args=[arg],
        static_summary=f"tokens of project {project}",
    )


async def start_limiter(client: Client, project: str) -> None:
    """Start the project's limiter where none is running."""
    with contextlib.suppress(WorkflowAlreadyStartedError):
        await client.start_workflow(
            RATE_LIMITER_TYPE,
            await limiter_start(client, project),
            id=rate_limiter_id(project),
            task_queue=WORKFLOW_QUEUE,
            static_summary=f"tokens of project {project}",
        )


async def last_settings(client: Client, project: str) -> LimiterSettings | None:
    """What the limiter's last run was started with or told since, whether or not a worker has seen it yet; None if nothing."""
    handle = client.get_workflow_handle(rate_limiter_id(project))
    found: LimiterSettings | None = None
    try:
        async for event in handle.fetch_history_events():
            found = await _settings_in(client, handle, event) or found
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    return found


async def _settings_in(client: Client, handle: WorkflowHandle[Any, Any], event: HistoryEvent) -> LimiterSettings | None:
    converter = client.data_converter
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        started: LimiterInput = (await converter.decode(payloads, [LimiterInput]))[0]
        return started.checkpoint.settings if started.checkpoint else started.settings
    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
        signalled = event.workflow_execution_signaled_event_attributes
        if signalled.signal_name == CONFIGURE and signalled.input.payloads:
            with contextlib.suppress(RuntimeError, ValueError):  # what the limiter could not read it did not take
                configured: LimiterSettings = (await converter.decode(signalled.input.payloads, [LimiterSettings]))[0]
                return configured
    return None


def _memory_ns(settings: LimiterSettings) -> int:
    """How long after a limiter's end one of its tokens can still count: the furthest grant, its use, its window."""
    return settings.horizon_ns + settings.token_valid_for_ns + settings.network_spread_ns + settings.window_ns


def _nanoseconds(instant: datetime | None) -> int:
    return 0 if instant is None else int(instant.timestamp() * 1_000_000) * 1_000
