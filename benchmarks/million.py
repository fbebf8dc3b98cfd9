"""A million appends over 500 spreadsheets and 10 users at Google's default quotas, a call taking 1.2 s; and the same while
answers are lost, calls fail and the worker is killed.

From the command `headgate submit` to the request's result: seconds (bar: 180), calls of all kinds (1,100), operations that the
plan activity takes a second (40,000), MiB resident in any process of ours (400), events in any run's history (10,000).
What became of the rows is read from the emulator's cells, which must be the input, in order; faults and calls from its
ledger, with at most two calls more for every fault and for every call in flight at a kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from temporalio.api.enums.v1 import EventType

from activities.planning import Planning
from benchmarks.processes import seconds_of_processes, watched_memory
from benchmarks.readings import Ledger, arrivals, throttled
from benchmarks.rig import PROJECT, Rig, Setting, rig, worst_windows
from headgate.messages.requests import BulkRequest
from workflows.names import bulk_request_id, rate_limiter_id

USERS: Final = 10
MOST_SPREADSHEETS: Final = 500
KILLED_AT: Final = (0.25, 0.5, 0.75)
DEFAULTS: Final = Setting(latency_ms=1200, users=USERS)
FAULTS: Final = (
    {"probability": 0.02, "effect": "close", "when": "after"},
    {"probability": 0.01, "effect": "error", "status": 503, "when": "before"},
    {"probability": 0.01, "effect": "error", "status": 500, "when": "after"},
)
BARS: Final = {
    "seconds": 180,
    "calls": 1_100,
    "planned_per_second": 40_000,
    "resident_mib": 400,
    "events": 10_000,
    "more_calls_each": 2,
}


def spreadsheets(size: int) -> list[str]:
    """500, or fewer with 2,000 operations each."""
    return [f"million-{n}" for n in range(max(1, min(MOST_SPREADSHEETS, size // 2_000)))]


def row(n: int) -> list[Any]:
    """What operation n appends."""
    return [f"op-{n}", n, f"Customer {n % 977}, 12 High Street, Leeds"]


def lines(size: int) -> Iterator[bytes]:
    """Appends in turn over the spreadsheets, each of which one user writes."""
    sheets = len(spreadsheets(size))
    for n in range(size):
        sheet = n % sheets
        line = {"id": f"op-{n}", "op": "append", "spreadsheet": f"million-{sheet}", "range": "Orders!A:C", "values": [row(n)], "user": f"u{sheet % USERS}"}  # fmt: skip
        yield json.dumps(line).encode() + b"\n"


async def measure(setting: Setting, size: int, kills: int = 0) -> dict[str, Any]:
    """One request from submission to its result, with so many kills while it sends."""
    sheets = spreadsheets(size)
    load = os.getloadavg()
    async with rig(setting, sheets) as running, watched_memory() as resident:
        path = running.folder / "million.jsonl"
        with path.open("wb") as file:
            file.writelines(lines(size))
        before, began = seconds_of_processes(), time.monotonic()
        request_id = await running.submit_file(path)
        submitted = time.monotonic()
        killed_at = await _kill(running, len(sheets), kills)
        view = await running.ended(request_id, within_s=3600)
        ended = time.monotonic()
        after = seconds_of_processes()
        ledger = await running.ledger()
        planning = await _planning_seconds(running, request_id)
        events = await _events(running, request_id)
        accounts = await _accounts(running, request_id, size)
    faults = Counter(call["fault"] for call in ledger["calls"] if call["fault"])
    cut_off = sum(_in_flight(ledger, at) for at in killed_at)
    planned = view.calls.planned
    more = len(ledger["calls"]) - planned
    writes = arrivals(ledger)
    return {
        "operations": size,
        "spreadsheets": len(sheets),
        "seconds": ended - began,
        "phases_s": {
            "submit": submitted - began,
            "plan": planning,
            "first look-up": arrivals(ledger, kind="read")[0] - began,
            "first write": writes[0] - began,
            "last write": writes[-1] - began,
        },
        "calls": len(ledger["calls"]),
        "planned_calls": planned,
        "planned_per_second": size / planning,
        "resident_mib": resident,
        "events": events,
        **accounts,
        "kills": len(killed_at),
        "faults": dict(faults),
        "in_flight_at_kills": cut_off,
        "more_calls_each": more / (faults.total() + cut_off) if faults.total() + cut_off else float(more),
        "throttled": throttled(ledger),
        "worst_window": worst_windows(ledger, setting.window),
        "limits": {"project": setting.per_project, "user": setting.per_user},
        "processor_s": {name: round(after[name] - before.get(name, 0.0), 1) for name in sorted(after)},
        "load_before": load,
        "reported": view.model_dump(),
        "bars": BARS,
    }


async def _kill(running: Rig, writes: int, kills: int) -> list[float]:
    """SIGKILL to the worker's processes at each share of the writes, and a new worker at once; returns the instants."""
    killed_at = []
    for share in KILLED_AT[:kills]:
        while len(arrivals(await running.ledger())) < share * writes:
            await asyncio.sleep(1)
        killed_at.append(time.monotonic())
        await asyncio.to_thread(running.kill_worker)
        running.start_worker()
    return killed_at


