"""What leases and attempts have taught: tokens that were not used, 429s, failures, and how probes went.

A token is taken back once, from its own holder and while it is in the books: it is free at once, and its class and owner get
back what they paid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.leases import take_out
from headgate.messages.tokens import Settlement, Unused
from headgate.waiting import Token

if TYPE_CHECKING:
    from headgate.limiter import Limiter


def settle(limiter: Limiter, now: int, said: Settlement) -> bool:
    """Take back tokens that were not used, note 429s, failures and probes; True if that deserves a round at once."""
    health, bookings, before = limiter.health, limiter.bookings, limiter.returned
    for unused in said.unused if said.epoch == limiter.epoch else ():
        lease = limiter.leases.get(unused.grant_id)
        if lease is not None and lease[0] == said.holder:
            take_back(limiter, now, unused)
    for booking_id in said.unused_bookings:
        place = bookings.places.pop(booking_id, None)
        if place is not None:
            limiter.returned += place.given
            bookings.refund(place, limiter.turns(place.token.kind))
            if place.probe:
                health.probe_returned(now, place.probe)
    for throttling in said.throttled:
        health.throttle(now, throttling)
        if throttling.scope == "user":  # a slower pace is counted from an earlier instant
            limiter.lines[throttling.kind].recheck(throttling.user)
    if said.throttled:
        bookings.move(limiter.quiet_until_ns)
    opened = [health.overloaded(now, overload.spreadsheet) for overload in said.overloads]
    for probed in said.probed:
        health.probed(now, probed.circuit, ok=probed.ok)
    moved = bool(said.probed) or any(opened)
    if moved:
        for line in limiter.lines.values():
            line.recheck_all()
    if said.throttled or moved:
        limiter.rota.look_again()
    return limiter.returned > before or any(probed.ok for probed in said.probed)


def take_back(limiter: Limiter, now: int, unused: Unused) -> None:
    """Free the tokens, refund who paid for them; the lane wants as many calls again without having to say so."""
    for position in unused.tokens:
        lease, token = take_out(limiter.leases[unused.grant_id], unused.lane, position)
        if token is None:
            continue
        limiter.leases[unused.grant_id] = lease
        holder, key, weight, _, _ = lease
        limiter.returned += 1
        limiter.buckets.give_back(token)
        limiter.turns(token.kind).refund(token.served, key, weight)
        if token.served == "urgent":
            limiter.ranks.refund(key, token.at_ns)
        limiter.recheck(token)
        _wants_again(limiter, now, holder, unused, token)
        if circuit := limiter.probes.pop((unused.grant_id, unused.lane), ""):
            limiter.health.probe_returned(now, circuit)


def _wants_again(limiter: Limiter, now: int, holder: str, unused: Unused, token: Token) -> None:
    """A lane whose token came back was busy, or is free by now: it stands behind those that have been free for longer."""
    waiter = limiter.waiters.get(holder)
    lane = waiter.lanes.get(unused.lane) if waiter else None
    if waiter is None or lane is None or (lane.kind, lane.user) != (token.kind, token.user):
        return
    wanted = waiter.wants()
    line = limiter.lines[lane.kind]
    line.want(lane, lane.calls + 1)
    line.free_from(lane, min(lane.free_at_ns, max(token.at_ns, now)))
    if waiter.wants() and not wanted:
        limiter.ranks.hungry(waiter, waiter.hungry_ns)
