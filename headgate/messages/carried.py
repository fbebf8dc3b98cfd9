"""What the workflows start with, and carry over to their next run."""

from __future__ import annotations

from headgate.message import Message
from headgate.messages.alerts import AlertCheckpoint, AlertEvent
from headgate.messages.notices import NoticeCheckpoint
from headgate.messages.projections import ProjectionCheckpoint
from headgate.messages.requests import BulkRequest, LaneEntry, PlanSummary
from headgate.messages.tokens import LimiterSettings, Standing
from headgate.messages.words import Priority


class PressureCheckpoint(Message):
    """What 429s taught about a bucket."""

    name: str
    paused_ns: int = 0
    length_ns: int = 0
    ceiling: int = 0
    grows_from_ns: int = 0
    named: int = 0
    refused: int = 0
    total: int = 0
    series_ns: int = 0
    doubts: int = 0
    ceiled_until_ns: int = 0
    interval_ns: int = 0


class CircuitCheckpoint(Message):
    """A circuit that is open, or that has seen failures lately."""

    name: str
    failures: tuple[tuple[int, int], ...] = ()
    opened_ns: int = 0
    probe_at_ns: int = 0
    pause_ns: int = 0
    out_until_ns: int = 0


#: Names are places in the checkpoint's names, kinds 0 (read) or 1 (write), classes 0 to 2, instants counted from `base_ns`.
#: kind, user (-1: the project), paced_until, shut_until_ns, worst, times (each from the one before; None: the users' together).
BucketRow = tuple[int, int, int, int, int, tuple[int, ...] | None]
#: kind, rushed_until.
RushRow = tuple[int, int]
#: spreadsheet, starts (at, latency, holder and user, kind of who starts), recent starts (each from the one before).
SpacingRow = tuple[int, tuple[tuple[int, int, int, int, str], ...], tuple[int, ...]]
#: lane, kind, user, spreadsheet, calls, latency_ns, latency_p95_ns, free_at.
LaneRow = tuple[int, int, int, int, int, int, int, int]
#: holder, run, sequence, class, key, weight, submitted_at, stopped, heard, hungry, aged, lanes, unseen.
WaiterRow = tuple[int, int, int, int, int, float, int, str, int, int, bool, tuple[LaneRow, ...], tuple[int, ...]]
#: lane, at_ns (counted from `base_ns`; None: handed back), kind, user, spreadsheet, class that paid.
TokenRow = tuple[int, int | None, int, int, int, int]
#: grant, holder, key, weight, expires, tokens, probes (lane, circuit).
LeaseRow = tuple[int, int, int, float, int, tuple[TokenRow, ...], tuple[tuple[int, str], ...]]
#: id, at, kind, user, spreadsheet, who, class, key, lapses, latency_ns, given, weight, probe.
PlaceRow = tuple[str, int, int, int, int, int, int, int, int, int, bool, float, str]
#: kind, class, key, passed, since, weight, owed, calls, calls_before.
TurnRow = tuple[int, int, int, int, int, float, int, int, int]


class LimiterRows(Message):
    """What a checkpoint has thousands of: names once, instants as differences, rows without field names."""

    base_ns: int = 0
    names: tuple[str, ...] = ()
    buckets: tuple[BucketRow, ...] = ()
    spacings: tuple[SpacingRow, ...] = ()
    waiting: tuple[WaiterRow, ...] = ()
    leased: tuple[LeaseRow, ...] = ()
    booked: tuple[PlaceRow, ...] = ()
    turns: tuple[TurnRow, ...] = ()
    clocks: dict[str, int] = {}
    spent: dict[str, tuple[int, ...]] = {}
    rushed: tuple[RushRow, ...] = ()


