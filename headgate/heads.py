"""The first of each class: open gates, those of a single owner grouped, in the order of turns and then of ranks.

What is stored of a turn is never later than what is true (turns only move on), and is checked when it gets to the top.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from headgate.behind import Behind
from headgate.coming import Coming
from headgate.gates import UNTOLD, Entry, Gate, Group, Head
from headgate.messages.words import Priority
from headgate.next_up import NextUp
from headgate.ordering import CLASSES, Turn, Turns
from headgate.waiting import Lane


@dataclass(slots=True)
class Heads:
    """What is offered to each class (`offers`): groups, and gates behind which several owners stand."""

    turns: Turns
    coming: Coming
    behind: Behind
    next_up: NextUp
    offers: dict[Priority, list[Head]] = field(default_factory=lambda: {c: [] for c in CLASSES})
    groups: dict[tuple[Priority, str], Group] = field(default_factory=dict)
    _groups: dict[int, Group] = field(default_factory=dict)
    _lanes: dict[int, Lane] = field(init=False)
    _gates: dict[int, Gate] = field(init=False)

    def __post_init__(self) -> None:
        """Look lanes and gates up where `Coming` has them, without a detour."""
        self._lanes, self._gates = self.coming.lanes, self.coming.gates

    def stand(self, lane: Lane, t: int) -> None:
        """A lane that is free at t stands in line behind its user's gate."""
        waiter = lane.waiter
        c, key = waiter.served, waiter.key
        gate = self._gates.get(lane.gate)
        if gate is None or gate.served != c:  # it has not stood behind one yet, or in another class
            gate = self.behind.gate_of(lane, c)
        lane.where = "here"
        entry = (waiter.submitted_at_ns, waiter.holder, lane.free_at_ns, lane.number, lane.version, lane.place)
        entries = gate.owners.get(key)
        if entries is None:
            entries = self.behind.begin(gate, key, entry)
        else:
            heappush(entries, entry)
        if not gate.open:
            if gate.due_ns < 0:
                self.open(gate, t)
        elif entries[0] is not entry:
            return
        elif len(gate.owners) > 1:
            self._offer(gate)
        else:
            gate.version += 1
            assert lane.turn is not None
            self._join(gate, key, lane.turn, entry)

    def open(self, gate: Gate, t: int) -> None:
        """Open a gate if its bucket has room at t; else it is looked at again when it may have."""
        ready = gate.bucket.earliest(t, paced=gate.paced)
        if ready > t:
            self.coming.closed.append((t, gate.number))
            self.coming.look(gate, ready)
            return
        gate.open = True
        self._offer(gate)

    def close(self, gate: Gate, until: int, t: int) -> None:
        """A gate whose bucket turned out to have no room at t stays closed until then."""
        gate.open = False
        gate.version += 1
        self.next_up.forget(gate.served)
        self.coming.closed.append((t, gate.number))
        self.coming.look(gate, until)

    def first(self, c: Priority) -> Lane | None:
        """The first of the class by turn, then by rank, as far as open gates and free lanes are known."""
        heads, turns = self.offers[c], self.turns
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
                if known is entry or not self.behind.mixed:
                    return lane
                group.told = entry
            else:
                gate = gates[number]
                best = self.behind.best(gate) if gate.version == version else None
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

    def pass_on(self, lane: Lane, gate: Gate, c: Priority) -> None:
        """The lane that was first has been served: whoever is behind it in its gate and group is offered with its owner's next turn."""
        entries = gate.owners[lane.waiter.key]
        entry = heappop(entries)
        heads = self.offers[c]
        _, _, _, number, version = heads[0]
        group = self._groups.get(number)
        if group is None or group.gates[0][0] is not entry:
            return  # several owners stand behind the gate: the head is checked when the class is looked at again (`first`)
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

    def clear(self) -> None:
        """Nobody is offered to any class."""
        self.groups, self._groups = {}, {}
        self.offers = {c: [] for c in CLASSES}

    def _offer(self, gate: Gate) -> None:
        """Put an open gate where its class finds it: alone, or in the group of the one owner that stands behind it."""
        gate.version += 1
        self.next_up.forget(gate.served)
        best = self.behind.best(gate)
        if best is None:
            return
        passed, since, key = best
        if len(gate.owners) > 1:
            heappush(self.offers[gate.served], (passed, since, gate.owners[key][0], gate.number, gate.version))
        else:
            self._join(gate, key, self.turns.turns[gate.served, key], gate.owners[key][0])

    def _join(self, gate: Gate, key: str, turn: Turn, first: Entry) -> None:
        """Put a gate into the group of its only owner, and the group where its class finds it."""
        c = gate.served
        group, offer = self.groups.get((c, key)), (first, gate.number, gate.version)
        if group is None:
            group = self.groups[c, key] = Group(key, turn, -self.coming.number(), [offer])
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
        elif self.offers[c][0][3] == group.number:
            self.next_up.forget(c)  # else whoever was next still is

    def _show(self, group: Group, c: Priority) -> None:
        """Put a group where its class finds it."""
        heads, turn = self.offers[c], group.turn
        head = (self.turns.passed(c, turn), turn.since, UNTOLD, group.number, group.version)
        heappush(heads, head)
        if heads[0] is head:
            self.next_up.forget(c)

    def _first_in(self, group: Group) -> Entry | None:
        """The first lane of a group, and so the gate that is first in it."""
        gates, key = group.gates, group.key
        while gates:
            known, number, version = gates[0]
            gate = self._gates[number]
            if gate.version != version or not (entries := gate.owners[key]) or not self.behind.anybody(entries):
                heappop(gates)
                continue
            first = entries[0]
            if first is known:
                return first
            heapreplace(gates, (first, number, version))
        return None
