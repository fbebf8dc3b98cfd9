"""A limiter that is lost, a holder that is gone, messages twice and out of order, two that ask for one limiter: no window notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError

from headgate.message import SECOND_NS
from headgate.messages.tokens import Grant, LimiterSettings, Settlement, TokenRequest
from headgate.messages.views import Control
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, side_by_side
from workflows import names
from workflows.limiter_start import signal_with_start_limiter, start_limiter

#: Both levels bind: three users at 8 in a window would be as many as the project may.
LIMITS = LimiterSettings(
    read_per_project=60,
    read_per_user=60,
    write_per_project=24,
    write_per_user=10,
    window_ns=4 * SECOND_NS,
    spreadsheet_spacing_ns=20_000_000,
)
LOSSES = ("terminated", "deleted", "reset", "reset to its first task", "reset while it was paused")


def rows(*sheets: str, each: int) -> list[dict[str, Any]]:
    """Appends to these spreadsheets, each with a user of its own."""
    return [append(f"{s}/{n}", s, user=s) for n in range(each) for s in sheets]


async def started(stack: Stack, name: str, each: int) -> tuple[str, Handle, list[str], list[dict[str, Any]]]:
    """A request under way, half a window's calls made: project, handle, spreadsheets, lines."""
    sheets = [f"{name}-{n}" for n in range(3)]
    stack.spreadsheets(*sheets)
    project = await stack.project(LIMITS)
    lines = rows(*sheets, each=each)
    handle = await stack.submit(project, lines, operations_per_call=1)
    await eventually(lambda: len(stack.arrivals(*sheets)) >= 15, timeout=60)
    return project, handle, sheets, lines


async def reset(client: Client, project: str, *, first: bool) -> None:
    """Reset the limiter to its first workflow task, or to one a few rounds back."""
    limiter = names.rate_limiter_id(project)
    history = client.get_workflow_handle(limiter).fetch_history_events()
    done = [
        event.event_id async for event in history if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=limiter),
            reason="test",
            request_id=f"reset-{project}",
            workflow_task_finish_event_id=done[0] if first else done[len(done) // 2],
        )
    )


async def delete(stack: Stack, project: str) -> None:
    """Delete the limiter with its history, and wait until the server knows nothing of it."""
    await stack.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=stack.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=names.rate_limiter_id(project)),
        )
    )

    async def gone() -> bool:
        try:
            await stack.limiter(project).describe()
        except RPCError:
            return True
        return False

    await eventually(gone, timeout=30)


async def lose(stack: Stack, loss: str) -> None:
    """A request whose limiter is lost in the middle, to its end."""
    name = loss.replace(" ", "-")
    project, handle, sheets, lines = await started(stack, name, each=20)
    limiter = stack.limiter(project)
    if loss == "terminated":
        await limiter.terminate("lost")
    elif loss == "deleted":
        await delete(stack, project)
        # A person says the quotas again, and the holder whom nothing tells of the loss asks a limiter that is new.
        await signal_with_start_limiter(stack.client, project, "configure", LIMITS)
        await handle.signal("reprioritise", Control(to="urgent"))
    elif loss == "reset while it was paused":
        await limiter.signal("pause", Control(by="ana"))
        await reset(stack.client, project, first=False)
        await signal_with_start_limiter(stack.client, project, "resume", Control())
    else:
        await reset(stack.client, project, first="first" in loss)
    lost_at = time.monotonic()
    await stack.completes(handle, lines, within=150)
    stack.within(LIMITS, *sheets)
    went_on = [at for at in stack.arrivals(*sheets) if at > lost_at + LIMITS.window_ns / SECOND_NS]
    assert went_on, "the limiter was lost too late to show anything"


@pytest.fixture(scope="module")
async def scenarios(stack: Stack) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """All of them at once, each in a project of its own."""
    losses = {loss: lose(stack, loss) for loss in LOSSES}
    async with side_by_side({**losses, "widow": widow(stack), "echo": everything_twice(stack)}) as under_way:
        yield under_way


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_limiter_that_is_lost_costs_a_pause_and_nothing_else(
    scenarios: dict[str, asyncio.Task[None]], loss: str
) -> None:
    """Whatever became of it: no window over its limit, every row once, the request completes."""
    await scenarios[loss]


async def test_a_holder_that_is_terminated_takes_its_tokens_with_it(scenarios: dict[str, asyncio.Task[None]]) -> None:
    """Its calls may be under way: they count, and whoever comes next gets what is left of the window, then all of it."""
    await scenarios["widow"]


