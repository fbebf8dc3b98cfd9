"""What it costs to show people fifty running requests in a database, and how late they see them.

Bars: a row is written at most once in any second; the end of every request is there; sending does not notice.
Twice, on rigs of their own: requests that send seldom (Google's default quotas), and ones that send all the time.
A witness in the database, a trigger, counts the writes.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from temporalio.service import RPCError

from benchmarks.readings import percentiles
from benchmarks.rig import Rig, Setting, rig
from headgate.messages.views import ProgressView
from headgate.projections import counted
from tests.supabase.conftest import Database
from tests.supabase.platform.postgres import Postgres
from tests.supabase.projected import FrontDoor, most_in_a_second, shows
from workflows.names import bulk_request_id

REQUESTS = 50
USERS = 12
SELDOM = Setting(per_project=300, per_user=60, latency_ms=300, jitter_ms=100)
ALL_THE_TIME = Setting(per_project=1200, per_user=240, latency_ms=300, jitter_ms=100, spacing=0.01)
ASKED_EVERY_S = 0.2
ENDS_WITHIN_S = 60.0


@dataclass
class Asked:
    """What workflows said when: (request, version, counts, instant)."""

    said: list[tuple[str, int, int, float]] = field(default_factory=list)

    async def ask(self, running: Rig, requests: Sequence[str], until: float) -> None:
        """One request after the other, at random."""
        while time.monotonic() < until:
            request_id = random.choice(requests)
            view = await running.progress(request_id)
            self.said.append((request_id, view.version, counted(view), time.time()))
            await asyncio.sleep(ASKED_EVERY_S)


async def measure(setting: Setting, minutes: float, *, shown: bool) -> dict[str, Any]:
    """Fifty requests that have work for all of the time, and are cancelled then."""
    seconds = minutes * 60
    each = int(8 * setting.rate * seconds / REQUESTS) + 20
    sheets = [f"sheet-{n}" for n in range(REQUESTS)]
    with Postgres() as server:
        database = Database(server, server.database())
        door = FrontDoor(database)
        variables = {"HEADGATE_PROJECTION_URL": database.url("headgate_projector")} if shown else {}
        async with rig(setting, sheets, variables) as running:
            organisation = {} if shown else {"organisation": ""}
            requests = [
                await door.hand_in(running, _lines(sheet, n, each), **organisation) for n, sheet in enumerate(sheets)
            ]
            await running.first_write(180)
            actions, calls, asked = await running.actions(), _writes(await running.ledger()), Asked()
            await asked.ask(running, requests, time.monotonic() + seconds)
            made = _writes(await running.ledger()) - calls
            spent = (await running.actions()) - actions
            sizes = [await _size(running, request_id) for request_id in requests]
            added = await _added(running, requests) if shown else {}
            for request_id in requests:
                with suppress(RPCError):  # one that got more than its share is over
                    await running.client.get_workflow_handle(bulk_request_id(request_id)).signal("cancel")
            views = [await running.ended(request_id, 120) for request_id in requests]
            figures = {
                "calls": made,
                "calls_of_quota": round(made / (setting.rate * seconds), 3),
                "actions_per_call": round(spent.total() / made, 3),
                "actions": dict(spent.most_common(8)),
                "history_events_per_request": percentiles([events for events, _ in sizes]),
                "history_bytes_per_request": percentiles([size for _, size in sizes]),
                "history_bytes_per_call": round(sum(size for _, size in sizes) / max(1, made)),
            }
            if not shown:
                return figures
            return {**figures, "added": added, **(await _shown(door, requests, views, asked))}


async def _shown(
    door: FrontDoor, requests: Sequence[str], views: Sequence[ProgressView], asked: Asked
) -> dict[str, Any]:
    """What the database says of it, by its own clock, which is this machine's."""
    give_up_at = time.monotonic() + ENDS_WITHIN_S
    while (missing := [one for one in requests if not door.ended(one)]) and time.monotonic() < give_up_at:
        await asyncio.sleep(0.2)
    seen = {name: [one for one in writes if one["version"]] for name, writes in door.seen(*requests).items()}
    of_versions: list[float] = []
    of_counts: list[float] = []
    for name, version, counts, at in asked.said:
        for lags, column, said in ((of_versions, "version", version), (of_counts, "counted", counts)):
            shown = [one["at"].timestamp() for one in seen[name] if one[column] >= said]
            lags.append(max(0.0, min(shown, default=math.inf) - at))
    times = [one["at"].timestamp() for writes in seen.values() for one in writes]
    span = max(times) - min(times)
    return {
        "writes": sum(map(len, seen.values())),
        "writes_per_request_and_second": round(sum(map(len, seen.values())) / (REQUESTS * span), 3),
        "most_writes_of_a_row_in_a_second": max(most_in_a_second(writes) for writes in seen.values()),
        "versions_fell": sum(
            any(later["version"] <= earlier["version"] for earlier, later in pairwise(writes))
            for writes in seen.values()
        ),
        "counts_are_behind_by_s": percentiles(of_counts),
        "anything_is_behind_by_s": percentiles(of_versions),
        "ends_missing": len(missing),
        "ends_as_told": sum(shows(door.row(name), view) for name, view in zip(requests, views, strict=True)),
        "states": dict(Counter(one["status"] for writes in seen.values() for one in writes)),
    }


