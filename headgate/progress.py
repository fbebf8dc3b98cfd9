"""Counts folded from outcomes, the rate, the ETA and the reason for waiting. No clock: `now` comes in.

Rules:

1. The rate is that of the last minute, or of the time since the start or since something changed: a resume, another share.
2. The ETA assumes that the calls still planned go out at that rate (`headgate.eta`); while too little was seen of a change, at
   the rate before it, or at what the limiter promises now if that is less. It is absent while nothing was sent, and in a pause.
3. `version` only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from headgate.eta import remaining_s
from headgate.messages.carried import ProgressCheckpoint
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.sending import BatchDone
from headgate.messages.tokens import Standing
from headgate.messages.views import CallCounts, LaneCounts, OperationCounts, ProgressView, Waiting
from headgate.messages.words import Priority, State
from headgate.quota import SECOND_NS

RATE_OVER_NS = 60 * SECOND_NS
REASONS_KEPT = 20
#: So much has to be seen of a change before its own rate counts.
SEEN_NS = 8 * SECOND_NS
SEEN_CALLS = 20
#: Until a change is seen in the calls: tokens that were given before it are still used.
ACTS_NS = 2 * SECOND_NS
#: Another share than before, and no noise.
ANOTHER_SHARE = 0.1


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
    users: dict[str, int] = field(default_factory=dict)
    changed_ns: int = 0
    rate_before: float = 0.0
    promised: float = 0.0
    user_rate: float = 0.0
    skipped: int = 0

    def planned(self, plan: PlanSummary, now: int) -> None:
        """Planning is over: the lines that it refused are failed operations, the reads that it served have succeeded."""
        self.failed += plan.dead_letters
        self.succeeded += plan.cached
        self._count_reasons(plan.reasons)
        self.users = dict(plan.calls_by_user)
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

    def passed(self, user: str, batches: int) -> None:
        """So many planned calls of a user are behind it."""
        if user in self.users:
            self.users[user] -= batches

    def given_up(self, user: str, batches: int) -> None:
        """So many planned calls of a user will not be made."""
        self.skipped += batches
        self.passed(user, batches)

    def changed(self, now: int) -> None:
        """From now on it may go at another rate; of the one before, what was really seen counts."""
        if self._measured(now):
            self.rate_before = self.rate_per_minute(now)
        self.changed_ns = now + ACTS_NS

    def resumed(self, now: int) -> None:
        """After a pause, at whose beginning `changed` was called: nothing was to be seen meanwhile."""
        self.changed_ns = now + ACTS_NS

    def promise(self, standing: Standing, now: int) -> None:
        """The limiter says what rate to expect, of all calls and of one user's: of nothing, where nothing is wanted just then."""
        promised = standing.rate_per_minute
        if not promised:
            return
        if self.promised and abs(promised - self.promised) > ANOTHER_SHARE * self.promised:
            self.changed(now)
        self.promised, self.user_rate = promised, standing.user_rate_per_minute

    def rate_per_minute(self, now: int) -> float:
        """Calls a minute over the last minute, or since the start or the last change if that is shorter."""
        over = min(RATE_OVER_NS, now - max(self.started_at_ns, self.changed_ns))
        if over < SECOND_NS:
            return self.rate_before
        return round(self._since(now - over) * 60 * SECOND_NS / over, 1)

    def expected_rate(self, now: int) -> float:
        """Calls a minute from now on, as far as can be known."""
        if self._measured(now):
            return self.rate_per_minute(now)
        return min(self.rate_before, self.promised) if self.promised else self.rate_before

    def _measured(self, now: int) -> bool:
        """Whether enough was seen since the last change."""
        since = now - self.changed_ns
        seen = since >= SEEN_NS and (since >= RATE_OVER_NS or self._since(self.changed_ns) >= SEEN_CALLS)
        return not self.changed_ns or seen or not self.rate_before

    def _since(self, at_ns: int) -> int:
        return sum(n for at, n in self.recent if at > at_ns)

    def view(
        self,
        request: BulkRequest,
        plan: PlanSummary | None,
        state: State,
        priority: Priority,
        waiting: Waiting,
        lanes: LaneCounts,
        lanes_by_user: Mapping[str, int],
        longest_lane_ns: int,
        version: int,
        now: int,
    ) -> ProgressView:
        """The public contract of `headgate status --json`. `lanes_by_user` are the lanes under way, `longest_lane_ns` is what the
        longest of them takes."""
        total = plan.operations if plan else 0
        settled = self.succeeded + self.failed
        over = state in ("cancelled", "failed", "completed")
        rate = self.rate_per_minute(now)
        eta = None
        if not (over or state == "paused") and plan:
            left = max(0, plan.calls - self.skipped - self.made + self.retried)
            longest_s = longest_lane_ns / SECOND_NS
            by_user = [(calls, lanes_by_user.get(user, 1)) for user, calls in self.users.items()]
            seconds = remaining_s(left, self.expected_rate(now), by_user, self.user_rate, longest_s)
            eta = None if seconds is None else instant(now + int(seconds * SECOND_NS))
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
            version=self.version + version,
            failures=dict(self.reasons),
            cached=plan.cached if plan else 0,
            cache_hit_rate=round(plan.cached / plan.looked_for, 4) if plan and plan.looked_for else 0.0,
            lanes=lanes,
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
            users=dict(self.users),
            changed_ns=self.changed_ns,
            rate_before=self.rate_before,
            promised=self.promised,
            user_rate=self.user_rate,
            skipped=self.skipped,
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
            dict(kept.users),
            kept.changed_ns,
            kept.rate_before,
            kept.promised,
            kept.user_rate,
            kept.skipped,
        )

    def _count_reasons(self, reasons: dict[str, int]) -> None:
        for reason, count in reasons.items():
            known = reason in self.reasons or len(self.reasons) < REASONS_KEPT
            self.reasons[reason if known else "other"] += count


def instant(at_ns: int) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at_ns / SECOND_NS, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
