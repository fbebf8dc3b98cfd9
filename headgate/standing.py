"""Why somebody waits, in words and with an instant, and what a person may see of the limiter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from headgate.buckets import Buckets
from headgate.models import SECOND_NS, Standing
from headgate.ordering import CLASSES
from headgate.waiting import Lane, Token, Waiter

LANES_OVERALL = 4096
LANES_EACH = 64
QUIET = "quiet after the limiter was lost"
#: A changed instant is worth telling when it moved by this.
NOTICED_NS = 2 * SECOND_NS


def path_of(waiter: Waiter, lane: Lane) -> Token:
    """A lane's path through the buckets; its time means nothing."""
    return Token(0, lane.kind, lane.user, lane.spreadsheet, waiter.who(lane), waiter.paced)


def next_call(waiter: Waiter, buckets: Buckets, t: int) -> tuple[int, Lane] | None:
    """When the holder could make its next call from t on, and in which lane; None if it wants none."""
    soonest: tuple[int, Lane] | None = None
    for lane in waiter.lanes.values():
        if lane.calls > 0:
            at = buckets.earliest(max(t, lane.free_at_ns), path_of(waiter, lane), lane.latency_p95_ns)
            if soonest is None or at < soonest[0]:
                soonest = at, lane
    return soonest


def standing(
    waiter: Waiter, waiters: Mapping[str, Waiter], buckets: Buckets, quiet_until_ns: int, now: int
) -> Standing:
    """What the holder waits for now; no reason if its next call is within the horizon."""
    wanting = [other for other in waiters.values() if other.wants()]
    rank = (CLASSES.index(waiter.priority), waiter.submitted_at_ns)
    ahead = sum((CLASSES.index(other.priority), other.submitted_at_ns) < rank for other in wanting)
    allowance = min(LANES_EACH, max(1, LANES_OVERALL // max(1, len(wanting))))
    soonest = next_call(waiter, buckets, max(now, quiet_until_ns))
    reason, until = "", 0
    if soonest is not None and soonest[0] > now + buckets.settings.horizon_ns:
        until = soonest[0]
        reason = why(path_of(waiter, soonest[1]), buckets, quiet_until_ns, now)
    return Standing(reason=reason, until_ns=until, ahead=ahead, allowance=allowance)


def why(path: Token, buckets: Buckets, quiet_until_ns: int, now: int) -> str:
    """The bucket that holds a path up longest, in words."""
    if quiet_until_ns > now:
        return QUIET
    own, project = buckets.user(path.kind, path.user), buckets.project(path.kind)
    if max(own.shut_until_ns, project.shut_until_ns) > now:
        return "cooling down after a 429"
    seconds = buckets.settings.window_ns / SECOND_NS
    if own.earliest(now, paced=False) >= project.earliest(now, paced=False):
        return f"user {path.user} is at its {own.limit} {path.kind}s in {seconds:g} s"
    return f"the project is at its {project.limit} {path.kind}s in {seconds:g} s"


def alike(new: Standing, old: Standing | None) -> bool:
    """Whether a person would notice no difference."""
    return old is not None and old.reason == new.reason and abs(old.until_ns - new.until_ns) < NOTICED_NS


def shown_buckets(buckets: Buckets, now: int) -> dict[str, dict[str, float]]:
    """The buckets that are in use, in numbers."""
    return {
        name: {
            "limit": bucket.limit,
            "used": bucket.used(now),
            "booked": len(bucket.times),
            "free": max(0, bucket.limit - len(bucket.times)),
        }
        for name, bucket in sorted(buckets.quotas.items())
        if bucket.times or name.startswith("project")
    }


def shown_waiters(waiters: Iterable[Waiter]) -> tuple[dict[str, str | int | float], ...]:
    """Who wants tokens or was stopped, and what each waits for."""
    return tuple(
        {
            "holder": waiter.holder,
            "priority": waiter.priority,
            "owner": waiter.key,
            "lanes": len(waiter.lanes),
            "calls": sum(max(0, lane.calls) for lane in waiter.lanes.values()),
            "stopped": waiter.stopped,
            "waits_for": waiter.standing.reason if waiter.standing else "",
        }
        for waiter in waiters
        if waiter.wants() or waiter.stopped
    )
