"""A bulk request: plan, lanes, control, progress. One run of `BulkRequestWorkflow` a request."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from headgate.asking import Asking, Word
    from headgate.lanes import Folded, Lanes
    from headgate.messages.carried import BulkCheckpoint, BulkInput, PageRequest
    from headgate.messages.requests import LaneEntry, Page
    from headgate.messages.sending import (
        AbandonLane,
        BatchDone,
        LaneSending,
        LeaseReport,
        SendLease,
    )
    from headgate.messages.tokens import FINISHED, Grant, Settlement, TokenRequest
    from headgate.messages.views import Control, FailuresView, LanesView, ProgressView
    from headgate.messages.words import State
    from headgate.progress import Progress
    from headgate.quota import SECOND_NS
    from headgate.seen import Seen
    from headgate.status import Status
    from headgate.steering import Steering
    from headgate.summaries import giving_up, sending
    from workflows import names, policies
    from workflows.actions import Actions
    from workflows.planning import Planning
    from workflows.projecting import Projecting, said_of
    from workflows.resending import Resending
    from workflows.retrying import retry_failed
    from workflows.showing import Showing
    from workflows.steered import Steered
    from workflows.telling import Telling


@workflow.defn(name=names.BULK_REQUEST_TYPE)
class BulkRequestWorkflow(Steered):
    """Messages: signals `grant` and `report`, the commands of `Steered`; queries `progress`, `lanes` and `failures`.

    Handlers put down what was said; `run` acts on it, one `_step` whenever something has changed. Every handler can be called
    with nothing at all, as a person may from the Web UI: a missing argument would fail the workflow task for ever.
    """

    @workflow.init
    def __init__(self, start: BulkInput) -> None:
        kept = start.checkpoint or BulkCheckpoint(priority=start.request.priority)
        self._request = start.request
        self._indexed = start.indexed
        self._release = start.release
        self._asking = Asking(
            start.request,
            holder=workflow.info().workflow_id,
            run=int(workflow.info().start_time.timestamp() * SECOND_NS),
            sequence=kept.sequence,
            seen=Seen(kept.epoch, kept.last_grant),
        )
        self._next_page = kept.next_page
        self._upcoming: list[LaneEntry] = list(kept.upcoming)
        self._lanes = Lanes()
        self._lanes.restore(kept.lanes)
        self._lanes.finished = kept.lanes_done
        self._abandoning: dict[int, str] = dict(kept.abandoning)
        self.steering = Steering.carried(kept)
        self.retrying = asyncio.Lock()
        self._progress = Progress.restore(kept.progress)
        self._actions = Actions(self._cancelled)
        self._telling = Telling(start.request, kept.notices, self.progress)
        self._projecting = Projecting(start.request, kept.projected, self.progress, self._actions.aside)
        if self._projecting.wanted and start.checkpoint is None:
            self.steering.version += 1  # of a request that nothing was told of, the read model has version 0
        self._resending = Resending(
            start.request, self._lanes, self.steering, self._asking, self._actions, self._projecting
        )
        self._status = Status(
            start.request,
            self.steering,
            self._lanes,
            self._progress,
            kept.plan,
            kept.standing,
            kept.far,
            resends=self._resending.under_way,
        )
        self._planning = Planning(start.request, self.steering, self._status, self._actions, limited=start.release >= 2)
        self._showing = Showing(
            start.request, self.steering, self.progress, indexed=start.indexed, release=start.release
        )

        self._grants: list[Grant] = []
        self._reports: list[LeaseReport] = []
        self._pages: list[Page] = []
        self._granted_ns = 0
        self._valid_for_ns = 300_000_000
        self._draining = False
        self._was_paused = self.steering.paused_by is not None
        self._abandons: set[int] = set()
        self._loading = False

    @workflow.run
    async def run(self, start: BulkInput) -> ProgressView:
        try:
            return await self._whole_run()
        except FailureError as error:
            await self._telling.ended("failed", why=str(error))
            await self._projecting.ended(self._last_view("failed"), said_of(error))
            raise

    async def _whole_run(self) -> ProgressView:
        self._showing.describe(workflow.time_ns())
        if self._status.plan is None:
            self._planning.begin()
        while not self._over():
            await self._actions.news()
            if self._status.plan is None:
                self._show(workflow.time_ns())
                self._planning.limit()
                continue
            self._step(workflow.time_ns())
            if self._draining and self._drained():
                await self._continue()
        if self._asking.believed is not None:
            if self._release >= 2:
                # A demand that is on its way behind the last word would bring tokens for nobody.
                await self._actions.resolved()
            self._settle(workflow.time_ns(), over=True)
            self._ask(workflow.time_ns(), over=True)
        await self._actions.resolved()
        cancelled_by = self.steering.cancelled_by
        self._actions.do(self._telling.ended("cancelled" if cancelled_by else "completed", by=cancelled_by or ""))
        await self._actions.resolved()
        view = self._last_view(self._status.state)
        if self._projecting.wanted:
            self._actions.do(self._projecting.ended(view))
            await self._actions.resolved()
        self._show(workflow.time_ns(), at_once=True)
        return view

    # --- what is said to it -------------------------------------------------------------------------------------------

    @workflow.signal(description="Internal: tokens from the limiter")
    def grant(self, grant: Grant | None = None) -> None:
        self._grants += [grant] if grant else []
        self._actions.woken = True

    @workflow.signal(description="Internal: lanes of a lease that are done before the others")
    def report(self, report: LeaseReport | None = None) -> None:
        self._reports += [report] if report else []
        self._actions.woken = True

    @workflow.query(description="State, counts, rate, ETA and the reason for waiting")
    def progress(self) -> ProgressView:
        return self._status.view(workflow.time_ns())

    def _last_view(self, state: State) -> ProgressView:
        """How it ended, as a version of its own where a read model takes the highest."""
        self.steering.version += self._projecting.wanted
        return self._status.view(workflow.time_ns(), state)

    @workflow.query(description="The lanes under way: whose, on which spreadsheet, how far")
    def lanes(self) -> LanesView:
        return LanesView(counts=self.progress().lanes, active=self._lanes.view())

    @workflow.query(description="How many operations have failed, by reason")
    def failures(self) -> FailuresView:
        return FailuresView(failed=self._progress.failed, reasons=dict(self._progress.reasons))

    # --- what people have said ----------------------------------------------------------------------------------------

    def over(self) -> State | None:
        return "completed" if self._status.finished else None

    def failed(self) -> int:
        return self._progress.failed

    def steered(self) -> None:
        paused = self.steering.paused_by is not None
        if paused and not self._was_paused:
            self._progress.changed(workflow.time_ns())
        elif self._was_paused and not paused:
            self._progress.resumed(workflow.time_ns())
        self._was_paused = paused
        self._projecting.said()
        self._actions.woken = True

    async def retry(self) -> str:
        return await retry_failed(self._request, indexed=self._indexed)

    # --- one step -----------------------------------------------------------------------------------------------------

    def _step(self, now: int) -> None:
        """Fold what came in, start what can start, hand back what cannot, ask for what is wanted."""
        self._fold(now)
        self._granted_ns = 0
        self._take_grants(now)
        if self.steering.held or self._draining:
            self._asking.hand_back(self._lanes.hand_back())
            if self.steering.cancelled_by and not self._draining:
                self._resending.cancel(self._abandoning)
        else:
            self._open_lanes()
            self._asking.hand_back(self._lanes.hand_back_useless())
            sendings, back = self._lanes.starts(now, self._valid_for_ns)
            self._asking.hand_back(back)
            if sendings:
                self._actions.do(self._send(tuple(sendings), self._granted_ns))
            self._resending.begin(self._abandoning)
        self._settle(now)
        if not (self._draining or self.retrying.locked()) and workflow.info().is_continue_as_new_suggested():
            self._draining = True
            self._asking.hand_back(self._lanes.hand_back())
            self._settle(now)
            self._resending.drain()
        self._ask(now)
        self._show(now)

    def _fold(self, now: int) -> None:
        folded = Folded()
        for report in self._reports:
            self._asking.reported(report)
            self._lanes.learn_lead(report.ready_ns)
            for lane in report.lanes:
                self._lanes.fold(lane, folded)
        self._reports.clear()
        self._progress.sent(folded.sent, now)
        for done in folded.done:
            self._progress.done(done, 0, now)
        for user, batches in folded.passed.items():
            self._progress.passed(user, batches)
        self._abandoning |= folded.broken
        self._abandoning |= self._resending.fold(self._progress, now)
        for page in self._pages:
            self._upcoming += page.lanes
        self._pages.clear()
        if self.steering.stop_after(self._request.stop_after, self._progress.failed, now):
            self.steered()
        self._asking.hand_back(self._lanes.hand_back_useless())
        self._lanes.retire()

    def _take_grants(self, now: int) -> None:
        for grant in self._grants:
            arrival = self._asking.heard(now, grant)
            if arrival == "stale":
                continue
            if arrival == "anew":
                self._lanes.hand_back()  # to nobody: the limiter that gave these tokens is no more
            self._status.heard(grant, now)
            if not grant.tokens or arrival == "again":
                continue
            self._valid_for_ns, self._granted_ns = grant.valid_for_ns, grant.at_ns
            if arrival != "late":
                self._asking.hand_back(self._lanes.granted(grant))
        self._grants.clear()

    def _open_lanes(self) -> None:
        """Fill free places with the next lanes of the plan, and read the manifest ahead of need."""
        while self._upcoming and self._lanes.room:
            self._lanes.admit([self._upcoming.pop(0)])
        pages = self._status.plan.pages if self._status.plan else 0
        if not self._loading and self._next_page < pages and len(self._upcoming) < 64:
            self._loading = True
            self._actions.do(self._load(self._next_page))
        for number in list(self._abandoning):
            lane = self._lanes.active.get(number)
            if lane is not None and number not in self._abandons:
                lane.resending = True
                self._abandons.add(number)
                self._actions.do(self._abandon(lane.entry, lane.position, self._abandoning[number]))

    # --- activities ---------------------------------------------------------------------------------------------------

    async def _send(self, sendings: tuple[LaneSending, ...], granted_ns: int) -> None:
        order = SendLease(
            request=self._request,
            holder=self._asking.holder,
            epoch=self._asking.seen.epoch,
            lanes=sendings,
            valid_for_ns=self._valid_for_ns,
            granted_ns=granted_ns,
            progress=self._projecting.goes_along(),
        )
        number = self._lanes.begun(sendings)
        report = await workflow.execute_activity(
            "send_lease",
            order,
            result_type=LeaseReport,
            summary=sending(sendings),
            **policies.SEND,
        )
        self._lanes.ended(number)
        self._reports.append(report)

    async def _abandon(self, entry: LaneEntry, position: int, reason: str) -> None:
        """Fail what is left of a lane that cannot go on, without a call."""
        order = AbandonLane(request=self._request, lane=entry, batch=entry.first_batch + position, reason=reason)
        done = await workflow.execute_activity(
            "abandon_lane", order, result_type=BatchDone, summary=giving_up(order), **policies.PLAN
        )
        lane = self._lanes.active[entry.lane]
        self._progress.given_up(entry.user, lane.left)
        lane.resending, lane.position = False, entry.batches
        self._progress.done(done, 0, workflow.time_ns())
        del self._abandoning[entry.lane]
        self._abandons.discard(entry.lane)

    async def _load(self, page: int) -> None:
        request = PageRequest(request_id=self._request.id, page=page)
        self._pages.append(
            await workflow.execute_activity(
                "load_page", request, result_type=Page, summary=f"page {page} of the plan", **policies.PLAN
            )
        )
        self._next_page = page + 1
        self._loading = False

    # --- the limiter --------------------------------------------------------------------------------------------------

    def _settle(self, now: int, *, over: bool = False) -> None:
        held = self.steering.held or self._draining or over
        self._say(self._asking.settle(now, held=held, lanes=len(self._lanes.active)), now)

    def _ask(self, now: int, *, over: bool = False) -> None:
        """Declare the demand; one that is over, held or about to continue as new wants nothing."""
        wants = not (self.steering.held or self._draining or over)
        lanes = self._lanes.demand(self._status.standing.allowance) if wants else ()
        # Of a cancelled request batches may still be resent, for which it books tokens.
        stopped = FINISHED if over else "" if self.steering.cancelled_by else self.steering.stopped()
        self._say(self._asking.ask(now, lanes, self._lanes.lead_ns, self.steering.priority, stopped), now)

    def _say(self, word: Word, now: int) -> None:
        if isinstance(word.said, Settlement):
            self._actions.do(self._tell("settle", word.said))
        elif word.said is not None:
            self._actions.do(
                self._ask_by_activity(word.said) if word.starts else self._tell("request_tokens", word.said)
            )
        self._actions.wake(word.again_ns, now)

    async def _tell(self, signal: str, said: Settlement | TokenRequest) -> None:
        limiter = workflow.get_external_workflow_handle(names.rate_limiter_id(self._request.project))
        try:
            await limiter.signal(signal, said)
        except ApplicationError:
            self._asking.unheard()  # the limiter is gone: the next demand starts one

    async def _ask_by_activity(self, said: TokenRequest) -> None:
        """Signal-with-start: the limiter may not exist yet, or no more."""
        await workflow.execute_activity(
            "ask_limiter",
            args=[self._request.project, said],
            summary="ask the limiter, start it if need be",
            **policies.ASK,
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    def _cancelled(self) -> None:
        if self.over() is None:
            self._said("cancel", Control(by=workflow.cancellation_reason() or "Temporal"))

    def _over(self) -> bool:
        self._actions.check()
        if self._status.unplanned:
            return True
        if (
            self._status.plan is None
            or self._lanes.busy
            or self._loading
            or self._reports
            or self._resending.reports
            or self._draining
        ):
            return False
        if self.steering.cancelled_by:
            return True
        return not self._lanes.active and not self._upcoming and self._next_page >= self._status.plan.pages

    def _drained(self) -> bool:
        return not self._actions.pending and not any(lane.under_way for lane in self._lanes) and not self._reports

    async def _continue(self) -> None:
        """Continue as new, after every outgoing signal is resolved and every handler has finished."""
        while True:
            await self._actions.resolved()
            self._fold(workflow.time_ns())
            self._take_grants(workflow.time_ns())
            self._asking.hand_back(self._lanes.hand_back())
            if self._asking.settled:
                break
            self._settle(workflow.time_ns())
        workflow.continue_as_new(
            BulkInput(
                request=self._request,
                indexed=self._indexed,
                release=names.RELEASE,
                checkpoint=BulkCheckpoint(
                    plan=self._status.plan,
                    next_page=self._next_page,
                    upcoming=tuple(self._upcoming),
                    lanes=self._lanes.checkpoint(),
                    abandoning=self._abandoning,
                    sequence=self._asking.sequence,
                    epoch=self._asking.seen.epoch,
                    last_grant=self._asking.seen.last,
                    progress=self._progress.checkpoint(),
                    steering=self.steering.checkpoint(),
                    lanes_done=self._lanes.finished,
                    notices=self._telling.checkpoint(),
                    projected=self._projecting.checkpoint(),
                    standing=self._status.standing,
                    far=self._status.far,
                ),
            )
        )

    # --- what people see ----------------------------------------------------------------------------------------------

    def _show(self, now: int, *, at_once: bool = False) -> None:
        """Refresh what the Web UI shows, what a receiver is told, and what the read model is."""
        status = self._status
        self._showing.show(now, status.state, status.why(now).reason, status.percent, at_once=at_once)
        self._telling.observe(
            sending=self._lanes.calling or self._progress.made > 0,
            failed=self._progress.failed,
            paused_by=self.steering.paused_by,
            resumed_by=self.steering.resumed_by,
        )
        if self._projecting.wanted:
            counts = status.operations + status.settled + self._progress.made
            again_ns = self._projecting.observe(
                now,
                self._progress.version + self.steering.version,
                status.state,
                self.steering.priority,
                status.why(now).cause,
                counts,
                held=self.steering.held,
            )
            self._actions.wake(again_ns, now)
