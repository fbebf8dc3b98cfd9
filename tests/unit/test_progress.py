"""Progress is a fold of outcomes: the rate over a minute, the ETA from it, and counts that always add up."""

from __future__ import annotations

from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.sending import BatchDone
from headgate.messages.views import LaneCounts, ProgressView, Waiting
from headgate.messages.words import State
from headgate.progress import REASONS_KEPT, Progress

NOW = 1_800_000_000 * SECOND_NS
PLAN = PlanSummary(operations=100, dead_letters=3, calls=50, lanes=2, pages=1, reasons={"not JSON": 3})
REQUEST = BulkRequest(id="r", project="p", owner="billing")


def begun() -> Progress:
    progress = Progress()
    progress.planned(PLAN, NOW)
    return progress


def view(
    progress: Progress, now: int, state: State = "running", plan: PlanSummary = PLAN, longest_ns: int = 0
) -> ProgressView:
    return progress.view(REQUEST, plan, state, "normal", Waiting(), LaneCounts(), {}, longest_ns, 0, now)


def test_counts_add_up_in_every_state() -> None:
    """What is neither succeeded nor failed remains while it runs, and is unprocessed once it is over."""
    progress = begun()
    progress.done(BatchDone(batch=0, succeeded=10, failed=2, reasons={"refused": 2}), 0, NOW)
    for state, remaining, unprocessed in (("running", 85, 0), ("cancelled", 0, 85)):
        counts = view(progress, NOW, state).operations  # type: ignore[arg-type]
        assert (counts.succeeded, counts.failed, counts.remaining, counts.unprocessed) == (
            10,
            5,
            remaining,
            unprocessed,
        )
        assert counts.succeeded + counts.failed + counts.remaining + counts.unprocessed == counts.total


def test_the_eta_is_the_calls_left_at_the_last_minutes_rate() -> None:
    """60 calls in the last minute and 30 left: half a minute more."""
    progress = begun()
    for second in range(120):
        progress.sent(1, NOW + second * SECOND_NS)
    now = NOW + 119 * SECOND_NS
    shown = view(progress, now, plan=PLAN.model_copy(update={"calls": 150}))
    assert shown.rate_per_minute == 60
    assert shown.eta_at == "2027-01-15T08:02:29Z"


def test_there_is_no_eta_before_anything_was_sent_or_after_the_end() -> None:
    """An ETA from nothing would be a guess."""
    progress = begun()
    assert view(progress, NOW + SECOND_NS).eta_at is None
    progress.sent(5, NOW + 2 * SECOND_NS)
    assert view(progress, NOW + 3 * SECOND_NS, "completed").eta_at is None


def test_reasons_are_bounded() -> None:
    """Many kinds of failures do not grow the workflow's state: what comes late is counted as other."""
    progress = begun()
    for n in range(REASONS_KEPT * 3):
        progress.done(BatchDone(batch=n, succeeded=0, failed=1, reasons={f"reason {n}": 1}), 0, NOW)
    assert len(progress.reasons) == REASONS_KEPT + 1
    assert progress.reasons.total() == REASONS_KEPT * 3 + 3


def test_the_version_only_grows_and_survives_a_checkpoint() -> None:
    """A reader that saw version n never sees a lower one."""
    progress = begun()
    before = progress.version
    progress.sent(1, NOW)
    kept = Progress.restore(progress.checkpoint())
    assert kept == progress
    assert kept.version > before