class LimiterCheckpoint(Message):
    """What a limiter carries into its next run: settings and counters to be read, the bulky rest packed: far below 2 MiB.

    `packed` is a `LimiterRows` (`headgate.packing`). A later form gains optional fields, here and there.
    """

    epoch: int
    settings: LimiterSettings
    quiet_until_ns: int = 0
    grants: int = 0
    granted: int = 0
    returned: int = 0
    throttled: int = 0
    overloads: int = 0
    paused_by: str = ""
    pressures: tuple[PressureCheckpoint, ...] = ()
    circuits: tuple[CircuitCheckpoint, ...] = ()
    retries: float = -1.0
    retries_at_ns: int = 0
    credit: tuple[tuple[int, int, float], ...] = ()
    virtual: tuple[tuple[int, int, int], ...] = ()
    joined: tuple[int, ...] = ()
    degraded: dict[str, int] = {}
    leads: dict[str, int] = {}
    counted_ns: int = 0
    packed: str = ""


class LimiterInput(Message):
    """The limiter's input: no settings mean Google's defaults; a checkpoint comes from the run before.

    `untold` are alert events that the run before could not deliver. `release` as that of `BulkInput`.
    """

    project: str
    settings: LimiterSettings | None = None
    quiet_until_ns: int = 0
    paused_by: str = ""
    checkpoint: LimiterCheckpoint | None = None
    alerts: AlertCheckpoint | None = None
    untold: tuple[AlertEvent, ...] = ()
    release: int = 0


class LaneCheckpoint(Message):
    """A lane under way: how many of its batches are done, and the batch that is being resent (-1: none)."""

    entry: LaneEntry
    position: int = 0
    resending: bool = False
    latencies_ns: tuple[int, ...] = ()
    cycles_ns: tuple[int, ...] = ()
    swept: int = 0
    most: int = 0


class ProgressCheckpoint(Message):
    """The counts that a request's progress is made of; `recent` = (at_ns, calls) of the last minute."""

    succeeded: int = 0
    failed: int = 0
    made: int = 0
    retried: int = 0
    reasons: dict[str, int] = {}
    recent: tuple[tuple[int, int], ...] = ()
    started_at_ns: int = 0
    version: int = 0
    users: dict[str, int] = {}
    changed_ns: int = 0
    rate_before: float = 0.0
    promised: float = 0.0
    user_rate: float = 0.0
    skipped: int = 0


class SteeringCheckpoint(Message):
    """What people have said to a request, and what they were answered, by the command's id."""

    priority: Priority = "normal"
    paused_by: str | None = None
    paused_at_ns: int = 0
    resumed_by: str = ""
    cancelled_by: str | None = None
    forgiven: int = 0
    version: int = 0
    answers: dict[str, str] = {}
    sequence: int = 0


class BulkCheckpoint(Message):
    """What a bulk request carries into its next run. Without `steering` it comes from an older release, and says it itself."""

    plan: PlanSummary | None = None
    next_page: int = 0
    upcoming: tuple[LaneEntry, ...] = ()
    lanes: tuple[LaneCheckpoint, ...] = ()
    abandoning: dict[int, str] = {}
    priority: Priority = "normal"
    paused_by: str | None = None
    cancelled_by: str | None = None
    sequence: int = 0
    epoch: int = 0
    last_grant: int = 0
    progress: ProgressCheckpoint = ProgressCheckpoint()
    forgiven: int = 0
    steering: SteeringCheckpoint | None = None
    lanes_done: int = 0
    notices: NoticeCheckpoint | None = None
    projected: ProjectionCheckpoint | None = None
    standing: Standing = Standing()
    far: bool = False


class BulkInput(Message):
    """The bulk workflow's input. Not `indexed`: the search attributes are not registered, and setting one would fail.

    `release`: what started it may expect newer behaviour, which would not replay the histories of earlier releases.
    """

    request: BulkRequest
    indexed: bool = True
    release: int = 0
    checkpoint: BulkCheckpoint | None = None


class PageRequest(Message):
    """Which page of which request's manifest."""

    request_id: str
    page: int
