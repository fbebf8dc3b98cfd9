"""What comes to a line, and when: lanes that get free, gates that open, spreadsheets that take a call again.

What is stored is never later than what is true, and is looked at when it comes. What gets earlier is put in anew; an entry whose
instant is not its node's `due_ns` any more is of no use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from headgate.gates import Gate, Sheet
from headgate.waiting import Lane


@dataclass(slots=True)
class Coming:
    """A heap of instants (ns) and the numbers of what comes then, and by number every lane, gate and sheet of the line.

    `closed` has the gates and sheets that were found closed since the round began, and at which instant.
    """

    heap: list[tuple[int, int]] = field(default_factory=list)
    closed: list[tuple[int, int]] = field(default_factory=list)
    lanes: dict[int, Lane] = field(default_factory=dict)
    gates: dict[int, Gate] = field(default_factory=dict)
    sheets: dict[int, Sheet] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def number(self) -> int:
        """A number that nothing in the line has had."""
        return next(self._numbers)

    def admit(self, lane: Lane) -> None:
        """The lane is known by a number that it keeps."""
        if not lane.place:
            lane.place = next(self._numbers)
        self.lanes[lane.place] = lane

    def come(self, lane: Lane, at: int) -> None:
        """The lane is free from an instant on, and in no line before."""
        lane.where = "coming"
        lane.due_ns = at
        heappush(self.heap, (at, lane.place))

    def look(self, node: Gate | Sheet, at: int) -> None:
        """A gate or a spreadsheet is looked at again at an instant."""
        node.due_ns = at
        heappush(self.heap, (at, node.number))

    def back_to(self, start: int) -> None:
        """What was found closed at an instant later than `start` is looked at again: time begins there anew."""
        for at, number in self.closed:
            if at > start:
                node = self.gates.get(number) or self.sheets.get(number)
                if node is not None and node.due_ns > start:
                    self.look(node, start)
        self.closed = []

    def next_at(self) -> int | None:
        """The instant at which something comes; it may turn out to be of no use."""
        heap = self.heap
        while heap:
            due, number = heap[0]
            node = self.lanes.get(number) or self.gates.get(number) or self.sheets.get(number)
            if node is not None and node.due_ns == due:
                return due
            heappop(heap)
        return None

    def clear(self) -> None:
        """Nothing is known, and nothing comes; numbers are never used again."""
        for held in (self.heap, self.closed, self.lanes, self.gates, self.sheets):
            held.clear()
