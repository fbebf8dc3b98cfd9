"""The API is away or full: it is waited for with few calls, and afterwards every operation has taken effect once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType

from benchmarks.foreign_client import burn
from headgate.message import SECOND_NS
from headgate.messages.alerts import AlertEvent
from headgate.messages.tokens import LimiterSettings
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, side_by_side

LIMITS = LimiterSettings(
    read_per_project=60,
    read_per_user=60,
    write_per_project=30,
    write_per_user=30,
    window_ns=3 * SECOND_NS,
    spreadsheet_spacing_ns=20_000_000,
)
#: With full jitter four attempts last 7 s at most; three open the circuit.
LEAST_ATTEMPTS = 4
AWAY_S = 16
AWAY = {"kind": "write", "effect": "error", "status": 503, "when": "before"}


async def outage(stack: Stack) -> None:
    """One lane, and four of another project, in full swing when the API begins to answer 503."""
    lanes = {"alone": ["alone-0"], "together": [f"together-{n}" for n in range(4)]}
    handles: dict[str, Handle] = {}
    lines: dict[str, list[dict[str, Any]]] = {}
    projects: dict[str, str] = {}
    for name, sheets in lanes.items():
        stack.spreadsheets(*sheets)
        stack.emulator.dispatcher.projects.update(dict.fromkeys(sheets, name))
        projects[name] = await stack.project(LIMITS)
        lines[name] = [append(f"{s}/{n}", s, user=s) for n in range(90 // len(sheets)) for s in sheets]
        handles[name] = await stack.submit(
            projects[name], lines[name], operations_per_call=1, max_attempts=LEAST_ATTEMPTS
        )
    await eventually(lambda: all(len(stack.arrivals(*sheets)) > 45 for sheets in lanes.values()), timeout=60)
    with stack.faults(*({**AWAY, "spreadsheet": sheet} for sheets in lanes.values() for sheet in sheets)):
        began = time.monotonic()
        await eventually(lambda: time.monotonic() > began + AWAY_S, timeout=60)
        circuits = {name: (await stack.shown(project)).circuits for name, project in projects.items()}
        during = {name: sum(at > began + 5 for at in stack.arrivals(*sheets)) for name, sheets in lanes.items()}
    assert all(circuits.values()), circuits
    assert all(1 <= calls <= 8 for calls in during.values()), during
    back_at = time.monotonic()
    for name, handle in handles.items():
        await stack.completes(handle, lines[name], within=60)
        stack.within(LIMITS, *lanes[name])
    assert time.monotonic() - back_at < 30


@contextmanager
def enforced(stack: Stack, limits: LimiterSettings) -> Iterator[None]:
    """The emulator refuses what is beyond these limits, whoever sends it."""
    quota = stack.emulator.quota
    before = dict(quota.limits), quota.window
    quota.reset()
    quota.limits.update({(level, kind): getattr(limits, f"{kind}_per_{level}") for level, kind in quota.limits})
    quota.window, quota.enabled = limits.window_ns / SECOND_NS, True
    try:
        yield
    finally:
        quota.limits.update(before[0])
        quota.window, quota.enabled = before[1], False


async def raised(stack: Stack, project: str) -> list[AlertEvent]:
    """The events of 429s that the limiter had people told of."""
    events = []
    async for event in stack.limiter(project).fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            order = event.activity_task_scheduled_event_attributes
            if order.activity_type.name == "raise_alert":
                events += await stack.client.data_converter.decode(order.input.payloads, [AlertEvent])
    return [event for event in events if event.condition == "throttled"]


async def storm(stack: Stack) -> None:
    """A foreign client uses much of the project's quota for some seconds."""
    sheets = [f"shared-{n}" for n in range(4)]
    stack.spreadsheets(*sheets, "strange")
    stack.emulator.dispatcher.projects.update(dict.fromkeys([*sheets, *(f"foreign-{n}" for n in range(3))], "shared"))
    project = await stack.project(LIMITS)
    lines = [append(f"{s}/{n}", s, user=s) for n in range(20) for s in sheets]
    with enforced(stack, LIMITS):
        handle = await stack.submit(project, lines, operations_per_call=1)
        await eventually(lambda: len(stack.arrivals(*sheets)) > 20, timeout=60)
        foreign = asyncio.create_task(burn(stack.emulator.url, "strange", 60 * 8, 6, tokens=3))

        async def noticed() -> bool:
            bucket = (await stack.shown(project)).buckets.get("project/write")
            return bucket is not None and bucket.used_by_others > 0

        await eventually(noticed, timeout=30)
        await foreign
        view = await stack.completes(handle, lines, within=120)
    refused = [call for call in stack.calls(*sheets) if call["status"] == 429]
    assert refused
    assert view.operations.failed == 0
    shown = await stack.shown(project)
    assert shown.throttled == len(refused)

    async def told() -> list[AlertEvent]:
        return await raised(stack, project)

    events = await eventually(told, timeout=40)
    assert [(event.subject, event.phase) for event in events] == [("project/write", "raised")]
    assert any("refused calls on project/write" in sentence for sentence in (await stack.shown(project)).alerts)


@pytest.fixture(scope="module")
async def scenarios(stack: Stack) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Both at once: the emulator counts them as projects of their own."""
    async with side_by_side({"outage": outage(stack), "storm": storm(stack)}) as under_way:
        yield under_way


async def test_an_api_that_answers_503_is_waited_for_and_no_attempt_is_burnt(
    scenarios: dict[str, asyncio.Task[None]],
) -> None:
    """Longer away than all attempts would last: few calls meanwhile, and nothing becomes a dead letter."""
    await scenarios["outage"]


async def test_a_storm_of_refusals_by_a_foreign_client_loses_nothing_and_is_told_once(
    scenarios: dict[str, asyncio.Task[None]],
) -> None:
    """We see 429s and share; every operation takes effect once, `show` says that others use it, one alert is raised."""
    await scenarios["storm"]


async def test_a_call_that_somebody_else_answers_for_good_ends_and_leaves_its_spreadsheet_open(stack: Stack) -> None:
    """Its failures open the circuit and every probe meets the same page: the attempts run out all the same."""
    stack.spreadsheets("blocked")
    project = await stack.project(LIMITS)
    page = {"kind": "write", "effect": "html", "status": 403, "spreadsheet": "blocked"}
    with stack.faults(page):
        handle = await stack.submit(project, [append("blocked/0", "blocked")], max_attempts=LEAST_ATTEMPTS)
        view = await asyncio.wait_for(handle.result(), 120)
    assert (view.operations.succeeded, view.operations.failed) == (0, 1)
    assert len(stack.arrivals("blocked")) == 2 * LEAST_ATTEMPTS, "so many sends, and so many burns"
    lines = [append(f"blocked/{n}", "blocked") for n in range(1, 3)]
    await stack.completes(await stack.submit(project, lines), lines, within=60)
