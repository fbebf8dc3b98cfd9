"""The ETA against the time that really remained: at a steady share, and after the share has changed.

Google's default quotas, calls of 0.4 s, a call an operation. *Steady*: one request alone; *uneven*: the same, but one user has
a third of all calls. *Comes*, *goes*: an urgent request of another owner comes while it runs, or is there and is paused. The progress query is asked every two seconds, the truth is the request's end by the emulator's last call. Error: what
the ETA says that remains, against what remained, as a share of the latter (bar: 0.1 at 25, 50 and 75 % from one minute after
the start on; and one minute after each change of share).
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any, Final

from benchmarks.rig import Rig, Setting, rig
from benchmarks.usage import operations, spreadsheets

EVERY_S: Final = 2.0
SETTLES_S: Final = 60.0
BAR: Final = 0.1
ONE_EACH: Final = "--operations-per-call=1"
URGENT: Final = [f"urgent-{n}" for n in range(12)]

#: (instant, share done, what the ETA says that remains (s), state)
Said = tuple[float, float, float | None, str]


async def _watched(running: Rig, request_id: str, said: list[Said]) -> None:
    """Ask until the request is over."""
    offset = time.time() - time.monotonic()
    while True:
        view = await running.progress(request_id)
        now = time.monotonic()
        if view.state in ("completed", "failed", "cancelled"):
            return
        done = (view.operations.succeeded + view.operations.failed) / max(1, view.operations.total)
        eta = None if view.eta_at is None else datetime.fromisoformat(view.eta_at).timestamp() - offset - now
        said.append((now, done, eta, view.state))
        await asyncio.sleep(EVERY_S)


def _error(said: Said, ended: float) -> float | None:
    return None if said[2] is None else abs(said[2] - (ended - said[0])) / (ended - said[0])


def _first(said: list[Said], ended: float, since: float, share: float = 0.0) -> dict[str, Any] | None:
    """The first answer at or after an instant and a share done."""
    for one in said:
        if one[0] >= since and one[1] >= share:
            return {"done": one[1], "says_s": one[2], "remained_s": ended - one[0], "error": _error(one, ended)}
    return None


async def steady(setting: Setting, minutes: float, *, uneven: bool = False) -> dict[str, Any]:
    """One request, alone."""
    calls = int(setting.rate * 60 * minutes)
    lines = operations(setting.users, calls)
    if uneven:
        lines = [{**line, "user": "u0"} if n % 4 == 1 else line for n, line in enumerate(lines)]
    async with rig(setting, spreadsheets(setting.users)) as running:
        said, watching, began = await _begun(running, lines)
        await watching
        ended = await _ended(running)
    marks = {f"{share:.0%}": _first(said, ended, began + SETTLES_S, share) for share in (0.25, 0.5, 0.75)}
    return {"took_s": ended - began, "at": marks, "worst_later": _worst(said, ended, began + SETTLES_S)}


async def comes(setting: Setting, left_s: float) -> dict[str, Any]:
    """An urgent request comes when the normal one has so much left as takes this long at its floor, and stays."""
    calls, floor = int(setting.rate * 180), 0.2 * setting.rate
    async with rig(setting, [*spreadsheets(setting.users), *URGENT]) as running:
        said, watching, began = await _begun(running, operations(setting.users, calls))
        while not said or (1 - said[-1][1]) * calls > left_s * floor:
            await asyncio.sleep(0.5)
        came = time.monotonic()
        await running.submit(_urgent(int(setting.rate * 2 * left_s)), ONE_EACH, "--owner=other", "--priority=urgent")
        await watching
        ended = await _ended(running)
    return _changed(said, began, came, ended)


async def goes(setting: Setting, minutes: float) -> dict[str, Any]:
    """An urgent request is there from the start, and is paused for good after two minutes."""
    calls = int(setting.rate * 60 * minutes)
    async with rig(setting, [*spreadsheets(setting.users), *URGENT]) as running:
        urgent = await running.submit(_urgent(int(setting.rate * 600)), ONE_EACH, "--owner=other", "--priority=urgent")
        said, watching, began = await _begun(running, operations(setting.users, calls))
        await asyncio.sleep(2 * SETTLES_S)
        await asyncio.to_thread(running.headgate, "pause", urgent)
        went = time.monotonic()
        await watching
        ended = await _ended(running)
    return _changed(said, began, went, ended)


async def _begun(running: Rig, lines: list[dict[str, Any]]) -> tuple[list[Said], asyncio.Task[None], float]:
    request_id = await running.submit(lines, ONE_EACH, "--owner=one")
    async with asyncio.timeout(60):
        while not (await running.progress(request_id)).calls.made:
            await asyncio.sleep(0.2)
    said: list[Said] = []
    return said, asyncio.create_task(_watched(running, request_id, said)), time.monotonic()


async def _ended(running: Rig) -> float:
    """The last answer to the normal request's calls."""
    calls = (await running.ledger())["calls"]
    return max(call["answered"] or 0.0 for call in calls if (call["spreadsheet"] or "").startswith("sheet-"))


def _changed(said: list[Said], began: float, at: float, ended: float) -> dict[str, Any]:
    return {
        "took_s": ended - began,
        "a_minute_after": _first(said, ended, at + SETTLES_S),
        "five_seconds_after": _first(said, ended, at + 5),
        "worst_later": _worst(said, ended, at + SETTLES_S),
    }


def _urgent(calls: int) -> list[dict[str, Any]]:
    return [
        {"id": f"urgent-{n}", "op": "append", "spreadsheet": URGENT[n % 12], "range": "Orders!A:B",
         "values": [[f"urgent-{n}", n]], "user": f"u{n % 12}"}
        for n in range(calls)
    ]  # fmt: skip


def _worst(said: list[Said], ended: float, since: float) -> float:
    """The largest error from then on, until a tenth of the operations is left."""
    return max(
        (e for one in said if one[0] >= since and one[1] <= 0.9 and (e := _error(one, ended)) is not None), default=0.0
    )


async def main(minutes: float = 6.0) -> dict[str, Any]:
    """`minutes` is how long the request takes alone."""
    setting = Setting(latency_ms=400, jitter_ms=100)
    return {
        "steady": await steady(setting, minutes),
        "uneven": await steady(setting, minutes / 2, uneven=True),
        "comes": await comes(setting, 180.0),
        "goes": await goes(setting, minutes / 2),
        "bar": BAR,
    }
