"""A lease while it is being sent: its lanes side by side, each lane's calls one after the other, early reports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from activities.sending import Ready, Sender
from headgate.errors import InvalidRequest, StaleToken, Unreachable
from headgate.lanes import moments
from headgate.messages.requests import PlannedBatch
from headgate.messages.sending import BatchDone, LaneReport, LaneSending, LeaseReport, SendLease
from headgate.outcomes import BatchState, TitlesNeeded

SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class LeaseInProgress:
    """One lease. `tell` sends what is done so far to the workflow."""

    sender: Sender
    order: SendLease
    tell: Callable[[SendLease, LeaseReport], Awaitable[None]]
    reports: list[LaneReport] = field(default_factory=list)
    told: int = 0
    ready_ns: int = 0

    async def run(self) -> LeaseReport:
        """Send everything; returns when the last lane is done."""
        # What is needed first is made ready first.
        by_token = sorted(self.order.lanes, key=lambda lane: lane.tokens[:1])
        lanes = [asyncio.create_task(self._lane(lane)) for lane in by_token]
        early = asyncio.create_task(self._report_early())
        try:
            # A lane that fails must not cut off calls of the others: they end first, and are recorded.
            ended = await asyncio.gather(*lanes, return_exceptions=True)
        finally:
            early.cancel()
            for lane in lanes:
                lane.cancel()
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure
        return LeaseReport(lanes=tuple(self.reports), epoch=self.order.epoch, ready_ns=self.ready_ns)

    def said(self) -> str:
        """How far it is, in words."""
        return f"{len(self.reports)} of {len(self.order.lanes)} lanes are done"

    async def _report_early(self) -> None:
        """Tell of the lanes that are done: half-way if they are many or pressed for time, and once more if a slow call holds the rest."""
        clock = self.sender.clock
        for moment in moments(self.order.lanes):
            await asyncio.sleep(max(0, moment - clock.now_ns()) / SECOND_NS)
            if self.told < len(self.reports) < len(self.order.lanes):
                self.told = len(self.reports)
                await self.tell(self.order, LeaseReport(lanes=tuple(self.reports), epoch=self.order.epoch))

    async def _lane(self, lane: LaneSending) -> None:
        """Send the lane's batches in order; a token that has gone stale is not used, and the batch waits for the next one."""
        request = self.order.request
        done: list[BatchDone] = []
        unused: list[int] = []
        left = list(lane.batches)
        most = lane.most
        ready = self.sender.take_ready(request.id, left[0])
        claimed = None if ready is None else ready.claimed
        loaded = await self._load(lane, ready)
        report = LaneReport(lane=lane.lane, grant_id=lane.grant_id)
        stale = going_on = False
        for at_ns, position in zip(lane.tokens, lane.token_positions, strict=True):
            if not left or report.rescue >= 0 or report.broken:
                unused.append(position)
                continue
            batch = loaded[left[0]]
            if ready is None or ready.batch is not batch:
                ready = Ready(batch, BatchState.fresh(batch, request, most))
                if claimed is None:
                    claimed = await self.sender.sweep_for(request, batch, ready.state)
            state = ready.state
            try:
                step = await self.sender.next_step(request, batch, state, claimed or ())
            except TitlesNeeded as error:
                unused.append(position)
                report = report.model_copy(update={"broken": str(error)})
                continue
            if step is None:
                done.append(await self.sender.record(request, batch, state))
                stale = going_on = False
                loaded.pop(left.pop(0))
                unused.append(position)
                continue
            if step.purpose == "title_look_up":  # a read, by a token of its own
                unused.append(position)
                report = report.model_copy(
                    update={"rescue": left[0], "rescue_reason": "the titles are to be looked up"}
                )
                continue
            began = self.sender.clock.now_ns()
            if self.order.granted_ns and left[0] == lane.batches[0]:
                self.ready_ns = max(self.ready_ns, began - self.order.granted_ns)
            try:
                latest_ns = at_ns + self.order.valid_for_ns
                advice = await self.sender.send(request, batch, state, step, at_ns, latest_ns, lane.probe)
            except StaleToken:
                unused.append(position)
                stale = True
                continue
            except Unreachable as error:
                unused.append(position)
                report = report.model_copy(update={"rescue": left[0], "rescue_reason": str(error)})
                continue
            except InvalidRequest as mistake:
                unused.append(position)
                report = report.model_copy(update={"broken": str(mistake)})
                continue
            claimed, stale, going_on = None, False, False
            if state.finished and not advice.wait_ns:
                latency = self.sender.clock.now_ns() - max(at_ns, began)
                done.append(await self.sender.record(request, batch, state, latency_ns=latency))
                most = state.most
                loaded.pop(left.pop(0))
                if state.failure:
                    report = report.model_copy(update={"broken": state.failure})
            elif state.simply_goes_on and not (advice.wait_ns or lane.probe):
                going_on = True
            else:
                report = report.model_copy(update={"rescue": left[0], "rescue_reason": advice.why})
        if going_on and report.rescue < 0 and not report.broken:
            report = report.model_copy(update={"rescue": left[0], "rescue_reason": "more calls than tokens"})
        if stale and ready is not None and report.rescue < 0 and not report.broken:
            kept = self.sender.keep_ready(request.id, ready._replace(claimed=claimed or ()))
            claimed = None if kept else claimed
        if claimed:
            with suppress(Unreachable):  # what stays claimed is for `headgate fences clean`
                await self.sender.fences.give_up(lane.spreadsheet, claimed)
        self.reports.append(report.model_copy(update={"done": tuple(done), "unused": tuple(unused)}))

    async def _load(self, lane: LaneSending, ready: Ready | None) -> dict[int, PlannedBatch]:
        """The lane's batches by number; what is ready need not be read again."""
        loaded = [] if ready is None else [ready.batch]
        missing = lane.batches[len(loaded) :]
        if missing:
            loaded += await self.sender.batches.load_many(self.order.request.id, missing[0], len(missing))
        return {batch.number: batch for batch in loaded}
