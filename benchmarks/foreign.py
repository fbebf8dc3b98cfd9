"""A foreign client burns 40 % of the project's write quota, then stops: few 429s, the rest is used, and all of it again after.

The foreign client is a process of its own with tokens of its own (`benchmarks.foreign_client`); headgate learns of it only
by 429s. From the emulator's ledger, over the time it burns: our 429s as a share of our calls (bar: 1 %), and our calls that
passed as a share of the quota less the foreign calls that passed (bar: 90 %), over the whole of it and from the second
window on. After it stops: seconds to the end of the first window that holds 95 % of the quota (bar: 300).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

from benchmarks.readings import arrivals, between, by_span, calls_of, full_again_after, throttled
from benchmarks.rig import Setting, rig, worst_windows
from benchmarks.usage import operations, spreadsheets

SHARE: Final = 0.4
TOKENS: Final = 3
ENOUGH: Final = 0.95
STRANGE: Final = "strange"


async def measure(setting: Setting, burning_s: float) -> dict[str, Any]:
    """A window and a half alone, then the foreign client, then as long again without it (at least five windows)."""
    after_s = max(burning_s, 5 * setting.window)
    before_s = 1.5 * setting.window
    calls = int(setting.rate * (before_s + burning_s + after_s + 3 * setting.window))
    async with rig(setting, [*spreadsheets(setting.users), STRANGE]) as running:
        await running.submit(operations(setting.users, calls), "--operations-per-call=1")
        await running.first_write()
        await asyncio.sleep(before_s)
        began = time.monotonic()
        foreign = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.foreign_client", running.emulator_url, STRANGE),
            *(f"--per-minute={SHARE * setting.rate * 60}", f"--seconds={burning_s}", f"--tokens={TOKENS}"),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await foreign.communicate()
        stopped = time.monotonic()
        await asyncio.sleep(after_s)
        ledger = await running.ledger()
    ours, strange = arrivals(ledger, passed=True), arrivals(ledger, foreign=True, passed=True)
    refused = sorted(call["arrived"] for call in calls_of(ledger) if call["status"] == 429)
    end = stopped + after_s

    def used_of_rest(start: float) -> float:
        rest = setting.rate * (stopped - start) - between(strange, start, stopped)
        return between(ours, start, stopped) / rest

    return {
        "window": setting.window,
        "burning_s": stopped - began,
        "throttled_share": between(refused, began, end) / between(arrivals(ledger), began, end),
        "throttled_share_while_burning": between(refused, began, stopped) / between(arrivals(ledger), began, stopped),
        "used_of_rest": used_of_rest(began),
        "used_of_rest_from_second_window": used_of_rest(began + setting.window),
        "full_again_after_s": full_again_after(ours, stopped, setting.window, ENOUGH * setting.per_project),
        "bars": {"throttled_share": 0.01, "used_of_rest": 0.9, "full_again_after_s": 300},
        "used_share_before": between(ours, began - setting.window, began) / setting.per_project,
        "throttled": throttled(ledger),
        "foreign_statuses": json.loads(said),
        "ours_by_window": by_span(ours, began, end, setting.window),
        "throttled_by_window": by_span(refused, began, end, setting.window),
        "foreign_by_window": by_span(strange, began, end, setting.window),
        "worst_window_with_foreign": worst_windows(ledger, setting.window),
    }


async def main(minutes: float = 5.5, window: float = 60.0) -> dict[str, Any]:
    """Google's default quotas; calls of 0.4 s."""
    return await measure(Setting(latency_ms=400, jitter_ms=200).scaled(window), minutes * 60)
