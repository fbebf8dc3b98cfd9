"""Raised quotas: 8,000 calls a minute for the project, 600 a user, one worker, one dev server, one emulator.

Six requests of 60 lanes each, 40 users, calls of 1.2 s give or take 0.4, spreadsheets spaced by a second, an operation a
call. From the emulator's ledger, which is read only when the measurement is over: the share of the project's quota that was
used from the second window on (bar: 95 %), the worst window of each bucket, 429s (bar: 0). From the server: billable actions
a call (bar: 0.2). From the worker's SDK, where it shows metrics: how long a workflow task of the limiter took (bar: 200 ms).

What the rig itself takes is in the output: seconds of processor time by process during the measurement, and how late the
emulator's own answers were beyond the latency that it simulates.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from benchmarks.processes import seconds_of_processes
from benchmarks.readings import Ledger, arrivals, between, by_span, percentiles, throttled
from benchmarks.rig import Setting, rig, worst_windows

REQUESTS: Final = 6
LANES: Final = 60
RAISED: Final = Setting(per_project=8_000, per_user=600, latency_ms=1200, jitter_ms=400, users=40)


def lane_operations(request: int, users: int, calls: int) -> list[dict[str, Any]]:
    """One request's appends, in turn over its lanes; a lane is a spreadsheet and the user that writes it."""
    made = []
    for n in range(calls):
        lane = request * LANES + n % LANES
        made.append({"id": f"op-{n}", "op": "append", "spreadsheet": f"wide-{lane}", "range": "Orders!A:A", "values": [[n]], "user": f"u{lane % users}"})  # fmt: skip
    return made


def emulator_lateness(ledger: Ledger, setting: Setting) -> dict[str, float]:
    """Seconds from arrival to answer beyond the longest latency that it simulates: its own computing and queues."""
    longest = (setting.latency_ms + setting.jitter_ms) / 1000
    return percentiles([max(0.0, c["answered"] - c["arrived"] - longest) for c in ledger["calls"] if c["answered"]])


async def measure(setting: Setting, seconds: float) -> dict[str, Any]:
    """A backlog for a window and so many seconds more."""
    calls = int(setting.rate * (seconds + 2 * setting.window) / REQUESTS)
    sheets = [f"wide-{lane}" for lane in range(REQUESTS * LANES)]
    async with rig(setting, sheets) as running:
        for request in range(REQUESTS):
            lines = lane_operations(request, setting.users, calls)
            await running.hand_in(lines, owner=f"owner-{request}", operations_per_call=1)
        began = await running.first_write(180)
        await asyncio.sleep(setting.window)
        spent, actions, start = seconds_of_processes(), await running.actions(), time.monotonic()
        await asyncio.sleep(seconds)
        end = time.monotonic()
        counted, after = await running.actions() - actions, seconds_of_processes()
        tasks = await running.limiter_task_seconds()
        shown = await running.limiter_view()
        ledger = await running.ledger()
    times = arrivals(ledger)
    made = between(times, start, end)
    return {
        "window": setting.window,
        "limits": {"project": setting.per_project, "user": setting.per_user},
        "used_share": made / (setting.rate * (end - start)),
        "calls": made,
        "worst_window": worst_windows(ledger, setting.window),
        "throttled": throttled(ledger),
        "actions_per_call": counted.total() / made,
        "bars": {"used_share": 0.95, "throttled": 0, "actions_per_call": 0.2, "workflow_task_s": 0.2},
        "actions": dict(counted),
        "tokens_returned_share": shown.returned / shown.granted,
        "limiter_workflow_task_s": tasks,
        "by_window": by_span(times, began, end, setting.window),
        "processor_share": {name: (after[name] - spent.get(name, 0.0)) / (end - start) for name in sorted(after)},
        "emulator_lateness_s": emulator_lateness(ledger, setting),
    }


async def main(minutes: float = 4.0, window: float = 60.0) -> dict[str, Any]:
    """`minutes` is how long it measures, after a first window."""
    return await measure(RAISED.scaled(window), minutes * 60)
