"""The places of later attempts, and of scripts outside: one token each, booked ahead, kept until it is asked for or lapses.

Rules:

1. A booking gets the first token that is free on its path, not before its owner's clock: owners that book get at most their
   share of the quota, one call after the other, and pay for it in their turns.
2. `NotUntil` is exact: asked again at its instant under the same id, the token is there, whatever was granted meanwhile. Who
   asks a little late is served before new grants, too.
3. A token that was given out stays booked, since a call may be under way with it, unless its holder says that it was not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from headgate.buckets import Buckets
from headgate.health import KINDS
from headgate.message import SECOND_NS
from headgate.messages.tokens import Booking
from headgate.messages.words import Priority
from headgate.ordering import CLASSES, Turns
from headgate.waiting import Place, Token

BOOKING_LAPSES_NS = 10 * SECOND_NS
#: An owner that has not booked lately may book so many calls at once.
BOOKED_AT_ONCE = 4
#: However small an owner's share is, it is served now and then.
LEAST_SHARE = 0.001


@dataclass(slots=True)
class Bookings:
    """Places by booking id, and the clocks of owners and users: when the next of each is due (ns).

    `moved` hears of each token that is free again, or booked: others may be next sooner than they thought.
    """

    buckets: Buckets
    moved: Callable[[Token], None] = field(default=lambda token: None)
    places: dict[str, Place] = field(default_factory=dict)
    clocks: dict[str, int] = field(default_factory=dict)

    def take(self, soonest: int, booking: Booking, served: Priority, turns: Turns) -> Place:
        """Book a token not before `soonest` and keep it as the booking's place; its class and owner pay for it."""
        who = f"{booking.holder}/{booking.user}/{booking.kind}"
        path = Token(0, booking.kind, booking.user, booking.spreadsheet, who, paced=False, served=served)
        first = soonest
        for name, interval in self._intervals(soonest, path, booking.fairness_key, booking.weight, turns).items():
            self.clocks[name] = max(self.clocks.get(name, 0), soonest - BOOKED_AT_ONCE * interval) + interval
            first = max(first, self.clocks[name])
        token = self._ahead(first, path, booking.latency_ns)
        place = Place(
            token, booking.fairness_key, token.at_ns + BOOKING_LAPSES_NS, booking.latency_ns, weight=booking.weight
        )
        self.places[booking.id] = place
        here = [c for c in CLASSES if turns.wanting[c] or c == served]
        turns.charge(served, turns.turns.get((served, booking.fairness_key)), booking.weight, here)
        return place

    def drop(self, booking_id: str, turns: Callable[[str], Turns]) -> Place | None:
        """Leave a place; a token that was not given out is free again, and refunded."""
        place = self.places.pop(booking_id, None)
        if place is not None and not place.given:
            self.refund(place, turns(place.token.kind))
        return place

    def refund(self, place: Place, turns: Turns) -> None:
        """Free a place's token; its class and owner get back what they paid, and the clocks of owner and user go back."""
        token = place.token
        self._free(token)
        turns.refund(token.served, place.key, place.weight)
        for name, interval in self._intervals(token.at_ns, token, place.key, place.weight, turns).items():
            if name in self.clocks:
                self.clocks[name] -= interval

    def expire(self, now: int, soonest: int, turns: Callable[[str], Turns]) -> None:
        """Drop lapsed places; move on those whose token's time has passed without anybody asking."""
        if not self.places and not self.clocks:
            return
        for booking_id, place in list(self.places.items()):
            lapsed = place.token.at_ns + self.buckets.hold_ns if place.given else place.lapses_ns
            if lapsed < now:
                self.drop(booking_id, turns)
            elif not place.given and place.token.at_ns < now:
                self.move_on(place, soonest)
        since = now - BOOKED_AT_ONCE * self._longest_interval()
        self.clocks = {name: at for name, at in self.clocks.items() if at > since}

    def move(self, quiet_until_ns: int, *, every: bool = False) -> None:
        """Find other tokens for places whose own may not be used: it lies in a pause or in the quiet time, or quotas are others."""
        moved = [
            place
            for place in self.places.values()
            if not place.given and (every or self.barred(place.token, quiet_until_ns))
        ]
        for place in moved:
            self._free(place.token)
        for place in sorted(moved, key=lambda place: place.token.at_ns):
            place.token = self._ahead(max(place.token.at_ns, quiet_until_ns), place.token, place.latency_ns)
            place.lapses_ns = max(place.lapses_ns, place.token.at_ns + BOOKING_LAPSES_NS)

    def barred(self, token: Token, since_ns: int) -> bool:
        """Whether a token cannot be used: it lies before `since_ns`, or where its buckets rest after a 429."""
        path = (self.buckets.project(token.kind), self.buckets.user(token.kind, token.user))
        return token.at_ns < max(since_ns, *(bucket.shut_until_ns for bucket in path))

    def _free(self, token: Token) -> None:
        self.buckets.give_back(token)
        self.moved(token)

    def move_on(self, place: Place, soonest: int) -> None:
        """Nobody used the place's token in time: it is kept, with the next one, and pays nothing more."""
        self._free(place.token)
        place.token = self._ahead(soonest, place.token, place.latency_ns)

    def _ahead(self, soonest: int, path: Token, latency_ns: int) -> Token:
        at = self.buckets.earliest(soonest, path, latency_ns)
        token = Token(at, path.kind, path.user, path.spreadsheet, path.who, path.paced, path.served)
        self.buckets.take(token, latency_ns)
        self.moved(token)
        return token

    def _longest_interval(self) -> int:
        """No clock goes on by more at a time: one that is behind by several of these could as well be forgotten."""
        intervals = [self.buckets.project(kind).interval_ns for kind in KINDS]
        return max(int(max(intervals) / LEAST_SHARE), int(self.buckets.hold_ns / self.buckets.settings.pace))

    def _intervals(self, soonest: int, path: Token, key: str, weight: float, turns: Turns) -> dict[str, int]:
        """The clocks of a booking's owner and user, and by how much one call moves each: the owner's share, the user's pace.

        Each clock names the first instant that it allows. Owners whose clocks are beyond `soonest` share with this one.
        """
        project, own = self.buckets.project(path.kind), self.buckets.user(path.kind, path.user)
        mates = f"owner/{path.kind}/{path.served}/"
        owner = mates + key
        others = sum(at > soonest for name, at in self.clocks.items() if name != owner and name.startswith(mates))
        share = turns.share(path.served, key, weight) / (1 + others)
        interval = int(project.interval_ns / max(share, LEAST_SHARE))
        return {owner: interval, f"user/{path.kind}/{path.user}": own.interval_ns}
