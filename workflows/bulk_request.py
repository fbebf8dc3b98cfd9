"""A bulk request: plan, lanes, control, progress. One run of `BulkRequestWorkflow` a request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from headgate.lanes import Folded, Lanes, unused_of
    from headgate.limiter import FINISHED
    from headgate.models import (
        AbandonLane,
        BatchDone,
        BulkCheckpoint,
        BulkInput,
        Control,
        Grant,
        LaneDemand,
        LaneEntry,
        LaneSending,
        LeaseReport,
        Page,
        PageRequest,
        PlanSummary,
        ProgressView,
        ResendBatch,
        ResendReport,
        SendLease,
        Settlement,
        State,
        Throttling,
        TokenRequest,
        Unused,
        Waiting,
    )
    from headgate.progress import Progress, instant
    from headgate.quota import SECOND_NS
    from headgate.seen import Seen
    from workflows import names, policies

ASK_EVERY_NS = SECOND_NS
SILENCE_NS = 30 * SECOND_NS
LATENCY_CHANGED_NS = 100_000_000
#: With so few lanes a round's wait for a token that came back is noticed.
FEW_LANES = 8
STATE = SearchAttributeKey.for_keyword("HeadgateState")
PRIORITY = SearchAttributeKey.for_keyword("HeadgatePriority")
PERCENT = SearchAttributeKey.for_int("HeadgatePercent")


@workflow.defn(name=names.BULK_REQUEST_TYPE)
class BulkRequestWorkflow:
    """Messages: signals `grant`, `report`, `pause`, `resume`, `cancel_request`, `reprioritise`; query `progress`.

    Handlers put down what was said; `run` acts on it, one `_step` whenever something has changed. Every handler can be called
    with nothing at all, as a person may from the Web UI: a missing argument would fail the workflow task for ever.
    """

    @workflow.init
    def __init__(self, start: BulkInput) -> None:
        kept = start.checkpoint or BulkCheckpoint(priority=start.request.priority)
        self._request = start.request
        self._indexed = start.indexed
        self._holder = workflow.info().workflow_id
        self._run = int(workflow.info().start_time.timestamp() * SECOND_NS)
        self._plan = kept.plan
        self._next_page = kept.next_page
        self._upcoming: list[LaneEntry] = list(kept.upcoming)
        self._lanes = Lanes()
        self._lanes.restore(kept.lanes)
        self._abandoning: dict[int, str] = dict(kept.abandoning)
        self._priority = kept.priority
        self._paused_by = kept.paused_by
        self._cancelled_by = kept.cancelled_by
        self._sequence = kept.sequence
        self._seen = Seen(kept.epoch, kept.last_grant)
        self._progress = Progress.restore(kept.progress)
        self._forgiven = kept.forgiven
        self._waiting = Waiting()
        self._failed = ""

        self._grants: list[Grant] = []
        self._reports: list[LeaseReport] = []
        self._resent: list[tuple[int, ResendReport]] = []
        self._pages: list[Page] = []
        self._back: list[Unused] = []
        self._unsettled: list[Unused] = []
        self._granted_ns = 0
        self._settled_ns = 0
        self._throttled: list[Throttling] = []
        self._asked: dict[int, LaneDemand] | None = None
        self._asked_state = ("", "")
        self._asked_ns = 0
        self._asked_lead_ns = 0
        self._heard_ns = 0
        self._valid_for_ns = 300_000_000
        self._allowance = 64
        self._draining = False
        self._woken = True
        self._shown: tuple[State, int] = ("planning", 0)
        self._resends: dict[int, asyncio.Task[None]] = {}
        self._resends_cancelled = False
        self._abandons: set[int] = set()
        self._pending: set[asyncio.Task[None]] = set()
        self._loading = False
        self._wakes_at_ns = 0

    @workflow.run
    async def run(self, start: BulkInput) -> ProgressView:
        workflow.set_current_details(self._details())
        if self._plan is None:
            self._plan = await workflow.execute_activity(
                "plan", self._request, result_type=PlanSummary, summary="plan", **policies.PLAN
            )
            self._progress.planned(self._plan, workflow.time_ns())
        while not self._over():
            await workflow.wait_condition(lambda: self._woken)
            self._woken = False
            self._step(workflow.time_ns())
            if self._draining and self._drained():
                await self._continue()
        if self._asked is not None:
            self._settled_ns = 0
            self._settle(workflow.time_ns())
            self._ask(workflow.time_ns(), stopped=FINISHED)
        await workflow.wait_condition(lambda: not self._pending and workflow.all_handlers_finished())
        self._show()
        return self.progress()

    # --- what is said to it -------------------------------------------------------------------------------------------

    @workflow.signal(description="Tokens from the limiter")
    def grant(self, grant: Grant | None = None) -> None:
        self._grants += [grant] if grant else []
        self._woken = True

    @workflow.signal(description="Lanes of a lease that are done before the others")
    def report(self, report: LeaseReport | None = None) -> None:
        self._reports += [report] if report else []
        self._woken = True

    @workflow.signal(description="Send nothing more until resumed. Takes nothing, or who says so.")
    def pause(self, control: Control | None = None) -> None:
        self._paused_by = (control.by if control else "") or "someone"
        self._woken = True

    @workflow.signal(description="Go on after a pause. Takes nothing.")
    def resume(self, control: Control | None = None) -> None:
        self._paused_by = None
        self._forgiven = self._progress.failed
        self._woken = True

    @workflow.signal(description="Let calls in flight finish and leave the rest unprocessed. Takes nothing.")
    def cancel_request(self, control: Control | None = None) -> None:
        self._cancelled_by = (control.by if control else "") or "someone"
        self._paused_by = None
        self._woken = True

    @workflow.signal(description='Change the priority: {"to": "urgent"}, "normal" or "low"')
    def reprioritise(self, control: Control | None = None) -> None:
        if control is not None and control.to is not None:
            self._priority = control.to
            self._woken = True

    @workflow.query(description="State, counts, rate, ETA and the reason for waiting")
    def progress(self) -> ProgressView:
        now = workflow.time_ns()
        made = self._progress.made - self._progress.retried
        left = max(0, (self._plan.calls if self._plan else 0) - made)
        return self._progress.view(self._request, self._plan, self._state(), self._priority, self._why(now), left, now)

    # --- one step -----------------------------------------------------------------------------------------------------

    def _step(self, now: int) -> None:
        """Fold what came in, start what can start, hand back what cannot, ask for what is wanted."""
        self._fold(now)
        self._granted_ns = 0
        self._take_grants(now)
        held = self._paused_by or self._cancelled_by or self._draining
        if held:
            self._back += self._lanes.hand_back()
            if self._cancelled_by and not self._draining:
                self._cancel_resends()
        else:
            self._open_lanes()
            self._back += self._lanes.hand_back_useless()
            sendings, back = self._lanes.starts(now, self._valid_for_ns)
            self._back += back
            if sendings:
                self._do(self._send(tuple(sendings), self._granted_ns))
            self._resend()
        self._settle(now)
        if not self._draining and workflow.info().is_continue_as_new_suggested():
            self._draining = True
            self._back += self._lanes.hand_back()
            self._settle(now)
            for task in self._resends.values():
                task.cancel()
        self._ask(now)
        self._show()

    def _fold(self, now: int) -> None:
        folded = Folded()
        for report in self._reports:
            self._throttled += report.throttled
            self._lanes.learn_lead(report.ready_ns)
            ours = report.epoch in (0, self._seen.epoch)
            for lane in report.lanes:
                self._lanes.fold(lane, folded)
                if lane.unused and ours:
                    self._back.append(Unused(grant_id=lane.grant_id, lane=lane.lane, tokens=lane.unused))
        self._reports.clear()
        self._progress.sent(folded.sent, now)
        for done in folded.done:
            self._progress.done(done, 0, now)
        self._abandoning |= folded.broken
        for number, resent in self._resent:
            broken = resent.broken
            if resent.done is not None and self._lanes.resent(number, resent.done):
                broken = resent.done.failure
                self._progress.sent(resent.done.calls, now)
                self._progress.done(resent.done, max(0, resent.done.calls - 1), now)
            if broken:
                self._lanes.active[number].resending = False
                if not self._lanes.active[number].finished:
                    self._abandoning[number] = broken
        self._resent.clear()
        for page in self._pages:
            self._upcoming += page.lanes
        self._pages.clear()
        self._stop_after()
        self._back += self._lanes.hand_back_useless()
        self._lanes.retire()

    def _stop_after(self) -> None:
        """Pause once more operations have failed since the last resume than the request bears."""
        most, failed = self._request.stop_after, self._progress.failed
        if 0 < most <= failed - self._forgiven and not (self._paused_by or self._cancelled_by):
            self._forgiven = failed
            self._paused_by = f"--stop-after {most}: {failed} operations have failed, look at `headgate results`"

    def _take_grants(self, now: int) -> None:
        for grant in self._grants:
            self._heard_ns = now
            arrival = self._seen.arrived(grant.epoch, grant.grant_id, tokens=bool(grant.tokens))
            if arrival == "stale":
                continue
            if arrival == "anew":
                # The new limiter gives the numbers of its grants anew: what the lost one gave must not be handed back to it.
                self._asked = None
                self._lanes.hand_back()
                self._back, self._unsettled = [], []
            if grant.standing is not None:
                until = instant(grant.standing.until_ns) if grant.standing.until_ns else None
                self._waiting = Waiting(reason=grant.standing.reason, until=until)
                self._allowance = grant.standing.allowance
            if not grant.tokens or arrival == "again":
                continue
            self._valid_for_ns, self._granted_ns = grant.valid_for_ns, grant.at_ns
            self._expect({lane: -len(times) for lane, times in grant.tokens.items()})
            if arrival == "late":
                self._asked = None  # a limiter that was reset learns from our demand what it gave
                self._back += unused_of(grant)
                continue
            self._back += self._lanes.granted(grant)
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
                    priority=self._priority,
                    cancelled=bool(self._cancelled_by),
                    most=lane.most,
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

    async def _send(self, sendings: tuple[LaneSending, ...], granted_ns: int) -> None:
        order = SendLease(
            request=self._request,
            holder=self._holder,
            epoch=self._seen.epoch,
            lanes=sendings,
            valid_for_ns=self._valid_for_ns,
            granted_ns=granted_ns,
        )
        number = self._lanes.begun(sendings)
        calls = sum(len(s.batches) for s in sendings)
        report = await workflow.execute_activity(
            "send_lease",
            order,
            result_type=LeaseReport,
            summary=f"{calls} calls in {len(sendings)} lanes",
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
                summary=f"batch {order.batch} of lane {number} again",
                **policies.RESEND,
            )
            self._resent.append((number, report))
            if report.stopped and not self._paused_by:
                self._asked = None
        except ActivityError as error:
            # The attempt that is on when the cancellation is asked for may end in a failure of its own.
            if not (is_cancelled_exception(error) or self._draining or self._cancelled_by):
                raise
        finally:
            del self._resends[number]

    async def _abandon(self, entry: LaneEntry, position: int, reason: str) -> None:
        """Fail what is left of a lane that cannot go on, without a call."""
        order = AbandonLane(request=self._request, lane=entry, batch=entry.first_batch + position, reason=reason)
        done = await workflow.execute_activity(
            "abandon_lane", order, result_type=BatchDone, summary=f"lane {entry.lane} cannot go on", **policies.PLAN
        )
        lane = self._lanes.active[entry.lane]
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

    def _settle(self, now: int) -> None:
        """Hand back what is of no use; nothing to tell, nothing sent.

        With many lanes the tokens that come back are mostly past, and nobody waits for them: once a second is enough.
        """
        for unused in self._back:
            self._expect({unused.lane: len(unused.tokens)})
        self._unsettled += self._back
        self._back = []
        if not self._unsettled and not self._throttled:
            return
        held = self._paused_by or self._cancelled_by or self._draining or self._throttled
        if not held and len(self._lanes.active) > FEW_LANES and now - self._settled_ns < ASK_EVERY_NS:
            self._wake(self._settled_ns + ASK_EVERY_NS, now)
            return
        said = Settlement(
            holder=self._holder,
            epoch=self._seen.epoch,
            unused=tuple(self._unsettled),
            throttled=tuple(self._throttled),
        )
        self._unsettled, self._throttled, self._settled_ns = [], [], now
        self._do(self._tell("settle", said))

    def _ask(self, now: int, stopped: str = "") -> None:
        """Declare the demand when it is not what the limiter believes: at once for a control change, else once a second."""
        stopped = stopped or (
            "cancelled" if self._cancelled_by else f"paused by {self._paused_by}" if self._paused_by else ""
        )
        held = bool(stopped) or self._draining
        lanes = () if held else self._lanes.demand(self._allowance)
        control = (stopped if not self._cancelled_by or stopped == FINISHED else "", self._priority)
        quiet_since = max(self._heard_ns, self._asked_ns)
        silent = bool(lanes) and now - quiet_since >= SILENCE_NS
        if not silent and control == self._asked_state and not self._differs(lanes):
            self._wake(quiet_since + SILENCE_NS if lanes else 0, now)
            return
        if control == self._asked_state and self._asked and now - self._asked_ns < ASK_EVERY_NS and not silent:
            self._wake(self._asked_ns + ASK_EVERY_NS, now)
            return
        first = self._asked is None or silent
        self._sequence += 1
        said = TokenRequest(
            holder=self._holder,
            run=self._run,
            sequence=self._sequence,
            epoch=self._seen.epoch,
            last_grant=self._seen.last,
            priority=self._priority,
            weight=self._request.weight,
            fairness_key=self._request.owner,
            submitted_at_ns=self._request.submitted_at_ns,
            stopped=control[0],
            lanes=lanes,
            lead_ns=self._lanes.lead_ns,
        )
        self._asked_lead_ns = self._lanes.lead_ns
        self._asked = {demand.lane: demand for demand in lanes}
        self._asked_state, self._asked_ns = control, now
        self._do(self._ask_by_activity(said) if first else self._tell("request_tokens", said))
        self._wake(now + SILENCE_NS if lanes else 0, now)

    def _differs(self, lanes: tuple[LaneDemand, ...]) -> bool:
        """Whether the limiter believes something else: other lanes, other counts, clearly other latencies."""
        believed = {n: d for n, d in (self._asked or {}).items() if d.calls > 0}
        if self._asked is None or believed.keys() != {d.lane for d in lanes}:
            return True
        if abs(self._lanes.lead_ns - self._asked_lead_ns) > LATENCY_CHANGED_NS:
            return True
        return any(
            believed[d.lane].calls != d.calls
            or believed[d.lane].kind != d.kind
            or abs(believed[d.lane].latency_ns - d.latency_ns) > max(LATENCY_CHANGED_NS, d.latency_ns // 5)
            for d in lanes
        )

    def _expect(self, change: dict[int, int]) -> None:
        """Follow what the limiter believes: a grant takes calls off, a token handed back adds one."""
        for lane, calls in change.items():
            known = (self._asked or {}).get(lane)
            if self._asked is not None and known is not None:
                self._asked[lane] = known.model_copy(update={"calls": known.calls + calls})

    async def _tell(self, signal: str, said: Settlement | TokenRequest) -> None:
        limiter = workflow.get_external_workflow_handle(names.rate_limiter_id(self._request.project))
        try:
            await limiter.signal(signal, said)
        except ApplicationError:
            self._asked = None  # the limiter is gone: the next demand starts one

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
        await workflow.sleep(max(at_ns - now, 1_000_000) / SECOND_NS, summary="ask again")

    # --- life ---------------------------------------------------------------------------------------------------------

    def _do(self, coroutine: Coroutine[Any, Any, None], *, counts: bool = True) -> asyncio.Task[None]:
        """Run an action beside the loop; its end wakes the loop. With `counts` no run ends before it."""
        task = asyncio.create_task(coroutine)
        if counts:
            self._pending.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._pending.discard(task)
            self._woken = True
            if not task.cancelled() and task.exception() is not None and not self._failed:
                self._failed = str(task.exception())

        task.add_done_callback(ended)
        return task

    def _over(self) -> bool:
        if self._failed:
            raise ApplicationError(f"headgate could not go on: {self._failed}", non_retryable=True)
        if self._plan is None or self._lanes.busy or self._loading or self._reports or self._resent or self._draining:
            return False
        if self._cancelled_by:
            return True
        return not self._lanes.active and not self._upcoming and self._next_page >= self._plan.pages

    def _drained(self) -> bool:
        return not self._pending and not any(lane.under_way for lane in self._lanes) and not self._reports

    async def _continue(self) -> None:
        """Continue as new, after every outgoing signal is resolved and every handler has finished."""
        while True:
            await workflow.wait_condition(lambda: not self._pending and workflow.all_handlers_finished())
            self._fold(workflow.time_ns())
            self._take_grants(workflow.time_ns())
            self._back += self._lanes.hand_back()
            if not self._back and not self._unsettled and not self._throttled:
                break
            self._settle(workflow.time_ns())
        workflow.continue_as_new(
            BulkInput(
                request=self._request,
                indexed=self._indexed,
                checkpoint=BulkCheckpoint(
                    plan=self._plan,
                    next_page=self._next_page,
                    upcoming=tuple(self._upcoming),
                    lanes=self._lanes.checkpoint(),
                    abandoning=self._abandoning,
                    priority=self._priority,
                    paused_by=self._paused_by,
                    cancelled_by=self._cancelled_by,
                    sequence=self._sequence,
                    epoch=self._seen.epoch,
                    last_grant=self._seen.last,
                    progress=self._progress.checkpoint(),
                    forgiven=self._forgiven,
                ),
            )
        )

    # --- what people see ----------------------------------------------------------------------------------------------

    def _state(self) -> State:
        if self._plan is None:
            return "planning"
        if self._cancelled_by:
            return "cancelled"
        if self._finished():
            return "completed"
        if self._paused_by:
            return "paused"
        return "waiting" if self._waiting.reason and not self._lanes.busy else "running"

    def _finished(self) -> bool:
        settled = self._progress.succeeded + self._progress.failed
        return self._plan is not None and settled >= self._plan.operations

    def _why(self, now: int) -> Waiting:
        if self._paused_by:
            return Waiting(reason=f"paused by {self._paused_by}")
        if self._plan is None:
            return Waiting(reason="planning")
        return self._waiting if self._state() == "waiting" else Waiting()

    def _show(self) -> None:
        """Refresh what the Web UI shows; search attributes only at a change of state or another quarter done."""
        workflow.set_current_details(self._details())
        state = self._state()
        steady: State = "running" if state == "waiting" else state
        total = self._plan.operations if self._plan else 0
        settled = self._progress.succeeded + self._progress.failed
        percent = 25 * (4 * settled // total) if total else 0
        if not self._indexed or (steady, percent) == self._shown:
            return
        self._shown = (steady, percent)
        workflow.upsert_search_attributes(
            [STATE.value_set(steady), PRIORITY.value_set(self._priority), PERCENT.value_set(percent)]
        )

    def _details(self) -> str:
        view = self.progress()
        total = view.operations.total or 1
        settled = view.operations.succeeded + view.operations.failed
        bar = "#" * (30 * settled // total)
        cached = f", {view.cached} reads from the cache" if view.cached else ""
        waiting = f"\n\nwaits: {view.waiting.reason} until {view.waiting.until or '?'}" if view.waiting.reason else ""
        return (
            f"**{view.state}** `[{bar:<30}]` {settled} of {view.operations.total} operations, "
            f"{view.operations.failed} failed\n\n{view.calls.made} calls of {view.calls.planned}{cached}, "
            f"{view.rate_per_minute:g} a minute, ETA {view.eta_at or 'unknown'}{waiting}\n\n"
            "Signals: `pause`, `resume`, `cancel_request`, `reprioritise`."
        )
