"""What a script has booked ahead: which token is due, what went stale, what to ask for and when. Every method takes `now`.

1. A booking is handed out or given up, never both.
2. Booked ahead is what the callers who wait can use before it goes stale, by the pace that they showed. Where tokens have to
   be waited for, nobody holds more places than callers who wait: whoever comes later, more urgent, would stand behind them.
3. Asking again keeps a booking's id, and so its place; one that was given up is never asked for again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from headgate.message import SECOND_NS
from headgate.messages.tokens import Booked, Booking, BookingAnswer, NotUntil, Stopped

#: Bookings that are not handed out yet; those that are asked for at a time are one update.
MOST_AHEAD: Final = 16
#: A pause, or a server that is away, is asked about this often.
ASKS_AGAIN_NS: Final = 5 * SECOND_NS
#: Places whose time comes this soon travel with the first of them.
TOGETHER_NS: Final = SECOND_NS // 2
SOONEST_AGAIN_NS: Final = SECOND_NS // 20


@dataclass(frozen=True, slots=True)
class Token:
    """The right to make one call, now; `number` counts from 1. It may be used in [at_ns, until_ns] of the server's clock."""

    number: int
    at_ns: int
    until_ns: int


@dataclass(slots=True, eq=False)
class Held:
    """A booking that is not handed out: a token if it has an `until_ns`, else a place to ask for at `ask_at_ns`."""

    booking: Booking
    ask_at_ns: int = 0
    at_ns: int = 0
    until_ns: int = 0


@dataclass(slots=True)
class Ahead:
    """The bookings of one holder, made after `pattern`. `calls` bounds the tokens (None: nothing does); instants in ns."""

    pattern: Booking
    calls: int | None
    taken: int = 0
    held: list[Held] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    why: str = "nothing has answered yet"
    not_before_ns: int = 0
    _booked: int = 0
    _taken_ns: int = 0
    _pace_ns: int = 0
    _eager: int = 1
    _valid_for_ns: int = 0

    # --- handing out --------------------------------------------------------------------------------------------------

    def left(self) -> int:
        """How many more may be handed out."""
        return MOST_AHEAD if self.calls is None else self.calls - self.taken

    def due(self, now: int) -> Token | None:
        """The first token whose time has come and is not over; it is used from here on."""
        due = min((held for held in self.held if held.at_ns <= now <= held.until_ns), key=_at, default=None)
        if due is None:
            return None
        self.held.remove(due)
        self.taken += 1
        self._taken_ns = now
        return Token(self.taken, due.at_ns, due.until_ns)

    def next_due(self, now: int) -> int | None:
        """When the next token is due; None if none that is good is held."""
        return min((held.at_ns for held in self.held if held.until_ns >= now), default=None)

    def wanted(self, now: int) -> None:
        """Learn how soon after a token the next is wanted: slower counts at once, quicker by halves."""
        if self._taken_ns:
            pace_ns = max(now - self._taken_ns, 1)
            self._pace_ns = pace_ns if pace_ns > self._pace_ns else (self._pace_ns + pace_ns) // 2

    # --- asking -------------------------------------------------------------------------------------------------------

    def to_ask(self, now: int, takers: int) -> list[Held]:
        """What to ask for now on behalf of so many who wait: new bookings, and places whose time has come."""
        if now < self.not_before_ns:
            return []
        self.held += [Held(self._booking()) for _ in range(self._missing(takers))]
        places = [held for held in self.held if not held.until_ns]
        if all(held.ask_at_ns > now for held in places):
            return []
        return [held for held in places if held.ask_at_ns <= now + TOGETHER_NS]

    def answered(
        self, now: int, takers: int, asked: Sequence[Held], answers: Sequence[tuple[BookingAnswer, int]]
    ) -> None:
        """Take the answers, each with how long (ns) its token may be used, and give up the places that nobody waits for."""
        if any(not isinstance(answer, Booked) for answer, _ in answers):
            self._eager = 1
        elif not any(held.ask_at_ns for held in asked):  # a token that was waited for is no sign of plenty
            self._eager = min(self._eager * 2, MOST_AHEAD)
        for held, (answer, valid_for_ns) in zip(asked, answers, strict=True):
            match answer:
                case Booked():
                    self._valid_for_ns = valid_for_ns
                    held.at_ns, held.until_ns = answer.at_ns, answer.at_ns + valid_for_ns
                case NotUntil():
                    self.why = answer.why
                    held.ask_at_ns = max(answer.at_ns, now + SOONEST_AGAIN_NS)
                case Stopped():
                    self.rest(now, answer.why)
                    held.ask_at_ns = self.not_before_ns
        places = sorted((held for held in self.held if held.ask_at_ns and not held.until_ns), key=_ask_at)
        surplus = max(len(self.held) - takers, 0)
        self._give_up(places[-surplus:] if surplus else [])

    def rest(self, now: int, why: str) -> None:
        """Ask nothing for a while."""
        self.why = why
        self.not_before_ns = now + ASKS_AGAIN_NS

    def next_event(self, now: int) -> int | None:
        """When there is something to ask or to give up; None while nobody wants anything."""
        instants = [
            held.until_ns + 1 if held.until_ns else max(held.ask_at_ns, self.not_before_ns) for held in self.held
        ]
        if self.not_before_ns > now:
            instants.append(self.not_before_ns)
        return min(instants, default=None)

    # --- giving up ----------------------------------------------------------------------------------------------------

    def give_up_stale(self, now: int) -> None:
        """Give up the tokens whose time is over."""
        self._give_up([held for held in self.held if held.until_ns and held.until_ns < now])

    def give_up_tokens(self) -> None:
        """Give up the tokens, and keep the places of those that have none yet."""
        self._give_up([held for held in self.held if held.until_ns])

    def give_up(self) -> None:
        """Give up everything."""
        self._give_up(list(self.held))

    def told(self, booking_ids: Sequence[str]) -> None:
        """These that were not used are known to the limiter."""
        self.unused = [booking_id for booking_id in self.unused if booking_id not in booking_ids]

    def _give_up(self, given_up: Sequence[Held]) -> None:
        self.held = [held for held in self.held if held not in given_up]
        self.unused += [held.booking.id for held in given_up]

    def _missing(self, takers: int) -> int:
        """How many more to book: none while half of what is wanted is there, unless somebody would wait without."""
        each = 1 + self._valid_for_ns * 4 // 5 // self._pace_ns if self._pace_ns else 1
        wanted = min(takers * min(each, self._eager), MOST_AHEAD, self.left())
        ahead = len(self.held)
        return wanted - ahead if ahead < min(takers, wanted) or ahead * 2 <= wanted else 0

    def _booking(self) -> Booking:
        self._booked += 1
        return self.pattern.model_copy(update={"id": f"{self.pattern.holder}/{self._booked}"})


def _at(held: Held) -> int:
    return held.at_ns


def _ask_at(held: Held) -> int:
    return held.ask_at_ns
