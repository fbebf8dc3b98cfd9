"""A lease whose worker was lost: a later attempt sends nothing and tells what is recorded."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.batches import Batches
from activities.bookings import Desk
from activities.calls import CallActivities
from activities.clock import ServerClock
from activities.fences import Fences
from activities.pushback import Pushback
from activities.results import Results
from activities.sending import Sender
from activities.store import Store
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import BatchDone, LaneSending, SendLease


class NoWire:
    """Nothing may be sent in these tests."""

    async def send(self, *_: object) -> Any:
        raise AssertionError("a later attempt of a lease made a call")


@pytest.fixture
def activities() -> CallActivities:
    nobody: Any = None
    store, clock = Store.open("memory://"), ServerClock()
    sender = Sender(Batches(store), Results(store), NoWire(), clock, Pushback(clock, nobody), Fences(store))  # type: ignore[arg-type]
    return CallActivities(sender, Desk(nobody, clock, str, nobody), clock, nobody)


async def test_a_later_attempt_recalls_and_sends_nothing(activities: CallActivities) -> None:
    """Recorded batches are done; the first that has a journal may have been sent; one without was not; no token comes back."""
    results, batches = activities.sender.results, activities.sender.batches
    await results.record("r", 0, b"", BatchDone(batch=0, succeeded=1, failed=0))
    await results.record("r", 4, b"", BatchDone(batch=4, succeeded=0, failed=1))
    await batches.save_journal("r", 1, b"{}")
    lanes = tuple(
        LaneSending(
            lane=lane, kind="write", user="u", spreadsheet="s", grant_id=7, batches=numbers, tokens=(1, 2, 3), token_positions=(0, 1, 2)
        )
        for lane, numbers in enumerate([(0, 1, 2), (4, 5, 6)])
    )  # fmt: skip
    order = SendLease(request=BulkRequest(id="r", project="p"), holder="bulk/r", epoch=1, lanes=lanes)
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=2, started_time=datetime.now(UTC))
    report = await environment.run(activities.send_lease, order)
    first, second = report.lanes
    assert ([d.batch for d in first.done], first.rescue, first.unused) == ([0], 1, ())
    assert ([d.batch for d in second.done], second.rescue, second.unused) == ([4], -1, ())
