"""Why somebody waits, in words and with an instant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from headgate.buckets import Buckets
from headgate.message import SECOND_NS
from headgate.messages.tokens import Standing
from headgate.messages.words import Cause
from headgate.waiting import Lane, Token, Waiter

if TYPE_CHECKING:
    from headgate.limiter import Limiter

LANES_OVERALL = 4096
LANES_EACH = 64
#: A changed instant is worth telling when it moved by this, a changed rate when by this part of it.
NOTICED_NS = 2 * SECOND_NS
NOTICED_SHARE = 0.1
#: So many lanes of a holder are looked at to know what holds it back: most of the time the first one tells.
SAMPLED = 2
PROJECT = "the project"


@dataclass(frozen=True, slots=True)
class Why:
    """What somebody waits for, in words and for programs, and until when (ns; 0: nobody knows)."""

    reason: str
    cause: Cause
    until_ns: int = 0


MOVING = Why("", "")
QUIET = Why("quiet after the limiter was lost", "quiet")
RETRIES = Why("retries are at a tenth of the calls", "retries")


def path_of(waiter: Waiter, lane: Lane) -> Token:
    """A lane's path through the buckets; its time means nothing."""
    return Token(0, lane.kind, lane.user, lane.spreadsheet, lane.who, waiter.paced, waiter.served)


def next_call(waiter: Waiter, buckets: Buckets, t: int) -> tuple[int, Lane] | None:
    """When the holder could make its next call from t on, and in which lane; None if it wants none."""
    soonest: tuple[int, Lane] | None = None
    for lane in waiter.lanes.values():
        if lane.calls > 0:
            at = buckets.earliest(max(t, lane.free_at_ns), path_of(waiter, lane), lane.latency_p95_ns)
            if soonest is None or at < soonest[0]:
                soonest = at, lane
    return soonest


def moving(limiter: Limiter, waiter: Waiter, why: Why = MOVING) -> Standing:
    """A holder's standing: what it waits for, how many are ahead, the rate it can expect, how many lanes it may name."""
    rate, each = expected_rate(limiter, waiter)
    return Standing(
        reason=why.reason,
        cause=why.cause,
        until_ns=why.until_ns,
        ahead=limiter.queue.ahead(waiter),
        rate_per_minute=rate,
        user_rate_per_minute=each,
        allowance=allowance(limiter),
    )


def news(limiter: Limiter, waiter: Waiter, now: int) -> Standing | None:
    """How a holder that gets tokens stands, where that is something that it does not know yet."""
    told, why = waiter.standing, held_back(limiter, waiter, now)
    if told is not None and alike(why, told) and told.allowance == allowance(limiter):
        rate, _ = expected_rate(limiter, waiter)
        if abs(rate - told.rate_per_minute) <= NOTICED_SHARE * told.rate_per_minute:
            return None
    return moving(limiter, waiter, why)


