"""Planned batches on their way to the store: spilled to a local file as they grow, then put into the order of lanes.

1. Memory holds at most `MOST_WAITING` bytes of operations, a few numbers a batch and a few fields a lane, whatever the
   batches weigh: what waits beyond that goes to the file, and the batches stay open.
2. Batches of a lane keep the order in which they were finished; the numbers of a lane's batches are consecutive.
3. The same lanes and batches in the same order give the same bytes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from activities.manifest import INDEX_ENTRY
from activities.planned_json import FORMS, batch_json, operation_json
from headgate.messages.requests import Operation
from headgate.planner import DraftBatch, LaneKey

MOST_WAITING: Final = 32 * 1024 * 1024


class Pile:
    """The operations of one batch as JSON, separated by commas: what is in the file already, and what waits in memory."""

    __slots__ = ("_spill", "_waiting", "places")

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._waiting = bytearray()  # copied into: the encoder's own objects take kilobytes each
        self.places: list[int] = []

    def append(self, operation: Operation) -> None:
        """The next operation of the batch."""
        before = len(self._waiting)
        if before:
            self._waiting += b","
        self._waiting += operation_json(operation)
        self._spill.wait(len(self._waiting) - before)

    def spill(self) -> None:
        """Nothing waits in memory any more; `places` holds offset and length of each piece in the file."""
        if self._waiting:
            self.places += self._spill.write(self._waiting)
            self._waiting = bytearray()


class Spill:
    """Batches by lane in a file of their own, without their numbers, which are known once all lanes are."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "spill").open("w+b", buffering=256 * 1024)
        self._end = 0
        self._waiting = 0
        self._open: set[Pile] = set()
        self._places: dict[LaneKey, array[int]] = {}

    def pile(self) -> Pile:
        """Where the operations of one more batch go; it has to be handed back by `add`."""
        pile = Pile(self)
        self._open.add(pile)
        return pile

    def add(self, draft: DraftBatch[Pile]) -> None:
        """The next batch of its lane: its form, how many pieces it is in, and where each lies."""
        pile = draft.operations
        self._open.discard(pile)
        pile.spill()
        entries = self._places.setdefault(draft.lane, array("Q"))
        entries.append(FORMS.index(draft.form))
        entries.append(len(pile.places) // 2)
        entries.extend(pile.places)

    def copy(self, lane: LaneKey, number: int, target: Numbered) -> None:
        """The lane's batches are the next ones in the target, under the number that the lane has in the plan."""
        self._file.flush()
        entries = iter(self._places.pop(lane))
        for form, pieces in zip(entries, entries, strict=True):
            operations = [os.pread(self._file.fileno(), length, at) for at, length in _pairs(entries, pieces)]
            target.append(number, batch_json(FORMS[form], lane.user, lane.spreadsheet, b",".join(operations)))

    def wait(self, size: int) -> None:
        """So many bytes more wait in memory; what is too much goes to the file."""
        self._waiting += size
        if self._waiting > MOST_WAITING:
            for pile in self._open:
                pile.spill()

    def write(self, piece: bytearray) -> tuple[int, int]:
        """Offset and length of the piece in the file."""
        place = (self._end, len(piece))
        self._file.write(piece)
        self._end += len(piece)
        self._waiting -= len(piece)
        return place

    def close(self) -> None:
        """The file is closed; the folder's owner removes it."""
        self._file.close()


def _pairs(entries: Iterator[int], count: int) -> Iterator[tuple[int, int]]:
    return islice(zip(entries, entries, strict=False), count)


class Numbered:
    """The batches object and its index, written side by side: batch n is the n-th line."""

    def __init__(self, batches: BinaryIO, index: BinaryIO) -> None:
        self._batches = batches
        self._index = index
        self._end = 0
        self.count = 0

    def append(self, lane: int, payload: bytes) -> None:
        """The next number belongs to this batch, which is JSON without its number and lane."""
        line = b'{"number":%d,"lane":%d,' % (self.count, lane) + payload[1:] + b"\n"
        self._batches.write(line)
        self._index.write(INDEX_ENTRY.pack(self._end, len(line)))
        self._end += len(line)
        self.count += 1
