"""A foreign client burns 40 % of the quota for five minutes, on a clock that jumps: the pure limiter against a simulated API.

The API counts accepted calls in a sliding window of its own; the sender leaves tokens unused for a moment after a 429 and
books a token for each refused call, as the activities do. Nothing here reads the limiter's counters.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import (
    Booked,
    Booking,
    LaneDemand,
    LimiterSettings,
    NotUntil,
    Settlement,
    Throttling,
    TokenRequest,
    Unused,
)

LIMIT, WINDOW = 300, 60 * SECOND_NS
START = 1_000 * SECOND_NS
BURNS_FROM = START + 90 * SECOND_NS
BURNS_UNTIL = BURNS_FROM + 330 * SECOND_NS
END = BURNS_UNTIL + 300 * SECOND_NS
HELD = 1_500_000_000
LANES, USERS = 36, 12


@dataclass
class World:
    """Events by time; `ours`, `refused` and `strange` are the instants of calls that passed, were refused, were foreign."""

    seed: int
    limiter: Limiter = field(default_factory=lambda: Limiter(LimiterSettings(), epoch=1))
    events: list[tuple[int, int, str, tuple[Any, ...]]] = field(default_factory=list)
    passed: deque[int] = field(default_factory=deque)
    ours: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    strange: list[int] = field(default_factory=list)
    held_until: int = 0
    count: int = 0

    def run(self) -> None:
        rnd = random.Random(self.seed)
        demands = tuple(
            LaneDemand(
                lane=n, kind="write", user=f"u{n % USERS}", spreadsheet=f"s{n}", calls=10**6,
                latency_ns=450_000_000, latency_p95_ns=600_000_000,
            )
            for n in range(LANES)
        )  # fmt: skip
        self.limiter.request(START, TokenRequest(holder="h", run=1, sequence=1, lanes=demands))
        at = BURNS_FROM
        while at < BURNS_UNTIL:
            self.later(at, "foreign")
            at += int(SECOND_NS / 2 * rnd.uniform(0.8, 1.2))
        self.later(START, "round")
        while self.events and self.events[0][0] <= END:
            now, _, what, arguments = heapq.heappop(self.events)
            getattr(self, what)(now, *arguments)

    def later(self, at: int, what: str, *arguments: Any) -> None:
        self.count += 1
        heapq.heappush(self.events, (at, self.count, what, arguments))

    def api_takes(self, now: int) -> bool:
        while self.passed and self.passed[0] <= now - WINDOW:
            self.passed.popleft()
        if len(self.passed) >= LIMIT:
            return False
        self.passed.append(now)
        return True

    def round(self, now: int) -> None:
        for grant in self.limiter.grant(now).values():
            for lane, times in grant.tokens.items():
                for position, at in enumerate(times):
                    self.later(at, "leased", grant.grant_id, lane, position)
        self.later(self.limiter.next_round(now) or now + SECOND_NS, "round")

    def foreign(self, now: int) -> None:
        if self.api_takes(now):
            self.strange.append(now)

    def leased(self, now: int, grant_id: int, lane: int, position: int) -> None:
        if now < self.held_until:
            self.later(now + 300_000_000, "hand_back", grant_id, lane, position)
        else:
            self.call(now, lane)

    def hand_back(self, now: int, grant_id: int, lane: int, position: int) -> None:
        unused = Unused(grant_id=grant_id, lane=lane, tokens=(position,))
        self.limiter.settle(now, Settlement(holder="h", epoch=1, unused=(unused,)))

    def call(self, now: int, lane: int) -> None:
        if now < self.held_until:
            self.later(now + 500_000_000, "book", f"held-{self.count}", lane)
        elif self.api_takes(now):
            self.ours.append(now)
        else:
            self.refused.append(now)
            self.later(now + 350_000_000, "hear")
            self.later(now + 1_400_000_000, "book", f"again-{self.count}", lane)

    def hear(self, now: int) -> None:
        self.held_until = now + HELD
        said = Throttling(kind="write", scope="project", quota_value=LIMIT, at_ns=now)
        self.limiter.settle(now, Settlement(holder="", epoch=0, throttled=(said,)))

    def book(self, now: int, name: str, lane: int) -> None:
        booking = Booking(id=name, holder="h", kind="write", user=f"u{lane % USERS}", spreadsheet=f"s{lane}", attempt=1)
        answer = self.limiter.book(now, booking)
        if isinstance(answer, Booked):
            self.later(answer.at_ns, "call", lane)
        elif isinstance(answer, NotUntil):
            self.later(answer.at_ns, "book", name, lane)


def between(times: list[int], start: int, end: int) -> int:
    return sum(start <= at < end for at in times)


@pytest.mark.parametrize("seed", range(4))
def test_a_foreign_client_costs_few_429s_and_little_of_what_it_leaves(seed: int) -> None:
    """While it burns at most 1 % of our calls are refused and 90 % of what is left is used; all of it again within 5 minutes."""
    world = World(seed)
    world.run()
    refused = between(world.refused, BURNS_FROM, BURNS_UNTIL)
    ours = between(world.ours, BURNS_FROM, BURNS_UNTIL)
    assert refused / (refused + ours) <= 0.01
    left = LIMIT * (BURNS_UNTIL - BURNS_FROM) / WINDOW - between(world.strange, BURNS_FROM, BURNS_UNTIL)
    assert ours >= 0.9 * left
    assert between(world.ours, END - WINDOW, END) >= 0.95 * LIMIT


def test_alone_nothing_is_refused_and_the_quota_is_used() -> None:
    """The simulated API agrees with the limiter before anybody else comes."""
    world = World(0)
    world.run()
    assert not between(world.refused, START, BURNS_FROM)
    assert between(world.ours, BURNS_FROM - WINDOW, BURNS_FROM) >= 0.985 * LIMIT
