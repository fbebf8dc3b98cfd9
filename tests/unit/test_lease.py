"""A lease being sent: lanes side by side, a stale token is not used, one lane's trouble is not another's."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.clock import ServerClock
from activities.lease import LeaseInProgress
from activities.sending import Ready
from headgate.apis.sheets.compose import Call
from headgate.errors import StaleToken, Unreachable
from headgate.messages.requests import BulkRequest, Operation, PlannedBatch
from headgate.messages.sending import BatchDone, LaneReport, LaneSending, LeaseReport, SendLease
from headgate.outcomes import Advice, BatchState
from headgate.parts import Purpose, Step

MS = 1_000_000


class Sender:
    """Plays the sender: what happens to each call is scripted by batch number, one entry a token."""

    def __init__(self, script: dict[int, list[Any]]) -> None:
        self.clock = ServerClock()
        self.clock.started(datetime.now(UTC))
        self.script = script
        self.batches = self
        self.sent: list[int] = []
        self.ready: dict[int, Ready] = {}
        self.states: list[BatchState] = []

    def take_ready(self, request_id: str, number: int) -> Ready | None:
        return self.ready.pop(number, None)

    def keep_ready(self, request_id: str, ready: Ready) -> None:
        self.ready[ready.batch.number] = ready

    async def load_many(self, request_id: str, first: int, count: int) -> tuple[PlannedBatch, ...]:
        operation = Operation(line=1, id="o", op="read", spreadsheet="s", range="A1")
        return tuple(
            PlannedBatch(number=n, lane=0, form="read", user="u", spreadsheet="s", operations=(operation,))
            for n in range(first, first + count)
        )

    async def sweep_for(self, *_: object) -> tuple[int, ...]:
        return ()

    async def next_step(
        self, request: BulkRequest, batch: PlannedBatch, state: BatchState, sweep: tuple[int, ...]
    ) -> Step:
        self.states.append(state)
        purpose: Purpose = "title_look_up" if self.script.get(batch.number) == ["titles"] else "send"
        return Step(part="0", purpose=purpose, call=Call(method="GET", path="/", kind="read"))

    async def send(self, request: BulkRequest, batch: PlannedBatch, state: BatchState, *_: object) -> Advice:
        happens = self.script.get(batch.number, ["ok"]).pop(0)
        if isinstance(happens, Exception):
            raise happens
        if isinstance(happens, float):
            await asyncio.sleep(happens)
        self.sent.append(batch.number)
        if happens == "busy":
            return Advice(wait_ns=1, why="busy")
        if happens == "a part":
            return Advice()
        state.parts = []
        return Advice()

    async def record(self, request: BulkRequest, batch: PlannedBatch, state: BatchState, **_: object) -> BatchDone:
        return BatchDone(batch=batch.number, succeeded=1, failed=0)


def lane(number: int, *batches: int, tokens: int | None = None) -> LaneSending:
    now = time.time_ns()
    count = tokens or len(batches)
    return LaneSending(
        lane=number,
        kind="read",
        user="u",
        spreadsheet="s",
        grant_id=3,
        batches=batches,
        tokens=tuple(now + n * MS for n in range(count)),
        token_positions=tuple(range(count)),
        latency_ns=MS,
    )


async def run(sender: Sender, *lanes: LaneSending) -> tuple[dict[int, LaneReport], list[LeaseReport]]:
    told: list[LeaseReport] = []

    async def tell(order: SendLease, report: LeaseReport) -> None:
        told.append(report)

    order = SendLease(request=BulkRequest(id="r", project="p"), holder="bulk/r", epoch=1, lanes=lanes)
    report = await LeaseInProgress(sender, order, tell).run()  # type: ignore[arg-type]
    return {r.lane: r for r in report.lanes}, told


async def test_every_batch_goes_out_with_its_token() -> None:
    """All lanes, in order."""
    reports, _ = await run(Sender({}), lane(0, 0, 1), lane(1, 5))
    assert [d.batch for d in reports[0].done] == [0, 1]
    assert [d.batch for d in reports[1].done] == [5]
    assert reports[0].unused == reports[1].unused == ()


async def test_a_stale_token_is_handed_back_and_its_batch_takes_the_next() -> None:
    """Three tokens, the first stale: two batches sent in order, the stale position comes back, the third batch was not sent."""
    sender = Sender({0: [StaleToken(), "ok"]})
    reports, _ = await run(sender, lane(0, 0, 1, 2))
    assert sender.sent == [0, 1]
    assert reports[0].unused == (0,)
    assert [d.batch for d in reports[0].done] == [0, 1]
    assert reports[0].rescue == -1


@pytest.mark.parametrize(("happens", "unused"), [("busy", (1,)), (Unreachable("no route"), (0, 1))])
async def test_a_call_worth_repeating_stops_its_lane_only(happens: Any, unused: tuple[int, ...]) -> None:
    """The batch comes back for rescue, what stands behind it is not sent; a call that never left gives its token back."""
    reports, _ = await run(Sender({0: [happens]}), lane(0, 0, 1), lane(1, 5, 6))
    assert reports[0].rescue == 0
    assert reports[0].done == ()
    assert reports[0].unused == unused
    assert len(reports[1].done) == 2


async def test_a_batch_of_several_calls_goes_on_with_the_next_token() -> None:
    """Two calls for the first batch, one for the second; the third waits for other tokens."""
    sender = Sender({0: ["a part", "ok"]})
    reports, _ = await run(sender, lane(0, 0, 1, 2))
    assert sender.sent == [0, 0, 1]
    assert [d.batch for d in reports[0].done] == [0, 1]
    assert (reports[0].rescue, reports[0].unused) == (-1, ())


async def test_a_batch_that_needs_more_calls_than_there_are_tokens_is_rescued() -> None:
    """What was begun has a journal, and goes on by bookings."""
    reports, _ = await run(Sender({0: ["ok"], 1: ["a part", "a part"]}), lane(0, 0, 1))
    assert [d.batch for d in reports[0].done] == [0]
    assert reports[0].rescue == 1


async def test_titles_are_never_looked_up_by_a_lanes_own_token() -> None:
    """The batch that needs them goes on by a booking of its own, and the tokens come back."""
    sender = Sender({1: ["titles"]})
    reports, _ = await run(sender, lane(0, 0, 1, 2))
    assert sender.sent == [0]
    assert (reports[0].rescue, reports[0].unused) == (1, (1, 2))


async def test_a_lane_that_fails_does_not_cut_off_the_others_calls() -> None:
    """The store breaks for one lane; the other's call ends first, then the activity fails."""
    sender = Sender({0: [OSError("disk full")], 5: [0.05]})
    with pytest.raises(OSError, match="disk full"):
        await run(sender, lane(0, 0), lane(1, 5))
    assert sender.sent == [5]


async def test_lanes_that_a_slow_call_keeps_waiting_are_told_of_once() -> None:
    """Half a second after the expected end the lane that is done is reported; the slow one is not."""
    reports, told = await run(Sender({0: [0.9]}), lane(0, 0), lane(1, 5))
    assert [[r.lane for r in report.lanes] for report in told] == [[1]]
    assert len(reports) == 2


async def test_what_went_stale_is_sent_as_it_was_made_ready() -> None:
    """By the next token of the lease, and by the next lease; nothing is kept of what was sent."""
    sender = Sender({7: [StaleToken(), StaleToken(), "ok"]})
    reports, _ = await run(sender, lane(0, 7, 8, tokens=2))
    assert (reports[0].done, reports[0].unused, sender.sent) == ((), (0, 1), [])
    reports, _ = await run(sender, lane(0, 7, 8))
    assert sender.sent == [7, 8]
    first, second, third, other = sender.states
    assert first is second is third is not other
    assert not sender.ready
