"""Whom to tell why it waits, and what each holder is told with its tokens.

A few holders are looked at at a time, and all of them in turn: whatever changes for many at once is told of within some rounds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headgate.leases import Fresh
from headgate.message import SECOND_NS
from headgate.messages.tokens import Grant
from headgate.standing import Why, alike, moving, news, standing
from headgate.waiting import Waiter

if TYPE_CHECKING:
    from headgate.limiter import Limiter

SILENT_FOR_NS = 10 * 60 * SECOND_NS
#: So many holders are looked at for a changed reason for waiting at a time, and so many are told.
LOOKED_AT = 8
TOLD = 4


@dataclass(slots=True)
class Rota:
    """Holders in the order in which they are looked at; `left` have not been since something changed that may concern all."""

    holders: deque[str] = field(default_factory=deque)
    left: int = 0

    def enrol(self, holder: str) -> None:
        """A holder is new: it is looked at first."""
        self.holders.appendleft(holder)

    def look_again(self) -> None:
        """Anybody's reason for waiting may be another by now."""
        self.left = len(self.holders)


def message(limiter: Limiter, now: int, lease: Fresh) -> Grant:
    """The signal that tells a holder of a lease of the round at `now`, and how it stands where that is news to it."""
    waiter = limiter.waiters[lease.holder]
    if limiter.told_before is not None:
        limiter.told_before.granted(lease.holder)
    if changed := news(limiter, waiter, now):
        waiter.standing = changed
    return Grant(
        epoch=limiter.epoch,
        grant_id=lease.grant_id,
        tokens=lease.tokens,
        reads=lease.reads,
        valid_for_ns=limiter.settings.token_valid_for_ns,
        standing=waiter.standing,
        probes=lease.probes,
        at_ns=now,
    )


def standings(limiter: Limiter, now: int) -> dict[str, Grant]:
    """Grants without tokens for holders whose reason for waiting changed in a way that a person would notice: those that
    want tokens, and those of which nothing is left but what is resent. With `told_before` it decides who.
    """
    rota = limiter.rota
    changed: dict[str, Grant] = {}
    for _ in range(min(LOOKED_AT, len(rota.holders))):
        holder = rota.holders.popleft()
        rota.left -= 1
        waiter = limiter.waiters.get(holder)
        if waiter is None:
            continue
        if not waiter.wants() and not waiter.stopped and waiter.heard_ns < now - SILENT_FOR_NS:
            limiter.forget(holder)
            continue
        rota.holders.append(holder)
        why = standing(limiter, waiter, now)
        if _tells(limiter, waiter, why, now):
            new = waiter.standing = moving(limiter, waiter, why)
            changed[holder] = Grant(epoch=limiter.epoch, grant_id=limiter.grants, standing=new)
            if len(changed) == TOLD:
                break
    return changed


def _tells(limiter: Limiter, waiter: Waiter, why: Why, now: int) -> bool:
    if limiter.told_before is not None:
        return limiter.told_before.tells(limiter, waiter, now)
    asks = waiter.wants() or (waiter.holder in limiter.barred and not waiter.stopped)
    return asks and bool(why.reason) and not alike(why, waiter.standing)
