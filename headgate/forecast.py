"""How long a plan will take, from its lanes and the quotas: the slowest of all that has to be waited for.

1. A quota gives `limit` calls in a window and the slack of its tokens; this request gets its owner's share of a project's.
2. A lane sends one call at a time; two writes to one spreadsheet start at least its spacing apart, whoever makes them.
3. At most 64 lanes are under way.
4. What others will ask for later, retries and the API's own slowness are not foreseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from headgate.message import SECOND_NS
from headgate.messages.requests import LaneEntry
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import LimiterView
from headgate.messages.words import Kind, Priority
from headgate.ordering import shares

#: How long a call to Google takes, about: the lane's next one waits for it.
CALL_NS = 1_200_000_000
LANES_AT_ONCE = 64
_KINDS: tuple[Kind, ...] = ("read", "write")


@dataclass(slots=True)
class Demand:
    """The calls of a plan by what they wait for: user, spreadsheet, lane."""

    lanes: int = 0
    look_ups: int = 0
    calls: Counter[Kind] = field(default_factory=Counter)
    by_user: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    longest: int = 0

    def add(self, lane: LaneEntry) -> None:
        """One more lane of the plan."""
        calls = calls_of(lane)
        self.lanes += 1
        self.look_ups += lane.look_up
        self.longest = max(self.longest, lane.batches)
        self.calls.update(calls)
        self.by_user.update({(kind, lane.user): many for kind, many in calls.items()})
        self.writes[lane.spreadsheet] += calls["write"]

    @property
    def users(self) -> list[str]:
        """Everybody who calls, by name."""
        return sorted({user for _, user in self.by_user})

    @property
    def spreadsheets(self) -> int:
        """How many spreadsheets are touched."""
        return len(self.writes)


@dataclass(frozen=True, slots=True)
class Supply:
    """Calls of one kind that the request can count on in a window: of the project's quota, of each user's."""

    project: float
    user: int
    users: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forecast:
    """About so long it takes, and what it is that takes longest."""

    seconds: float
    because: str


def calls_of(lane: LaneEntry) -> dict[Kind, int]:
    """The lane's calls by kind; its look-up is a read."""
    calls: dict[Kind, int] = {"read": 0, "write": 0}
    other: Kind = "write" if lane.kind == "read" else "read"
    for place, run in enumerate(lane.runs):
        calls[lane.kind if place % 2 == 0 else other] += run
    if not lane.runs:
        calls[lane.kind] += lane.batches - lane.look_up
    calls["read"] += lane.look_up
    return calls


def supplies(
    settings: LimiterSettings, view: LimiterView | None = None, priority: Priority = "normal", owner: str = ""
) -> dict[Kind, Supply]:
    """What there is of each kind: the whole quota, or with a limiter's view what it has learned and this owner's share."""
    found: dict[Kind, Supply] = {}
    for kind in _KINDS:
        limit, each = (
            (settings.read_per_project, settings.read_per_user)
            if kind == "read"
            else (settings.write_per_project, settings.write_per_user)
        )
        own = {name: limits.read if kind == "read" else limits.write for name, limits in settings.users.items()}
        users = {name: most for name, most in own.items() if most}
        if view is None:
            found[kind] = Supply(limit, each, users)
            continue
        project = view.buckets.get(f"project/{kind}")
        learned = min(limit, project.ceiling) if project is not None else limit
        for name, bucket in view.buckets.items():
            level, its_kind, user = (*name.split("/", 2), "", "")[:3]
            if level == "user" and its_kind == kind and bucket.ceiling < users.get(user, each):
                users[user] = bucket.ceiling
        found[kind] = Supply(learned * share_of(settings, view, kind, priority, owner), each, users)
    return found


def share_of(settings: LimiterSettings, view: LimiterView, kind: Kind, priority: Priority, owner: str) -> float:
    """The part of a project's quota that one more request of this class and owner could count on now."""
    floors = settings.floors
    rows = {row.priority: row for row in view.classes if row.kind == kind and row.lanes}
    waiting: tuple[Priority, ...] = tuple(c for c in floors if c in rows or c == priority)
    others = rows[priority].owners if priority in rows else 0
    there = any(w.owner == owner and w.served_as == priority and w.calls for w in view.waiters)
    return shares(floors, waiting)[priority] / (others if there and others else others + 1)


def forecast(
    demand: Demand, supply: Mapping[Kind, Supply], settings: LimiterSettings, call_ns: int = CALL_NS
) -> Forecast:
    """How long the plan takes at this supply."""
    hold_s = (settings.window_ns + settings.token_valid_for_ns + settings.network_spread_ns) / SECOND_NS
    spacing_s = max(settings.spreadsheet_spacing_ns, call_ns) / SECOND_NS
    waits = [Forecast(0.0, "nothing is to be sent")]
    for kind, calls in demand.calls.items():
        if calls:
            waits.append(Forecast(calls / max(1.0, supply[kind].project) * hold_s, f"the project's quota of {kind}s"))
    for (kind, user), calls in demand.by_user.items():
        if calls:
            most = supply[kind].users.get(user, supply[kind].user)
            waits.append(Forecast(calls / most * hold_s, f"the quota of {kind}s of user {user}"))
    if demand.writes:
        spreadsheet, calls = demand.writes.most_common(1)[0]
        waits.append(Forecast(calls * spacing_s, f"spreadsheet {spreadsheet}, which takes a write at a time"))
    waits.append(Forecast(demand.longest * call_ns / SECOND_NS, "the longest lane, which sends a call at a time"))
    every = sum(demand.calls.values()) * call_ns / SECOND_NS
    waits.append(Forecast(every / LANES_AT_ONCE, f"{LANES_AT_ONCE} lanes at a time"))
    return max(waits, key=lambda wait: wait.seconds)
