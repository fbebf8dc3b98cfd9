"""Who gets each token, predicted by a reference in O(n) that was written from the docstrings of `headgate.ordering`.

Small cases: no bookings, nothing handed back. At each instant at which the project has room, of the lanes that could send then:
first the class, by smooth weighted round robin over floors; then the owner, by its turn; then the lane, by rank.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from random import Random

import pytest

from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import LaneDemand, LimiterSettings, TokenRequest
from headgate.messages.words import Priority

CLASSES: tuple[Priority, ...] = ("urgent", "normal", "low")
STRIDE = 1 << 20
KEPT_CALLS = 16
MS = 1_000_000
NOW = 1_000 * SECOND_NS


@dataclass
class Place:
    """A lane that wants calls, and who it belongs to."""

    holder: str
    submitted: int
    priority: Priority
    owner: str
    weight: float
    lane: int
    user: str
    spreadsheet: str
    calls: int
    latency: int
    free_at: int = 0


@dataclass
class Reference:
    """Floors, turns and buckets, looked at anew for every token."""

    settings: LimiterSettings
    places: list[Place]
    times: dict[str, list[int]] = field(default_factory=dict)
    paced: dict[str, int] = field(default_factory=dict)
    starts: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    rushed: int = 0
    credits: dict[Priority, float] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0.0))
    turns: dict[tuple[Priority, str], int] = field(default_factory=dict)
    joined: dict[tuple[Priority, str], int] = field(default_factory=dict)
    virtual: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))

    def __post_init__(self) -> None:
        for place in self.places:
            self.joined.setdefault((place.priority, place.owner), len(self.joined))
            self.turns.setdefault((place.priority, place.owner), 0)

    @property
    def hold(self) -> int:
        return self.settings.window_ns + self.settings.token_valid_for_ns + self.settings.network_spread_ns

    @property
    def interval(self) -> int:
        return int(self.hold / (self.settings.pace * self.settings.write_per_project))

    @property
    def rush(self) -> int:
        return max(1, int(0.15 * self.settings.write_per_project))

    def more(self, c: Priority, share: float, wanting: list[Priority]) -> None:
        """A class may keep a call, and beside urgent its floor of what that may rush ahead."""
        floors = {"urgent": 0.0, "normal": self.settings.floor_normal, "low": self.settings.floor_low}
        most = 1.0 + (self.rush * floors[c] if wanting[0] == "urgent" else 0.0)
        self.credits[c] = max(self.credits[c], min(most, self.credits[c] + share))

    def room(self, name: str, limit: int, t: int, paced: bool) -> int:
        """The first instant >= t at which the bucket takes one more: no span of `hold` may have more than `limit`."""
        if paced:
            interval = int(self.hold / (self.settings.pace * limit))
            t = max(t, self.paced.get(name, 0) - max(1, ceil(self.settings.burst * limit)) * interval)
        times = sorted(self.times.get(name, []))
        return next(
            at for at in (t, *(x + self.hold for x in times if x + self.hold > t)) if self.fits(times, at, limit)
        )

    def fits(self, times: list[int], at: int, limit: int) -> bool:
        """Whether every `limit + 1` of the times and this one reach over more than what they may."""
        near = sorted([*(x for x in times if abs(x - at) < self.hold), at])
        return all(later - first >= self.hold for first, later in zip(near, near[limit:], strict=False))

    def project(self, t: int, paced: bool) -> int:
        return self.room("project", self.settings.write_per_project, t, paced)

    def ready(self, place: Place, t: int) -> int:
        """When the lane could send, as far as it, its user and its spreadsheet are concerned."""
        while True:
            at = max(t, place.free_at)
            at = self.room(place.user, self.settings.write_per_user, at, place.priority != "urgent")
            wanting = {self.who(p) for p in self.places if p.spreadsheet == place.spreadsheet and p.calls}
            for start, latency, who in self.starts.get(place.spreadsheet, []):
                alone = wanting == {self.who(place)} == {who}
                own = self.settings.spreadsheet_spacing_ns
                before, after = (own, own) if alone else (max(own, place.latency), max(own, latency))
                if start - before < at < start + after:
                    at = start + after
            if at == t:
                return at
            t = at

    @staticmethod
    def who(place: Place) -> str:
        return f"{place.holder}/{place.user}"

    def shares(self, classes: list[Priority]) -> dict[Priority, float]:
        """Each has its floor, and the highest what the others leave."""
        floors = {
            "urgent": self.settings.floor_urgent,
            "normal": self.settings.floor_normal,
            "low": self.settings.floor_low,
        }
        found = {c: floors[c] for c in classes}
        found[classes[0]] += 1.0 - sum(found.values())
        return found

    def turn(self, c: Priority, place: Place) -> int:
        """How far the owner's turn is; kept for so many of its calls, if it could not send."""
        return max(self.turns[c, place.owner], self.virtual[c] - KEPT_CALLS * int(STRIDE / place.weight))

    def round(self, now: int) -> list[tuple[int, str, int]]:
        """The tokens of one round, as (time, holder, lane)."""
        t, end, given = now + self.settings.lead_ns, now + self.settings.horizon_ns, []
        while any(place.calls for place in self.places):
            t = self.project(t, paced=False)
            if t > end:
                break
            wanting = [c for c in CLASSES if any(p.calls and p.priority == c for p in self.places)]
            able = [p for p in self.places if p.calls and self.ready(p, t) == t]
            here = [c for c in wanting if any(p.priority == c for p in able)]
            soon = min((at for p in self.places if p.calls and (at := self.ready(p, t)) > t), default=None)
            if not here:
                assert soon is not None
                t = soon
                continue
            mine = self.shares(wanting)
            c = max(here, key=lambda c: (self.credits[c] + mine[c], -CLASSES.index(c))) if len(here) > 1 else here[0]
            paced = self.project(t, paced=True)
            if c == "urgent":  # the rush is charged by all, and counts beside others
                alone = len(wanting) == 1
                paced = t if alone else self.project(max(t, self.rushed - self.rush * self.interval), paced=False)
            if paced > t:
                if soon is not None and soon <= paced:
                    t = soon
                    continue
                t = paced
                if t > end:
                    break
                able = [p for p in self.places if p.calls and self.ready(p, t) == t]
            mates = [p for p in able if p.priority == c]
            if not mates:  # while it waited, a start that was booked ahead came too close
                continue
            first = min(
                mates,
                key=lambda p: (self.turn(c, p), self.joined[c, p.owner], p.submitted, p.holder, p.free_at, p.lane),
            )
            self.charge(c, first, here, wanting)
            self.book(first, t)
            given.append((t, first.holder, first.lane))
        return given

    def charge(self, served: Priority, place: Place, here: list[Priority], wanting: list[Priority]) -> None:
        """The classes that could have sent it are given their share, up to a call; the one served pays one call."""
        if len(here) > 1:
            for c, share in self.shares(here).items():
                self.more(c, share, wanting)
            self.credits[served] -= 1.0
        if len(wanting) > len(here):
            for c, share in self.shares(wanting).items():
                if c not in here:
                    self.more(c, share, wanting)
        start = self.turn(served, place)
        if start > self.turns[served, place.owner]:
            self.joined[served, place.owner] = max(self.joined.values()) + 1
        self.turns[served, place.owner] = start + int(STRIDE / place.weight)
        self.virtual[served] = max(self.virtual[served], start)

    def book(self, place: Place, t: int) -> None:
        paced = place.priority != "urgent"
        self.rushed = max(self.rushed, t) + self.interval
        for name, limit in (("project", self.settings.write_per_project), (place.user, self.settings.write_per_user)):
            self.times.setdefault(name, []).append(t)
            if paced:
                interval = int(self.hold / (self.settings.pace * limit))
                self.paced[name] = max(self.paced.get(name, 0), t) + interval
        self.starts.setdefault(place.spreadsheet, []).append((t, place.latency, self.who(place)))
        place.calls -= 1
        place.free_at = t + (place.latency or 1)


