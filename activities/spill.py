"""Planned batches on their way to the store: spilled to a local file as they are finished, then put into the order of lanes.

1. Memory holds two numbers a batch and a few fields a lane, whatever the batches weigh.
2. Batches of a lane keep the order in which they were finished; the numbers of a lane's batches are consecutive.
3. The same lanes and batches in the same order give the same bytes.
"""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import BinaryIO

from activities.manifest import INDEX_ENTRY
from headgate.models import PlannedBatch
from headgate.planner import DraftBatch, LaneKey


class Spill:
    """Batches by lane in a file of their own, without their numbers, which are known once all lanes are."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "spill").open("w+b", buffering=256 * 1024)
        self._end = 0
        self._places: dict[LaneKey, array[int]] = {}

    def add(self, draft: DraftBatch) -> None:
        """The next batch of its lane."""
        lane = draft.lane
        batch = PlannedBatch.model_construct(
            number=0,
            lane=0,
            form=draft.form,
            user=lane.user,
            spreadsheet=lane.spreadsheet,
            operations=draft.operations,
        )
        payload = batch.model_dump_json(exclude={"number", "lane"}, exclude_defaults=True).encode()
        self._file.write(payload)
        self._places.setdefault(lane, array("Q")).extend((self._end, len(payload)))
        self._end += len(payload)

    def copy(self, lane: LaneKey, number: int, target: Numbered) -> None:
        """The lane's batches are the next ones in the target, under the number that the lane has in the plan."""
        self._file.flush()
        places = self._places.pop(lane)
        for offset, length in zip(places[::2], places[1::2], strict=True):
            target.append(number, os.pread(self._file.fileno(), length, offset))

    def close(self) -> None:
        """The file is closed; the folder's owner removes it."""
        self._file.close()


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
