"""What people are shown, and what they say."""

from __future__ import annotations

from pydantic import model_validator

from headgate.message import Message
from headgate.messages.tokens import LimiterSettings
from headgate.messages.words import Cause, Kind, Priority, State


class OperationCounts(Message):
    """Operations by outcome; `remaining` = total - the others."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    unprocessed: int = 0
    remaining: int = 0


class CallCounts(Message):
    """API calls: planned, made so far, and how many of those were retries."""

    planned: int = 0
    made: int = 0
    retried: int = 0


class LaneCounts(Message):
    """Lanes of the plan: all of them, those under way, those that are done."""

    total: int = 0
    active: int = 0
    done: int = 0


class Waiting(Message):
    """What holds the request back (`""`: nothing, it goes as fast as its lanes can), in words and for programs, and the instant
    (ISO 8601, UTC) at which that ends, if known: of an open circuit, the instant of its next probe."""

    reason: str = ""
    until: str | None = None
    cause: Cause = ""


class ProgressView(Message):
    """The answer of the `progress` query: the public contract of `headgate status --json`. Instants are ISO 8601 in UTC.

    `cached` reads were answered from the cache, which is `cache_hit_rate` (0 to 1) of those that were looked for there.
    """

    id: str
    state: State
    priority: Priority
    owner: str
    operations: OperationCounts
    calls: CallCounts
    rate_per_minute: float = 0.0
    eta_at: str | None = None
    waiting: Waiting = Waiting()
    version: int = 0
    failures: dict[str, int] = {}
    cached: int = 0
    cache_hit_rate: float = 0.0
    lanes: LaneCounts = LaneCounts()


class LaneView(Message):
    """One active lane: how many of its batches are done and under way, the seconds its calls take (0: none was made yet)."""

    lane: int
    kind: Kind
    spreadsheet: str
    user: str
    batches: int
    done: int
    under_way: int = 0
    resending: bool = False
    call_s: float = 0.0


class LanesView(Message):
    """The answer of the `lanes` query: the active lanes, in the plan's order."""

    counts: LaneCounts
    active: tuple[LaneView, ...] = ()


class FailuresView(Message):
    """The answer of the `failures` query: how many operations have failed, by reason; what each was, `headgate results` says."""

    failed: int = 0
    reasons: dict[str, int] = {}


class Control(Message):
    """A command from a person; everything may be left out. `to` is the new priority of `reprioritise`, `by` who says so, `id`
    the command's own, under which it may come again, `sequence` its number among those that come in order (0: it has none).
    A bare text stands for `to`, as a person may type it in the Web UI."""

    to: str | None = None
    by: str = ""
    id: str = ""
    sequence: int = 0

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, said: object) -> object:
        return {"to": said} if isinstance(said, str) else said


class ClassView(Message):
    """One priority class of one kind: its share now, who is in it, what it got in the last minute, how evenly, how long it waits."""

    kind: Kind
    priority: Priority
    floor: float
    share: float
    owners: int
    lanes: int
    calls: int
    jain: float
    waits_ns: int


class BucketView(Message):
    """One bucket in numbers: calls in the window. `ceiling` is what was learned from 429s (the limit, if nothing was)."""

    limit: int
    used: int
    booked: int
    free: int
    worst_window: int
    ceiling: int
    used_by_others: int
    throttled: int
    shut_until_ns: int = 0


class CircuitView(Message):
    """An open circuit: why, since when, and when the next probe may go; `out`: one is under way."""

    why: str
    since_ns: int
    next_probe_ns: int
    out: bool


class WaiterView(Message):
    """One who waits, with the parts of its rank: the class asked for and the one served, what raised or lowered it, its
    owner's share and how many calls it is behind (`deficit`, negative: ahead), its position in its class, and what it waits for.
    """

    holder: str
    owner: str
    priority: Priority
    served_as: Priority
    aged: bool
    degraded_until_ns: int
    age_ns: int
    share: float
    deficit: float
    position: int
    lanes: int
    calls: int
    stopped: str
    waits_for: str
    until_ns: int


class PlaceView(Message):
    """The bookings of one holder: retries of a bulk request, or a script outside; `next_ns` is the first token's time."""

    holder: str
    places: int
    given: int
    next_ns: int


class LimiterView(Message):
    """The answer of the limiter's `show` query. `waiters` are the first of them, `waiting` is how many there are."""

    project: str
    epoch: int
    now_ns: int
    quiet_until_ns: int
    settings: LimiterSettings
    granted: int
    returned: int
    booked: int
    throttled: int
    overloads: int = 0
    paused_by: str = ""
    retry_budget: float = 0.0
    buckets: dict[str, BucketView] = {}
    classes: tuple[ClassView, ...] = ()
    circuits: dict[str, CircuitView] = {}
    waiters: tuple[WaiterView, ...] = ()
    waiting: int = 0
    bookings: tuple[PlaceView, ...] = ()
    alerts: tuple[str, ...] = ()
