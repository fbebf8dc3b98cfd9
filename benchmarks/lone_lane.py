"""A single lane alone: how much of what back-to-back calls would reach."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.readings import throttled
from benchmarks.rig import Setting, rig


async def measure(setting: Setting, minutes: float) -> dict[str, Any]:
    """Calls made against calls that would have fitted end to end at the mean latency."""
    lines = [
        {"id": f"op-{n}", "op": "append", "spreadsheet": "alone", "range": "Orders!A:A", "values": [[f"op-{n}"]], "user": "u0"}
        for n in range(int(minutes * 60 + 60))
    ]  # fmt: skip
    async with rig(setting, ["alone"]) as running:
        await running.submit(lines, "--operations-per-call=1")
        await running.first_write()
        before, start = await running.actions(), (await running.ask_emulator("verdict"))["now"]
        await asyncio.sleep(minutes * 60)
        actions = await running.actions() - before
        ledger = await running.ledger()
    during = [c for c in ledger["calls"] if c["kind"] == "write" and start <= c["arrived"] < start + minutes * 60]
    possible = minutes * 60 / (setting.latency_ms / 1000)
    return {
        "calls": len(during),
        "share_of_back_to_back": len(during) / possible,
        "throttled": throttled(ledger),
        "actions_per_call": actions.total() / len(during),
    }


async def main(minutes: float = 3.0) -> dict[str, Any]:
    """Fixed and varying latency."""
    return {
        "latency 1.2 s": await measure(Setting(latency_ms=1200), minutes),
        "latency 1.2 +/- 0.4 s": await measure(Setting(latency_ms=1200, jitter_ms=400), minutes),
    }
