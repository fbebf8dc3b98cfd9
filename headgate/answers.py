"""What a later attempt, or a script outside, is answered when it books one token.

Rules:

1. Nothing is booked for a holder that is stopped, in a project that is paused, or where the retry budget is used up.
2. While a circuit is open its next probe's token goes to whoever asks for it in time; the others are told when to ask again.
3. Otherwise there is a place in the books (`headgate.bookings`): its token is given out once it is within the horizon.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headgate.bookings import BOOKING_LAPSES_NS
from headgate.circuits import PROBE_LOST_NS
from headgate.message import SECOND_NS
from headgate.messages.tokens import Booked, Booking, BookingAnswer, NotUntil, Stopped
from headgate.ordering import served_as
from headgate.standing import RETRIES, Why, paused, why
from headgate.waiting import Place

if TYPE_CHECKING:
    from headgate.limiter import Limiter

#: When a paused project, or a probe that is out, is worth asking about again.
ASK_AGAIN_NS = 10 * SECOND_NS
PROBE_KNOWN_NS = 1_500_000_000


def answer(limiter: Limiter, now: int, booking: Booking) -> BookingAnswer:
    """Answer a demand for one token; under the same id it keeps its place. What its holder waits for is remembered."""
    answered = _answer(limiter, now, booking)
    if isinstance(answered, Booked):
        limiter.barred.pop(booking.holder, None)
    return answered


def _not_until(limiter: Limiter, booking: Booking, at_ns: int, why: Why) -> NotUntil:
    if booking.holder in limiter.waiters:
        limiter.barred[booking.holder] = replace(why, until_ns=at_ns)
    return NotUntil(at_ns=at_ns, why=why.reason)


def _answer(limiter: Limiter, now: int, booking: Booking) -> BookingAnswer:
    bookings, health, settings = limiter.bookings, limiter.health, limiter.settings
    waiter = limiter.waiters.get(booking.holder)
    if waiter is not None and waiter.stopped:
        bookings.drop(booking.id, limiter.turns)
        return Stopped(why=waiter.stopped)
    if limiter.paused_by:
        bookings.drop(booking.id, limiter.turns)
        return _not_until(limiter, booking, now + ASK_AGAIN_NS, paused(limiter))
    if circuit := health.open_for(booking.spreadsheet):
        return _probe(limiter, now, booking, circuit)
    soonest = now + settings.lead_ns // 5
    place = bookings.places.get(booking.id)
    if place is not None and not place.given and bookings.barred(place.token, soonest):
        bookings.move_on(place, max(soonest, limiter.quiet_until_ns))
    elif place is None or place.token.at_ns < soonest:
        bookings.drop(booking.id, limiter.turns)
        if booking.attempt and (at := health.retries.spend(now)):
            return _not_until(limiter, booking, at, RETRIES)
        place = _place(limiter, soonest, booking)
    at = place.token.at_ns
    if at > now + settings.horizon_ns:
        place.lapses_ns = at + BOOKING_LAPSES_NS
        reason = why(limiter, place.token, now, now)
        return _not_until(limiter, booking, at - settings.lead_ns, reason)
    if not place.given:
        limiter.granted += 1
        place.given = True
    return Booked(at_ns=at, probe=place.probe)


def _place(limiter: Limiter, soonest: int, booking: Booking) -> Place:
    served = served_as(booking.priority, degraded=booking.fairness_key in limiter.ranks.degraded, floors=None)
    soonest = max(soonest, limiter.quiet_until_ns)
    return limiter.bookings.take(soonest, booking, served, limiter.turns(booking.kind))


def _probe(limiter: Limiter, now: int, booking: Booking, name: str) -> BookingAnswer:
    bookings, health, settings = limiter.bookings, limiter.health, limiter.settings
    circuit, reason = health.circuits[name], Why(health.why(name), "circuit")
    place = bookings.places.get(booking.id)
    soonest = now + settings.lead_ns // 5
    if place is not None and place.probe == name and place.token.at_ns >= soonest:
        return Booked(at_ns=place.token.at_ns, probe=name)  # its answer got lost
    bookings.drop(booking.id, limiter.turns)
    if circuit.out_until_ns > now:
        known = circuit.out_until_ns - PROBE_LOST_NS + PROBE_KNOWN_NS
        return _not_until(limiter, booking, max(known, now + SECOND_NS // 2), reason)
    if circuit.probe_at_ns > now + settings.horizon_ns:
        return _not_until(limiter, booking, circuit.probe_at_ns - settings.lead_ns, reason)
    place = _place(limiter, max(soonest, circuit.probe_at_ns), booking)
    at = place.token.at_ns
    if at > now + settings.horizon_ns:
        return _not_until(limiter, booking, at - settings.lead_ns, reason)
    place.probe, place.given = name, True
    limiter.granted += 1
    health.probing(name, at, now)
    return Booked(at_ns=at, probe=name)
