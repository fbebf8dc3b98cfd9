"""Every message that can reach a Temporal history.

Rules: frozen, named for what it is, only ever gains optional fields; instants are integers in nanoseconds of the
server's clock and end in ``_at_ns``, spans end in ``_ns``; nothing bulky and nothing secret. ``extra="forbid"`` is for the
human edge alone (`headgate.apis.sheets.operations`, the command line), never here: a stored payload must stay readable.
The words are those of the design's glossary (`docs/glossary.md`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from headgate.alert_messages import AlertCheckpoint, AlertSettings
from headgate.alert_messages import AlertEvent as AlertEvent
from headgate.alert_messages import Readings as Readings
from headgate.message import SECOND_NS as SECOND_NS
from headgate.message import Message as Message
from headgate.notice_messages import NoticeCheckpoint

Kind = Literal["read", "write"]
Priority = Literal["urgent", "normal", "low"]
Order = Literal["lane", "strict"]
Applied = Literal["yes", "no", "unknown"]
State = Literal["planning", "running", "waiting", "paused", "completed", "cancelled", "failed"]

NAME_PATTERN = r"^[A-Za-z0-9_.@-]{1,128}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


# --- the limiter -----------------------------------------------------------------------------------------------------


#: So much farther than the horizon tokens may reach, so that a pause still acts within 2 s.
LONGEST_STRETCH_NS = 300_000_000


class UserLimits(Message):
    """What one user may do in a window where it differs from the others; None: as everybody."""

    read: PositiveInt | None = None
    write: PositiveInt | None = None


class LimiterSettings(Message):
    """The quotas of one API and project, and how tokens are dealt out; defaults are Google's (reference/sheets.md 1.1).

    `users` are those whose quota differs. `age_after_ns`: waiting that long without a call raises a holder by one class.
    `urgent_budget`: so many urgent calls may an owner make in 10 minutes before it is served as normal (0: any number).
    """

    read_per_project: PositiveInt = 300
    read_per_user: PositiveInt = 60
    write_per_project: PositiveInt = 300
    write_per_user: PositiveInt = 60
    window_ns: PositiveInt = 60 * SECOND_NS
    token_valid_for_ns: PositiveInt = 300_000_000
    network_spread_ns: PositiveInt = 300_000_000
    horizon_ns: PositiveInt = 1_500_000_000
    lead_ns: PositiveInt = 250_000_000
    spreadsheet_spacing_ns: PositiveInt = SECOND_NS
    pace: PositiveFloat = 1.0
    burst: float = 0.03
    floor_urgent: float = 0.7
    floor_normal: float = 0.2
    floor_low: float = 0.1
    users: dict[str, UserLimits] = {}
    age_after_ns: PositiveInt = 600 * SECOND_NS
    urgent_budget: int = 0
    alerts: AlertSettings = AlertSettings()

    @property
    def furthest_ns(self) -> int:
        """How far ahead of a round its tokens reach at the most, where grants need long to become calls."""
        return self.horizon_ns + LONGEST_STRETCH_NS


class LaneDemand(Message):
    """How many calls one lane could make now, and how long its calls take (from a token's time to the next free moment)."""

    lane: int
    kind: Kind
    user: str
    spreadsheet: str
    calls: int
    latency_ns: int = 0
    latency_p95_ns: int = 0


class TokenRequest(Message):
    """The full present demand of one holder; a later `sequence` of the same or a newer `run` replaces what was said before.

    `run` is the start of the holder's run (ns, so that newer means larger). `epoch` and `last_grant` are the last grant
    seen: later ones are subtracted by the limiter. `lead_ns`: so long its grants take to become calls. `stopped` names why a holder wants nothing (paused, cancelled) and makes
    `book` answer `Stopped`. `gives_back`: one that is finished uses no grant that it has not seen.
    """

    holder: str
    run: int
    sequence: int
    epoch: int = 0
    last_grant: int = 0
    priority: Priority = "normal"
    weight: float = 1.0
    fairness_key: str = ""
    submitted_at_ns: int = 0
    stopped: str = ""
    lanes: tuple[LaneDemand, ...] = ()
    lead_ns: int = 0
    gives_back: bool = False


#: Why nothing is sent, for programs: at a quota, or at what others left of it; one call at a time on a spreadsheet; others go
#: first; after a 429; a circuit is open; retries are at their tenth; quiet after a lost limiter; a person paused the request,
#: or the project; planning; no worker takes its work.
Cause = Literal[
    "", "quota", "used_by_others", "spacing", "behind", "throttled", "circuit", "retries", "quiet", "paused", "project_paused",
    "planning", "no_worker",
]  # fmt: skip


class Standing(Message):
    """What a holder waits for (`""`: nothing), until when, how many holders are ahead, the calls a minute it can expect, and
    how many of them each of its users may make (0: not said)."""

    reason: str = ""
    cause: Cause = ""
    until_ns: int = 0
    ahead: int = 0
    rate_per_minute: float = 0.0
    user_rate_per_minute: float = 0.0
    allowance: int = 64


class Grant(Message):
    """A lease: for each lane the times (ns, server clock, rising) of its tokens. `(epoch, grant_id)` names it.

    `reads` are the lanes whose tokens are for reads; the others' are for writes. `probes` names, for a lane, the open circuit
    that its token is to try: what becomes of that call is told by `settle`.
    """

    epoch: int
    grant_id: int
    tokens: dict[int, tuple[int, ...]] = {}
    reads: tuple[int, ...] = ()
    valid_for_ns: int = 300_000_000
    standing: Standing | None = None
    probes: dict[int, str] = {}
    at_ns: int = 0


class Throttling(Message):
    """A 429: the quota it named (`project` or `user`; `""` if it named none), the value it gave (0: none), and when."""

    kind: Kind
    scope: Literal["project", "user", ""] = ""
    user: str = ""
    quota_value: int = 0
    at_ns: int = 0


class Overload(Message):
    """A call that the API failed or did not answer (5xx, a timeout, no connection), and when."""

    spreadsheet: str
    at_ns: int = 0


class Probed(Message):
    """What became of a call made with a probe's token: `ok` if the API answered it."""

    circuit: str
    ok: bool


class Unused(Message):
    """Tokens of one grant that were not used, as positions in the lane's tuple of that grant."""

    grant_id: int
    lane: int
    tokens: tuple[int, ...]


class Settlement(Message):
    """What leases taught: tokens not used (free at once, once) and 429s. Unknown or already settled tokens change nothing."""

    holder: str
    epoch: int
    unused: tuple[Unused, ...] = ()
    unused_bookings: tuple[str, ...] = ()
    throttled: tuple[Throttling, ...] = ()
    overloads: tuple[Overload, ...] = ()
    probed: tuple[Probed, ...] = ()


class Booking(Message):
    """A later attempt's demand for its own token; asking again under the same `id` keeps the place in the queue.

    `attempt` counts the calls that failed before it; a first call (0) is no retry and costs nothing of the retry budget.
    """

    id: str
    holder: str
    kind: Kind
    user: str
    spreadsheet: str
    priority: Priority = "normal"
    fairness_key: str = ""
    latency_ns: int = 0
    weight: float = 1.0
    attempt: int = 0


class Booked(Message):
    """The token: use it in [at, at + token_valid_for]. With `probe`, tell by `settle` what became of that call."""

    answer: Literal["booked"] = "booked"
    at_ns: int
    probe: str = ""


class NotUntil(Message):
    """No token yet: ask again at `at_ns` with the same id and it is served before new grants."""

    answer: Literal["not_until"] = "not_until"
    at_ns: int
    why: str = ""


class Stopped(Message):
    """The holder is paused or cancelled: no token, nothing to wait for."""

    answer: Literal["stopped"] = "stopped"
    why: str = ""


BookingAnswer = Annotated[Booked | NotUntil | Stopped, Field(discriminator="answer")]


class BookRequest(Message):
    """Bookings of one worker process in one update; none at all is a reading of the limiter's clock."""

    bookings: tuple[Booking, ...] = ()


class BookReply(Message):
    """One answer a booking, in order, and the limiter's `now`: between the update's sending and its receipt."""

    now_ns: int
    answers: tuple[BookingAnswer, ...] = ()
    token_valid_for_ns: int = 300_000_000


# --- a bulk request --------------------------------------------------------------------------------------------------


#: Answers to reads are kept no longer than this.
LONGEST_AGE_NS = 3600 * SECOND_NS


class BulkRequest(Message):
    """What a caller submits. `id` is the request's; `input_sha256` with project, user, order and cap says what *the same* is.

    `max_age_ns`: reads may be served from answers of this age, and their own are kept (0: neither).
    `stop_after`: so many failed operations pause it, and as many more after each resume (0: none do). Without `fences` no write
    carries a mark, and what cannot simply be repeated is not. `grow`: a write beyond a sheet's grid makes the grid larger.
    `notify` names the key that signs what the receiver is told, whose address is in the store ("": nobody is told).
    """

    id: str
    project: str
    user: str = ""
    owner: str = ""
    priority: Priority = "normal"
    weight: float = 1.0
    order: Order = "lane"
    operations_per_call: int = 0
    input_sha256: str = ""
    input_bytes: int = 0
    submitted_at_ns: int = 0
    nonce: str = ""
    max_attempts: PositiveInt = 8
    max_age_ns: int = 0
    stop_after: int = 0
    fences: bool = True
    grow: bool = False
    notify: str = ""


Form = Literal["look_up", "fenced", "values_update", "values_append", "read"]


class Operation(Message):
    """One line of the input, checked and with its defaults filled in; `line` counts from 1. Lives in the store, not in histories."""

    line: int
    id: str
    op: Literal["append", "update", "clear", "read", "request"]
    spreadsheet: str
    user: str = ""
    range: str = ""
    values: tuple[tuple[bool | int | float | str | None, ...], ...] = ()
    input: Literal["RAW", "FORMULAS", "USER_ENTERED"] = "RAW"
    render: str = ""
    major_dimension: Literal["ROWS", "COLUMNS"] = "ROWS"
    placement: Literal["", "table"] = ""
    request: dict[str, object] = Field(default_factory=dict)  # a default of {} would be copied deeply for each
    sheet_id: int | None = None
    gone_sheets: tuple[int, ...] = ()


class PlannedBatch(Message):
    """The operations that travel in one call and the form in which they do. Lives in the store, not in histories.

    Forms: `fenced` = one spreadsheets.batchUpdate that carries the fence; `values_update` = values.batchUpdate, unfenced but
    idempotent; `values_append` = values.append, unfenced and not idempotent; `read` = a batch read; `look_up` = sheet titles.
    """

    number: int
    lane: int
    form: Form
    user: str
    spreadsheet: str
    operations: tuple[Operation, ...] = ()


class LaneEntry(Message):
    """One lane of the plan: batches `first_batch` .. `first_batch + batches - 1`; with `look_up` the first is a title look-up (a read).

    `runs` (strict order only): lengths of alternating runs of batches of one kind, beginning with `kind`, the look-up excluded.
    """

    lane: int
    kind: Kind
    user: str
    spreadsheet: str
    first_batch: int
    batches: int
    operations: int
    look_up: bool = False
    runs: tuple[int, ...] = ()


class PlanSummary(Message):
    """The plan in numbers; `dead_letters` are the lines that were refused while planning.

    `looked_for` are the reads that were looked for in the cache, `cached` those that were found: they are done, without a call.
    `calls_by_user` are those of the users who make most of them.
    """

    operations: int
    dead_letters: int
    calls: int
    lanes: int
    pages: int
    reasons: dict[str, int] = {}
    cached: int = 0
    looked_for: int = 0
    calls_by_user: dict[str, int] = {}


class Page(Message):
    """One page of the manifest."""

    lanes: tuple[LaneEntry, ...]


class LaneSending(Message):
    """One lane's part of a lease: `batches[i]` is sent with `tokens[i]`. `token_positions[i]` is that token's place in its grant.

    `more`: the lane has batches left and got tokens faster than its leases ended, so it is worth an early report.
    `probe`: the open circuit that its one token tries.
    """

    lane: int
    kind: Kind
    user: str
    spreadsheet: str
    grant_id: int
    batches: tuple[int, ...]
    tokens: tuple[int, ...]
    token_positions: tuple[int, ...]
    first_batch: int = 0
    look_up: bool = False
    more: bool = False
    swept: int = 0
    latency_ns: int = 0
    probe: str = ""
    most: int = 0


class SendLease(Message):
    """The input of the batch activity: all lanes of a lease that can start now, each lane's batches in order.

    `granted_ns` is when their tokens were granted, where the lease starts as soon as they came (0: it does not).
    """

    request: BulkRequest
    holder: str
    epoch: int
    lanes: tuple[LaneSending, ...]
    valid_for_ns: int = 300_000_000
    granted_ns: int = 0


class BatchDone(Message):
    """A batch whose result is recorded: its operations by outcome, the calls that it took, its latency (0: no call was made).

    `most`: later calls of the lane should carry at most so many operations, because larger ones were slow (0: as planned).
    `fences` are the ids that exist in the spreadsheet because of it (`swept` is of older histories). `failure` says why nothing of the lane can be sent after it (the spreadsheet is gone, or closed to the user).
    """

    batch: int
    succeeded: int
    failed: int
    calls: int = 1
    latency_ns: int = 0
    at_ns: int = 0
    reasons: dict[str, int] = {}
    swept: int = 0
    fences: tuple[int, ...] = ()
    failure: str = ""
    most: int = 0


class LaneReport(Message):
    """What became of one lane's part of a lease.

    `rescue` is the batch (number, -1: none) that stopped the lane and has to go to `resend_batch`; what stands behind it in
    the lease was not sent. `unused` are positions in the grant. `broken` says why nothing of the lane can ever be sent.
    """

    lane: int
    grant_id: int
    done: tuple[BatchDone, ...] = ()
    rescue: int = -1
    rescue_reason: str = ""
    unused: tuple[int, ...] = ()
    broken: str = ""


class LeaseReport(Message):
    """The lanes that are done; the same lane may be reported early (signal) and again (result): folding is by batch.

    `ready_ns`: so long after its grant the lease could send (0: not known). `epoch` is that of the grants: unused tokens of another limiter than the present one are nobody's any more (0: not said).
    """

    lanes: tuple[LaneReport, ...]
    epoch: int = 0
    throttled: tuple[Throttling, ...] = ()
    ready_ns: int = 0


class ResendBatch(Message):
    """One batch whose call failed in a way worth repeating; every attempt books its own token.

    `cancelled`: nothing more is sent than it takes to make an unknown outcome certain.
    """

    request: BulkRequest
    holder: str
    lane: LaneEntry
    batch: int
    priority: Priority = "normal"
    cancelled: bool = False
    most: int = 0


class ResendReport(Message):
    """How a rescued batch ended; no `done`: the limiter said that the holder is stopped, and the batch waits for a resume.

    `broken` says why nothing of the lane can ever be sent.
    """

    done: BatchDone | None = None
    stopped: str = ""
    broken: str = ""
    throttled: int = 0


class AbandonLane(Message):
    """Record every batch of the lane from `batch` on as failed for `reason`, without a call."""

    request: BulkRequest
    lane: LaneEntry
    batch: int
    reason: str


class LeftOut(Message):
    """Operations that a retry does not take, by reason."""

    refused: int = 0
    unknown: int = 0
    unprocessed: int = 0
    retried: int = 0


class Retry(Message):
    """The request that takes what failed in another one: how many operations it has, and what was left out.

    Not `first`: it was started before. `summary` is what people read of it.
    """

    request: BulkRequest
    operations: int
    left_out: LeftOut = LeftOut()
    first: bool = True
    summary: str = ""


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
    the command's own, under which it may come again. A bare text stands for `to`, as a person may type it in the Web UI."""

    to: str | None = None
    by: str = ""
    id: str = ""

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


# --- what the workflows start with and carry over --------------------------------------------------------------------


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
