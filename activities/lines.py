"""Lines out of blocks of bytes, with bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

from headgate.apis.sheets.limits import LONGEST_LINE

LINE_LIMIT: Final = LONGEST_LINE
BOM: Final = b"\xef\xbb\xbf"


class LineSplitter:
    """Each line comes out once, without its ending and without a leading byte order mark; one beyond the limit as None."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._rest = b""
        self._first = True
        self._skipping = False

    def feed(self, block: bytes) -> list[bytes | None]:
        """The lines that end in this block."""
        *ended, rest = (self._rest + block).split(b"\n")
        lines = [self._line(line) for line in ended]
        if len(rest) > self._limit + len(BOM) + 1:
            self._skipping = True
        self._rest = b"" if self._skipping else rest
        return lines

    def finish(self) -> list[bytes | None]:
        """The last line, if the input does not end with a line ending."""
        rest, self._rest = self._rest, b""
        return [self._line(rest)] if rest or self._skipping else []

    def _line(self, line: bytes) -> bytes | None:
        skipped, self._skipping = self._skipping, False
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        line = line.removesuffix(b"\r")
        return None if skipped or len(line) > self._limit else line


async def split_lines(blocks: AsyncIterable[bytes], limit: int = LINE_LIMIT) -> AsyncIterator[bytes | None]:
    """The lines of a stream of blocks, one after the other; a line beyond the limit is None."""
    splitter = LineSplitter(limit)
    async for block in blocks:
        for line in splitter.feed(block):
            yield line
    for line in splitter.finish():
        yield line
