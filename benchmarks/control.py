"""Pause, resume, reprioritise and cancel of a running request of a million operations: how soon each acts, and what it costs.

Google's default quotas, calls of 1.2 s, 100 operations a call so that the request runs long enough. Commands are updates, sent
as `headgate pause` and the others send them; each instant is that before the command is sent. From the emulator's ledger:
seconds to the last call after a pause or a cancellation, to the first one after a resume while nobody else wants the quota,
and, beside a rival with a backlog, until ten calls begin of which six are those of whoever is to go first now: to the last call
before them, and to their first (which also waits for quota, where an urgent request has run ahead of the pace). The bar is
2 s at p99; for the new order that of the last call in the old one. From the request's histories: events in the first 2.5 s from a pause, and events while it is paused
(0), for the million and for a tenth of it: the same, whatever the size.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.million import DEFAULTS, USERS, lines, spreadsheets
from benchmarks.readings import Ledger, percentiles
from benchmarks.rig import Rig, rig, worst_windows
from headgate.messages.views import Control
from headgate.messages.words import Priority
from starter.service import TemporalService
from workflows.names import bulk_request_id

PER_CALL: Final = 100
PAUSED_S: Final = 5.0
GOES_S: Final = 4.0
ORDERED_S: Final = 6.0
#: A pause acts within this; what happens behind it happens in a pause.
ACTED_S: Final = 2.5
CALLS, MOST = 10, 6
BAR_S: Final = 2.0


@dataclass
class Commands:
    """When each command was sent, and how long its answer took."""

    running: Rig
    at: dict[str, list[float]] = field(default_factory=dict)
    answered_s: list[float] = field(default_factory=list)

    async def say(self, request_id: str, command: str, to: Priority | None = None) -> float:
        """Returns the instant before the command was sent."""
        at = time.monotonic()
        said = Control(to=to, by="benchmark")
        await TemporalService(self.running.client).control(request_id, command, said)  # type: ignore[arg-type]
        self.answered_s.append(time.monotonic() - at)
        self.at.setdefault(f"{command} {to}" if to else command, []).append(at)
        return at


async def _under_way(running: Rig, size: int) -> str:
    """A request of so many operations, once its calls come steadily."""
    path = running.folder / f"{size}.jsonl"
    with path.open("wb") as file:
        file.writelines(lines(size))
    request_id = await running.submit_file(path, f"--operations-per-call={PER_CALL}")
    async with asyncio.timeout(120):
        while (await running.progress(request_id)).calls.made < 20:
            await asyncio.sleep(0.5)
    return request_id


async def _pauses(commands: Commands, request_id: str, cycles: int) -> None:
    for _ in range(cycles):
        await commands.say(request_id, "pause")
        await asyncio.sleep(PAUSED_S)
        await commands.say(request_id, "resume")
        await asyncio.sleep(GOES_S)


async def measure(size: int, cycles: int) -> dict[str, Any]:
    """The commands on one request of so many operations, on a rig of its own."""
    rivals = [f"rival-{n}" for n in range(40)]
    async with rig(DEFAULTS, [*spreadsheets(size), *rivals]) as running:
        commands = Commands(running)
        request_id = await _under_way(running, size)
        await _pauses(commands, request_id, cycles)
        rival = await running.submit(_rival(rivals), "--operations-per-call=1", "--owner=rival")
        await commands.say(request_id, "reprioritise", "low")
        await asyncio.sleep(2 * ORDERED_S)
        raised = []
        for _ in range(cycles):
            raised.append(await commands.say(request_id, "reprioritise", "urgent"))
            await asyncio.sleep(ORDERED_S)
            await commands.say(request_id, "reprioritise", "low")
            await asyncio.sleep(ORDERED_S)
        await commands.say(rival, "pause")
        await commands.say(request_id, "reprioritise", "urgent")
        await asyncio.sleep(ORDERED_S)
        cancelled = await commands.say(request_id, "cancel")
        view = await running.ended(request_id, within_s=60)
        ended = time.monotonic()
        ledger = await running.ledger()
        events = await _events(running, request_id)
    ours, others = _arrivals(ledger, "million-"), _arrivals(ledger, "rival-")
    pauses, resumes = commands.at["pause"][:cycles], commands.at["resume"]
    lowered = commands.at["reprioritise low"][1:]
    offset = time.time() - time.monotonic()
    stamps = [at - offset for at in events]
    return {
        "operations": size,
        "last_call_after_pause_s": percentiles([_last(ours, p, r) for p, r in zip(pauses, resumes, strict=True)]),
        "first_call_after_resume_s": percentiles([_first(ours, r) for r in resumes]),
        "old_order_lasts_after_raise_s": percentiles([_ordered(ours, others, at)[0] for at in raised]),
        "old_order_lasts_after_lowering_s": percentiles([_ordered(others, ours, at)[0] for at in lowered]),
        "first_in_new_order_after_raise_s": percentiles([_ordered(ours, others, at)[1] for at in raised]),
        "first_in_new_order_after_lowering_s": percentiles([_ordered(others, ours, at)[1] for at in lowered]),
        "last_call_after_cancel_s": _last(ours, cancelled, ended),
        "over_after_cancel_s": ended - cancelled,
        "answers_s": percentiles(commands.answered_s),
        "events_after_pause": percentiles([_count(stamps, p, p + ACTED_S) for p in pauses]),
        "events_while_paused": sum(_count(stamps, p + ACTED_S, r) for p, r in zip(pauses, resumes, strict=True)),
        "state": view.state,
        "operations_add_up": view.operations.succeeded + view.operations.failed + view.operations.unprocessed == size,
        "worst_window": worst_windows(ledger, DEFAULTS.window),
        "throttled": sum(call["status"] == 429 for call in ledger["calls"]),
    }


def _rival(sheets: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"id": f"rival-{n}", "op": "append", "spreadsheet": sheets[n % len(sheets)], "range": "Orders!A:B",
         "values": [[f"rival-{n}", n]], "user": f"u{n % USERS}"}
        for n in range(20_000)
    ]  # fmt: skip


def _arrivals(ledger: Ledger, prefix: str) -> list[float]:
    return sorted(
        call["arrived"]
        for call in ledger["calls"]
        if call["kind"] == "write" and (call["spreadsheet"] or "").startswith(prefix)
    )


def _last(times: Sequence[float], since: float, until: float) -> float:
    """Seconds to the last arrival in between; 0 if there is none."""
    before = bisect_left(times, until)
    return max(0.0, times[before - 1] - since) if before else 0.0


def _first(times: Sequence[float], since: float) -> float:
    """Seconds to the first arrival from then on; ones that a command had not stopped yet count as what they are."""
    place = bisect_left(times, since)
    return times[place] - since if place < len(times) else float("inf")


def _ordered(first: Sequence[float], others: Sequence[float], since: float) -> tuple[float, float]:
    """Seconds to the last arrival before, and to the first one of, ten of which six are of those that are to go first."""
    merged = sorted([(at, True) for at in first if at >= since] + [(at, False) for at in others if at >= since])
    for place in range(len(merged) - CALLS):
        if sum(ours for _, ours in merged[place : place + CALLS]) >= MOST:
            return merged[place - 1][0] - since if place else 0.0, merged[place][0] - since
    return float("inf"), float("inf")


def _count(stamps: Sequence[float], start: float, end: float) -> int:
    return sum(start <= at < end for at in stamps)


async def _events(running: Rig, request_id: str) -> list[float]:
    """The instants (of the server's clock, s) of all events of all runs."""
    found: list[float] = []
    async for run in running.client.list_workflows(f"WorkflowId = '{bulk_request_id(request_id)}'"):
        handle = running.client.get_workflow_handle(run.id, run_id=run.run_id)
        found += [event.event_time.ToNanoseconds() / 1e9 async for event in handle.fetch_history_events()]
    return found


async def main(size: int = 1_000_000, minutes: float = 14.0) -> dict[str, Any]:
    """The size given, and a tenth of it for comparison; `minutes` is how long commands are sent for the large one."""
    cycles = max(2, int(minutes * 60 / (PAUSED_S + GOES_S + 2 * ORDERED_S)))
    return {
        "large": await measure(size, cycles),
        "small": await measure(max(100_000, size // 10), 5),
        "bars": {"p99_s": BAR_S, "events_while_paused": 0},
    }