def allowance(limiter: Limiter) -> int:
    """How many lanes each holder may name, so that all of them together stay bounded."""
    return min(LANES_EACH, max(1, LANES_OVERALL // max(1, len(limiter.queue))))


def expected_rate(limiter: Limiter, waiter: Waiter) -> tuple[float, float]:
    """Calls a minute that its owner's share promises it, and those that each of its users may make: of its kinds together."""
    s, rate, each = limiter.settings, 0.0, 0.0
    minute = 60 * SECOND_NS / limiter.buckets.hold_ns
    kinds = {lane.kind for lane in waiter.lanes.values() if lane.calls > 0}
    for kind, limit, own in (
        ("read", s.read_per_project, s.read_per_user),
        ("write", s.write_per_project, s.write_per_user),
    ):
        if kind in kinds:
            turns = limiter.lines[kind].turns
            rate += limit * minute * turns.share(waiter.served, waiter.key, waiter.weight)
            each += own * minute
    return round(rate, 1), round(each, 1)


def standing(limiter: Limiter, waiter: Waiter, now: int) -> Why:
    """What a holder without tokens waits for; nothing if its next call is within the horizon and others do not go first."""
    if limiter.paused_by:
        return paused(limiter)
    if not waiter.wants():
        barred = limiter.barred.get(waiter.holder)
        return barred if barred is not None and barred.until_ns > now - NOTICED_NS else MOVING
    soonest = next_call(waiter, limiter.buckets, max(now, limiter.quiet_until_ns))
    if soonest is None:
        return MOVING
    until, lane = soonest
    if until > now + limiter.settings.horizon_ns:
        return replace(binding(limiter, waiter, lane, now), until_ns=until)
    if waiter.hungry_ns + 2 * limiter.settings.horizon_ns < now:
        return behind(limiter, waiter, every=True)
    return MOVING


def held_back(limiter: Limiter, waiter: Waiter, now: int) -> Why:
    """Why a holder that gets tokens does not get more of them; nothing if some lane of those looked at goes as fast as it can.

    The instant is told if the next call is beyond the horizon: otherwise it is no time to wait for.
    """
    soonest: tuple[int, Lane] | None = None
    for lane in islice((lane for lane in waiter.lanes.values() if lane.calls > 0), SAMPLED):
        free = max(now, lane.free_at_ns)
        at = limiter.buckets.earliest(free, path_of(waiter, lane), lane.latency_p95_ns)
        if at <= free + limiter.settings.lead_ns:
            return MOVING
        if soonest is None or at < soonest[0]:
            soonest = at, lane
    if soonest is None:
        return MOVING
    at, lane = soonest
    far = at > now + 2 * limiter.settings.horizon_ns
    return replace(binding(limiter, waiter, lane, now), until_ns=at if far else 0)


def binding(limiter: Limiter, waiter: Waiter, lane: Lane, now: int) -> Why:
    """What holds a lane up: whoever goes first where the project's quota does."""
    found = why(limiter, path_of(waiter, lane), max(now, lane.free_at_ns), now, lane.latency_p95_ns)
    first = behind(limiter, waiter) if found.reason.startswith(PROJECT) else MOVING
    return first if first.reason else found


def behind(limiter: Limiter, waiter: Waiter, *, every: bool = False) -> Why:
    """Who goes first, by class: those of higher classes, and with `every` those of its own that were submitted before."""
    said, ahead = [], 0
    for c, rows in limiter.queue.rows.items():
        own = c == waiter.served
        count = len(rows) if not own else limiter.queue.position(waiter) if every else 0
        said += [f"{count} {c}"] if count else []
        ahead += count
        if own:
            break
    return Why(f"behind {' and '.join(said)} request{'s' if ahead > 1 else ''}", "behind") if ahead else MOVING


def paused(limiter: Limiter) -> Why:
    """That a person has stopped the whole project."""
    return Why(f"project paused by {limiter.paused_by}", "project_paused")


def why(limiter: Limiter, path: Token, t: int, now: int, latency_ns: int = 0) -> Why:
    """The bucket that holds a path up longest, if a call is wanted at `t`."""
    buckets, health = limiter.buckets, limiter.health
    if limiter.quiet_until_ns > now:
        return QUIET
    if circuit := health.open_for(path.spreadsheet):
        return Why(health.why(circuit), "circuit")
    own, project = buckets.user(path.kind, path.user), buckets.project(path.kind)
    if max(own.shut_until_ns, project.shut_until_ns) > now:
        return Why("cooling down after a 429", "throttled")
    own_at, project_at = own.earliest(t, paced=path.paced), project.earliest(t, paced=path.paced)
    if path.spreadsheet:
        spacing = buckets.spacing(path.spreadsheet)
        if spacing.earliest(t, path.who, latency_ns) > max(own_at, project_at):
            return Why(f"spreadsheet spacing: {path.spreadsheet} takes one call at a time", "spacing")
    if own_at >= project_at:
        name, what, bucket = f"user/{path.kind}/{path.user}", f"user {path.user}", own
    else:
        name, what, bucket = f"project/{path.kind}", PROJECT, project
    window_ns = limiter.settings.window_ns
    within = "a minute" if window_ns == 60 * SECOND_NS else f"in {window_ns / SECOND_NS:g} s"
    ceiling = health.ceiling(name, now)
    if ceiling < bucket.limit:
        reason = f"{what} is at {ceiling} {path.kind}s {within}: others use the rest of its {bucket.limit}"
        return Why(reason, "used_by_others")
    return Why(f"{what} is at its {bucket.limit} {path.kind}s {within}", "quota")


def alike(why: Why, old: Standing | None) -> bool:
    """Whether a person would notice no difference."""
    return old is not None and old.reason == why.reason and abs(old.until_ns - why.until_ns) < NOTICED_NS
