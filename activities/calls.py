"""The batch activities: the only place where calls are made. They compose, send and read; what follows is decided elsewhere.

`send_lease` sends the calls of a lease, all its lanes side by side, each call at its token's time. Only its first attempt
sends: a later one recalls what is recorded. `resend_batch` repeats one batch; each of its attempts books a token, makes one
call, and leaves the pause before the next to the activity's retry policy.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.bookings import Desk
from activities.clock import ServerClock
from activities.lease import LeaseInProgress
from activities.projector import Projector
from activities.sending import Sender
from headgate.errors import InvalidRequest, StaleToken, Unreachable
from headgate.messages.requests import PlannedBatch
from headgate.messages.sending import (
    BatchDone,
    LaneReport,
    LaneSending,
    LeaseReport,
    ResendBatch,
    ResendReport,
    SendLease,
)
from headgate.messages.tokens import Booked, Booking, NotUntil, Stopped, TokenRequest
from headgate.outcomes import ZOMBIE_NS, Advice, BatchState, TitlesNeeded
from headgate.parts import Step

SECOND_NS = 1_000_000_000
#: Half of the activities' heartbeat timeout: a lease that is over by then costs no heartbeat at all.
HEARTBEAT_EVERY_S = 4.0
#: A wait this short is slept through; a longer one is left to the server.
SLEEPS_AT_MOST_NS = 8 * SECOND_NS
#: While the API cannot be reached at all, nothing is sent and nothing counted: try this often.
NO_CONNECTION_NS = 5 * SECOND_NS


@dataclass(frozen=True)
class CallActivities:
    """Dependencies: the sender of one batch, the booking desk, `ask` (signal-with-start of a project's limiter), and who tells
    the read model what orders take along."""

    sender: Sender
    desk: Desk
    clock: ServerClock
    ask: Callable[[str, str, object], Awaitable[None]]
    projector: Projector = field(default_factory=partial(Projector, None))

    @activity.defn
    async def send_lease(self, order: SendLease) -> LeaseReport:
        """Send every lane's batches at their tokens' times; report what came back and which tokens were not used."""
        self.projector.offer(order.request, order.progress)
        info = activity.info()
        self.clock.started(info.started_time)
        if info.attempt > 1:
            lanes = [await self._recall(order, lane) for lane in order.lanes]
            return LeaseReport(lanes=tuple(lanes), epoch=order.epoch)
        if not self.clock.trusted:
            await self.desk.set_clock(order.request.project)
        lease = LeaseInProgress(self.sender, order, self._tell_early)
        beating = asyncio.create_task(_heartbeats(lease.said))
        try:
            return await lease.run()
        finally:
            beating.cancel()

    @activity.defn
    async def resend_batch(self, order: ResendBatch) -> ResendReport:
        """Make the one call that the batch needs next; raises for another attempt until its result is recorded."""
        self.projector.offer(order.request, order.progress)
        self.clock.started(activity.info().started_time)
        doing = Doing()
        beating = asyncio.create_task(_heartbeats(doing.said))
        try:
            if not self.clock.trusted:
                await self.desk.set_clock(order.request.project)
            recorded = await self.sender.recorded(order.request, order.lane.spreadsheet, order.batch)
            if recorded is not None:
                return ResendReport(done=recorded)
            batch = await self.sender.batches.load(order.request.id, order.batch)
            state = await self.sender.resume(order.request, batch, order.most)
            if order.cancelled:
                state.cancel()
            elif state.finished and activity.info().attempt == 1:
                raise _again(Advice(wait_ns=ZOMBIE_NS, why="an unfenced write may still land", benign=True))
            try:
                sweep = await self.sender.sweep_for(order.request, batch, state) if state.crowded else ()
                step = await self.sender.next_step(order.request, batch, state, sweep)
            except TitlesNeeded as error:
                return ResendReport(broken=str(error))
            if step is None:
                return ResendReport(done=await self.sender.record(order.request, batch, state))
            return await self._attempt(order, batch, state, step, doing)
        finally:
            beating.cancel()

    @activity.defn
    async def ask_limiter(self, project: str, said: TokenRequest) -> None:
        """Declare a demand to a limiter that may have to be started."""
        await self.ask(project, "request_tokens", said)

    async def _attempt(
        self, order: ResendBatch, batch: PlannedBatch, state: BatchState, step: Step, doing: Doing
    ) -> ResendReport:
        if (rest := step.not_before_ns - self.clock.now_ns()) > 0:
            await self.sender.save_journal(order.request, batch, state)  # or the next attempt would begin to wait anew
            raise _again(Advice(wait_ns=rest, why="an earlier call may still land", benign=True))
        booking = Booking(
            id=f"{order.holder}/{order.batch}/{state.calls}",
            holder=order.holder,
            kind=step.call.kind,
            user=order.lane.user,
            spreadsheet=order.lane.spreadsheet,
            priority=order.priority,
            fairness_key=order.request.owner,
            weight=order.request.weight,
            attempt=1,
        )
        while True:
            answer, valid_for_ns = await self.desk.book(order.request.project, booking)
            if isinstance(answer, Stopped):
                return ResendReport(stopped=answer.why)
            if isinstance(answer, Booked):
                break
            doing.now = f"waits for a token: {answer.why}"
            await _wait_for(answer, self.clock.now_ns())
        doing.now = f"call {state.calls + 1} of this batch is under way to {order.lane.spreadsheet}"
        latest_ns = answer.at_ns + valid_for_ns
        sent = asyncio.ensure_future(
            self.sender.send(order.request, batch, state, step, answer.at_ns, latest_ns, answer.probe)
        )
        try:
            advice = await asyncio.shield(sent)
        except (StaleToken, Unreachable) as nothing_left:
            self.sender.pushback.unused(order.request.project, order.holder, booking.id)
            wait = 0 if isinstance(nothing_left, StaleToken) else NO_CONNECTION_NS
            raise _again(Advice(wait_ns=wait, why=str(nothing_left))) from None
        except InvalidRequest as mistake:
            return ResendReport(broken=str(mistake))
        except asyncio.CancelledError:
            # A call under way is not cut off: its answer is worth more than a quick end.
            await asyncio.wait([sent])
            raise
        if state.finished and not advice.wait_ns:
            return ResendReport(done=await self.sender.record(order.request, batch, state))
        raise _again(advice)

    async def _recall(self, order: SendLease, lane: LaneSending) -> LaneReport:
        """What is recorded of a lease that was cut off; its first unrecorded write, if it has a journal, may have been sent."""
        done: list[BatchDone] = []
        for number in lane.batches:
            recorded = await self.sender.recorded(order.request, lane.spreadsheet, number)
            if recorded is None:
                sent = await self.sender.batches.journal(order.request.id, number) is not None
                return LaneReport(
                    lane=lane.lane,
                    grant_id=lane.grant_id,
                    done=tuple(done),
                    rescue=number if sent else -1,
                    rescue_reason="the worker was lost" if sent else "",
                )
            done.append(recorded)
        return LaneReport(lane=lane.lane, grant_id=lane.grant_id, done=tuple(done))

    async def _tell_early(self, order: SendLease, report: LeaseReport) -> None:
        await activity.client().get_workflow_handle(order.holder).signal("report", report)


@dataclass(slots=True)
class Doing:
    """What an attempt is doing just now, in words."""

    now: str = "gets ready"

    def said(self) -> str:
        return self.now


async def _heartbeats(said: Callable[[], str]) -> None:
    """Every heartbeat brings what the Web UI shows of a pending activity."""
    while True:
        await asyncio.sleep(HEARTBEAT_EVERY_S)
        activity.heartbeat(said())


async def _wait_for(answer: NotUntil, now_ns: int) -> None:
    wait = answer.at_ns - now_ns
    if wait > SLEEPS_AT_MOST_NS:
        raise ApplicationError(
            f"waits: {answer.why}",
            type="NotUntil",
            next_retry_delay=timedelta(microseconds=wait // 1000),
            category=ApplicationErrorCategory.BENIGN,
        )
    await asyncio.sleep(max(wait, 0) / SECOND_NS)


def _again(advice: Advice) -> ApplicationError:
    """Another attempt after a pause; an exponential one is drawn with full jitter, one that a quota names is kept."""
    pause = advice.wait_ns if advice.benign else random.randint(0, max(advice.wait_ns, 0))
    return ApplicationError(
        advice.why,
        type="Again",
        next_retry_delay=timedelta(microseconds=max(pause // 1000, 1000)),
        category=ApplicationErrorCategory.BENIGN if advice.benign else ApplicationErrorCategory.UNSPECIFIED,
    )
