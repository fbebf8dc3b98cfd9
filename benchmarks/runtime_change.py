"""A limit lowered and raised under load by `headgate limiter set`: obeyed and used within two seconds.

The emulator keeps the higher limit, so that a call too many is seen in its ledger and not hidden by a 429. Instants are
those at which the command returned: from then on a person may rely on it.

Lowered: for every write that arrives two seconds later or after, the window that ends with it, `(t - window, t]`, holds at
most the new limit, calls from before the change counted. That is the strictest reading: the limiter has to stand still
until enough of what it granted under the old limit has left the window, as an API whose limit was lowered would demand.
Raised, after the lower limit has held for more than a window: calls from two seconds later on, for ten seconds, as a share
of the new limit's pace (bar: 95 %), and seconds to the first five-second stretch at that pace (bar: 2).
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from benchmarks.readings import arrivals, between, by_span, most_behind, steady_after, throttled
from benchmarks.rig import Setting, rig
from benchmarks.usage import operations, spreadsheets

ACTS_WITHIN_S: Final = 2.0
MEASURED_S: Final = 10.0
STRETCH_S: Final = 5.0
ENOUGH: Final = 0.95


async def measure(setting: Setting, held_s: float) -> dict[str, Any]:
    """A window and a half at the full limit, so long at half of it, and at the full one again."""
    lower = setting.per_project // 2
    calls = int(setting.rate * (1.5 * setting.window + 2 * held_s + setting.window))
    async with rig(setting, spreadsheets(setting.users)) as running:
        await running.submit(operations(setting.users, calls), "--operations-per-call=1")
        await running.first_write()
        await asyncio.sleep(1.5 * setting.window)
        lowered = await running.limit(write_per_project=lower)
        await asyncio.sleep(held_s)
        raised = await running.limit(write_per_project=setting.per_project)
        await asyncio.sleep(max(setting.window, ACTS_WITHIN_S + MEASURED_S + STRETCH_S))
        ledger = await running.ledger()
    times = arrivals(ledger)
    under_lower = [t for t in times if t < raised]
    obeyed = lowered + ACTS_WITHIN_S
    used = raised + ACTS_WITHIN_S
    return {
        "window": setting.window,
        "limits": {"higher": setting.per_project, "lower": lower},
        "most_in_a_window_after_lowering": most_behind(under_lower, obeyed, setting.window),
        "never_over_the_lower": most_behind(under_lower, obeyed, setting.window) <= lower,
        "calls_within_2_s_of_lowering": between(times, lowered, obeyed),
        "used_share_of_lower": between(times, raised - setting.window, raised) / lower,
        "used_share_after_raise": between(times, used, used + MEASURED_S) / (setting.rate * MEASURED_S),
        "raise_used_after_s": steady_after(times, raised, STRETCH_S, ENOUGH * setting.rate * STRETCH_S),
        "bars": {"used_share_after_raise": ENOUGH, "raise_used_after_s": ACTS_WITHIN_S},
        "most_in_a_window_after_raise": most_behind(times, raised, setting.window),
        "throttled": throttled(ledger),
        "calls_by_5_s_after_lowering": by_span(times, lowered, raised, 5),
        "calls_by_second_after_raise": by_span(times, raised, raised + MEASURED_S, 1),
    }


async def main(minutes: float = 1.5, window: float = 60.0) -> dict[str, Any]:
    """Google's default quotas, halved and back; calls of 0.2 s; `minutes` is how long the lower limit holds."""
    return await measure(Setting(latency_ms=200, jitter_ms=50).scaled(window), max(minutes * 60, 1.2 * window))
