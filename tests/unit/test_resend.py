"""A batch that is resent: what is waited for ends, and the wait does not begin anew with each attempt."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
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
from headgate.messages.requests import BulkRequest, LaneEntry, Operation, PlannedBatch
from headgate.messages.sending import ResendBatch
from headgate.messages.tokens import Booked
from headgate.outcomes import ZOMBIE_NS, BatchState

REQUEST = BulkRequest(id="r", project="p")
SECOND_NS = 1_000_000_000
OPERATION = Operation(
    line=1, id="o", op="update", spreadsheet="s", range="A1", values=(("1/2",),), input="USER_ENTERED"
)
BATCH = PlannedBatch(number=0, lane=0, form="values_update", user="u", spreadsheet="s", operations=(OPERATION,))
LANE = LaneEntry(lane=0, kind="write", user="u", spreadsheet="s", first_batch=0, batches=1, operations=1)


class Wire:
    """Answers every call with success."""

    def __init__(self) -> None:
        self.calls = 0

    async def send(self, *_: object) -> Answer:
        self.calls += 1
        return Answer(200, {}, json.dumps({"responses": [{}]}).encode(), 1, 2)


class Journals(Batches):
    """The store's batches, of which there is one."""

    async def load(self, request_id: str, number: int) -> PlannedBatch:
        return BATCH


class OpenDesk(Desk):
    """Gives a token whenever it is asked."""

    async def book(self, *_: object) -> tuple[Booked, int]:
        return Booked(at_ns=self.clock.now_ns()), SECOND_NS

    async def set_clock(self, project: str) -> None:
        """The test sets it."""


async def test_an_unfenced_update_of_a_lost_worker_is_sent_again_after_one_wait() -> None:
    """Each attempt reads the same journal: the wait has to end all the same."""
    monotonic = [10**15]
    clock = ServerClock(lambda: monotonic[0])
    nobody: Any = None
    store, wire = Store.open("memory://"), Wire()
    sender = Sender(Journals(store), Results(store), wire, clock, Pushback(clock, nobody), Fences(store))  # type: ignore[arg-type]
    activities = CallActivities(sender, OpenDesk(nobody, clock, str, nobody), clock, nobody)
    began = datetime.now(UTC)
    clock.started(began)
    state = BatchState.fresh(BATCH, REQUEST)
    step = state.next_step(None, clock.now_ns())
    assert step is not None
    state.sending(step, clock.now_ns())
    await sender.save_journal(REQUEST, BATCH, state)

    waited = 0
    for attempt in range(1, 10):
        environment = ActivityEnvironment()
        started = began + timedelta(microseconds=waited // 1000)
        environment.info = dataclasses.replace(environment.info, attempt=attempt, started_time=started)
        try:
            report = await environment.run(
                activities.resend_batch, ResendBatch(request=REQUEST, holder="bulk/r", lane=LANE, batch=0)
            )
        except ApplicationError as again:
            pause = int((again.next_retry_delay or timedelta()).total_seconds() * SECOND_NS) + 1_000_000
            monotonic[0] += pause
            waited += pause
        else:
            assert report.done is not None
            assert report.done.succeeded == 1
            break
    else:
        pytest.fail("it waits for ever")
    assert wire.calls == 1
    assert ZOMBIE_NS <= waited < ZOMBIE_NS + 10 * SECOND_NS
