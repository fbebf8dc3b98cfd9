"""A bulk request: plan, lanes, control, progress. One run of `BulkRequestWorkflow` a request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from headgate.asking import Asking, Word
    from headgate.demand import FINISHED
    from headgate.lanes import Folded, Lanes
    from headgate.messages.carried import BulkCheckpoint, BulkInput, PageRequest
    from headgate.messages.requests import LaneEntry, Page, PlanSummary
    from headgate.messages.sending import (
        AbandonLane,
        BatchDone,
        LaneSending,
        LeaseReport,
        ResendBatch,
        ResendReport,
        SendLease,
    )
    from headgate.messages.tokens import Grant, Settlement, TokenRequest
    from headgate.messages.views import Control, FailuresView, LanesView, ProgressView, Waiting
    from headgate.messages.words import State
    from headgate.progress import Progress, instant
    from headgate.quota import SECOND_NS
    from headgate.seen import Seen
    from headgate.steering import Steering
    from headgate.summaries import giving_up, sending, sending_again
    from workflows import names, policies
    from workflows.projecting import Projecting, said_of
    from workflows.retrying import retry_failed
    from workflows.showing import Showing
    from workflows.steered import Steered
    from workflows.telling import Telling

#: A request whose next token is so far away waits, once its calls have ended; before that it goes on as fast as it may.
WAITS_NS = 2 * SECOND_NS
#: So long a cancelled request waits for its plan, which tells how many operations it had.
PLANNING_ENDS_NS = 30 * SECOND_NS


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
        self._holder = workflow.info().workflow_id
        self._asking = Asking(
            start.request,
            self._holder,
            run=int(workflow.info().start_time.timestamp() * SECOND_NS),
            sequence=kept.sequence,
            seen=Seen(kept.epoch, kept.last_grant),
        )
        self._plan = kept.plan
        self._next_page = kept.next_page
        self._upcoming: list[LaneEntry] = list(kept.upcoming)
        self._lanes = Lanes()
        self._lanes.restore(kept.lanes)
        self._lanes.finished = kept.lanes_done
        self._abandoning: dict[int, str] = dict(kept.abandoning)
        self.steering = Steering.carried(kept)
        self.retrying = asyncio.Lock()
        self._progress = Progress.restore(kept.progress)
        self._telling = Telling(start.request, kept.notices, self.progress)
        self._projecting = Projecting(start.request, kept.projected, self.progress, self._beside)
        if self._projecting.wanted and start.checkpoint is None:
            self.steering.version += 1  # of a request that nothing was told of, the read model has version 0
        self._showing = Showing(
            start.request, self.steering, self.progress, indexed=start.indexed, release=start.release
        )
        self._standing = kept.standing
        self._failure: BaseException | None = None

        self._grants: list[Grant] = []
        self._reports: list[LeaseReport] = []
        self._resent: list[tuple[int, ResendReport]] = []
        self._pages: list[Page] = []
        self._granted_ns = 0
        self._far = kept.far
        self._valid_for_ns = 300_000_000
        self._draining = False
        self._woken = True
        self._was_paused = self.steering.paused_by is not None
        self._resends: dict[int, asyncio.Task[None]] = {}
        self._resends_cancelled = False
        self._abandons: set[int] = set()
        self._pending: set[asyncio.Task[None]] = set()
        self._loading = False
        self._planning: asyncio.Task[None] | None = None
        self._planning_limited = False
        self._unplanned = False
        self._wakes_at_ns = 0

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
        if self._plan is None:
            self._planning = self._do(self._make_plan())
        while not self._over():
            await self._news()
            if self._plan is None:
                self._show(workflow.time_ns())
                self._limit_planning()
                continue
            self._step(workflow.time_ns())
            if self._draining and self._drained():
                await self._continue()
        if self._asking.believed is not None:
            if self._release >= 2:
                await self._quiet()  # a demand that is on its way behind the last word would bring tokens for nobody
            self._settle(workflow.time_ns(), over=True)
            self._ask(workflow.time_ns(), over=True)
        await self._quiet()
        cancelled_by = self.steering.cancelled_by
        self._do(self._telling.ended("cancelled" if cancelled_by else "completed", by=cancelled_by or ""))
        await self._quiet()
        view = self._last_view(self._state())
        if self._projecting.wanted:
            self._do(self._projecting.ended(view))
            await self._quiet()
        self._show(workflow.time_ns(), at_once=True)
        return view

    # --- what is said to it -------------------------------------------------------------------------------------------

    @workflow.signal(description="Internal: tokens from the limiter")
    def grant(self, grant: Grant | None = None) -> None:
        self._grants += [grant] if grant else []
        self._woken = True

    @workflow.signal(description="Internal: lanes of a lease that are done before the others")
    def report(self, report: LeaseReport | None = None) -> None:
        self._reports += [report] if report else []
        self._woken = True

    @workflow.query(description="State, counts, rate, ETA and the reason for waiting")
    def progress(self) -> ProgressView:
        return self._view(self._state())

    def _view(self, state: State) -> ProgressView:
        now = workflow.time_ns()
        return self._progress.view(
            self._request,
            self._plan,
            state,
            self.steering.priority,
            self._why(now),
            self._lanes.counts(self._plan.lanes if self._plan else 0),
            self._lanes.by_user,
            self._lanes.longest_ns,
            self.steering.version,
            now,
        )

    def _last_view(self, state: State) -> ProgressView:
        """How it ended, as a version of its own where a read model takes the highest."""
        self.steering.version += self._projecting.wanted
        return self._view(state)

    @workflow.query(description="The lanes under way: whose, on which spreadsheet, how far")
    def lanes(self) -> LanesView:
        return LanesView(counts=self.progress().lanes, active=self._lanes.view())

    @workflow.query(description="How many operations have failed, by reason")
    def failures(self) -> FailuresView:
        return FailuresView(failed=self._progress.failed, reasons=dict(self._progress.reasons))

    # --- what people have said ----------------------------------------------------------------------------------------

    def over(self) -> State | None:
        return "completed" if self._finished() else None

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
        self._woken = True

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
                self._cancel_resends()
        else:
            self._open_lanes()
            self._asking.hand_back(self._lanes.hand_back_useless())
            sendings, back = self._lanes.starts(now, self._valid_for_ns)
            self._asking.hand_back(back)
            if sendings:
                self._do(self._send(tuple(sendings), self._granted_ns))
            self._resend()
        self._settle(now)
        if not (self._draining or self.retrying.locked()) and workflow.info().is_continue_as_new_suggested():
            self._draining = True
            self._asking.hand_back(self._lanes.hand_back())
            self._settle(now)
            for task in self._resends.values():
                task.cancel()
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
        for number, resent in self._resent:
            broken = resent.broken
            if resent.done is not None and self._lanes.resent(number, resent.done):
                broken = resent.done.failure
                self._progress.sent(resent.done.calls, now)
                self._progress.done(resent.done, max(0, resent.done.calls - 1), now)
                self._progress.passed(self._lanes.active[number].entry.user, 1)
            if broken:
                self._lanes.active[number].resending = False
                if not self._lanes.active[number].finished:
                    self._abandoning[number] = broken
        self._resent.clear()
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
            if grant.standing is not None:
                self._standing = grant.standing
                far = not grant.tokens or grant.standing.until_ns > now + WAITS_NS
                self._far = bool(grant.standing.reason) and far
                self._progress.promise(grant.standing, now)
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
        pages = self._plan.pages if self._plan else 0
        if not self._loading and self._next_page < pages and len(self._upcoming) < 64:
            self._loading = True
            self._do(self._load(self._next_page))
        for number in list(self._abandoning):
            lane = self._lanes.active.get(number)
            if lane is not None and number not in self._abandons:
                lane.resending = True
                self._abandons.add(number)
                self._do(self._abandon(lane.entry, lane.position, self._abandoning[number]))

    def _resend(self) -> None:
        for lane in self._lanes:
            number = lane.entry.lane
            if lane.resending and number not in self._resends and number not in self._abandoning:
                order = ResendBatch(
                    request=self._request,
                    holder=self._holder,
                    lane=lane.entry,
                    batch=lane.entry.first_batch + lane.position,
                    priority=self.steering.priority,
                    cancelled=bool(self.steering.cancelled_by),
                    most=lane.most,
                    progress=self._projecting.goes_along(),
                )
                self._resends[number] = self._do(self._resend_one(number, order))

    def _cancel_resends(self) -> None:
        """Make certain what became of the batches that are being resent, and send nothing else of them."""
        if not self._resends_cancelled:
            self._resends_cancelled = True
            for task in self._resends.values():
                task.cancel()
        self._resend()

    # --- activities ---------------------------------------------------------------------------------------------------

    async def _make_plan(self) -> None:
        try:
            plan = await workflow.execute_activity(
                "plan",
                self._request,
                result_type=PlanSummary,
                summary=f"plan {self._request.input_bytes:,} bytes of operations",
                **policies.PLAN,
            )
        except ActivityError as error:
            if not (is_cancelled_exception(error) and self.steering.cancelled_by):
                raise
            self._unplanned = True
            return
        self._progress.planned(plan, workflow.time_ns())
        self._plan = plan

    def _limit_planning(self) -> None:
        """Once cancelled, planning may still end, and say how many operations there were; where it cannot, nobody waits for it."""
        if self.steering.cancelled_by and self._release >= 2 and not self._planning_limited:
            self._planning_limited = True
            self._do(self._give_up_planning(), counts=False)

    async def _give_up_planning(self) -> None:
        await workflow.sleep(PLANNING_ENDS_NS / SECOND_NS, summary="planning may end before the request does")
        if self._planning is not None and not self._planning.done():
            self._planning.cancel()

    async def _send(self, sendings: tuple[LaneSending, ...], granted_ns: int) -> None:
        order = SendLease(
            request=self._request,
            holder=self._holder,
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

    async def _resend_one(self, number: int, order: ResendBatch) -> None:
        try:
            report = await workflow.execute_activity(
                "resend_batch",
                order,
                result_type=ResendReport,
                summary=sending_again(order),
                **policies.RESEND,
            )
            self._resent.append((number, report))
            if report.stopped and not self.steering.paused_by:
                self._asking.unheard()
        except ActivityError as error:
            # The attempt that is on when the cancellation is asked for may end in a failure of its own.
            if not (is_cancelled_exception(error) or self._draining or self.steering.cancelled_by):
                raise
        finally:
            del self._resends[number]

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
        lanes = self._lanes.demand(self._standing.allowance) if wants else ()
        # Of a cancelled request batches may still be resent, for which it books tokens.
        stopped = FINISHED if over else "" if self.steering.cancelled_by else self.steering.stopped()
        self._say(self._asking.ask(now, lanes, self._lanes.lead_ns, self.steering.priority, stopped), now)

    def _say(self, word: Word, now: int) -> None:
        if isinstance(word.said, Settlement):
            self._do(self._tell("settle", word.said))
        elif word.said is not None:
            self._do(self._ask_by_activity(word.said) if word.starts else self._tell("request_tokens", word.said))
        self._wake(word.again_ns, now)

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

    def _wake(self, at_ns: int, now: int) -> None:
        """Make sure of a step at that time; one timer at a time, moved only to the front."""
        if at_ns <= 0 or (now < self._wakes_at_ns <= at_ns):
            return
        self._wakes_at_ns = at_ns
        self._do(self._sleep(at_ns, now), counts=False)

    async def _sleep(self, at_ns: int, now: int) -> None:
        await workflow.sleep(max(at_ns - now, 1_000_000) / SECOND_NS, summary="look again")

    # --- life ---------------------------------------------------------------------------------------------------------

    async def _news(self) -> None:
        """Until something has changed. Temporal's own cancellation, as by *Request Cancellation*, is a `cancel` like another."""
        try:
            await workflow.wait_condition(lambda: self._woken)
        except asyncio.CancelledError:
            self._cancelled()
        self._woken = False

    async def _quiet(self) -> None:
        """Until every outgoing signal is resolved and every handler has finished."""
        while True:
            try:
                await workflow.wait_condition(lambda: not self._pending and workflow.all_handlers_finished())
            except asyncio.CancelledError:
                self._cancelled()
            else:
                return

    def _cancelled(self) -> None:
        if self.over() is None:
            self._said("cancel", Control(by=workflow.cancellation_reason() or "Temporal"))

    def _do(self, coroutine: Coroutine[Any, Any, None], *, counts: bool = True) -> asyncio.Task[None]:
        """Run an action beside the loop; its end wakes the loop. With `counts` no run ends before it."""
        task = asyncio.create_task(coroutine)
        if counts:
            self._pending.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._pending.discard(task)
            self._woken = True
            if not task.cancelled() and task.exception() is not None and self._failure is None:
                self._failure = task.exception()

        task.add_done_callback(ended)
        return task

    def _beside(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._do(coroutine, counts=False)

    def _over(self) -> bool:
        if self._failure is not None:
            why = self._failure.__cause__ or self._failure
            raise ApplicationError(f"headgate could not go on: {why}", non_retryable=True) from self._failure
        if self._unplanned:
            return True
        if self._plan is None or self._lanes.busy or self._loading or self._reports or self._resent or self._draining:
            return False
        if self.steering.cancelled_by:
            return True
        return not self._lanes.active and not self._upcoming and self._next_page >= self._plan.pages

    def _drained(self) -> bool:
        return not self._pending and not any(lane.under_way for lane in self._lanes) and not self._reports

    async def _continue(self) -> None:
        """Continue as new, after every outgoing signal is resolved and every handler has finished."""
        while True:
            await self._quiet()
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
                    plan=self._plan,
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
                    standing=self._standing,
                    far=self._far,
                ),
            )
        )

    # --- what people see ----------------------------------------------------------------------------------------------

    def _state(self) -> State:
        if self._plan is None and not self._unplanned:
            return "planning"
        if self.steering.cancelled_by:
            return "cancelled"
        if self._finished():
            return "completed"
        if self.steering.paused_by:
            return "paused"
        return "waiting" if self._far and not self._lanes.calling else "running"

    def _finished(self) -> bool:
        settled = self._progress.succeeded + self._progress.failed
        return self._plan is not None and settled >= self._plan.operations

    def _why(self, now: int) -> Waiting:
        if self._finished():
            return Waiting()
        if self.steering.paused_by:
            return Waiting(reason=f"paused by {self.steering.paused_by}", cause="paused")
        if self._plan is None and not self._unplanned:
            return Waiting(reason="planning", cause="planning")
        if self.steering.cancelled_by and not self._resends:
            return Waiting()
        ends = self._standing.until_ns
        return Waiting(
            reason=self._standing.reason, cause=self._standing.cause, until=instant(ends) if ends > now else None
        )

    def _show(self, now: int, *, at_once: bool = False) -> None:
        """Refresh what the Web UI shows, what a receiver is told, and what the read model is."""
        total = self._plan.operations if self._plan else 0
        settled = self._progress.succeeded + self._progress.failed
        percent = 100 * settled // total if total else 0
        self._showing.show(now, self._state(), self._why(now).reason, percent, at_once=at_once)
        self._telling.observe(
            sending=self._lanes.calling or self._progress.made > 0,
            failed=self._progress.failed,
            paused_by=self.steering.paused_by,
            resumed_by=self.steering.resumed_by,
        )
        if self._projecting.wanted:
            state, cause, version = self._state(), self._why(now).cause, self._progress.version + self.steering.version
            counts = total + settled + self._progress.made
            again_ns = self._projecting.observe(
                now, version, state, self.steering.priority, cause, counts, held=self.steering.held
            )
            self._wake(again_ns, now)
