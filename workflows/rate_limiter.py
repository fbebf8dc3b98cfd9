"""The token dispenser: one run of `RateLimiterWorkflow` an API and project, alive as long as the project is."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from headgate.alerts import OBSERVE_EVERY_NS, Alerts
    from headgate.checkpoint import dump, restore
    from headgate.details import details, readings
    from headgate.health import KINDS
    from headgate.limiter import Limiter
    from headgate.messages.alerts import AlertEvent
    from headgate.messages.carried import LimiterInput
    from headgate.messages.tokens import BookReply, BookRequest, Grant, LimiterSettings, Settlement, TokenRequest
    from headgate.messages.views import Control, LimiterView
    from headgate.quota import SECOND_NS
    from headgate.shown import shown_classes
    from headgate.told_before import ToldBefore
    from workflows import names, policies

STANDING_EVERY_NS = 2 * SECOND_NS
#: While nobody wants a token, an alert that lasts is looked at this often: it has to end some time.
WATCH_EVERY_NS = 30 * SECOND_NS
FEW_LANES = 8
NEVER_NS = 1 << 62


@workflow.defn(name=names.RATE_LIMITER_TYPE)
class RateLimiterWorkflow:
    """Messages: signals `request_tokens`, `settle`, `configure`, `pause`, `resume`; update `book`; query `show`. Sends: `grant`.

    Handlers change the limiter's state only; `run` holds the rounds and sends their grants together. Each can be called with
    nothing at all: a missing argument would fail the workflow task for ever.
    """

    @workflow.init
    def __init__(self, start: LimiterInput) -> None:
        self._project = start.project
        self._release = start.release
        to_a_floor = start.release >= 3
        if start.checkpoint is not None:
            self._limiter = restore(start.checkpoint, raises_to_a_floor=to_a_floor)
        else:
            epoch = _ns(workflow.info().start_time.timestamp())
            settings = start.settings or LimiterSettings()
            self._limiter = Limiter(settings, epoch, start.quiet_until_ns, raises_to_a_floor=to_a_floor)
            self._limiter.paused_by = start.paused_by
        self._limiter.told_before = ToldBefore() if self._release < 1 else None
        alerting = self._limiter.settings.alerts
        self._alerts = Alerts.restore(start.alerts, alerting) if start.alerts is not None else Alerts(alerting)
        self._untold: dict[str, AlertEvent] = {}
        self._sentences = {(a.condition, a.subject): f"{a.condition}: {a.subject}" for a in self._alerts.raised}
        self._woken = False
        self._was_reset = False
        self._told_ns = 0
        self._shown_ns = 0
        self._next_ns = 0
        self._outgoing: set[asyncio.Task[None]] = set()
        self._raising: set[asyncio.Task[None]] = set()
        workflow.register_random_seed_callback(self._note_reset)

    @workflow.run
    async def run(self, start: LimiterInput) -> None:
        self._raise(list(start.untold))
        while not workflow.info().is_continue_as_new_suggested():
            now = self._now()
            for holder, lease in self._limiter.grant(now).items():
                self._tell(holder, self._limiter.message(now, lease))
            if now - self._told_ns >= STANDING_EVERY_NS:
                self._told_ns = now
                for holder, grant in self._limiter.standings(now).items():
                    self._tell(holder, grant)
            if now - self._shown_ns >= OBSERVE_EVERY_NS:
                self._shown_ns = now
                self._show(now)
            self._woken = False
            until = self._limiter.next_round(now)
            far = until is None or until > now + STANDING_EVERY_NS
            if self._release >= 1 and far and self._limiter.looks_again():  # a round that is near looks anyway
                until = self._told_ns + STANDING_EVERY_NS
            await self._rest(until, now)
        # A server drops an outgoing signal whose sender's run has closed (design section 4, point 8).
        await workflow.wait_condition(lambda: not self._outgoing and workflow.all_handlers_finished())
        workflow.continue_as_new(
            LimiterInput(
                project=self._project,
                checkpoint=dump(self._limiter),
                alerts=self._alerts.checkpoint(),
                untold=tuple(self._untold.values()),
                release=names.RELEASE,
            )
        )

    # --- what is said to it -------------------------------------------------------------------------------------------

    @workflow.update(description="Book tokens for later attempts: Booked, NotUntil or Stopped for each")
    def book(self, request: BookRequest | None = None) -> BookReply:
        now = self._now()
        request = request or BookRequest()
        answers = tuple(self._limiter.book(now, booking) for booking in request.bookings)
        if self._release >= 1 and any(self._limiter.unsaid(booking.holder) for booking in request.bookings):
            self._woken = True
        return BookReply(now_ns=now, answers=answers, token_valid_for_ns=self._limiter.settings.token_valid_for_ns)

    @workflow.signal(description="A holder's full present demand; sent by bulk requests")
    def request_tokens(self, said: TokenRequest | None = None) -> None:
        if said and self._limiter.request(self._now(), said):
            self._woken = True

    @workflow.signal(
        description="Tokens that were not used, 429s, failures; sent by bulk requests and their activities"
    )
    def settle(self, said: Settlement | None = None) -> None:
        # Few lanes notice a round's wait for a token that came back; with many, another lane has long taken it, if there are
        # rounds: where all lanes had got what they wanted, there are none.
        if said and self._limiter.settle(self._now(), said):
            far = self._next_ns > self._now() + STANDING_EVERY_NS
            self._woken = self._woken or far or bool(said.probed) or self._limiter.lanes_wanting() <= FEW_LANES

    @workflow.signal(description='Set the quotas, e.g. {"read_per_user": 60}; acts at once')
    def configure(self, settings: LimiterSettings | None = None) -> None:
        if settings is not None:
            self._limiter.configure(settings)
            self._alerts.settings = settings.alerts
            self._act_at_once()

    @workflow.signal(
        description="Stop the whole project: no token is given until resumed. Takes nothing, or who says so."
    )
    def pause(self, control: Control | None = None) -> None:
        self._limiter.pause(control.by if control else "")
        self._act_at_once()

    @workflow.signal(description="Give tokens again after a pause. Takes nothing.")
    def resume(self, control: Control | None = None) -> None:
        self._limiter.resume()
        self._act_at_once()

    @workflow.query(description="Quotas, classes, circuits, what is booked, and who waits for what")
    def show(self) -> LimiterView:
        view = self._limiter.view(self._project, workflow.time_ns())
        return view.model_copy(update={"alerts": tuple(self._sentences.values())})

    # --- what becomes of it -------------------------------------------------------------------------------------------

    def _note_reset(self, seed: int) -> None:
        """A run gets another seed where it was reset, and only there: what it has done since is not in its history.

        After a reset to the very first task nobody calls this; holders tell of it then.
        """
        self._was_reset = True
        self._act_at_once()

    def _now(self) -> int:
        """The time; after a reset the limiter begins anew before it does anything else."""
        now = workflow.time_ns()
        if self._was_reset:
            self._was_reset = False
            self._limiter.begin_anew(now)
        return now

    # --- what it does -------------------------------------------------------------------------------------------------

    def _act_at_once(self) -> None:
        self._woken, self._shown_ns, self._told_ns = True, 0, 0

    async def _rest(self, until: int | None, now: int) -> None:
        """Wait for the next round, or without a timer while nobody wants a token and nothing has to be watched."""
        if until is None and self._alerts.watching:
            until = now + WATCH_EVERY_NS
        self._next_ns = NEVER_NS if until is None else until
        if until is None:
            await workflow.wait_condition(lambda: self._woken or self._should_continue())
            return
        pause = max(until - now, 1_000_000) / SECOND_NS
        try:
            await workflow.wait_condition(lambda: self._woken, timeout=pause, timeout_summary="next round")
        except TimeoutError:
            return

    def _should_continue(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    def _tell(self, holder: str, grant: Grant) -> None:
        task = asyncio.create_task(self._signal(holder, grant))
        self._outgoing.add(task)
        task.add_done_callback(self._outgoing.discard)

    async def _signal(self, holder: str, grant: Grant) -> None:
        try:
            await workflow.get_external_workflow_handle(holder).signal("grant", grant)
        except ApplicationError:
            self._limiter.forget(holder)

    # --- what people see ----------------------------------------------------------------------------------------------

    def _show(self, now: int) -> None:
        """Look at alerts, renew what the Web UI shows, set the gauges."""
        self._raise(self._alerts.observe(now, self._project, readings(self._limiter, now)))
        workflow.set_current_details(details(self._limiter, now, tuple(self._sentences.values())))
        meter = workflow.metric_meter().with_additional_attributes({"project": self._project})
        for kind in KINDS:
            bucket, name = self._limiter.buckets.project(kind), f"project/{kind}"
            ceiling = self._limiter.health.ceiling(name, now)
            shown = {"used": bucket.used(now), "booked": len(bucket.times), "limit": bucket.limit, "ceiling": ceiling}
            for what, value in shown.items():
                gauge = meter.create_gauge(f"headgate_quota_{what}", f"Calls of the project in a window: {what}")
                gauge.set(value, {"kind": kind})
        for c in shown_classes(self._limiter, now):
            labels = {"kind": c.kind, "priority": c.priority}
            meter.create_gauge_float("headgate_class_share", "Share of the quota").set(c.share, labels)
            meter.create_gauge_float("headgate_class_jain", "Jain's index over owners").set(c.jain, labels)
            meter.create_gauge_float("headgate_class_wait_seconds", "Longest wait").set(c.waits_ns / SECOND_NS, labels)
        meter.create_gauge("headgate_throttled", "429s ever heard of").set(self._limiter.health.throttled)
        meter.create_gauge("headgate_overloads", "Failures ever heard of").set(self._limiter.health.overloads)
        meter.create_gauge("headgate_circuits_open", "Open circuits").set(
            sum(circuit.open for circuit in self._limiter.health.circuits.values())
        )
        meter.create_gauge("headgate_waiters", "Requests that want tokens").set(len(self._limiter.queue))

    def _raise(self, events: list[AlertEvent]) -> None:
        for event in events:
            if event.phase == "raised":
                self._sentences[event.condition, event.subject] = event.sentence
            else:
                self._sentences.pop((event.condition, event.subject), None)
            self._untold[event.id] = event
            task = asyncio.create_task(self._raise_one(event))
            self._raising.add(task)
            task.add_done_callback(self._raising.discard)

    async def _raise_one(self, event: AlertEvent) -> None:
        """Have people told; one that no receiver took in time is in the log. No run waits for it: the next one goes on."""
        try:
            await workflow.execute_activity(
                "raise_alert", event, summary=f"{event.condition} {event.phase}: {event.subject}", **policies.ALERT
            )
        except ActivityError:
            workflow.logger.warning("Alert not delivered", extra={"event": event.id})
        self._untold.pop(event.id, None)


def _ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)
