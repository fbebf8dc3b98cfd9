"""The line of one kind of call: of thousands of lanes, the one that is next in its class, in O(log n).

Rules:

1. A lane stands in the line while it wants calls and could send; while it could not, it costs nothing: it *comes* at the
   instant at which it is free, is *parked* before its spreadsheet, or stands behind its user's closed *gate*.
2. What is stored in a heap is never later than what is true (turns only move on, instants only get later), and is checked
   when it gets to the top. What gets earlier is put in anew.
3. So the head of the line that cannot be served now never keeps others waiting, and the decision depends on what is so, not
   on the way there: a line that is built anew from its lanes decides alike.
4. Whoever is next in a class is known, and stands behind the first offer in the class's heap, until something happens that
   may put another one first (`Line._forget`): a token costs what it changes, not a look at everything.

Owners are compared once, whatever they have in the line: gates behind which only one owner stands are grouped by owner.
Costs: O(log n) for each token and each instant at which something comes; a spreadsheet that frees looks at all lanes that are
parked before it, at most once per spacing; owners that share many users are compared once per user that they share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace
from itertools import count

from headgate.buckets import Buckets
from headgate.gates import UNTOLD, Entry, Gate, Group, Head, Sheet
from headgate.messages.words import Kind, Priority
from headgate.ordering import CLASSES, Turn, Turns
from headgate.quota import Bucket, Spacing
from headgate.waiting import Lane, Queue

#: So many heap entries may be of no use any more, beside those of use, before the heaps are built anew.
DEAD_ENTRIES = 10_000
#: Later than any instant.
NEVER_NS = 1 << 62


@dataclass(slots=True)
class Line:
    """Everybody who wants calls of one kind. What the heaps name by number is in `_lanes`, `_gates`, `_groups` and `_sheets`.

    `_known` has who is next in a class, until `_known_until`; `_here` the classes that could send, until `_here_until` and but
    for those in `_unknown`, which are to be looked at again. `_mixed` says that several owners stand behind some gate: only
    then may an owner have more than one offer in a heap.
    """

    kind: Kind
    buckets: Buckets
    turns: Turns
    queue: Queue
    other: Line | None = None
    gates: dict[tuple[str, Priority], Gate] = field(default_factory=dict)
    sheets: dict[str, Sheet] = field(default_factory=dict)
    groups: dict[tuple[Priority, str], Group] = field(default_factory=dict)
    heads: dict[Priority, list[Head]] = field(default_factory=lambda: {c: [] for c in CLASSES})
    coming: list[tuple[int, int]] = field(default_factory=list)
    closed: list[tuple[int, int]] = field(default_factory=list)
    dead: int = 0
    project: Bucket = field(init=False)
    furthest_ns: int = field(init=False)
    _lanes: dict[int, Lane] = field(default_factory=dict)
    _gates: dict[int, Gate] = field(default_factory=dict)
    _groups: dict[int, Group] = field(default_factory=dict)
    _sheets: dict[int, Sheet] = field(default_factory=dict)
    _known: dict[Priority, Lane | None] = field(default_factory=dict)
    _known_until: dict[Priority, int] = field(default_factory=dict)
    _here: tuple[Priority, ...] = ()
    _here_until: int = -1
    _unknown: list[Priority] = field(default_factory=list)
    _mixed: bool = False
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        """Know the project's bucket, and how far ahead tokens reach."""
        self.project = self.buckets.project(self.kind)
        self.furthest_ns = self.buckets.settings.furthest_ns

    # --- what lanes want ----------------------------------------------------------------------------------------------

    def want(self, lane: Lane, calls: int) -> None:
        """The lane wants so many calls from now on."""
        before, lane.calls = lane.calls, calls
        waiter = lane.waiter
        if calls > 0 >= before:
            waiter.wanting += 1
            if waiter.wanting == 1:
                self.queue.add(waiter)
            lane.turn = self.turns.join(waiter.served, waiter.key, waiter.weight)
            if lane.spreadsheet:
                lane.spacing = self.buckets.spacing(lane.spreadsheet)
                lane.spacing.want(lane.who, self.kind)
            self._forget(waiter.served)
            self._admit(lane)
            self._come(lane, lane.free_at_ns)
        elif calls <= 0 < before:
            self._here_until = -1
            waiter.wanting -= 1
            if not waiter.wanting:
                self.queue.remove(waiter)
            self.turns.leave(waiter.served, waiter.key)
            lane.turn = None
            if lane.spreadsheet:
                self._leave_sheet(lane)
            self._withdraw(lane)
            del self._lanes[lane.place]

    def free_from(self, lane: Lane, free_at_ns: int) -> None:
        """The lane is free from another instant on than was thought."""
        lane.free_at_ns = free_at_ns
        if lane.where:
            self._withdraw(lane)
            self._come(lane, free_at_ns)

    def rebuild(self, lanes: Iterable[Lane]) -> None:
        """Put every lane in anew: quotas or windows are others than before, or too much in the heaps is of no use."""
        self.furthest_ns = self.buckets.settings.furthest_ns
        self._forget_all()
        self.gates, self.sheets, self.groups = {}, {}, {}
        self._lanes, self._gates, self._sheets, self._groups = {}, {}, {}, {}
        self.buckets.in_use -= {name for name in self.buckets.in_use if name.startswith(f"user/{self.kind}/")}
        self.heads = {c: [] for c in CLASSES}
        self.coming, self.closed, self.dead, self._mixed = [], [], 0, False
        for lane in lanes:
            lane.where, lane.due_ns, lane.version = "", -1, 0
            if lane.calls > 0:
                self._admit(lane)
                self._come(lane, lane.free_at_ns)

    def wasteful(self) -> bool:
        """Whether more of the heaps is of no use than is worth keeping."""
        if self.dead > DEAD_ENTRIES:
            return True
        many = len(self.gates) - DEAD_ENTRIES
        return many > 0 and many > 2 * sum(self.turns.wanting.values())

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
        for at, number in self.closed:
            if at > start:
                node = self._gates.get(number) or self._sheets.get(number)
                if node is not None and node.due_ns > start:
                    self._schedule(node, start)
        self.closed = []
        self._forget_all()

    def arrive(self, t: int) -> None:
        """Let in what comes at t or before."""
        coming, lanes = self.coming, self._lanes
        while coming and coming[0][0] <= t:
            due, number = heappop(coming)
            lane = lanes.get(number)
            if lane is not None:
                if lane.due_ns == due:
                    lane.due_ns = -1
                    lane.where = ""
                    if (spacing := lane.spacing) is not None and spacing.shared:
                        self._enter(lane, t)
                    else:
                        self._stand(lane, t)
            elif (gate := self._gates.get(number)) is not None:
                if gate.due_ns == due:
                    gate.due_ns = -1
                    self._try_open(gate, t)
            elif (sheet := self._sheets.get(number)) is not None and sheet.due_ns == due:
                sheet.due_ns = -1
                self._unpark(sheet, t)

    def next_at(self) -> int | None:
        """The instant at which something comes; it may turn out to be of no use."""
        coming = self.coming
        while coming:
            due, number = coming[0]
            node = self._lanes.get(number) or self._gates.get(number) or self._sheets.get(number)
            if node is not None and node.due_ns == due:
                return due
            heappop(coming)
        return None

    def soonest(self, end: int) -> int | None:
        """After a round until `end`: the first instant from then on at which somebody could be served, but for the pace.

        None if nobody wants a call.
        """
        waiting, soon = self.turns.waiting, end if self.turns.waiting else None
        self._forget_all()
        while soon is not None:
            t = self.project.earliest(soon, paced=False)
            self.arrive(t)
            if any(self.ready(c, t) is not None for c in waiting):
                return t
            soon = self.next_at()
        return None

    def here(self, t: int) -> tuple[Priority, ...]:
        """The classes of which somebody could send at t; `turns.waiting` itself if all of them could."""
        unknown, here = self._unknown, self._here
        if t <= self._here_until:
            for c in unknown:  # the class that was served last: nearly always it has somebody else who can send
                if (self.ready(c, t) is None) is (c in here):
                    break
            else:
                unknown.clear()
                return here
        waiting = self.turns.waiting
        able = [c for c in waiting if self.ready(c, t) is not None]
        self._here = here = waiting if len(able) == len(waiting) else tuple(able)
        self._here_until = min([self._known_until[c] for c in waiting], default=NEVER_NS)
        unknown.clear()
        return here

    def ready(self, c: Priority, t: int) -> Lane | None:
        """The lane that is next in the class and can send at t; whoever could not is put where it waits."""
        best = self._known.get(c)
        if best is not None and self._known_until[c] >= t:
            return best
        if best is None:
            best = self._first(c)
        until, gates = NEVER_NS, self._gates
        while best is not None:
            gate, spacing = gates[best.gate], best.spacing
            bucket = gate.bucket
            if best.free_at_ns > t:
                self._withdraw(best)
                self._come(best, best.free_at_ns)
            elif bucket.clear_ns > t and (ready := bucket.earliest(t, paced=gate.paced)) > t:
                self._close(gate, ready, t)
            elif (
                spacing is not None
                and (spacing.clear_ns > t or spacing.shut_until_ns > t)
                and (ready := self._sheet_ready(best, spacing, t)) > t
            ):
                self._withdraw(best)
                self._park(best, ready, t)
            else:
                if (bucket.clear_ns > t and bucket.booked_beyond(t)) or (
                    spacing is not None and spacing.clear_ns > t and (spacing.shared or spacing.booked_beyond(t))
                ):
                    until = t  # what is booked ahead may come too close a moment later
                break
            best = self._first(c)
        self._known[c] = best
        self._known_until[c] = until
        if until < self._here_until:
            self._here_until = until
        return best

    def serve(self, lane: Lane, c: Priority, t: int) -> None:
        """Book a token at t for the lane that is next in the class, and whose owner has paid for it (`Turns.charge`).

        Its time on the project is the caller's to have checked.
        """
        gate, spacing = self._gates[lane.gate], lane.spacing
        paced = gate.paced
        self.project.book(t, paced=paced)
        gate.bucket.book(t, paced=paced)
        shared = gate.shared
        if spacing is not None:
            spacing.book(t, lane.who, lane.latency_p95_ns, past_ns=t - self.furthest_ns)
            if spacing.shared:
                shared = True
                if len(spacing.kinds) > 1 and self.other is not None:
                    self.other.recheck("", lane.spreadsheet)  # it is the other kind's turn now
        del self._known[c]
        self._unknown.append(c)
        if shared:
            self._forget_mates(lane)
        self._pass_on(lane, gate, c)
        lane.where = ""
        lane.free_at_ns = free = t + (lane.latency_ns or 1)
        if lane.calls > 1:
            lane.calls -= 1
            lane.where, lane.due_ns = "coming", free  # as _come
            heappush(self.coming, (free, lane.place))
        else:
            self.want(lane, 0)

    def _forget(self, c: Priority) -> None:
        """Who is next in the class has to be looked at again."""
        if self._known.pop(c, None) is not None:
            self._unknown.append(c)
        else:
            self._here_until = -1

    def _forget_all(self) -> None:
        self._known, self._unknown = {}, []
        self._here_until = -1

    def _forget_mates(self, lane: Lane) -> None:
        """Those that share the lane's user or spreadsheet may have to wait now."""
        for c, mate in list(self._known.items()):
            if mate is not None and (mate.user == lane.user or mate.spreadsheet == lane.spreadsheet):
                self._forget(c)

    # --- lanes --------------------------------------------------------------------------------------------------------

    def _admit(self, lane: Lane) -> None:
        """The lane is known by a number that it keeps."""
        if not lane.place:
            lane.place = next(self._numbers)
        self._lanes[lane.place] = lane

    def _come(self, lane: Lane, at: int) -> None:
        lane.where = "coming"
        lane.due_ns = at
        heappush(self.coming, (at, lane.place))

    def _schedule(self, node: Gate | Sheet, at: int) -> None:
        node.due_ns = at
        heappush(self.coming, (at, node.number))

    def _withdraw(self, lane: Lane) -> None:
        """Take the lane out of wherever it stands; what is left of it in a heap is dead."""
        if lane.where:
            if lane.where == "here":
                self._forget(lane.waiter.served)
            lane.version += 1
            lane.where, lane.due_ns = "", -1
            self.dead += 1

    def _enter(self, lane: Lane, t: int) -> None:
        """A lane that is free now stands in the line, or is parked before a spreadsheet that others want, too."""
        spacing = lane.spacing
        if spacing is not None and spacing.shared:
            ready = self._sheet_ready(lane, spacing, t)
            if ready > t:
                self._park(lane, ready, t)
                return
        self._stand(lane, t)

    def _stand(self, lane: Lane, t: int) -> None:
        waiter = lane.waiter
        c, key = waiter.served, waiter.key
        gate = self._gates.get(lane.gate)
        if gate is None or gate.served != c:  # it has not stood behind one yet, or in another class
            gate = self.gates.get((lane.user, c)) or self._gate(lane.user, c)
            lane.gate = gate.number
        lane.where = "here"
        entry = (waiter.submitted_at_ns, waiter.holder, lane.free_at_ns, lane.number, lane.version, lane.place)
        entries = gate.owners.get(key)
        if entries is None:
            entries = gate.owners[key] = [entry]
            if len(gate.owners) > 1:
                self._order(gate, key)
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
            assert lane.turn is not None
            self._join(gate, key, lane.turn, entry)

    def _order(self, gate: Gate, key: str) -> None:
        """Another owner stands behind the gate: from two on they are in the order of their turns."""
        c, turns, owners = gate.served, self.turns, gate.owners
        if not gate.turns:
            for owner in [name for name, entries in owners.items() if not self._clean(entries)]:
                del owners[owner]
            if len(owners) == 1:
                return
            gate.turns, self._mixed = [], True
        for owner in (key,) if gate.turns else owners:
            turn = turns.turns[c, owner]
            heappush(gate.turns, (turns.passed(c, turn), turn.since, owner))

    # --- spreadsheets -------------------------------------------------------------------------------------------------

    @staticmethod
    def _sheet_ready(lane: Lane, spacing: Spacing, t: int) -> int:
        if len(spacing.wanted_by) == 1:
            return spacing.earliest(t, lane.who, lane.latency_p95_ns)
        return spacing.in_turn(t, lane.kind, lane.latency_p95_ns)

    def _park(self, lane: Lane, ready: int, t: int) -> None:
        sheet = self.sheets.get(lane.spreadsheet)
        if sheet is None:
            sheet = self.sheets[lane.spreadsheet] = Sheet(lane.spreadsheet, next(self._numbers))
            self._sheets[sheet.number] = sheet
        lane.where = "parked"
        sheet.parked.append((lane.place, lane.version))
        self.closed.append((t, sheet.number))
        if sheet.due_ns < 0 or ready < sheet.due_ns:
            self._schedule(sheet, ready)

    def _unpark(self, sheet: Sheet, t: int) -> None:
        parked, sheet.parked = sheet.parked, []
        for place, version in parked:
            lane = self._lanes.get(place)
            if lane is not None and lane.version == version and lane.where == "parked":
                lane.where = ""
                self._enter(lane, t)
        if not sheet.parked and sheet.due_ns < 0:
            del self.sheets[sheet.name], self._sheets[sheet.number]

    def _leave_sheet(self, lane: Lane) -> None:
        assert lane.spacing is not None
        freed = lane.spacing.leave(lane.who, self.kind)
        lane.spacing = None
        if freed:
            for line in (self, self.other):
                if line is not None and (sheet := line.sheets.get(lane.spreadsheet)) is not None:
                    line._schedule(sheet, 0)

    # --- gates --------------------------------------------------------------------------------------------------------

    def _gate(self, user: str, c: Priority) -> Gate:
        bucket = self.buckets.user(self.kind, user)
        self.buckets.in_use.add(f"user/{self.kind}/{user}")
        mates = [gate for other in CLASSES if (gate := self.gates.get((user, other)))]
        gate = self.gates[user, c] = Gate(c, c != "urgent", next(self._numbers), bucket)
        for mate in mates:
            mate.shared = gate.shared = True
        self._gates[gate.number] = gate
        return gate

    def _try_open(self, gate: Gate, t: int) -> None:
        ready = gate.bucket.earliest(t, paced=gate.paced)
        if ready > t:
            self.closed.append((t, gate.number))
            self._schedule(gate, ready)
            return
        gate.open = True
        self._offer(gate)

    def _close(self, gate: Gate, until: int, t: int) -> None:
        gate.open = False
        gate.version += 1
        self._forget(gate.served)
        self.closed.append((t, gate.number))
        self._schedule(gate, until)

    def _offer(self, gate: Gate) -> None:
        """Put an open gate where its class finds it: alone, or in the group of the one owner that stands behind it."""
        gate.version += 1
        self._forget(gate.served)
        best = self._best(gate)
        if best is None:
            return
        if len(gate.owners) > 1:
            passed, since, key = best
            heappush(self.heads[gate.served], (passed, since, gate.owners[key][0], gate.number, gate.version))
        else:
            key = best[2]
            self._join(gate, key, self.turns.turns[gate.served, key], gate.owners[key][0])

    def _join(self, gate: Gate, key: str, turn: Turn, first: Entry) -> None:
        """Put a gate into the group of its only owner, and the group where its class finds it."""
        c = gate.served
        group, offer = self.groups.get((c, key)), (first, gate.number, gate.version)
        if group is None:
            group = self.groups[c, key] = Group(key, turn, -next(self._numbers), [offer])
            self._groups[group.number] = group
            self._show(group, c)
            return
        group.turn = turn
        heappush(group.gates, offer)
        if group.gates[0] is not offer:
            return
        if group.told and first < group.told:
            group.version += 1
            group.told = UNTOLD
            self._show(group, c)
        elif self.heads[c][0][3] == group.number:
            self._forget(c)  # else whoever was next still is

    def _show(self, group: Group, c: Priority) -> None:
        """Put a group where its class finds it."""
        heads, turn = self.heads[c], group.turn
        head = (self.turns.passed(c, turn), turn.since, UNTOLD, group.number, group.version)
        heappush(heads, head)
        if heads[0] is head:
            self._forget(c)

    def _pass_on(self, lane: Lane, gate: Gate, c: Priority) -> None:
        """The lane that was first has been served: whoever is behind it in its gate and group is offered with its owner's next turn."""
        entries = gate.owners[lane.waiter.key]
        entry = heappop(entries)
        heads = self.heads[c]
        _, _, _, number, version = heads[0]
        group = self._groups.get(number)
        if group is None or group.gates[0][0] is not entry:
            return  # several owners stand behind the gate: the head is checked when the class is looked at again (`_first`)
        gates = group.gates
        if entries:
            heapreplace(gates, (entries[0], gate.number, gate.version))
        else:
            heappop(gates)
        if gates:
            turn = group.turn
            group.told = UNTOLD
            heapreplace(heads, (turn.passed, turn.since, UNTOLD, number, version))
        else:
            heappop(heads)
            del self.groups[c, group.key], self._groups[number]

    # --- heads --------------------------------------------------------------------------------------------------------

    def _first(self, c: Priority) -> Lane | None:
        """The first of the class by turn, then by rank, as far as open gates and free lanes are known."""
        heads, turns = self.heads[c], self.turns
        lanes, gates, virtual = self._lanes, self._gates, turns.virtual[c]
        while heads:
            passed, since, known, number, version = heads[0]
            if number < 0:
                group = self._groups.get(number)
                if group is None or group.version != version:
                    heappop(heads)
                    continue
                turn = group.turn
                if not turn.lanes:  # an owner that was away for long has a new turn (`Turns.tidy`)
                    turn = group.turn = turns.turns.get((c, group.key), turn)
                true, least = turn.passed, virtual - turn.kept
                if least > true:  # as Turns.passed
                    true = least
                if true != passed or turn.since != since:
                    heapreplace(heads, (true, turn.since, known, number, version))
                    continue
                entry, gate_number, gate_version = group.gates[0]
                lane = lanes.get(entry[5])
                if lane is None or lane.version != entry[4] or gates[gate_number].version != gate_version:
                    first = self._first_in(group)
                    if first is None:
                        heappop(heads)
                        del self.groups[c, group.key], self._groups[number]
                        continue
                    entry, lane = first, lanes[first[5]]
                if known is entry or not self._mixed:
                    return lane
                group.told = entry
            else:
                gate = self._gates[number]
                best = self._best(gate) if gate.version == version else None
                if best is None:
                    heappop(heads)
                    continue
                entry = gate.owners[best[2]][0]
                if entry is known and best[0] == passed and best[1] == since:
                    return lanes[entry[5]]
                passed, since, _ = best
            head = (passed, since, entry, number, version)
            heapreplace(heads, head)
            if heads[0] is head:
                return lanes[entry[5]]
        return None

    def _best(self, gate: Gate) -> tuple[int, int, str] | None:
        """The owner behind a gate whose turn is first, and that turn; old entries before its first lane are gone."""
        owners, turns, c = gate.owners, self.turns, gate.served
        if not gate.turns:
            for key, entries in owners.items():  # one at most
                if self._clean(entries):
                    turn = turns.turns[c, key]
                    return turns.passed(c, turn), turn.since, key
            owners.clear()
            return None
        heap = gate.turns
        while heap:
            passed, since, key = heap[0]
            if not self._clean(owners[key]):
                heappop(heap)
                del owners[key]
                continue
            turn = turns.turns[c, key]
            true = turns.passed(c, turn)
            if true != passed or turn.since != since:
                heapreplace(heap, (true, turn.since, key))
                continue
            return passed, since, key
        return None

    def _first_in(self, group: Group) -> Entry | None:
        """The first lane of a group, and so the gate that is first in it."""
        gates, key = group.gates, group.key
        while gates:
            known, number, version = gates[0]
            gate = self._gates[number]
            if gate.version != version or not (entries := gate.owners[key]) or not self._clean(entries):
                heappop(gates)
                continue
            first = entries[0]
            if first is known:
                return first
            heapreplace(gates, (first, number, version))
        return None

    def _clean(self, entries: list[Entry]) -> bool:
        """Whether anybody is left once lanes that stand elsewhere by now are taken off the top."""
        lanes = self._lanes
        while entries:
            first = entries[0]
            lane = lanes.get(first[5])
            if lane is not None and lane.version == first[4]:
                return True
            heappop(entries)
            self.dead -= 1
        return False