def _in_flight(ledger: Ledger, at: float) -> int:
    return sum(call["arrived"] <= at and (not call["answered"] or call["answered"] > at) for call in ledger["calls"])


async def _planning_seconds(running: Rig, request_id: str) -> float:
    """How long the plan activity took, from its start to its result."""
    scheduled: int | None = None
    started = 0.0
    runs = [run async for run in running.client.list_workflows(f"WorkflowId = '{bulk_request_id(request_id)}'")]
    first = min(runs, key=lambda run: run.start_time)  # it may have continued as new since
    history = running.client.get_workflow_handle(bulk_request_id(request_id), run_id=first.run_id)
    async for event in history.fetch_history_events():
        at = event.event_time.ToNanoseconds() / 1e9
        match event.event_type:
            case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                named = event.activity_task_scheduled_event_attributes.activity_type.name
                scheduled = event.event_id if named == "plan" else scheduled
            case EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
                if event.activity_task_started_event_attributes.scheduled_event_id == scheduled:
                    started = at
            case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                if event.activity_task_completed_event_attributes.scheduled_event_id == scheduled:
                    return at - started
    raise RuntimeError(f"the request {request_id} was not planned in its first run")


async def _events(running: Rig, request_id: str) -> dict[str, int]:
    """The longest history of any run of the request and of the limiter."""
    longest = {}
    for name, workflow_id in (("request", bulk_request_id(request_id)), ("limiter", rate_limiter_id(PROJECT))):
        runs = running.client.list_workflows(f"WorkflowId = '{workflow_id}'")
        longest[name] = 0
        async for run in runs:
            described = await running.client.get_workflow_handle(workflow_id, run_id=run.run_id).describe()
            longest[name] = max(longest[name], described.history_length)
    return longest


async def _accounts(running: Rig, request_id: str, size: int) -> dict[str, Any]:
    """By the cells: rows lost, doubled, or out of the input's order; and the results, each operation once."""
    sheets = spreadsheets(size)
    lost = doubled = 0
    in_order = True
    for place, spreadsheet in enumerate(sheets):
        grids = await running.ask_emulator(f"spreadsheets/{spreadsheet}")
        found = grids["Orders"]
        expected = [row(n) for n in range(place, size, len(sheets))]
        in_order = in_order and found == expected
        if found != expected:
            times = Counter(str(one[0]) for one in found if one)
            lost += sum(times[one[0]] == 0 for one in expected)
            doubled += sum(times[one[0]] > 1 for one in expected)
    outcomes, ids = await asyncio.to_thread(_results, running, request_id)
    return {
        "lost": lost,
        "doubled": doubled,
        "cells_are_the_input_in_order": in_order,
        "results": dict(outcomes),
        "results_each_once": len(ids) == outcomes.total() == size,
    }


def _results(running: Rig, request_id: str) -> tuple[Counter[str], set[str]]:
    outcomes: Counter[str] = Counter()
    ids: set[str] = set()
    for line in running.headgate("results", request_id, "--json").stdout.splitlines():
        result = json.loads(line)
        outcomes[f"{result['outcome']}/{result['applied']}"] += 1
        ids.add(result["id"])
    return outcomes, ids


async def plan_alone(size: int) -> dict[str, Any]:
    """The planner in a process of its own, from bytes to the plan's files; nothing else of ours is running."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        path = Path(name) / "million.jsonl"
        with path.open("wb") as file:
            file.writelines(lines(size))
        command = (sys.executable, "-m", "benchmarks.million", str(path), name)
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        answer, _ = await process.communicate()
    return {"operations": size, **json.loads(answer), "load_before": load}


def _plan(path: Path, folder: Path) -> dict[str, Any]:
    planning = Planning(BulkRequest(id="million", project=PROJECT, nonce="n"), folder)
    began, spent = time.perf_counter(), time.process_time()
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            planning.take(block)
    summary = planning.finish()
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    status = Path("/proc/self/status").read_text()
    resident = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {
        "per_second": round(summary.operations / seconds),
        "per_processor_second": round(summary.operations / spent),
        "calls": summary.calls,
        "resident_mib": round(resident, 1),
    }


async def main(size: int = 1_000_000) -> dict[str, Any]:
    """The planner alone at this size and three times it; the whole way, without and with faults and three kills."""
    return {
        "planner alone": [await plan_alone(size), await plan_alone(3 * size)],
        "undisturbed": await measure(DEFAULTS, size),
        "faults and kills": await measure(replace(DEFAULTS, faults=FAULTS), size, kills=len(KILLED_AT)),
    }


if __name__ == "__main__":
    print(json.dumps(_plan(Path(sys.argv[1]), Path(sys.argv[2]))))
