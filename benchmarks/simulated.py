"""A limiter on a clock that jumps, driven as its workflow drives it; what it gave is read from the tokens' own times.

1. A round is held at `next_round`, or at once where a demand deserves it; standings are asked for every two seconds.
2. Every token is used at its time. A holder that leaves wants nothing more; what it was granted before still counts.
3. The same holders give the same tokens, in any process.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from headgate.leases import Fresh
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import Grant, LaneDemand, TokenRequest
from headgate.messages.words import Priority

START_NS = 1_000 * SECOND_NS
STANDING_EVERY_NS = 2 * SECOND_NS
ENDLESS = 1_000_000
FOREVER_S = 1e9
#: A workflow sends what was given and forgets it; of old leases that are kept the collector would be charged to the limiter.
KEPT_LEASES = 1_000


@dataclass(frozen=True)
class Holder:
    """One bulk request: lanes of a user and a spreadsheet each, present in the spans of `present` (seconds).

    All its `calls` are there from the start, or come up `per_minute` in every minute.
    """

    name: str
    owner: str = ""
    priority: Priority = "normal"
    weight: float = 1.0
    lanes: int = 1
    calls: int = ENDLESS
    per_minute: float = 0.0
    latency_s: float = 1.2
    present: tuple[tuple[float, float], ...] = ((0.0, FOREVER_S),)
    user: str = ""
    spreadsheet: str = ""

    def demand(self, calls: int) -> tuple[LaneDemand, ...]:
        """`calls` calls, spread over the lanes."""
        latency = int(self.latency_s * SECOND_NS)
        return tuple(
            LaneDemand(
                lane=lane,
                kind="write",
                user=f"{self.user or self.name}-{lane}",
                spreadsheet=f"{self.spreadsheet or self.name}-{lane}",
                calls=calls // self.lanes + (lane < calls % self.lanes),
                latency_ns=latency,
                latency_p95_ns=latency,
            )
            for lane in range(self.lanes)
        )


class Given(NamedTuple):
    """One token: its time in seconds after the start, and whose it is."""

    at: float
    holder: str
    lane: int


class Event(NamedTuple):
    """At that time a holder says what it wants; `comes` and `leaves` are control changes."""

    at_ns: int
    holder: str
    what: str


@dataclass
class Clockwork:
    """One limiter, its holders, and what each was given: every token while `recording`, and the latest leases.

    Seconds of computing are counted apart: `deciding_s` is for deciding who gets which token when, and when the next round is;
    `composing_s` for the messages that tell of it, with what `tell` does to them; `standing_s` for telling others why they
    wait; `requesting_s` for demands. `round_s` has each round whole.
    """

    limiter: Limiter
    holders: Sequence[Holder]
    now: int = START_NS
    given: list[Given] = field(default_factory=list)
    leases: deque[Fresh] = field(default_factory=lambda: deque(maxlen=KEPT_LEASES))
    recording: bool = True
    tokens: int = 0
    messages: int = 0
    deciding_s: float = 0.0
    composing_s: float = 0.0
    standing_s: float = 0.0
    requesting_s: float = 0.0
    requests: int = 0
    round_s: list[float] = field(default_factory=list)
    tell: Callable[[Grant], object] = id

    def __post_init__(self) -> None:
        self._named = {holder.name: holder for holder in self.holders}
        self._sequence = dict.fromkeys(self._named, 0)
        self._had = dict.fromkeys(self._named, 0)
        self._next_round: int | None = None
        self._told_ns = 0
        self._events: list[Event] = []
        for holder in self.holders:
            for begins, ends in holder.present:
                heappush(self._events, Event(_ns(begins), holder.name, "comes"))
                heappush(self._events, Event(_ns(ends), holder.name, "leaves"))

    def run(self, seconds: float) -> list[Given]:
        """Every token with a time before `seconds`, rising; called again with more it goes on."""
        end = _ns(seconds)
        while self.now < end:
            self._hear()
            if self._next_round is not None and self._next_round <= self.now:
                self.round()
            coming = [self._events[0].at_ns] if self._events else []
            if self._next_round is not None:
                coming.append(self._next_round)
            self.now = min([*coming, end])
        return sorted(given for given in self.given if given.at < seconds)

    def round(self) -> None:
        """One round as the workflow holds it; only the limiter's own work is timed."""
        limiter, now = self.limiter, self.now
        began = time.perf_counter()
        leases = limiter.grant(now)
        given = time.perf_counter()
        for lease in leases.values():
            self.tell(limiter.message(now, lease))
        composed = time.perf_counter()
        if now - self._told_ns >= STANDING_EVERY_NS:
            self._told_ns = now
            limiter.standings(now)
        told = time.perf_counter()
        self._next_round = limiter.next_round(now)
        ended = time.perf_counter()
        self.deciding_s += (given - began) + (ended - told)
        self.composing_s += composed - given
        self.standing_s += told - composed
        self.round_s.append(ended - began)
        self.messages += len(leases)
        for name, lease in leases.items():
            self.leases.append(lease)
            for lane, times in lease.tokens.items():
                self._had[name] += len(times)
                self.tokens += len(times)
                if self.recording:
                    self.given += [Given((at - START_NS) / SECOND_NS, name, lane) for at in times]

    def ask(self, holder: Holder, calls: int, stopped: str = "") -> bool:
        """The holder's demand, with every grant seen; True if the limiter finds that it deserves a round at once."""
        self._sequence[holder.name] += 1
        said = TokenRequest(
            holder=holder.name,
            run=1,
            sequence=self._sequence[holder.name],
            epoch=self.limiter.epoch,
            last_grant=self.limiter.grants,
            priority=holder.priority,
            weight=holder.weight,
            fairness_key=holder.owner,
            submitted_at_ns=self.now,
            stopped=stopped,
            lanes=() if stopped else holder.demand(calls),
        )
        began = time.perf_counter()
        woken = self.limiter.request(self.now, said)
        self.requesting_s += time.perf_counter() - began
        self.requests += 1
        return woken

    def _hear(self) -> None:
        woken = False
        while self._events and self._events[0].at_ns <= self.now:
            event = heappop(self._events)
            holder = self._named[event.holder]
            if event.what == "leaves":
                woken |= self.ask(holder, 0, stopped="paused")
                continue
            woken |= self.ask(holder, self._wanted(holder))
            if holder.per_minute and self._is_present(holder):
                heappush(self._events, Event(self.now + SECOND_NS, holder.name, "goes on"))
        if woken:
            self._next_round = self.now

    def _wanted(self, holder: Holder) -> int:
        came_up = holder.calls
        if holder.per_minute:
            came_up = int((self.now - START_NS) / SECOND_NS * holder.per_minute / 60) + 1
        return came_up - self._had[holder.name]

    def _is_present(self, holder: Holder) -> bool:
        after = (self.now + SECOND_NS - START_NS) / SECOND_NS
        return any(begins <= after < ends for begins, ends in holder.present)


def _ns(seconds: float) -> int:
    return START_NS + int(seconds * SECOND_NS)
