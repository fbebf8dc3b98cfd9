"""A bulk request and its plan: what a caller submits, and what becomes of it before anything is sent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from headgate.message import SECOND_NS, Message
from headgate.messages.words import Kind, Order, Priority

#: Answers to reads are kept no longer than this.
LONGEST_AGE_NS = 3600 * SECOND_NS


class BulkRequest(Message):
    """What a caller submits. `id` is the request's; `input_sha256` with project, user, order and cap says what *the same* is.

    `max_age_ns`: reads may be served from answers of this age, and their own are kept (0: neither).
    `stop_after`: so many failed operations pause it, and as many more after each resume (0: none do). Without `fences` no write
    carries a mark, and what cannot simply be repeated is not. `grow`: a write beyond a sheet's grid makes the grid larger.
    `notify` names the key that signs what the receiver is told, whose address is in the store ("": nobody is told).
    `organisation`: whose read model shows it ("": none does). `users`: the credentials that its lines may name (none: any).
    `uploaded`: where among the uploads its input lies until planning has taken it ("": it is in the store already).
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
    organisation: str = ""
    users: tuple[str, ...] = ()
    uploaded: str = ""


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
