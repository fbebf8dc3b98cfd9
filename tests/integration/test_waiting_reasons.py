"""Every reason for waiting is provoked on the real server and read back from `progress`: the words, the cause, the instant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

import worker
from activities.store import Store
from emulator.server import Emulator, EmulatorSettings
from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import Control, ProgressView
from headgate.messages.words import Cause, State
from headgate.settings import Settings
from starter.devserver import DevServer
from starter.service import TemporalService
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, side_by_side
from workflows import names

WINDOW = 6.0
LIMITS = LimiterSettings(
    read_per_project=60,
    read_per_user=60,
    write_per_project=60,
    write_per_user=60,
    window_ns=int(WINDOW * SECOND_NS),
    spreadsheet_spacing_ns=20_000_000,
)
AWAY = {"kind": "write", "effect": "error", "status": 503, "when": "before"}
#: A reason is told within a round and a turn of the limiter's rota; an instant lies within a window and its slack from now.
SOON = 20.0


async def waits(stack: Stack, handle: Handle, cause: Cause, within: float = SOON, *states: State) -> ProgressView:
    """The first view that is held back by this, in one of these states."""

    async def asked() -> ProgressView | None:
        view = await stack.view(handle)
        return view if view.waiting.cause == cause and (not states or view.state in states) else None

    view = await eventually(asked, timeout=within, interval=0.1)
    assert view is not None
    return view


def ahead_s(view: ProgressView) -> float:
    """How far ahead the instant lies at which the wait ends; negative where it is over."""
    assert view.waiting.until is not None, view.waiting
    return datetime.fromisoformat(view.waiting.until).timestamp() - datetime.now(UTC).timestamp()


async def started(
    stack: Stack, name: str, limits: LimiterSettings, count: int = 200, project: str = "", **options: Any
) -> tuple[str, Handle]:
    """A request of single calls on a spreadsheet of its own."""
    stack.spreadsheets(name)
    project = project or await stack.project(limits)
    lines = [append(f"{name}/{n}", name) for n in range(count)]
    return project, await stack.submit(project, lines, operations_per_call=1, **options)


async def ended(handle: Handle) -> None:
    await handle.signal("cancel")
    await asyncio.wait_for(handle.result(), 30)


async def a_users_quota(stack: Stack) -> None:
    _, handle = await started(stack, "why-user", LIMITS.model_copy(update={"write_per_user": 4}))
    view = await waits(stack, handle, "quota")
    assert view.waiting.reason == "user bot is at its 4 writes in 6 s"
    await ended(handle)


async def a_projects_quota(stack: Stack) -> None:
    """Three calls in a window: the instant of the next one lies some seconds ahead."""
    limits = LIMITS.model_copy(update={"write_per_project": 2, "burst": 1.0})
    _, handle = await started(stack, "why-project", limits)
    view = await waits(stack, handle, "quota", SOON, "waiting")
    assert view.waiting.reason == "the project is at its 2 writes in 6 s"
    assert -2 < ahead_s(view) <= WINDOW + 1
    await ended(handle)


async def spreadsheet_spacing(stack: Stack) -> None:
    _, handle = await started(stack, "why-spacing", LIMITS.model_copy(update={"spreadsheet_spacing_ns": 5 * SECOND_NS}))
    view = await waits(stack, handle, "spacing")
    assert view.waiting.reason == "spreadsheet spacing: why-spacing takes one call at a time"
    assert -2 < ahead_s(view) <= 6
    await ended(handle)


async def behind_others(stack: Stack) -> None:
    """Low without a floor, while three urgent ones can use all there is."""
    floors = {"floor_urgent": 1.0, "floor_normal": 0.0, "floor_low": 0.0}
    limits = LIMITS.model_copy(update={**floors, "write_per_user": 600})
    project = await stack.project(limits)
    urgent = [
        (await started(stack, f"why-urgent{n}", limits, 400, project, priority="urgent", owner=f"o{n}"))[1]
        for n in range(3)
    ]
    await eventually(lambda: len(stack.arrivals(*(f"why-urgent{n}" for n in range(3)))) >= 60, timeout=40)
    _, low = await started(stack, "why-low", limits, 10, project, priority="low", owner="late")
    view = await waits(stack, low, "behind")
    assert view.waiting.reason == "behind 3 urgent requests"
    for handle in (low, *urgent):
        await ended(handle)


async def cooling_down(stack: Stack) -> None:
    """The emulator refuses this user's calls, as Google would if others used up the quota."""
    _, handle = await started(stack, "why-429", LIMITS, user="refused")
    view = await waits(stack, handle, "throttled")
    assert view.waiting.reason == "cooling down after a 429"
    assert -2 < ahead_s(view) <= 2 * WINDOW
    await ended(handle)


