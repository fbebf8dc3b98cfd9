"""The hosts of workers misbehave, as processes of their own: killed while workflows continue as new, and with clocks that step."""

from __future__ import annotations

import asyncio
import re
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from benchmarks.readings import arrivals
from benchmarks.rig import PROJECT, Rig, Setting, rig, worst_windows
from tests.eventually import eventually
from tests.integration.stack import append
from workflows.names import rate_limiter_id

SETTING = Setting(per_project=48, per_user=18, window=4.0, users=3, latency_ms=40, jitter_ms=20, spacing=0.05)
SHEETS = [f"s{n}" for n in range(SETTING.users)]
KILLS = 2
STEPPED = Path(__file__).parent / "stepped_clock"


def lines(each: int) -> list[dict[str, Any]]:
    """Appends `op-0` and on, in turn to each spreadsheet by a user of its own."""
    return [
        append(f"op-{n}", SHEETS[n % SETTING.users], user=f"u{n % SETTING.users}") for n in range(each * len(SHEETS))
    ]


async def judged(running: Rig, request_id: str, operations: int, within_s: float) -> list[float]:
    """Completed, every operation once, nothing refused and no window over its limit; when the writes arrived."""
    view = await running.ended(request_id, within_s=within_s)
    ledger = await running.ledger()
    accounts = await running.accounts(request_id, operations, SHEETS)
    assert (view.operations.succeeded, view.operations.failed) == (operations, 0)
    assert (accounts["lost"], accounts["doubled"], accounts["outcomes_each_once"]) == (0, 0, True)
    assert all(call["status"] != 429 for call in ledger["calls"])
    worst = worst_windows(ledger, SETTING.window)
    assert worst["write_per_project"] <= SETTING.per_project
    assert worst["write_per_user"] <= SETTING.per_user
    return arrivals(ledger)


async def test_a_worker_that_is_killed_while_workflows_continue_as_new_costs_nothing_but_time() -> None:
    """SIGKILL again and again while both workflows continue as new every few dozen events, at moments that drift."""
    setting = Setting(**{**vars(SETTING), "dynamic_config": ("limit.historyCount.suggestContinueAsNew=40",)})
    async with rig(setting, SHEETS) as running:
        request_id = await running.submit(lines(45), "--operations-per-call=1")
        await running.first_write(within_s=90)

        async def runs() -> list[Any]:
            query = f"WorkflowId = '{rate_limiter_id(PROJECT)}' AND ExecutionStatus = 'ContinuedAsNew'"
            return [run async for run in running.client.list_workflows(query)]

        async def more(than: int) -> bool:
            return len(await runs()) > than

        for kill in range(KILLS):
            seen = len(await runs())
            # It has continued as new a moment ago and soon will again: each kill is a little later than the one before.
            await eventually(partial(more, seen), timeout=60)
            await asyncio.sleep(0.6 * kill)
            running.kill_worker()
            running.start_worker()
        await judged(running, request_id, 45 * len(SHEETS), within_s=150)
        found = await runs()
        assert len(found) > KILLS
        assert {run.status for run in found} == {WorkflowExecutionStatus.CONTINUED_AS_NEW}


def passed(instant: float) -> bool:
    """Whether an instant of the monotonic clock is over."""
    return time.monotonic() > instant


async def test_a_wall_clock_that_steps_by_an_hour_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour ahead, an hour back, and right again, in every process of the worker: the calls come as steadily as before."""
    clock = tmp_path / "clock"
    monkeypatch.setenv("HEADGATE_TEST_CLOCK", str(clock))
    monkeypatch.setenv("PYTHONPATH", str(STEPPED))
    async with rig(SETTING, SHEETS) as running:
        request_id = await running.submit(lines(60), "--operations-per-call=1")
        await running.first_write(within_s=90)
        for off in (3600, -3600, 0):
            at = time.monotonic()
            await eventually(partial(passed, at + 3), timeout=60)
            clock.write_text(str(off))
        arrived = await judged(running, request_id, 60 * len(SHEETS), within_s=120)
        log = (running.folder / "worker.log").read_text()
    stepped = [int(at) for at in re.findall(r"clock stepped: \d+ is at (\d+)", log)]
    assert len(stepped) >= 9, log[-2000:]
    assert max(stepped) - min(stepped) > 7000
    assert max(later - earlier for earlier, later in pairwise(arrived)) < 4
