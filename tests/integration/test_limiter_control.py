"""What people tell a limiter under load acts at once, outlives it, and costs no window its limit, however often they say it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from benchmarks.readings import between, most_behind
from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings, Settlement, UserLimits
from headgate.messages.views import Control
from starter.devserver import DevServer
from starter.service import TemporalService
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, running_stack, side_by_side
from workflows import names

WINDOW = 3.0
LIMITS = LimiterSettings(
    read_per_project=60,
    read_per_user=60,
    write_per_project=30,
    write_per_user=12,
    window_ns=int(WINDOW * SECOND_NS),
    spreadsheet_spacing_ns=20_000_000,
)
#: A control has acted after this; tokens that were given before it reach not so far.
ACTED_S = 2.0
#: A token keeps its place for so long beyond the window.
SLACK_S = 0.6


async def busy(
    stack: Stack, name: str, each: int, but: Mapping[int, int] | None = None
) -> tuple[str, Handle, list[str], list[dict[str, Any]]]:
    """A request under way on three spreadsheets, each with a user of its own, for more than a window."""
    sheets = [f"{name}-{n}" for n in range(3)]
    stack.spreadsheets(*sheets)
    project = await stack.project(LIMITS)
    counts = {s: (but or {}).get(n, each) for n, s in enumerate(sheets)}
    lines = [append(f"{s}/{n}", s, user=s) for n in range(each) for s in sheets if n < counts[s]]
    handle = await stack.submit(project, lines, operations_per_call=1)
    await eventually(lambda: len(stack.arrivals(*sheets)) > LIMITS.write_per_project, timeout=60)
    return project, handle, sheets, lines


def worst_after(times: Sequence[float], since: float) -> int:
    """The most in any window that lies behind an instant as a whole."""
    late = [at for at in sorted(times) if at >= since]
    return most_behind(late, since, WINDOW)


async def turned(stack: Stack) -> None:
    """Half a minute of load; its quotas are lowered, then raised."""
    project, handle, sheets, lines = await busy(stack, "turned", each=50)
    service = TemporalService(stack.client)
    lowered = await service.limiter_set(project, {"write_per_project": 9})
    assert lowered.write_per_user == LIMITS.write_per_user
    began = time.monotonic()
    await eventually(lambda: time.monotonic() > began + ACTED_S + 2 * (WINDOW + SLACK_S), timeout=60)
    arrived, raised_at = stack.arrivals(*sheets), time.monotonic()
    assert 1 < worst_after(arrived, began + ACTED_S) <= 9
    await service.limiter_set(project, {"write_per_project": 60, "write_per_user": 20})
    await stack.completes(handle, lines, within=90)
    assert between(sorted(stack.arrivals(*sheets)), raised_at, raised_at + ACTED_S + WINDOW + SLACK_S) > 30
    stack.within(LIMITS.model_copy(update={"write_per_project": 60, "write_per_user": 20}), *sheets)


async def set_apart(stack: Stack) -> None:
    """Two users get quotas of their own in the middle."""
    project, handle, sheets, lines = await busy(stack, "apart", each=45, but={1: 20})
    more, less, same = sheets
    own = {more: {"write": 18, "read": 60}, less: {"write": 3, "read": 60}}
    told = await TemporalService(stack.client).limiter_set(project, {"users": own})
    began = time.monotonic()
    assert told.users[less] == UserLimits(read=60, write=3)
    await stack.completes(handle, lines, within=120)
    assert worst_after(stack.arrivals(less), began + ACTED_S) <= 3
    assert LIMITS.write_per_user < worst_after(stack.arrivals(more), began + ACTED_S) <= 18
    stack.within(LIMITS, same)
    stack.within(LIMITS.model_copy(update={"write_per_user": 18}), *sheets)


async def halted(stack: Stack) -> None:
    """Paused and resumed, paused and lost and resumed."""
    project, handle, sheets, lines = await busy(stack, "halted", each=40)
    service = TemporalService(stack.client)

    async def silent(seconds: float) -> None:
        paused_at = time.monotonic()
        await eventually(lambda: time.monotonic() > paused_at + ACTED_S + seconds, timeout=60)
        late = [at for at in stack.arrivals(*sheets) if at > paused_at + ACTED_S]
        assert not late, f"{len(late)} calls later than 2 s after the pause"

    await service.limiter_control(project, "pause", Control(by="ana"))
    await silent(2)
    resumed_at = time.monotonic()
    await service.limiter_control(project, "resume", Control())
    await eventually(lambda: max(stack.arrivals(*sheets)) > resumed_at, timeout=20)
    assert max(stack.arrivals(*sheets)) < resumed_at + ACTED_S
    await service.limiter_control(project, "pause", Control(by="ana"))
    await stack.limiter(project).terminate("lost")
    await handle.signal("reprioritise", Control(to="urgent"))  # the request's next word starts another limiter

    async def paused_again() -> bool:
        described = await stack.limiter(project).describe()
        return described.status is WorkflowExecutionStatus.RUNNING and (await stack.shown(project)).paused_by == "ana"

    await eventually(paused_again, timeout=40)
    await silent(6)  # longer than it is quiet
    resumed_at = time.monotonic()
    await service.limiter_control(project, "resume", Control())
    await eventually(lambda: max(stack.arrivals(*sheets)) > resumed_at, timeout=20)
    assert min(at for at in stack.arrivals(*sheets) if at > resumed_at) < resumed_at + ACTED_S
    await stack.completes(handle, lines, within=90)
    stack.within(LIMITS, *sheets)


async def shouted_at(folder: Path) -> None:
    """Fifty signals a second, on a server of its own, so that limiters continue as new early."""
    config = ["limit.historyCount.suggestContinueAsNew=400"]
    async with AsyncExitStack() as parts:
        server = await parts.enter_async_context(
            DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, dynamic_config=config)
        )
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        stack = await parts.enter_async_context(running_stack(client, folder))
        project, handle, sheets, lines = await busy(stack, "shouted", each=35)
        limiter, said = stack.limiter(project), 0
        done = asyncio.create_task(stack.completes(handle, lines, within=120))
        began = time.monotonic()
        while not done.done():
            match said % 5:
                case 0:
                    await limiter.signal("configure", LIMITS)
                case 1:
                    await limiter.signal("resume", Control())
                case 2:
                    with suppress(RPCError):  # the request may be over by now
                        await handle.signal("reprioritise", Control(to="normal" if said % 2 else "low"))
                case _:
                    await limiter.signal("settle", Settlement(holder=handle.id, epoch=1))
            said += 1
            await asyncio.sleep(max(0.0, began + said / 50 - time.monotonic()))
        view = await done
        assert said > 200
        assert view.state == "completed"
        stack.within(LIMITS, *sheets)
        runs = [run async for run in client.list_workflows(f"WorkflowId = '{names.rate_limiter_id(project)}'")]
        assert len(runs) > 2


@pytest.fixture(scope="module")
async def scenarios(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """All of them at once, each in a project of its own."""
    made = {
        "turned": turned(stack),
        "set apart": set_apart(stack),
        "halted": halted(stack),
        "shouted at": shouted_at(tmp_path_factory.mktemp("shouted")),
    }
    async with side_by_side(made) as under_way:
        yield under_way


async def test_quotas_that_are_lowered_and_raised_act_at_once_under_load(
    scenarios: dict[str, asyncio.Task[None]],
) -> None:
    """Two seconds after the command every window keeps the lower limit; raised, more than that is used within a window."""
    await scenarios["turned"]


async def test_a_user_whose_quota_becomes_its_own_is_served_by_it_at_once(
    scenarios: dict[str, asyncio.Task[None]],
) -> None:
    """One is allowed more than everybody, one less; the third and the project keep theirs."""
    await scenarios["set apart"]


async def test_a_paused_project_stops_and_restarts_within_two_seconds_and_the_pause_outlives_the_limiter(
    scenarios: dict[str, asyncio.Task[None]],
) -> None:
    """No call later than 2 s after the pause, also when the limiter is terminated meanwhile; a resume brings them back."""
    await scenarios["halted"]


async def test_fifty_signals_a_second_neither_stop_nor_hurry_anybody(scenarios: dict[str, asyncio.Task[None]]) -> None:
    """Quotas, settlements and priorities are said again and again while both workflows continue as new under it."""
    await scenarios["shouted at"]
