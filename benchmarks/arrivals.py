"""An urgent request behind a million low operations is sent within moments: from its submission to its first call.

Low is one request of a million appends, normal one with a backlog of its own; both saturate the project's write quota.
Then urgent requests of one operation each arrive one by one, for varying users, every six seconds on average. Their operation
is a raw request, which needs no look-up of titles: its first call is its write, and has to wait for the write quota.

Measured for each: from the moment at which `submit` was called in this process (input stored and workflow started through
`starter`; no command line has to start), and from the moment at which the server accepted the start, to the arrival of the
first call in the emulator's ledger. Both clocks are this machine's. Percentiles are nearest ranks.

Two variants, and the output says which is which: a million operations at most 100 a call, so that low has a backlog
throughout; and a million merged as headgate merges by default, for as long as low lasts (a third of the arrivals).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.readings import Ledger, arrivals, between, percentiles, throttled
from benchmarks.rig import Handed, Rig, Setting, rig, worst_windows
from benchmarks.usage import SHEETS_EACH, operations

MILLION: Final = 1_000_000
EVERY_S: Final = 6.0
PLANNED_WITHIN_S: Final = 600.0


def low_operations(users: int, count: int) -> Iterator[dict[str, Any]]:
    """Appends to spreadsheets of their own, in turn."""
    for n in range(count):
        user = n % users
        sheet = f"low-{user}-{n // users % SHEETS_EACH}"
        yield {"id": f"low-{n}", "op": "append", "spreadsheet": sheet, "range": "Orders!A:A", "values": [[n]], "user": f"u{user}"}  # fmt: skip


def urgent_operation(n: int, user: int) -> dict[str, Any]:
    cell = {"userEnteredValue": {"numberValue": n}}
    request = {"appendCells": {"sheetId": 0, "rows": [{"values": [cell]}], "fields": "userEnteredValue"}}
    return {"id": f"urgent-{n}", "op": "request", "spreadsheet": f"urgent-{n}", "request": request, "user": f"u{user}"}


async def measure(setting: Setting, count: int, operations_per_call: int, million: int) -> dict[str, Any]:
    """Low first, then normal; the urgent ones once both have written and a window has passed."""
    sheets = [f"{name}-{u}-{n}" for name in ("low", "sheet") for u in range(setting.users) for n in range(SHEETS_EACH)]
    urgent = [f"urgent-{n}" for n in range(count)]
    async with rig(setting, [*sheets, *urgent]) as running:
        began = time.monotonic()
        low = await running.hand_in(
            low_operations(setting.users, million), priority="low", owner="low", operations_per_call=operations_per_call
        )
        handed_s = time.monotonic() - began
        await running.first_write(PLANNED_WITHIN_S)
        planned_s = time.monotonic() - began - handed_s
        backlog = int(setting.rate * (count * EVERY_S + 3 * setting.window))
        await running.hand_in(
            operations(setting.users, backlog), priority="normal", owner="normal", operations_per_call=1
        )
        await asyncio.sleep(setting.window)
        started = time.monotonic()
        handed = [await _submit(running, n, setting.users) for n in range(count)]
        ended = time.monotonic()
        await asyncio.sleep(min(setting.window, 20.0))
        accepted = [await running.accepted_at(one.id) for one in handed]
        ledger = await running.ledger()
        view = await running.progress(low.id)
    first = first_calls(ledger)
    waits = {
        "since_submit_was_called": [first[n] - one.called_at for n, one in enumerate(handed) if n in first],
        "since_the_server_accepted": [first[n] - at for n, at in enumerate(accepted) if n in first],
    }
    return {
        "low": {
            "operations": million,
            "operations_per_call": operations_per_call or "as many as fit",
            "calls_planned": view.calls.planned,
            "remaining_at_the_end": view.operations.remaining,
            "seconds_to_hand_in": handed_s,
            "seconds_to_first_write": planned_s,
        },
        **{name: percentiles(seconds) for name, seconds in waits.items()},
        "submit_took": percentiles([one.returned_at - one.called_at for one in handed]),
        "never_sent": count - len(first),
        "used_share_meanwhile": between(arrivals(ledger), started, ended) / ((ended - started) * setting.rate),
        "throttled": throttled(ledger),
        "worst_window": worst_windows(ledger, setting.window),
        "seconds_each_since_accepted": [round(seconds, 3) for seconds in waits["since_the_server_accepted"]],
    }


async def _submit(running: Rig, n: int, users: int) -> Handed:
    """Arrivals keep no step with rounds or windows: the pauses between them vary, the same at every run."""
    await asyncio.sleep(EVERY_S * random.Random(n).uniform(0.5, 1.5))
    return await running.hand_in([urgent_operation(n, n * 5 % users)], priority="urgent", owner=f"urgent-{n % 7}")


def first_calls(ledger: Ledger) -> dict[int, float]:
    """For each urgent request that was sent: the arrival of its first call, of whatever kind."""
    first: dict[int, float] = {}
    for call in ledger["calls"]:
        name, _, number = call["spreadsheet"].rpartition("-")
        if name == "urgent":
            first[int(number)] = min(call["arrived"], first.get(int(number), call["arrived"]))
    return first


async def main(minutes: float = 10.0, window: float = 60.0, size: int = MILLION) -> dict[str, Any]:
    """A hundred arrivals in ten minutes; `size` is how many operations low has."""
    setting = Setting(latency_ms=400, jitter_ms=200).scaled(window)
    count = max(3, round(minutes * 60 / EVERY_S))
    return {
        "low has at most 100 operations a call": await measure(setting, count, 100, size),
        "low is merged by default": await measure(setting, max(3, count // 3), 0, size),
    }
