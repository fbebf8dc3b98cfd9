"""One round of one kind: tokens from `start` to `end` for whoever is next.

Rules:

1. Time only moves forward; at each instant at which the project has room, the lanes that could send then are there, and one
   of them is served.
2. A lane that turns out not to be ready leaves the line until it is: nobody waits behind it.
3. A token whose turn is a paced class's waits for the pace; it does not go to another class instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headgate.buckets import Buckets
from headgate.models import Kind, Priority
from headgate.ordering import CLASSES, Turns
from headgate.waiting import Lane, Token, Waiter

Rank = tuple[float, int, str, int, int]


@dataclass(slots=True)
class Round:
    """The lanes that are on their way into the line (`coming`, by instant) and those that stand in it, by class and rank."""

    kind: Kind
    start: int
    end: int
    waiters: Mapping[str, Waiter]
    buckets: Buckets
    turns: Turns
    given: dict[str, dict[int, list[Token]]] = field(default_factory=dict)
    coming: list[tuple[int, int, str, int]] = field(default_factory=list)
    here: dict[Priority, list[Rank]] = field(default_factory=lambda: {c: [] for c in CLASSES})

    def run(self) -> dict[str, dict[int, list[Token]]]:
        """The tokens given: holder -> lane -> tokens, rising. They are booked."""
        for waiter in self.waiters.values():
            for number, lane in waiter.lanes.items():
                if lane.kind == self.kind:
                    self._queue(self.start, waiter, number, lane)
        project = self.buckets.project(self.kind)
        t = self.start
        while self.coming or any(self.here.values()):
            t = project.earliest(t, paced=False)
            if t > self.end:
                break
            self._arrive(t)
            backlogged = [c for c in CLASSES if self.here[c]]
            if not backlogged:
                t = max(t, self.coming[0][0])
                continue
            served = self.turns.choose(backlogged)
            if served != "urgent":
                paced = project.earliest(t, paced=True)
                if paced > t and self.coming and self.coming[0][0] <= paced:
                    t = self.coming[0][0]
                    continue
                t = paced
                if t > self.end:
                    break
            self._serve(t, served, backlogged)
        return self.given

    def _queue(self, t: int, waiter: Waiter, number: int, lane: Lane) -> None:
        """Let a lane come at the first instant from t on at which it could be served, if that is within the round."""
        if lane.calls <= 0:
            return
        ready = self._ready(t, waiter, lane)
        if ready <= self.end:
            heappush(self.coming, (ready, waiter.submitted_at_ns, waiter.holder, number))

    def _arrive(self, t: int) -> None:
        while self.coming and self.coming[0][0] <= t:
            _, _, holder, number = heappop(self.coming)
            waiter = self.waiters[holder]
            heappush(self.here[waiter.priority], self._rank(waiter, number))

    def _rank(self, waiter: Waiter, number: int) -> Rank:
        turn = self.turns.passes.get(f"{waiter.priority}/{waiter.key}", 0.0)
        return (turn, waiter.submitted_at_ns, waiter.holder, waiter.lanes[number].free_at_ns, number)

    def _serve(self, t: int, served: Priority, backlogged: list[Priority]) -> None:
        """Give the token at t to the first of the class, or move that lane back to when it can be served."""
        line = self.here[served]
        rank = heappop(line)
        waiter, number = self.waiters[rank[2]], rank[4]
        current = self._rank(waiter, number)
        if current > rank and line and current > line[0]:
            heappush(line, current)  # its owner was served meanwhile: others of the class are before it now
            return
        lane = waiter.lanes[number]
        if self._ready(t, waiter, lane) > t:
            self._queue(t, waiter, number, lane)
            return
        token = Token(t, self.kind, lane.user, lane.spreadsheet, waiter.who(lane), waiter.paced)
        self.buckets.take(token, lane.latency_p95_ns)
        self.given.setdefault(waiter.holder, {}).setdefault(number, []).append(token)
        lane.calls -= 1
        lane.free_at_ns = t + max(lane.latency_ns, 1)
        self.turns.charge(served, waiter.key, waiter.weight, backlogged)
        self._queue(lane.free_at_ns, waiter, number, lane)

    def _ready(self, t: int, waiter: Waiter, lane: Lane) -> int:
        """When a lane could be served as far as its user, its spreadsheet and itself are concerned."""
        path = Token(0, self.kind, lane.user, lane.spreadsheet, waiter.who(lane), waiter.paced)
        return self.buckets.ready(max(t, lane.free_at_ns), path, lane.latency_p95_ns)