async def an_open_circuit(stack: Stack) -> None:
    _, handle = await started(stack, "why-503", LIMITS)
    view = await waits(stack, handle, "circuit", 60, "waiting")
    assert view.waiting.reason.startswith("spreadsheet why-503 fails: circuit open")
    assert -2 < ahead_s(view) <= 10
    await handle.terminate()


async def paused_by_a_person(stack: Stack) -> None:
    project, handle = await started(stack, "why-paused", LIMITS)
    await eventually(lambda: len(stack.arrivals("why-paused")) > 0, timeout=SOON)
    await handle.execute_update("pause", Control(by="ana"))
    view = await waits(stack, handle, "paused")
    assert (view.state, view.waiting.reason, view.eta_at) == ("paused", "paused by ana", None)
    await handle.execute_update("resume")
    await stack.limiter(project).signal("pause", Control(by="ops"))
    view = await waits(stack, handle, "project_paused", SOON, "waiting")
    assert view.waiting.reason == "project paused by ops"
    await stack.limiter(project).signal("resume")
    calls = len(stack.arrivals("why-paused"))
    await eventually(lambda: len(stack.arrivals("why-paused")) > calls, timeout=SOON)
    await ended(handle)


async def quiet_after_a_loss(stack: Stack) -> None:
    """Half a minute of silence brings a new limiter, which is quiet for a window and the slack since the old one's end."""
    window = LIMITS.model_copy(update={"window_ns": 50 * SECOND_NS, "write_per_user": 600, "write_per_project": 600})
    project, handle = await started(stack, "why-quiet", window, 2_000)
    await eventually(lambda: len(stack.arrivals("why-quiet")) > 5, timeout=SOON)
    await stack.limiter(project).terminate()
    view = await waits(stack, handle, "quiet", 60, "waiting")
    assert view.waiting.reason == "quiet after the limiter was lost"
    assert -2 < ahead_s(view) <= 55
    await ended(handle)


@pytest.fixture(scope="module")
async def scenarios(stack: Stack) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    provoked: dict[str, Coroutine[Any, Any, None]] = {
        "user": a_users_quota(stack),
        "project": a_projects_quota(stack),
        "spacing": spreadsheet_spacing(stack),
        "behind": behind_others(stack),
        "429": cooling_down(stack),
        "circuit": an_open_circuit(stack),
        "paused": paused_by_a_person(stack),
        "quiet": quiet_after_a_loss(stack),
    }
    refused = {"user": "refused", "kind": "write", "effect": "throttle", "level": "user"}
    async with AsyncExitStack() as parts:
        parts.enter_context(stack.faults({**AWAY, "spreadsheet": "why-503"}, {**refused, "spreadsheet": "why-429"}))
        yield await parts.enter_async_context(side_by_side(provoked))


@pytest.mark.parametrize("name", ["user", "project", "spacing", "behind", "429", "circuit", "paused", "quiet"])
async def test_a_reason_is_read_back_as_it_was_provoked(scenarios: dict[str, asyncio.Task[None]], name: str) -> None:
    """Words, cause and instant."""
    await scenarios[name]


async def test_a_worker_that_is_missing_is_seen_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workflow cannot know that nobody takes its activities: whoever asks is told, first of planning, then of sending."""
    monkeypatch.setattr("starter.service.UNTAKEN_FOR", timedelta(seconds=1))
    async with AsyncExitStack() as parts:
        server = await parts.enter_async_context(DevServer(names.SEARCH_ATTRIBUTES, ui_port=None))
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        emulator = await parts.enter_async_context(Emulator(EmulatorSettings(quota=False)))
        settings = Settings(sheets_url=emulator.url, store=str(tmp_path / "store"), cache_dir=tmp_path)
        stack = Stack(client, emulator, Store.open(settings.store), settings)
        await parts.enter_async_context(worker.workflow_worker(client))
        _, handle = await started(stack, "why-worker", LIMITS, 3)
        service, request_id = TemporalService(client), handle.id.removeprefix("bulk/")

        async def said() -> str:
            view = await service.progress(request_id)
            return view.waiting.reason if view.waiting.cause == "no_worker" else ""

        assert "no worker (plan) takes its work: start one" in await eventually(said, timeout=SOON)
        assert (await service.progress(request_id)).state == "planning"
        await parts.enter_async_context(worker.plan_worker(client, settings))
        assert "no worker (send) takes its work: start one" in await eventually(
            lambda: _of_role(said, "send"), timeout=SOON
        )
        await parts.enter_async_context(worker.send_worker(client, settings))
        assert (await asyncio.wait_for(handle.result(), 60)).operations.succeeded == 3


async def _of_role(said: Callable[[], Awaitable[str]], role: str) -> str:
    reason = await said()
    return reason if f"({role})" in reason else ""
