"""The API answers 503 to everything for two minutes: a wait, not a failure, and full speed soon after.

The fault rule is set and taken back through the emulator's admin route while calls are under way. From its ledger: calls
from two seconds into the outage to its end as a share of as long a time before (bar: 5 %); seconds from its end to the
start of the first half window that holds 95 % of the quota's pace (bar: 15). From cells and results: nothing is lost or
doubled, and no operation failed, so no attempt was burnt by waiting. The server's billable actions a minute meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from benchmarks.readings import arrivals, between, by_span, steady_after, throttled
from benchmarks.rig import Setting, rig, worst_windows
from benchmarks.usage import operations, spreadsheets

RULE: Final = {"effect": "error", "status": 503, "when": "before"}
SETTLES_S: Final = 2.0
ENOUGH: Final = 0.95


async def measure(setting: Setting, outage_s: float) -> dict[str, Any]:
    """A window and a half at full speed, the outage, then until everything is done."""
    calls = int(setting.rate * (1.5 * setting.window + 2.5 * setting.window))
    async with rig(setting, spreadsheets(setting.users)) as running:
        request_id = await running.submit(operations(setting.users, calls), "--operations-per-call=1")
        await running.first_write()
        await asyncio.sleep(1.5 * setting.window)
        began = time.monotonic()
        await running.ask_emulator("faults", [RULE])
        await asyncio.sleep(outage_s / 4)
        before, counting_from = await running.actions(), time.monotonic()
        waiting = (await running.progress(request_id)).model_dump()
        await asyncio.sleep(began + outage_s - time.monotonic())
        actions, counted_s = await running.actions() - before, time.monotonic() - counting_from
        await running.ask_emulator("faults", [])
        ended = time.monotonic()
        view = await running.ended(request_id, within_s=900)
        ledger = await running.ledger()
        accounts = await running.accounts(request_id, calls, spreadsheets(setting.users))
    times, of_all_kinds = arrivals(ledger), arrivals(ledger, kind="")
    during = between(of_all_kinds, began + SETTLES_S, ended)
    normal = between(of_all_kinds, began - setting.window, began) / setting.window
    stretch = setting.window / 2
    return {
        "window": setting.window,
        "outage_s": ended - began,
        "calls_during_share": during / (normal * (ended - began - SETTLES_S)),
        "full_speed_after_s": steady_after(times, ended, stretch, ENOUGH * setting.rate * stretch),
        "bars": {"calls_during_share": 0.05, "full_speed_after_s": 15},
        **accounts,
        "failed": view.operations.failed,
        "actions_per_minute_while_waiting": actions.total() / counted_s * 60,
        "actions_while_waiting": dict(actions),
        "calls_in_first_s": between(times, began, began + SETTLES_S),
        "calls_during": during,
        "calls_by_10_s_of_outage": by_span(of_all_kinds, began, ended, 10),
        "calls_by_5_s_after": by_span(times, ended, ended + setting.window, 5),
        "first_call_after_s": next((t - ended for t in times if t >= ended), None),
        "throttled": throttled(ledger),
        "worst_window": worst_windows(ledger, setting.window),
        "reported_while_waiting": waiting,
        "reported": view.model_dump(),
    }


async def main(minutes: float = 2.0, window: float = 60.0) -> dict[str, Any]:
    """Google's default quotas; calls of 0.4 s; `minutes` is how long the outage lasts."""
    return await measure(Setting(latency_ms=400, jitter_ms=200).scaled(window), minutes * 60)
