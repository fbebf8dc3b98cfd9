"""The line of one kind of call: of thousands of lanes, the one that is next in its class, in O(log n).

Rules:

1. A lane stands in the line while it wants calls and could send; while it could not, it costs nothing: it *comes* at the
   instant at which it is free (`headgate.coming`), is *parked* before its spreadsheet (`headgate.parking`), or stands behind
   its user's closed *gate* (`headgate.behind`).
2. What is stored in a heap is never later than what is true (turns only move on, instants only get later), and is checked
   when it gets to the top. What gets earlier is put in anew.
3. So the head of the line that cannot be served now never keeps others waiting, and the decision depends on what is so, not
   on the way there: a line that is built anew from its lanes decides alike.
4. Whoever is next in a class is known (`headgate.next_up`), and stands behind the first offer in the class's heap
   (`headgate.heads`), until something happens that may put another one first: a token costs what it changes, not a look at
   everything.

Owners are compared once, whatever they have in the line: gates behind which only one owner stands are grouped by owner.
Costs: O(log n) for each token and each instant at which something comes; a spreadsheet that frees looks at all lanes that are
parked before it, at most once per spacing; owners that share many users are compared once per user that they share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headgate.behind import Behind
from headgate.buckets import Buckets
from headgate.coming import Coming
from headgate.heads import Heads
from headgate.messages.words import Kind, Priority
from headgate.next_up import NextUp
from headgate.ordering import Turns
from headgate.parking import Parking, free_at
from headgate.quota import Bucket
from headgate.waiting import Lane, Queue

#: Later than any instant.
NEVER_NS = 1 << 62


@dataclass(slots=True)
class Line:
    """Everybody who wants calls of one kind."""

    kind: Kind
    buckets: Buckets
    turns: Turns
    queue: Queue
    coming: Coming = field(default_factory=Coming)
    next_up: NextUp = field(default_factory=NextUp)
    behind: Behind = field(init=False)
    heads: Heads = field(init=False)
    parking: Parking = field(init=False)
    project: Bucket = field(init=False)
    furthest_ns: int = field(init=False)

    def __post_init__(self) -> None:
        """Know the project's bucket, and how far ahead tokens reach."""
        self.behind = Behind(self.kind, self.buckets, self.turns, self.coming)
        self.heads = Heads(self.turns, self.coming, self.behind, self.next_up)
        self.parking = Parking(self.kind, self.coming)
        self.project = self.buckets.project(self.kind)
        self.furthest_ns = self.buckets.settings.furthest_ns

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
            self.next_up.forget(waiter.served)
            self.coming.admit(lane)
            self.coming.come(lane, lane.free_at_ns)
        elif calls <= 0 < before:
            self.next_up.here_until = -1
            waiter.wanting -= 1
            if not waiter.wanting:
                self.queue.remove(waiter)
            self.turns.leave(waiter.served, waiter.key)
            lane.turn = None
            if lane.spreadsheet:
                self.parking.leave(lane)
            self._withdraw(lane)
            del self.coming.lanes[lane.place]

    def free_from(self, lane: Lane, free_at_ns: int) -> None:
        """The lane is free from another instant on than was thought."""
        lane.free_at_ns = free_at_ns
        if lane.where:
            self._withdraw(lane)
            self.coming.come(lane, free_at_ns)

    def rebuild(self, lanes: Iterable[Lane]) -> None:
        """Put every lane in anew: quotas or windows are others than before, or too much in the heaps is of no use."""
        self.furthest_ns = self.buckets.settings.furthest_ns
        self.next_up.forget_all()
        for part in (self.coming, self.behind, self.heads, self.parking):
            part.clear()
        for lane in lanes:
            lane.where, lane.due_ns, lane.version = "", -1, 0
            if lane.calls > 0:
                self.coming.admit(lane)
                self.coming.come(lane, lane.free_at_ns)

    def recheck(self, user: str, spreadsheet: str = "") -> None:
        """Something came back: the user's bucket or the spreadsheet may have room earlier than was thought."""
        self.behind.recheck(user)
        self.parking.recheck(spreadsheet)

    def recheck_all(self) -> None:
        """Quotas grew, or a circuit moved: every gate and spreadsheet may have room earlier than was thought."""
        self.behind.recheck_all()
        self.parking.recheck_all()

    def arrive(self, t: int) -> None:
        """Let in what comes at t or before."""
        coming = self.coming
        heap, lanes, stand = coming.heap, coming.lanes, self.heads.stand
        while heap and heap[0][0] <= t:
            due, number = heappop(heap)
            lane = lanes.get(number)
            if lane is not None:
                if lane.due_ns == due:
                    lane.due_ns = -1
                    lane.where = ""
                    if (spacing := lane.spacing) is not None and spacing.shared:
                        self._enter(lane, t)
                    else:
                        stand(lane, t)
            elif (gate := coming.gates.get(number)) is not None:
                if gate.due_ns == due:
                    gate.due_ns = -1
                    self.heads.open(gate, t)
            elif (sheet := coming.sheets.get(number)) is not None and sheet.due_ns == due:
                sheet.due_ns = -1
                for parked in self.parking.unpark(sheet):
                    self._enter(parked, t)

    def here(self, t: int) -> tuple[Priority, ...]:
        """The classes of which somebody could send at t; `turns.waiting` itself if all of them could."""
        known = self.next_up
        unsure, here = known.unsure, known.here
        if t <= known.here_until:
            for c in unsure:  # the class that was served last: nearly always it has somebody else who can send
                if (self.ready(c, t) is None) is (c in here):
                    break
            else:
                unsure.clear()
                return here
        waiting = self.turns.waiting
        able = [c for c in waiting if self.ready(c, t) is not None]
        known.here = here = waiting if len(able) == len(waiting) else tuple(able)
        known.here_until = min([known.until[c] for c in waiting], default=NEVER_NS)
        unsure.clear()
        return here

    def ready(self, c: Priority, t: int) -> Lane | None:
        """The lane that is next in the class and can send at t; whoever could not is put where it waits."""
        known = self.next_up
        best = known.lanes.get(c)
        if best is not None and known.until[c] >= t:
            return best
        heads = self.heads
        if best is None:
            best = heads.first(c)
        until, gates = NEVER_NS, self.coming.gates
        while best is not None:
            gate, spacing = gates[best.gate], best.spacing
            bucket = gate.bucket
            if best.free_at_ns > t:
                self._withdraw(best)
                self.coming.come(best, best.free_at_ns)
            elif bucket.clear_ns > t and (ready := bucket.earliest(t, paced=gate.paced)) > t:
                heads.close(gate, ready, t)
            elif (
                spacing is not None
                and (spacing.clear_ns > t or spacing.shut_until_ns > t)
                and (ready := free_at(best, spacing, t)) > t
            ):
                self._withdraw(best)
                self.parking.park(best, ready, t)
            else:
                if (bucket.clear_ns > t and bucket.booked_beyond(t)) or (
                    spacing is not None and spacing.clear_ns > t and (spacing.shared or spacing.booked_beyond(t))
                ):
                    until = t  # what is booked ahead may come too close a moment later
                break
            best = heads.first(c)
        known.lanes[c] = best
        known.until[c] = until
        if until < known.here_until:
            known.here_until = until
        return best

    def serve(self, lane: Lane, c: Priority, t: int) -> None:
        """Book a token at t for the lane that is next in the class, and whose owner has paid for it (`Turns.charge`).

        Its time on the project is the caller's to have checked.
        """
        coming, known = self.coming, self.next_up
        gate, spacing = coming.gates[lane.gate], lane.spacing
        paced = gate.paced
        self.project.book(t, paced=paced)
        gate.bucket.book(t, paced=paced)
        shared = gate.shared
        if spacing is not None:
            spacing.book(t, lane.who, lane.latency_p95_ns, past_ns=t - self.furthest_ns)
            if spacing.shared:
                shared = True
                if len(spacing.kinds) > 1 and self.parking.other is not None:
                    self.parking.other.recheck(lane.spreadsheet)  # it is the other kind's turn now
        del known.lanes[c]
        known.unsure.append(c)
        if shared:
            known.forget_mates(lane)
        self.heads.pass_on(lane, gate, c)
        lane.where = ""
        lane.free_at_ns = free = t + (lane.latency_ns or 1)
        if lane.calls > 1:
            lane.calls -= 1
            lane.where, lane.due_ns = "coming", free  # as Coming.come
            heappush(coming.heap, (free, lane.place))
        else:
            self.want(lane, 0)

    def _withdraw(self, lane: Lane) -> None:
        """Take the lane out of wherever it stands; what is left of it in a heap is dead."""
        if lane.where:
            if lane.where == "here":
                self.next_up.forget(lane.waiter.served)
            lane.version += 1
            lane.where, lane.due_ns = "", -1
            self.behind.dead += 1

    def _enter(self, lane: Lane, t: int) -> None:
        """A lane that is free now stands in the line, or is parked before a spreadsheet that others want, too."""
        spacing = lane.spacing
        if spacing is not None and spacing.shared and (ready := free_at(lane, spacing, t)) > t:
            self.parking.park(lane, ready, t)
        else:
            self.heads.stand(lane, t)
