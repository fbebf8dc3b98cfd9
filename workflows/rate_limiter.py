"""The token dispenser: one run of `RateLimiterWorkflow` an API and project, alive as long as the project is."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from headgate.checkpoint import dump, restore
    from headgate.limiter import Limiter
    from headgate.models import (
        BookReply,
        BookRequest,
        Grant,
        LimiterInput,
        LimiterSettings,
        LimiterView,
        Settlement,
        TokenRequest,
    )
    from headgate.quota import SECOND_NS
    from workflows import names

STANDING_EVERY_NS = 2 * SECOND_NS
FEW_LANES = 8
SHOWN_BUCKETS = 20


@workflow.defn(name=names.RATE_LIMITER_TYPE)
class RateLimiterWorkflow:
    """Messages: signals `request_tokens`, `settle`, `configure`; update `book`; query `show`. Sends: signal `grant`.

    Handlers change the limiter's state only; `run` holds the rounds and sends their grants together. Each can be called with
    nothing at all: a missing argument would fail the workflow task for ever.
    """

    @workflow.init
    def __init__(self, start: LimiterInput) -> None:
        self._project = start.project
        if start.checkpoint is not None:
            self._limiter = restore(start.checkpoint)
        else:
            epoch = _ns(workflow.info().start_time.timestamp())
            self._limiter = Limiter(start.settings or LimiterSettings(), epoch, start.quiet_until_ns)
        self._woken = False
        self._told_ns = 0
        self._outgoing: set[asyncio.Task[None]] = set()

    @workflow.run
    async def run(self, start: LimiterInput) -> None:
        workflow.set_current_details(self._details())
        while not workflow.info().is_continue_as_new_suggested():
            now = workflow.time_ns()
            for holder, grant in self._limiter.grant(now).items():
                self._tell(holder, grant)
            if now - self._told_ns >= STANDING_EVERY_NS:
                self._told_ns = now
                for holder, grant in self._limiter.standings(now).items():
                    self._tell(holder, grant)
            self._woken = False
            workflow.set_current_details(self._details())
            await self._rest(self._limiter.next_round(now), now)
        # A server drops an outgoing signal whose sender's run has closed (design section 4, point 8).
        await workflow.wait_condition(lambda: not self._outgoing and workflow.all_handlers_finished())
        workflow.continue_as_new(LimiterInput(project=self._project, checkpoint=dump(self._limiter)))

    @workflow.update(description="Book tokens for later attempts: Booked, NotUntil or Stopped for each")
    def book(self, request: BookRequest | None = None) -> BookReply:
        now = workflow.time_ns()
        request = request or BookRequest()
        answers = tuple(self._limiter.book(now, booking) for booking in request.bookings)
        return BookReply(now_ns=now, answers=answers, token_valid_for_ns=self._limiter.settings.token_valid_for_ns)

    @workflow.signal(description="A holder's full present demand; sent by bulk requests")
    def request_tokens(self, said: TokenRequest | None = None) -> None:
        if said and self._limiter.request(workflow.time_ns(), said):
            self._woken = True

    @workflow.signal(description="Tokens that were not used, and 429s; sent by bulk requests")
    def settle(self, said: Settlement | None = None) -> None:
        # Few lanes notice a round's wait for a token that came back; with many, another lane has long taken it.
        if said and self._limiter.settle(workflow.time_ns(), said) and self._limiter.lanes_wanting() <= FEW_LANES:
            self._woken = True

    @workflow.signal(description='Set the quotas, e.g. {"read_per_user": 60}; acts at once')
    def configure(self, settings: LimiterSettings | None = None) -> None:
        if settings is not None:
            self._limiter.configure(settings)
            self._woken = True

    @workflow.query(description="Quotas, what is booked, and who waits")
    def show(self) -> LimiterView:
        return self._limiter.view(self._project, workflow.time_ns())

    async def _rest(self, until: int | None, now: int) -> None:
        """Wait for the next round, or without a timer while nobody wants a token."""
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

    def _details(self) -> str:
        view = self._limiter.view(self._project, workflow.time_ns())
        rows = "\n".join(
            f"| {name} | {bucket['used']:.0f} | {bucket['limit']:.0f} |"
            for name, bucket in list(view.buckets.items())[:SHOWN_BUCKETS]
        )
        return f"**{view.granted}** tokens granted, {view.returned} returned\n\n| bucket | used | limit |\n|---|---|---|\n{rows}"


def _ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)
