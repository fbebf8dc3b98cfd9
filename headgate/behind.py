"""Who stands behind a user's gate: owners in the order of their turns, and each owner's lanes by rank.

An entry of a lane that stands elsewhere by now stays where it is, and is dropped when it gets to the top.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush, heapreplace

from headgate.buckets import Buckets
from headgate.coming import Coming
from headgate.gates import Entry, Gate
from headgate.messages.words import Kind, Priority
from headgate.ordering import CLASSES, Turns
from headgate.waiting import Lane

#: So many entries and gates may be of no use any more, beside those of use, before the line is built anew.
DEAD_ENTRIES = 10_000


@dataclass(slots=True)
class Behind:
    """The gates of one kind of call, by user and class.

    `mixed` says that several owners stand behind some gate: only then may an owner have more than one offer in a class.
    `dead` counts the entries that are of no use any more.
    """

    kind: Kind
    buckets: Buckets
    turns: Turns
    coming: Coming
    gates: dict[tuple[str, Priority], Gate] = field(default_factory=dict)
    mixed: bool = False
    dead: int = 0

    def gate_of(self, lane: Lane, c: Priority) -> Gate:
        """The gate of the lane's user in a class, made when it is first needed; the lane knows it from now on."""
        gate = self.gates.get((lane.user, c)) or self._new(lane.user, c)
        lane.gate = gate.number
        return gate

    def begin(self, gate: Gate, key: str, entry: Entry) -> list[Entry]:
        """An owner that had no lane behind the gate has one now; gives the list of its lanes there."""
        entries = gate.owners[key] = [entry]
        if len(gate.owners) > 1:
            self._order(gate, key)
        return entries

    def best(self, gate: Gate) -> tuple[int, int, str] | None:
        """The owner behind a gate whose turn is first, and that turn; old entries before its first lane are gone."""
        owners, turns, c = gate.owners, self.turns, gate.served
        if not gate.turns:
            for key, entries in owners.items():  # one at most
                if self.anybody(entries):
                    turn = turns.turns[c, key]
                    return turns.passed(c, turn), turn.since, key
            owners.clear()
            return None
        heap = gate.turns
        while heap:
            passed, since, key = heap[0]
            if not self.anybody(owners[key]):
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

    def anybody(self, entries: list[Entry]) -> bool:
        """Whether anybody is left once lanes that stand elsewhere by now are taken off the top."""
        lanes = self.coming.lanes
        while entries:
            first = entries[0]
            lane = lanes.get(first[5])
            if lane is not None and lane.version == first[4]:
                return True
            heappop(entries)
            self.dead -= 1
        return False

    def recheck(self, user: str) -> None:
        """The user's bucket may have room earlier than was thought."""
        for c in CLASSES:
            gate = self.gates.get((user, c))
            if gate is not None and not gate.open:
                self.coming.look(gate, 0)

    def recheck_all(self) -> None:
        """Every bucket may have room earlier than was thought."""
        for gate in self.gates.values():
            if not gate.open:
                self.coming.look(gate, 0)

    def wasteful(self) -> bool:
        """Whether more is of no use than is worth keeping."""
        many = len(self.gates) - DEAD_ENTRIES
        return self.dead > DEAD_ENTRIES or (many > 0 and many > 2 * sum(self.turns.wanting.values()))

    def clear(self) -> None:
        """Nobody stands anywhere."""
        self.gates, self.mixed, self.dead = {}, False, 0
        self.buckets.in_use -= {name for name in self.buckets.in_use if name.startswith(f"user/{self.kind}/")}

    def _new(self, user: str, c: Priority) -> Gate:
        bucket = self.buckets.user(self.kind, user)
        self.buckets.in_use.add(f"user/{self.kind}/{user}")
        mates = [gate for other in CLASSES if (gate := self.gates.get((user, other)))]
        gate = self.gates[user, c] = Gate(c, c != "urgent", self.coming.number(), bucket)
        for mate in mates:
            mate.shared = gate.shared = True
        self.coming.gates[gate.number] = gate
        return gate

    def _order(self, gate: Gate, key: str) -> None:
        """Another owner stands behind the gate: from two on they are in the order of their turns."""
        c, turns, owners = gate.served, self.turns, gate.owners
        if not gate.turns:
            for owner in [name for name, entries in owners.items() if not self.anybody(entries)]:
                del owners[owner]
            if len(owners) == 1:
                return
            gate.turns, self.mixed = [], True
        for owner in (key,) if gate.turns else owners:
            turn = turns.turns[c, owner]
            heappush(gate.turns, (turns.passed(c, turn), turn.since, owner))
