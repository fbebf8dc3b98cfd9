"""Whom a limiter of release 0 tells why it waits: what its runs have done has to be done again when they are replayed.

Only whom it tells is decided here, and nobody reads these words; what is told is `headgate.standing`'s, as in any release. To be
removed once no run of release 0 can be open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headgate.message import SECOND_NS
from headgate.standing import NOTICED_NS, next_call, path_of
from headgate.waiting import Token, Waiter

if TYPE_CHECKING:
    from headgate.limiter import Limiter


@dataclass(slots=True)
class ToldBefore:
    """The reason and the instant (ns) that each holder was told last, since it last got a token."""

    told: dict[str, tuple[str, int]] = field(default_factory=dict)

    def granted(self, holder: str) -> None:
        """A grant says that nothing holds its holder back."""
        self.told.pop(holder, None)

    def tells(self, limiter: Limiter, waiter: Waiter, now: int) -> bool:
        """Whether a holder is told now; it counts as told."""
        if not waiter.wants() or waiter.hungry_ns + limiter.settings.horizon_ns >= now:
            return False
        reason, until_ns = _waits_for(limiter, waiter, now)
        before, before_ns = self.told.get(waiter.holder, ("", 0))
        if not reason or (reason == before and abs(until_ns - before_ns) < NOTICED_NS):
            return False
        self.told[waiter.holder] = reason, until_ns
        return True


def _waits_for(limiter: Limiter, waiter: Waiter, now: int) -> tuple[str, int]:
    if limiter.paused_by:
        return f"project paused by {limiter.paused_by}", 0
    soonest = next_call(waiter, limiter.buckets, max(now, limiter.quiet_until_ns))
    if soonest is None:
        return "", 0
    until, lane = soonest
    if until > now + limiter.settings.horizon_ns:
        return _why(limiter, path_of(waiter, lane), now), until
    ahead = limiter.queue.ahead(waiter)
    if ahead and waiter.hungry_ns + 2 * limiter.settings.horizon_ns < now:
        return f"behind {ahead}", 0
    return "", 0


def _why(limiter: Limiter, path: Token, now: int) -> str:
    health = limiter.health
    if limiter.quiet_until_ns > now:
        return "quiet"
    if circuit := health.open_for(path.spreadsheet):
        return health.why(circuit)
    own, project = limiter.buckets.user(path.kind, path.user), limiter.buckets.project(path.kind)
    if max(own.shut_until_ns, project.shut_until_ns) > now:
        return "throttled"
    if own.earliest(now, paced=False) >= project.earliest(now, paced=False):
        name, bucket = f"user/{path.kind}/{path.user}", own
    else:
        name, bucket = f"project/{path.kind}", project
    ceiling, seconds = health.ceiling(name, now), limiter.settings.window_ns / SECOND_NS
    return f"{name} {ceiling} {bucket.limit} {seconds:g} {ceiling < bucket.limit}"
