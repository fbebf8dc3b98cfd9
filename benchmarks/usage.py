"""Never over, little wasted: 12 users with 3 spreadsheets each, a call for each operation, real windows.

What is measured, from the emulator's ledger alone: the worst window of each kind of bucket, 429s, the share of the project's
quota used from the second minute on, and the server's billable actions a call.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.readings import arrivals, between, by_span, throttled
from benchmarks.rig import Setting, rig, worst_windows

SHEETS_EACH = 3


def operations(users: int, calls: int) -> list[dict[str, Any]]:
    """Appends in turn over every user's spreadsheets, each with an id of its own."""
    made = []
    for n in range(calls):
        user = n % users
        sheet = f"sheet-{user}-{n // users % SHEETS_EACH}"
        made.append(
            {"id": f"op-{n}", "op": "append", "spreadsheet": sheet, "range": "Orders!A:B", "values": [[f"op-{n}", n]], "user": f"u{user}"}
        )  # fmt: skip
    return made


def spreadsheets(users: int) -> list[str]:
    return [f"sheet-{user}-{n}" for user in range(users) for n in range(SHEETS_EACH)]


def reads(users: int, calls: int) -> list[dict[str, Any]]:
    """Reads in turn over the same spreadsheets."""
    return [
        {"id": f"read-{n}", "op": "read", "spreadsheet": f"sheet-{n % users}-{n // users % SHEETS_EACH}",
         "range": "Orders!A1:B9", "user": f"u{n % users}"}
        for n in range(calls)
    ]  # fmt: skip


async def measure(setting: Setting, minutes: float, *, mixed: bool = False) -> dict[str, Any]:
    """Run with a backlog for so many minutes and read the ledger; `mixed` reads as well as writes."""
    calls = int(setting.per_project * (minutes + 2) * 60 / setting.window)
    lines = operations(setting.users, calls) + (reads(setting.users, calls) if mixed else [])
    async with rig(setting, spreadsheets(setting.users)) as running:
        request_id = await running.submit(lines, "--operations-per-call=1")
        await running.first_write()
        before, at = await running.actions(), (await running.ask_emulator("verdict"))["now"]
        await asyncio.sleep(minutes * 60)
        actions = await running.actions() - before
        ledger = await running.ledger()
        view = await running.progress(request_id)
    end = at + minutes * 60
    arrived = {kind: arrivals(ledger, kind=kind) for kind in (("read", "write") if mixed else ("write",))}
    during = sum(between(times, at, end) for times in arrived.values())
    return {
        "worst_window": worst_windows(ledger, setting.window),
        "limits": {"project": setting.per_project, "user": setting.per_user},
        "throttled": throttled(ledger),
        "used_share": {kind: share(times, end, setting) for kind, times in arrived.items()},
        "calls": len(ledger["calls"]),
        "actions_per_call": actions.total() / during,
        "actions": dict(actions),
        "by_minute": {kind: by_span(times, at, end, 60) for kind, times in arrived.items()},
        "reported": view.model_dump(),
    }


def share(times: list[float], end: float, setting: Setting) -> float:
    """The share of the project's quota used from the second window on."""
    start = times[0] + setting.window
    return between(times, start, end) / ((end - start) / setting.window * setting.per_project)


async def main(minutes: float = 5.0) -> dict[str, Any]:
    """Both latencies of the promise, and all four kinds of bucket at once."""
    return {
        "latency 0.1 s": await measure(Setting(latency_ms=100), minutes),
        "latency 1.2 +/- 0.4 s": await measure(Setting(latency_ms=1200, jitter_ms=400), minutes),
        "latency 1.2 +/- 0.4 s, reads and writes": await measure(
            Setting(latency_ms=1200, jitter_ms=400), minutes, mixed=True
        ),
    }