def _lines(sheet: str, number: int, count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"op-{n}", "op": "append", "spreadsheet": sheet, "range": "Orders!A:B",
         "values": [[f"op-{n}", n]], "user": f"u{number % USERS}"}
        for n in range(count)
    ]  # fmt: skip


def _writes(ledger: dict[str, Any]) -> int:
    return sum(call["kind"] == "write" for call in ledger["calls"])


async def _added(running: Rig, requests: Sequence[str]) -> dict[str, float]:
    """What showing added to the histories: views that went along, their bytes, and activities of its own."""
    orders = along = own = size = 0
    for request_id in requests:
        async for run in running.client.list_workflows(f"WorkflowId = '{bulk_request_id(request_id)}'"):
            handle = running.client.get_workflow_handle(run.id, run_id=run.run_id)
            async for event in handle.fetch_history_events():
                scheduled = event.activity_task_scheduled_event_attributes
                if scheduled.activity_type.name == "project":
                    own += 1
                    size += event.ByteSize()
                elif scheduled.activity_type.name in ("send_lease", "resend_batch"):
                    view = json.loads(scheduled.input.payloads[0].data)["progress"]
                    orders += 1
                    along += view is not None
                    size += len(json.dumps(view)) if view else 0
    return {
        "orders": orders,
        "views_along": along,
        "activities_of_its_own": own,
        "own_per_order": round(own / max(1, orders), 3),
        "bytes": size,
        "bytes_of_a_view": round(size / max(1, along + own)),
    }


async def _size(running: Rig, request_id: str) -> tuple[int, int]:
    """Events and bytes of all runs of a request so far."""
    events = size = 0
    async for run in running.client.list_workflows(f"WorkflowId = '{bulk_request_id(request_id)}'"):
        described = await running.client.get_workflow_handle(run.id, run_id=run.run_id).describe()
        info = described.raw_description.workflow_execution_info
        events, size = events + info.history_length, size + info.history_size_bytes
    return events, size


async def main(minutes: float = 3.0) -> dict[str, Any]:
    """`minutes` of each, with and without."""
    settings = {"seldom": SELDOM, "all_the_time": ALL_THE_TIME}
    return {
        "requests": REQUESTS,
        **{
            name: {
                "shown": await measure(setting, minutes, shown=True),
                "not_shown": await measure(setting, minutes, shown=False),
            }
            for name, setting in settings.items()
        },
        "bars": {"most_writes_of_a_row_in_a_second": 1, "versions_fell": 0, "ends_missing": 0},
    }
