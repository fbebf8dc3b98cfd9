"""Counts folded from outcomes, the rate, the ETA and the reason for waiting. No clock: `now` comes in.

The ETA assumes that the calls still planned go out at the rate of the last minute (or of the time since the start, if
that is shorter); it is absent while nothing was sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from headgate.models import (
    BatchDone,
    BulkRequest,
    CallCounts,
    OperationCounts,
    PlanSummary,
    Priority,
    ProgressCheckpoint,
    ProgressView,
    State,
    Waiting,
)
from headgate.quota import SECOND_NS

RATE_OVER_NS = 60 * SECOND_NS
REASONS_KEPT = 20


@dataclass(slots=True)
class Progress:
    """What became of a request's operations so far."""

    succeeded: int = 0
    failed: int = 0
    made: int = 0
    retried: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    recent: list[tuple[int, int]] = field(default_factory=list)
    started_at_ns: int = 0
    version: int = 0

    def planned(self, plan: PlanSummary, now: int) -> None:
        """Planning is over: the lines that it refused are failed operations, the reads that it served have succeeded."""
        self.failed += plan.dead_letters
        self.succeeded += plan.cached
        self._count_reasons(plan.reasons)
        self.started_at_ns = now
        self.version += 1

    def done(self, done: BatchDone, retried: int, now: int) -> None:
        """A batch's result is recorded; `retried` of its calls were not the first."""
        self.succeeded += done.succeeded
        self.failed += done.failed
        self.retried += retried
        self._count_reasons(done.reasons)
        self.version += 1

    def sent(self, calls: int, now: int) -> None:
        """So many calls were made."""
        if calls:
            self.made += calls
            self.recent.append((now, calls))
            self.recent = [(at, n) for at, n in self.recent if at > now - RATE_OVER_NS]
            self.version += 1

    def rate_per_minute(self, now: int) -> float:
        """Calls a minute over the last minute, or since the start if that is shorter."""
        over = min(RATE_OVER_NS, now - self.started_at_ns)
        if over < SECOND_NS:
            return 0.0
        return round(sum(n for at, n in self.recent if at > now - over) * 60 * SECOND_NS / over, 1)

    def view(
        self,
        request: BulkRequest,
        plan: PlanSummary | None,
        state: State,
        priority: Priority,
        waiting: Waiting,
        calls_left: int,
        now: int,
    ) -> ProgressView:
        """The public contract of `headgate status --json`."""
        total = plan.operations if plan else 0
        settled = self.succeeded + self.failed
        over = state in ("cancelled", "failed", "completed")
        rate = self.rate_per_minute(now)
        eta = None
        if not over and rate and plan:
            eta = instant(now + int(calls_left / rate * 60 * SECOND_NS))
        return ProgressView(
            id=request.id,
            state=state,
            priority=priority,
            owner=request.owner,
            operations=OperationCounts(
                total=total,
                succeeded=self.succeeded,
                failed=self.failed,
                unprocessed=max(0, total - settled) if over else 0,
                remaining=0 if over else max(0, total - settled),
            ),
            calls=CallCounts(planned=plan.calls if plan else 0, made=self.made, retried=self.retried),
            rate_per_minute=0.0 if over else rate,
            eta_at=eta,
            waiting=waiting,
            version=self.version,
            failures=dict(self.reasons),
            cached=plan.cached if plan else 0,
            cache_hit_rate=round(plan.cached / plan.looked_for, 4) if plan and plan.looked_for else 0.0,
        )

    def checkpoint(self) -> ProgressCheckpoint:
        """What the next run goes on from."""
        return ProgressCheckpoint(
            succeeded=self.succeeded,
            failed=self.failed,
            made=self.made,
            retried=self.retried,
            reasons=dict(self.reasons),
            recent=tuple(self.recent),
            started_at_ns=self.started_at_ns,
            version=self.version,
        )

    @classmethod
    def restore(cls, kept: ProgressCheckpoint) -> Progress:
        """The progress that was carried over."""
        return cls(
            kept.succeeded,
            kept.failed,
            kept.made,
            kept.retried,
            Counter(kept.reasons),
            list(kept.recent),
            kept.started_at_ns,
            kept.version,
        )

    def _count_reasons(self, reasons: dict[str, int]) -> None:
        for reason, count in reasons.items():
            known = reason in self.reasons or len(self.reasons) < REASONS_KEPT
            self.reasons[reason if known else "other"] += count


def instant(at_ns: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at_ns / SECOND_NS, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