async def test_messages_that_come_twice_and_out_of_order_change_nothing(
    scenarios: dict[str, asyncio.Task[None]],
) -> None:
    """Every grant, demand and settlement is said a second time while it still counts, in the wrong order."""
    await scenarios["echo"]


async def widow(stack: Stack) -> None:
    """A holder is terminated with tokens in hand, and another one comes."""
    project, handle, sheets, _ = await started(stack, "widow", each=40)
    heirs = [f"heir-{n}" for n in range(3)]
    stack.spreadsheets(*heirs)
    await handle.terminate("gone")
    lines = rows(*heirs, each=8)
    await stack.completes(await stack.submit(project, lines, operations_per_call=1), lines, within=60)
    stack.within(LIMITS, *sheets, *heirs)

    async def forgotten() -> bool:
        return handle.id not in {waiter.holder for waiter in (await stack.shown(project)).waiters}

    await eventually(forgotten, timeout=20)


MESSAGES: Final[dict[str, type[Any]]] = {"grant": Grant, "request_tokens": TokenRequest, "settle": Settlement}


async def echo(stack: Stack, workflow_id: str, seen: set[int]) -> int:
    """Say again to a workflow what it was told since the last time, the latest first; returns how much that was."""
    told: list[tuple[str, Any]] = []
    async for event in stack.client.get_workflow_handle(workflow_id).fetch_history_events():
        said = event.workflow_execution_signaled_event_attributes
        if event.event_id in seen or said.signal_name not in MESSAGES or said.identity == stack.client.identity:
            continue
        seen.add(event.event_id)
        payloads = said.input.payloads
        told += [
            (said.signal_name, (await stack.client.data_converter.decode(payloads, [MESSAGES[said.signal_name]]))[0])
        ]
    for name, message in reversed(told):
        await stack.client.get_workflow_handle(workflow_id).signal(name, message)
    return len(told)


async def everything_twice(stack: Stack) -> None:
    """A request to its end, with an echo."""
    project, handle, sheets, lines = await started(stack, "echoed", each=20)
    limiter = names.rate_limiter_id(project)
    heard: dict[str, set[int]] = {handle.id: set(), limiter: set()}
    repeated = 0
    done = asyncio.create_task(stack.completes(handle, lines, within=120))
    while not done.done():
        for workflow_id in heard:
            with suppress(RPCError):  # the request may be over by now
                repeated += await echo(stack, workflow_id, heard[workflow_id])
        await asyncio.wait([done], timeout=0.1)
    await done
    assert repeated > 8
    stack.within(LIMITS, *sheets)


async def told(stack: Stack, project: str) -> list[str]:
    """Who has settled with the project's limiter in its present run; what comes during a workflow task shows after it."""
    history = stack.limiter(project).fetch_history_events()
    signals = [event.workflow_execution_signaled_event_attributes async for event in history]
    decoded = [
        await stack.client.data_converter.decode(s.input.payloads, [Settlement]) for s in signals if s.signal_name
    ]
    return sorted(settlement.holder for (settlement,) in decoded)


async def test_of_limiters_that_are_asked_for_at_once_one_exists(stack: Stack) -> None:
    """None before, then one running, then one lost: every message arrives, in one limiter; after the loss it is quiet."""
    project = "asked-for-at-once"

    async def ask(generation: int) -> list[str]:
        """Eight at once, half of them with something to say."""
        holders = [f"{generation}-{n}" for n in range(4)]
        said = [Settlement(holder=holder, epoch=0) for holder in holders]
        await asyncio.gather(
            *(signal_with_start_limiter(stack.client, project, "settle", settlement) for settlement in said),
            *(start_limiter(stack.client, project) for _ in range(4)),
        )
        return holders

    first = await ask(1)
    run_id = (await stack.limiter(project).describe()).run_id
    first += await ask(2)
    assert (await stack.limiter(project).describe()).run_id == run_id

    async def all_told(holders: list[str]) -> bool:
        return await told(stack, project) == holders

    await eventually(lambda: all_told(first))
    await stack.limiter(project).terminate("lost")
    after = await ask(3)
    await eventually(lambda: all_told(after))
    view = await stack.shown(project)
    assert view.quiet_until_ns > view.now_ns
    described = await stack.limiter(project).describe()
    assert described.run_id != run_id
    runs = [run async for run in stack.client.list_workflows(f"WorkflowId = '{described.id}'")]
    assert len(runs) <= 2
