"""The worker killed with SIGKILL every 20 s while answers are lost: nothing over quota, nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from benchmarks.readings import throttled
from benchmarks.rig import Rig, Setting, rig, worst_windows
from benchmarks.usage import operations, spreadsheets

FAULTS = (
    {"kind": "write", "probability": 0.02, "effect": "close", "when": "after"},
    {"kind": "write", "probability": 0.01, "effect": "error", "status": 503, "when": "before"},
)


async def measure(setting: Setting, minutes: float, kill_every_s: float, calls: int) -> dict[str, Any]:
    """Kill for so many minutes, then let it complete; the emulator's cells and the results say what became of each row."""
    async with rig(setting, spreadsheets(setting.users)) as running:
        started = time.monotonic()
        request_id = await running.submit(operations(setting.users, calls), "--operations-per-call=1")
        kills = 0
        while time.monotonic() - started < minutes * 60:
            await asyncio.sleep(kill_every_s)
            if await _over(running, request_id):
                break
            running.kill_worker()
            kills += 1
            running.start_worker()
        view = await running.ended(request_id, within_s=1800)
        seconds = time.monotonic() - started
        ledger = await running.ledger()
        accounts = await running.accounts(request_id, calls, spreadsheets(setting.users))
    return {
        "kills": kills,
        "seconds": round(seconds),
        "worst_window": worst_windows(ledger, setting.window),
        "limits": {"project": setting.per_project, "user": setting.per_user},
        "throttled": throttled(ledger),
        "calls": len(ledger["calls"]),
        **accounts,
        "faults": dict(Counter(c["fault"] for c in ledger["calls"] if c.get("fault"))),
        "reported": view.model_dump(),
    }


async def _over(running: Rig, request_id: str) -> bool:
    try:
        async with asyncio.timeout(5):
            return (await running.progress(request_id)).state == "completed"
    except Exception:  # no worker answers just now: it was killed a moment ago
        return False


async def main(minutes: float = 3.0) -> dict[str, Any]:
    """Real windows; three minutes of kills."""
    return await measure(Setting(latency_ms=400, jitter_ms=200, faults=FAULTS), minutes, 20, 900)
