"""Operations into lanes and batches, as they stream by.

1. Every operation is in exactly one batch, and inside a lane batches and operations keep the order of the lines
   (reads of a lane that only reads may change places with each other).
2. No batch is heavier than the caps, unless one operation alone is.
3. Reads never share a batch with writes; with order `strict` they share a lane, in order.
4. Operations are not kept here: each goes to what `keep` made for its batch, in a file if need be. What is remembered of
   them (cells that may collide, ranges read already) is bounded, and beyond that batches close early.
5. The look-up that a write lane needs is the first batch of its lane.

Source: reference/sheets.md section 4; design section 5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, overload

from headgate.apis.sheets import a1, merging
from headgate.apis.sheets.sheet_names import SheetNames
from headgate.apis.sheets.titles import needs_titles
from headgate.messages.requests import BulkRequest, Form, LaneEntry, Operation
from headgate.messages.words import Kind

MOST_BYTES = 1_800_000
MOST_REQUESTS = 5_000
MOST_CELLS = 50_000
MOST_READS = 1_000
#: Finished batches that one lane, and all lanes together, hold back until it is known whether a look-up goes ahead of them.
MOST_HELD = 1_000
MOST_HELD_TOGETHER = 20_000
#: Rows and ranges of open batches that are remembered.
MOST_REMEMBERED = 200_000


class Kept(Protocol):
    """Where the operations of one batch go, in order."""

    def append(self, operation: Operation, /) -> object: ...


K = TypeVar("K", bound=Kept)


class LaneKey(NamedTuple):
    """What the batches of a lane have in common; with order `strict` the kind is "write" whatever is in it."""

    spreadsheet: str
    user: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class DraftBatch(Generic[K]):
    """A finished batch that has no number yet, with what its operations were kept in."""

    lane: LaneKey
    form: Form
    operations: K

    @property
    def kind(self) -> Kind:
        """The kind of quota that its call draws on."""
        return "read" if self.form in ("read", "look_up") else "write"


@dataclass(slots=True)
class LaneDraft:
    """One lane in numbers; `runs` (strict order only) as in `LaneEntry`, and `look_up` counts among `batches`."""

    key: LaneKey
    batches: int = 0
    operations: int = 0
    look_up: bool = False
    runs: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Open(Generic[K]):
    """A batch that still grows."""

    form: Form
    operations: K
    count: int = 0
    bytes: int = 400
    requests: int = 0
    cells: int = 0
    remembered: int = 0
    seen: set[str] = field(default_factory=set)
    touched: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    title: str = ""


@dataclass(slots=True)
class _Lane(Generic[K]):
    draft: LaneDraft
    names: SheetNames = field(default_factory=SheetNames)
    write: _Open[K] | None = None
    reads: dict[tuple[str, str], _Open[K]] = field(default_factory=dict)
    wants_titles: bool = False
    held: list[DraftBatch[K]] = field(default_factory=list)
    decided: bool = False

    @property
    def remembered(self) -> int:
        return (self.write.remembered if self.write else 0) + sum(one.remembered for one in self.reads.values())


class Planner(Generic[K]):
    """Takes the operations of one bulk request in the order of their lines and hands out batches as they close."""

    @overload
    def __init__(self: Planner[list[Operation]], request: BulkRequest) -> None: ...
    @overload
    def __init__(self, request: BulkRequest, keep: Callable[[], K]) -> None: ...
    def __init__(self, request: BulkRequest, keep: Callable[[], K] = list) -> None:  # type: ignore[assignment]
        self._request = request
        self._keep = keep
        self._strict = request.order == "strict"
        self._lanes: dict[LaneKey, _Lane[K]] = {}
        self._held = 0
        self._remembered = 0

    @property
    def lanes(self) -> dict[LaneKey, LaneDraft]:
        """The lanes in the order of their first lines; complete after `finish`."""
        return {key: lane.draft for key, lane in self._lanes.items()}

    def add(self, operation: Operation) -> list[DraftBatch[K]]:
        """Takes the next operation; returns the batches that it closed, mostly none."""
        form = merging.form_of(operation)
        kind: Kind = "read" if form == "read" else "write"
        key = LaneKey(operation.spreadsheet, operation.user, "write" if self._strict else kind)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(LaneDraft(key))
        operation = lane.names.settle(operation, self._request.nonce) if kind == "write" else operation
        lane.draft.operations += 1
        sized = self._request.grow and form == "fenced" and operation.op != "request"
        lane.wants_titles = lane.wants_titles or sized or needs_titles(operation, form)
        closed = self._add_read(lane, operation) if kind == "read" else self._add_write(lane, operation, form)
        if self._remembered > MOST_REMEMBERED:
            closed += self._relieve()
        return closed

    def finish(self) -> list[DraftBatch[K]]:
        """Closes what is still open, lane by lane."""
        closed = []
        for lane in self._lanes.values():
            closed += self._close_all(lane) + self._release(lane, last=True)
        return closed

    def _add_write(self, lane: _Lane[K], operation: Operation, form: Form) -> list[DraftBatch[K]]:
        closed = self._close_reads(lane) if lane.reads else []
        weight = merging.weight_of(operation, form)
        current = lane.write
        if current is not None and (
            current.form != form or not self._fits(current, weight) or _collides(current, operation)
        ):
            closed += self._close_write(lane)
        if lane.write is None:
            lane.write = _Open(form, self._keep())
        self._put(lane.write, operation, weight)
        if form == "values_update":
            self._remember(lane.write, _touch(lane.write, operation))
        if form == "values_append":
            closed += self._close_write(lane)
        return closed

    def _add_read(self, lane: _Lane[K], operation: Operation) -> list[DraftBatch[K]]:
        closed = self._close_write(lane)
        options = (operation.render or "FORMATTED_VALUE", operation.major_dimension)
        current = lane.reads.get(options)
        repeated = current is not None and operation.range in current.seen
        weight = merging.Weight(0, 0, 0) if repeated else merging.weight_of(operation, "read")
        if current is not None and (not self._fits(current, weight) or current.requests + weight.requests > MOST_READS):
            closed += self._close(lane, lane.reads.pop(options))
            current = None
        if current is None:
            current = lane.reads[options] = _Open("read", self._keep())
        if not repeated:
            current.seen.add(operation.range)
            self._remember(current, 1)
        self._put(current, operation, weight)
        return closed

    def _fits(self, current: _Open[K], weight: merging.Weight) -> bool:
        per_call = self._request.operations_per_call
        return (
            current.bytes + weight.bytes <= MOST_BYTES
            and current.requests + weight.requests <= MOST_REQUESTS
            and current.cells + weight.cells <= MOST_CELLS
            and (per_call <= 0 or current.count < per_call)
            and current.count < MOST_CELLS
        )

    def _put(self, current: _Open[K], operation: Operation, weight: merging.Weight) -> None:
        current.operations.append(operation)
        current.count += 1
        current.bytes += weight.bytes
        current.requests += weight.requests
        current.cells += weight.cells

    def _remember(self, current: _Open[K], more: int) -> None:
        current.remembered += more
        self._remembered += more

    def _close_all(self, lane: _Lane[K]) -> list[DraftBatch[K]]:
        return self._close_reads(lane) + self._close_write(lane)

    def _close_reads(self, lane: _Lane[K]) -> list[DraftBatch[K]]:
        opened, lane.reads = lane.reads, {}
        return [batch for one in opened.values() for batch in self._close(lane, one)]

    def _close_write(self, lane: _Lane[K]) -> list[DraftBatch[K]]:
        if lane.write is None:
            return []
        current, lane.write = lane.write, None
        return self._close(lane, current)

    def _close(self, lane: _Lane[K], current: _Open[K]) -> list[DraftBatch[K]]:
        self._remembered -= current.remembered
        lane.held.append(DraftBatch(lane.draft.key, current.form, current.operations))
        self._held += 1
        if lane.draft.key.kind == "write" and not (lane.decided or lane.wants_titles) and self._may_hold(lane):
            return []
        return self._release(lane)

    def _may_hold(self, lane: _Lane[K]) -> bool:
        return len(lane.held) < MOST_HELD and self._held < MOST_HELD_TOGETHER

    def _release(self, lane: _Lane[K], last: bool = False) -> list[DraftBatch[K]]:
        """Hands out what the lane held back, behind the look-up if the lane needs one, or might need one later."""
        released, lane.held = lane.held, []
        self._held -= len(released)
        if released and not lane.decided and lane.draft.key.kind == "write" and (lane.wants_titles or not last):
            released.insert(0, DraftBatch(lane.draft.key, "look_up", self._keep()))
            lane.draft.look_up = True
        lane.decided = lane.decided or bool(released)
        for batch in released:
            lane.draft.batches += 1
            if self._strict and batch.form != "look_up":
                _count_run(lane.draft.runs, lane.draft.key.kind, batch.kind)
        return released

    def _relieve(self) -> list[DraftBatch[K]]:
        """Closes the batches of which most is remembered until half of the allowance is free; costs calls, never order."""
        closed = []
        for lane in sorted(self._lanes.values(), key=lambda lane: lane.remembered, reverse=True):
            if self._remembered <= MOST_REMEMBERED // 2:
                break
            closed += self._close_all(lane)
        return closed


def order_lanes(lanes: Iterable[LaneEntry]) -> list[LaneEntry]:
    """The lanes so that those under way together cover as many users as possible, then as many spreadsheets."""
    by_user: dict[str, dict[str, deque[LaneEntry]]] = {}
    for lane in lanes:
        by_user.setdefault(lane.user, {}).setdefault(lane.spreadsheet, deque()).append(lane)
    return _in_turn([_in_turn(list(spreadsheets.values())) for spreadsheets in by_user.values()])


def _in_turn(queues: Iterable[Iterable[LaneEntry]]) -> list[LaneEntry]:
    """One of each queue, then the second of each, and so on."""
    missing = object()
    return [lane for row in zip_longest(*queues, fillvalue=missing) for lane in row if isinstance(lane, LaneEntry)]


def _count_run(runs: list[int], first: Kind, kind: Kind) -> None:
    """Counts one more batch of a kind; runs alternate, beginning with `first`."""
    if not runs:
        runs.append(0)
    last_is_first = len(runs) % 2 == 1
    if (kind == first) == last_is_first:
        runs[-1] += 1
    else:
        runs.append(1)


def _collides(current: _Open[Any], operation: Operation) -> bool:
    """The order of two updates of one call is not documented: ones that may touch the same cell do not share it."""
    if current.form != "values_update":
        return False
    area = a1.parse(operation.range)
    if area.whole or current.title != area.title.casefold():
        return True
    right = area.left + _width(operation)
    return any(
        area.left < end and start < right
        for row in range(area.top, area.top + _height(operation))
        for start, end in current.touched.get(row, ())
    )


def _touch(current: _Open[Any], operation: Operation) -> int:
    """Remembers the cells that an update writes; returns how many rows that are."""
    area = a1.parse(operation.range)
    current.title = "\0" if area.whole else area.title.casefold()
    for row in range(area.top, area.top + _height(operation)):
        current.touched.setdefault(row, []).append((area.left, area.left + _width(operation)))
    return _height(operation)


def _height(operation: Operation) -> int:
    return len(merging.rows_of(operation))


def _width(operation: Operation) -> int:
    return max(map(len, merging.rows_of(operation)), default=0)
