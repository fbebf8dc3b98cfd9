"""Which ids were seen before, and where first: at about 18 to 36 bytes an id, however long the ids are."""

from __future__ import annotations

from array import array


class FirstLines:
    """Every id belongs to the line that named it first.

    An open-addressing table of 64-bit hashes and line numbers; the hash is Python's own, with a new key in every process, so
    nobody can prepare ids that collide, and a million ids hold a chance of 3e-8 that two of them do.
    """

    def __init__(self) -> None:
        self._count = 0
        self._resize(1 << 12)

    def first(self, name: str, line: int) -> int:
        """The line (from 1, below 2**32) that named this id first; this one, if it is new."""
        if self._count * 3 >= len(self._hashes) * 2:
            self._grow()
        hashed = hash(name) & 0xFFFF_FFFF_FFFF_FFFF or 1
        hashes, mask = self._hashes, self._mask
        place = hashed & mask
        while found := hashes[place]:
            if found == hashed:
                return self._lines[place]
            place = (place + 1) & mask
        hashes[place] = hashed
        self._lines[place] = line
        self._count += 1
        return line

    def _grow(self) -> None:
        hashes, lines = self._hashes, self._lines
        self._resize(len(hashes) * 2)
        new_hashes, new_lines, mask = self._hashes, self._lines, self._mask
        for hashed, line in zip(hashes, lines, strict=True):
            if hashed:
                place = hashed & mask
                while new_hashes[place]:
                    place = (place + 1) & mask
                new_hashes[place] = hashed
                new_lines[place] = line

    def _resize(self, size: int) -> None:
        self._mask = size - 1
        self._hashes = array("Q", [0]) * size
        self._lines = array("I", [0]) * size
