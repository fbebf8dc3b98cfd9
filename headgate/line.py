"""The line of one kind of call: of thousands of lanes, the one that is next in its class, in O(log n).

Rules:

1. A lane stands in the line while it wants calls and could send; while it could not, it costs nothing: it *comes* at the
   instant at which it is free, is *parked* before its spreadsheet, or stands behind its user's closed *gate*.
2. What is stored in a heap is never later than what is true (turns only move on, instants only get later), and is checked
   when it gets to the top. What gets earlier is put in anew.
3. So the head of the line that cannot be served now never keeps others waiting, and the decision depends on what is so, not
   on the way there: a line that is built anew from its lanes decides alike.

Owners are compared once, whatever they have in the line: gates behind which only one owner stands are grouped by owner.
Costs: O(log n) for each token and each instant at which something comes; a spreadsheet that frees looks at all lanes that are
parked before it, at most once per spacing; owners that share many users are compared once per user that they share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import NamedTuple

from headgate.buckets import Buckets
from headgate.models import Kind, Priority
from headgate.ordering import CLASSES, Rank, Turns, rank
from headgate.quota import Bucket, Spacing
from headgate.waiting import Lane, Queue, Token

Entry = tuple[Rank, int, Lane]
#: So many heap entries may be of no use any more, beside those of use, before the heaps are built anew.
DEAD_ENTRIES = 10_000


class Next(NamedTuple):
    """The lane that is next in a class, and what made it so."""

    passed: int
    since: int
    rank: Rank
    key: str
    lane: Lane
    gate: Gate


@dataclass(slots=True, eq=False)
class Gate:
    """The lanes of one user and class that are free, by owner; open while the user's bucket has room."""

    served: Priority
    number: int
    bucket: Bucket
    owners: dict[str, list[Entry]] = field(default_factory=dict)
    turns: list[tuple[int, int, str]] = field(default_factory=list)
    version: int = 0
    open: bool = False
    due_ns: int = -1

    @property
    def paced(self) -> bool:
        """Whether its tokens keep to the pace."""
        return self.served != "urgent"


@dataclass(slots=True, eq=False)
class Group:
    """The open gates behind which only lanes of one owner stand, by the rank of the first lane."""

    key: str
    number: int
    gates: list[tuple[Rank, int, Gate, int]] = field(default_factory=list)
    version: int = 0
    told: Rank | None = None


@dataclass(slots=True, eq=False)
class Sheet:
    """The lanes that are parked before a spreadsheet until its next start."""

    name: str
    parked: list[tuple[Lane, int]] = field(default_factory=list)
    due_ns: int = -1


