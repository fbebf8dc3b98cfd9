"""Titles looked up again: by a booking of the batch that needs them, and known to whichever process sends the lane's next batch."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.batches import Batches
from activities.bookings import Desk
from activities.calls import CallActivities
from activities.clock import ServerClock
from activities.fences import Fences
from activities.http import Answer
from activities.pushback import Pushback
from activities.results import Results
from activities.sending import Sender
from activities.store import Store
from emulator.errors import ApiError
from headgate.apis.sheets.operations import parse_line
from headgate.messages.requests import BulkRequest, LaneEntry, PlannedBatch
from headgate.messages.sending import BatchDone, ResendBatch
from headgate.messages.tokens import Booked, Booking
from headgate.planner import Planner
from tests.unit.emulator_api import Api

SECOND_NS = 1_000_000_000
LANE = LaneEntry(lane=0, kind="write", user="u", spreadsheet="S", first_batch=0, batches=9, operations=9)


class Wire:
    """The emulator's core."""

    def __init__(self) -> None:
        self.api = Api()

    async def send(self, user: str, method: str, target: str, body: bytes, *_: object) -> Answer:
        try:
            answer = self.api.call(method, target.removeprefix("/v4/spreadsheets"), json.loads(body) if body else None)
        except ApiError as refusal:
            return Answer(refusal.code, {}, json.dumps({"error": {"message": refusal.message}}).encode(), 1, 2)
        return Answer(200, {}, json.dumps(answer).encode(), 1, 2)


class Planned(Batches):
    """The batches of a plan that lies in no store."""

    planned: list[PlannedBatch]

    async def load(self, request_id: str, number: int) -> PlannedBatch:
        return self.planned[number]


class OpenDesk(Desk):
    """Gives a token whenever it is asked; `booked` are the kinds."""

    booked: list[str]

    async def book(self, project: str, booking: Booking) -> tuple[Booked, int]:
        self.booked.append(booking.kind)
        return Booked(at_ns=self.clock.now_ns()), SECOND_NS

    async def set_clock(self, project: str) -> None:
        """The test sets it."""


class Worker:
    """One process, with what it remembers."""

    def __init__(self, store: Store, wire: Wire, plan: list[PlannedBatch]) -> None:
        nobody: Any = None
        clock = ServerClock()
        clock.started(datetime.now(UTC))
        batches = Planned(store)
        batches.planned = plan
        self.desk = OpenDesk(nobody, clock, str, nobody)
        self.desk.booked = []
        sender = Sender(batches, Results(store), wire, clock, Pushback(clock, nobody), Fences(store))  # type: ignore[arg-type]
        self.activities = CallActivities(sender, self.desk, clock, nobody)

    async def brings_to_its_end(self, request: BulkRequest, number: int) -> BatchDone:
        order = ResendBatch(request=request, holder="bulk/r", lane=LANE, batch=number)
        for attempt in range(2, 20):
            environment = ActivityEnvironment()
            environment.info = dataclasses.replace(environment.info, attempt=attempt, started_time=datetime.now(UTC))
            try:
                report = await environment.run(self.activities.resend_batch, order)
            except ApplicationError:
                continue
            assert report.done is not None
            return report.done
        pytest.fail("it never ends")


def planned(request: BulkRequest, *lines: dict[str, Any]) -> list[PlannedBatch]:
    planner = Planner(request)
    drafts = []
    for number, line in enumerate(lines, 1):
        drafts += planner.add(parse_line(json.dumps({"spreadsheet": "S", "user": "u", **line}), number, ""))
    return [
        PlannedBatch(number=number, lane=0, form=draft.form, user="u", spreadsheet="S", operations=draft.operations)
        for number, draft in enumerate([*drafts, *planner.finish()])
    ]


def append(title: str, text: str) -> dict[str, Any]:
    return {"op": "append", "range": f"{title}!A:A", "values": [[text]]}


ADD: dict[str, Any] = {"addSheet": {"properties": {"title": "Log"}}}


@pytest.mark.parametrize("grow", [False, True])
async def test_another_process_knows_what_a_failed_request_left_behind(grow: bool) -> None:
    """Batches of one operation, sent by two processes in turn: an adding that fails, a renaming, an adding that succeeds."""
    request = BulkRequest(id="r", project="p", nonce="n", operations_per_call=1, grow=grow)
    rename = {"updateSheetProperties": {"properties": {"sheetId": 5, "title": "Old"}, "fields": "title"}}
    plan = planned(
        request,
        append("Sheet1", "first"),
        {"op": "request", "request": ADD},
        append("Log", "a"),
        {"op": "request", "request": rename},
        {"op": "request", "request": ADD},
        append("Log", "b"),
        {"op": "update", "range": "Old!B1", "values": [["c"]]},
    )
    wire, store = Wire(), Store.open("memory://")
    wire.api.batch({"addSheet": {"properties": {"title": "Log", "sheetId": 5}}})
    workers = [Worker(store, wire, plan) for _ in range(2)]
    done = [await workers[number % 2].brings_to_its_end(request, number) for number in range(len(plan))]
    assert [one.failed for one in done] == [0, 0, 1, 0, 0, 0, 0, 0]
    assert wire.api.get("Old!A1:B1") == [["a", "c"]]
    assert wire.api.get("Log!A1:B1") == [["b"]]
    assert sum(worker.desk.booked.count("read") for worker in workers) == 2, (
        "the lane's look-up, and one behind the failure"
    )


async def test_what_one_process_remembers_never_overwrites_what_another_has_followed() -> None:
    """The operation between the adding and the use of the new sheet has nothing to do with either."""
    request = BulkRequest(id="r", project="p", nonce="n", operations_per_call=1)
    plan = planned(
        request,
        {"op": "request", "request": ADD},
        append("Log", "a"),
        {"op": "request", "request": {"addSheet": {"properties": {"title": "New"}}}},
        append("Sheet1", "b"),
        append("New", "c"),
    )
    wire, store = Wire(), Store.open("memory://")
    wire.api.batch(ADD)
    workers = [Worker(store, wire, plan) for _ in range(2)]
    done = [await workers[number % 2].brings_to_its_end(request, number) for number in range(len(plan))]
    assert [one.failed for one in done] == [0, 1, 0, 0, 0, 0]
    assert [wire.api.get(f"{title}!A1") for title in ("Log", "Sheet1", "New")] == [[["a"]], [["b"]], [["c"]]]