def case(rng: Random) -> tuple[LimiterSettings, list[Place]]:
    """A few holders of a few owners, users and classes; each owner has one weight."""
    settings = LimiterSettings(
        write_per_project=rng.randint(4, 40), write_per_user=rng.randint(3, 20), window_ns=10 * SECOND_NS,
        spreadsheet_spacing_ns=rng.choice((1, 100 * MS)), burst=rng.choice((0.05, 0.2)),
        age_after_ns=10_000 * SECOND_NS,
    )  # fmt: skip
    weights = {owner: rng.choice((0.5, 1.0, 2.0)) for owner in "xyz"}
    places: list[Place] = []
    for number in range(rng.randint(1, 6)):
        priority, owner = rng.choice(CLASSES), rng.choice("xyz")
        for lane in range(rng.randint(1, 4)):
            latency = rng.choice((0, 50 * MS, 700 * MS))
            places.append(
                Place(
                    f"h{number}", rng.randint(0, 2), priority, owner, weights[owner], lane, rng.choice("abcd"),
                    rng.choice(("s1", "s2", f"own-{number}-{lane}")), rng.randint(1, 60), latency,
                )
            )  # fmt: skip
            places[-1].submitted = places[-1].submitted if not lane else places[-2].submitted
    return settings, places


@pytest.mark.parametrize("block", range(4))
def test_every_token_goes_to_whom_the_rules_name(block: int) -> None:
    """Seeded small cases, round after round: the same times, holders and lanes."""
    for seed in range(block * 35, block * 35 + 35):
        settings, places = case(Random(seed))
        limiter, reference = Limiter(settings, epoch=1), Reference(settings, places)
        for holder in dict.fromkeys(place.holder for place in places):
            mine = [place for place in places if place.holder == holder]
            lanes = tuple(
                LaneDemand(
                    lane=p.lane, kind="write", user=p.user, spreadsheet=p.spreadsheet, calls=p.calls,
                    latency_ns=p.latency, latency_p95_ns=p.latency,
                )
                for p in mine
            )  # fmt: skip
            limiter.request(
                NOW,
                TokenRequest(
                    holder=holder, run=1, sequence=1, priority=mine[0].priority, weight=mine[0].weight,
                    fairness_key=mine[0].owner, submitted_at_ns=mine[0].submitted, lanes=lanes,
                ),
            )  # fmt: skip
        for number in range(30):
            now = NOW + number * 1_200 * MS
            grants = limiter.grant(now)
            got = sorted((at, h, n) for h, grant in grants.items() for n, times in grant.tokens.items() for at in times)
            assert got == sorted(reference.round(now)), f"seed {seed}, round {number}"