@dataclass(slots=True)
class Line:
    """Everybody who wants calls of one kind."""

    kind: Kind
    buckets: Buckets
    turns: Turns
    queue: Queue
    other: Line | None = None
    gates: dict[tuple[str, Priority], Gate] = field(default_factory=dict)
    sheets: dict[str, Sheet] = field(default_factory=dict)
    groups: dict[tuple[Priority, str], Group] = field(default_factory=dict)
    heads: dict[Priority, list[tuple[int, int, Rank, int, Gate | Group, int]]] = field(
        default_factory=lambda: {c: [] for c in CLASSES}
    )
    coming: list[tuple[int, int, Lane | Gate | Sheet]] = field(default_factory=list)
    closed: list[tuple[int, Gate | Sheet]] = field(default_factory=list)
    dead: int = 0
    project: Bucket = field(init=False)
    _known: dict[Priority, tuple[Next | None, int]] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        """Know the project's bucket."""
        self.project = self.buckets.project(self.kind)

    # --- what lanes want ----------------------------------------------------------------------------------------------

    def want(self, lane: Lane, calls: int) -> None:
        """The lane wants so many calls from now on."""
        before, lane.calls = lane.calls, calls
        waiter = lane.waiter
        if calls > 0 >= before:
            waiter.wanting += 1
            if waiter.wanting == 1:
                self.queue.add(waiter)
            self.turns.join(waiter.served, waiter.key, waiter.weight)
            if lane.spreadsheet:
                lane.spacing = self.buckets.spacing(lane.spreadsheet)
                wanted = lane.spacing.wanted_by
                wanted[lane.who] = wanted.get(lane.who, 0) + 1
                lane.spacing.kinds[self.kind] = lane.spacing.kinds.get(self.kind, 0) + 1
            self._come(lane, lane.free_at_ns)
        elif calls <= 0 < before:
            waiter.wanting -= 1
            if not waiter.wanting:
                self.queue.remove(waiter)
            self.turns.leave(waiter.served, waiter.key)
            if lane.spreadsheet:
                self._leave_sheet(lane)
            self._withdraw(lane)

    def free_from(self, lane: Lane, free_at_ns: int) -> None:
        """The lane is free from another instant on than was thought."""
        lane.free_at_ns = free_at_ns
        if lane.where:
            self._withdraw(lane)
            self._come(lane, free_at_ns)

    def rebuild(self, lanes: Iterable[Lane]) -> None:
        """Put every lane in anew: quotas or windows are others than before, or too much in the heaps is of no use."""
        self.gates, self.sheets, self.groups, self._known = {}, {}, {}, {}
        self.buckets.in_use -= {name for name in self.buckets.in_use if name.startswith(f"user/{self.kind}/")}
        self.heads = {c: [] for c in CLASSES}
        self.coming, self.closed, self.dead = [], [], 0
        for lane in lanes:
            lane.where, lane.due_ns, lane.version = "", -1, 0
            if lane.calls > 0:
                self._come(lane, lane.free_at_ns)

    def wasteful(self) -> bool:
        """Whether more of the heaps is of no use than is worth keeping."""
        return self.dead > DEAD_ENTRIES or len(self.gates) > DEAD_ENTRIES + 2 * sum(self.turns.wanting.values())

    def recheck(self, user: str, spreadsheet: str = "") -> None:
        """Something came back: the user's bucket or the spreadsheet may have room earlier than was thought."""
        for c in CLASSES:
            gate = self.gates.get((user, c))
            if gate is not None and not gate.open:
                self._schedule(gate, 0)
        sheet = self.sheets.get(spreadsheet)
        if sheet is not None and sheet.parked:
            self._schedule(sheet, 0)

    def recheck_all(self) -> None:
        """Quotas grew, or a circuit moved: every gate and spreadsheet may have room earlier than was thought."""
        for gate in self.gates.values():
            if not gate.open:
                self._schedule(gate, 0)
        for sheet in self.sheets.values():
            self._schedule(sheet, 0)

    # --- who is next --------------------------------------------------------------------------------------------------

    def back_to(self, start: int) -> None:
        """A new round begins at `start`: what was found closed at a later instant is looked at again."""
        for at, node in self.closed:
            if at > start and node.due_ns > start:
                self._schedule(node, start)
        self.closed, self._known = [], {}

    def arrive(self, t: int) -> None:
        """Let in what comes at t or before."""
        coming = self.coming
        while coming and coming[0][0] <= t:
            due, _, node = heappop(coming)
            if node.due_ns != due:
                continue
            node.due_ns = -1
            if isinstance(node, Lane):
                node.where = ""
                self._enter(node, t)
            elif isinstance(node, Gate):
                self._try_open(node, t)
            else:
                self._unpark(node, t)

    def next_at(self) -> int | None:
        """The instant at which something comes; it may turn out to be of no use."""
        coming = self.coming
        while coming and coming[0][2].due_ns != coming[0][0]:
            heappop(coming)
        return coming[0][0] if coming else None

    def soonest(self, end: int) -> int | None:
        """After a round until `end`: the first instant from then on at which somebody may be served; None if nobody wants a call."""
        if not self.turns.waiting:
            return None
        soon = end if any(self.heads.values()) else self.next_at()
        return None if soon is None else self.project.earliest(max(soon, end), paced=False)

    def next(self, c: Priority, t: int) -> Next | None:
        """The lane that is next in the class and could send at t, or a moment ago and nothing has happened to it since."""
        known = self._known.get(c)
        if known is not None:
            return known[0]
        return self.ready(c, t)

    def ready(self, c: Priority, t: int) -> Next | None:
        """The lane that is next in the class and can send at t; whoever could not is put where it waits."""
        known = self._known.get(c)
        if known is not None and known[1] == t:
            return known[0]
        while (best := self._first(c)) is not None:
            lane, gate = best.lane, best.gate
            if lane.free_at_ns > t:
                self._withdraw(lane)
                self._come(lane, lane.free_at_ns)
                continue
            ready = gate.bucket.earliest(t, paced=c != "urgent")
            if ready > t:
                self._close(gate, ready, t)
                continue
            spacing = lane.spacing
            if spacing is not None and (spacing.starts or spacing.shut_until_ns):
                ready = self._sheet_ready(lane, spacing, t)
                if ready > t:
                    self._withdraw(lane)
                    self._park(lane, ready, t)
                    continue
            break
        self._known[c] = (best, t)
        return best

    def serve(self, chosen: Next, t: int) -> Token:
        """Book the token at t for the lane that is next; its time on the project is the caller's to have checked."""
        lane, gate = chosen.lane, chosen.gate
        paced = gate.paced
        token = Token(t, self.kind, lane.user, lane.spreadsheet, lane.who, paced, gate.served)
        self.project.book(t, paced=paced)
        gate.bucket.book(t, paced=paced)
        if lane.spacing is not None:
            lane.spacing.trim(t - self.buckets.settings.horizon_ns)
            lane.spacing.book(t, lane.who, lane.latency_p95_ns)
            if len(lane.spacing.kinds) > 1 and self.other is not None:
                self.other.recheck("", lane.spreadsheet)  # it is the other kind's turn now
        for c, (known, _) in tuple(self._known.items()):
            if known is not None and (known.lane.user == lane.user or known.lane.spreadsheet == lane.spreadsheet):
                del self._known[c]
        lane.where = ""
        heappop(gate.owners[chosen.key])
        lane.free_at_ns = t + (lane.latency_ns or 1)
        if lane.calls > 1:
            lane.calls -= 1
            self._come(lane, lane.free_at_ns)
        else:
            self.want(lane, 0)
        return token

    # --- lanes --------------------------------------------------------------------------------------------------------

    def _come(self, lane: Lane, at: int) -> None:
        lane.where = "coming"
        self._schedule(lane, at)

    def _schedule(self, node: Lane | Gate | Sheet, at: int) -> None:
        node.due_ns = at
        heappush(self.coming, (at, next(self._numbers), node))

    def _withdraw(self, lane: Lane) -> None:
        """Take the lane out of wherever it stands; what is left of it in a heap is dead."""
        if lane.where:
            if lane.where == "here":
                self._known.pop(lane.waiter.served, None)
            lane.version += 1
            lane.where, lane.due_ns = "", -1
            self.dead += 1

    def _enter(self, lane: Lane, t: int) -> None:
        """A lane that is free now stands in the line, or is parked before a spreadsheet that others want, too."""
        spacing = lane.spacing
        if spacing is not None and len(spacing.wanted_by) > 1:
            ready = self._sheet_ready(lane, spacing, t)
            if ready > t:
                self._park(lane, ready, t)
                return
        self._stand(lane, t)

    def _stand(self, lane: Lane, t: int) -> None:
        waiter = lane.waiter
        c, key = waiter.served, waiter.key
        gate = self.gates.get((lane.user, c))
        if gate is None:
            gate = self._gate(lane.user, c)
        lane.where = "here"
        entry = (rank(waiter.submitted_at_ns, waiter.holder, lane.free_at_ns, lane.number), lane.version, lane)
        entries = gate.owners.get(key)
        if entries is None:
            entries = gate.owners[key] = [entry]
            turn = self.turns.turns[c, key]
            heappush(gate.turns, (self.turns.passed(c, turn), turn.since, key))
        else:
            heappush(entries, entry)
        if not gate.open:
            if gate.due_ns < 0:
                self._try_open(gate, t)
        elif entries[0] is not entry:
            return
        elif len(gate.owners) > 1:
            self._offer(gate)
        else:
            gate.version += 1
            self._known.pop(c, None)
            self._join(gate, key, entry[0])

    # --- spreadsheets -------------------------------------------------------------------------------------------------

    @staticmethod
    def _sheet_ready(lane: Lane, spacing: Spacing, t: int) -> int:
        if len(spacing.wanted_by) == 1:
            return spacing.earliest(t, lane.who, lane.latency_p95_ns)
        return spacing.in_turn(t, lane.kind, lane.latency_p95_ns)

    def _park(self, lane: Lane, ready: int, t: int) -> None:
        sheet = self.sheets.get(lane.spreadsheet)
        if sheet is None:
            sheet = self.sheets[lane.spreadsheet] = Sheet(lane.spreadsheet)
        lane.where = "parked"
        sheet.parked.append((lane, lane.version))
        self.closed.append((t, sheet))
        if sheet.due_ns < 0 or ready < sheet.due_ns:
            self._schedule(sheet, ready)

    def _unpark(self, sheet: Sheet, t: int) -> None:
        parked, sheet.parked = sheet.parked, []
        for lane, version in parked:
            if lane.version == version and lane.where == "parked":
                lane.where = ""
                self._enter(lane, t)
        if not sheet.parked and sheet.due_ns < 0:
            del self.sheets[sheet.name]

    def _leave_sheet(self, lane: Lane) -> None:
        assert lane.spacing is not None
        wanted, kinds = lane.spacing.wanted_by, lane.spacing.kinds
        lane.spacing = None
        wanted[lane.who] -= 1
        kinds[self.kind] -= 1
        if not wanted[lane.who]:
            del wanted[lane.who]
        if not kinds[self.kind]:
            del kinds[self.kind]
        if len(wanted) == 1 or not kinds.get(self.kind):  # whoever is left no longer has to keep off for others
            for line in (self, self.other):
                if line is not None and (sheet := line.sheets.get(lane.spreadsheet)) is not None:
                    line._schedule(sheet, 0)

    # --- gates --------------------------------------------------------------------------------------------------------

    def _gate(self, user: str, c: Priority) -> Gate:
        bucket = self.buckets.user(self.kind, user)
        self.buckets.in_use.add(f"user/{self.kind}/{user}")
        gate = self.gates[user, c] = Gate(c, next(self._numbers), bucket)
        return gate

    def _try_open(self, gate: Gate, t: int) -> None:
        ready = gate.bucket.earliest(t, paced=gate.paced)
        if ready > t:
            self.closed.append((t, gate))
            self._schedule(gate, ready)
            return
        gate.open = True
        self._offer(gate)

    def _close(self, gate: Gate, until: int, t: int) -> None:
        gate.open = False
        gate.version += 1
        self._known.pop(gate.served, None)
        self.closed.append((t, gate))
        self._schedule(gate, until)

    def _offer(self, gate: Gate) -> None:
        """Put an open gate where its class finds it: alone, or in the group of the one owner that stands behind it."""
        gate.version += 1
        self._known.pop(gate.served, None)
        best = self._best(gate)
        if best is None:
            return
        if len(gate.owners) > 1:
            head = (best.passed, best.since, best.rank, gate.number, gate, gate.version)
            heappush(self.heads[gate.served], head)
        else:
            self._join(gate, best.key, best.rank)

    def _join(self, gate: Gate, key: str, first: Rank) -> None:
        """Put a gate into the group of its only owner, and the group where its class finds it."""
        c = gate.served
        group = self.groups.get((c, key))
        if group is None:
            group = self.groups[c, key] = Group(key, next(self._numbers))
        heappush(group.gates, (first, gate.number, gate, gate.version))
        if group.told is None or first < group.told:
            group.version += 1
            group.told = first
            turn = self.turns.turns[c, key]
            head = (self.turns.passed(c, turn), turn.since, first, group.number, group, group.version)
            heappush(self.heads[c], head)

    # --- heads --------------------------------------------------------------------------------------------------------

    def _first(self, c: Priority) -> Next | None:
        """The first of the class by turn, then by rank, as far as open gates and free lanes are known."""
        heads, turns = self.heads[c], self.turns
        while heads:
            passed, since, known, number, node, version = heads[0]
            if node.version != version:
                heappop(heads)
                continue
            if isinstance(node, Group):
                key = node.key
                gate = self._first_gate(node)
                if gate is None:
                    heappop(heads)
                    del self.groups[c, key]
                    continue
                first, _, lane = gate.owners[key][0]
                turn = turns.turns[c, key]
                node.told = first
                best = Next(turns.passed(c, turn), turn.since, first, key, lane, gate)
            else:
                behind = self._best(node)
                if behind is None:
                    heappop(heads)
                    continue
                best = behind
            if best.passed != passed or best.since != since or best.rank != known:
                heapreplace(heads, (best.passed, best.since, best.rank, number, node, version))
                continue
            return best
        return None

    def _best(self, gate: Gate) -> Next | None:
        """The first lane behind a gate."""
        heap, owners, turns, c = gate.turns, gate.owners, self.turns, gate.served
        while heap:
            passed, since, key = heap[0]
            entries = owners[key]
            if not self._clean(entries):
                heappop(heap)
                del owners[key]
                continue
            turn = turns.turns[c, key]
            true = turns.passed(c, turn)
            if true != passed or turn.since != since:
                heapreplace(heap, (true, turn.since, key))
                continue
            first, _, lane = entries[0]
            return Next(passed, since, first, key, lane, gate)
        return None

    def _first_gate(self, group: Group) -> Gate | None:
        """The gate of a group whose first lane comes first."""
        gates, key = group.gates, group.key
        while gates:
            known, number, gate, version = gates[0]
            if gate.version != version or not self._clean(gate.owners[key]):
                heappop(gates)
                continue
            first = gate.owners[key][0][0]
            if first != known:
                heapreplace(gates, (first, number, gate, version))
                continue
            return gate
        return None

    def _clean(self, entries: list[Entry]) -> bool:
        """Whether anybody is left once lanes that stand elsewhere by now are taken off the top."""
        while entries and entries[0][1] != entries[0][2].version:
            heappop(entries)
            self.dead -= 1
        return bool(entries)
