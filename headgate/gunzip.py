"""Gzip out of blocks of bytes, recognised by its first bytes and unpacked with bounded memory.

1. What does not begin like gzip passes through unchanged; a name says nothing.
2. Several members one after the other are one input, as `cat a.gz b.gz` makes it; zeros behind the last one are padding.
3. What is cut off or damaged is refused, never taken in part.

Source: RFC 1952.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from headgate.errors import InvalidRequest

MAGIC: Final = b"\x1f\x8b"
#: One step gives at most so many bytes, however well they were packed.
MOST_AT_ONCE: Final = 1024 * 1024
_GZIP: Final = 31


def unpacked(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The bytes themselves, or what is packed in them. Raises InvalidRequest, naming the input, for gzip that is not whole."""
    rest = iter(blocks)
    head = b""
    while len(head) < len(MAGIC):
        block = next(rest, None)
        if block is None:
            break
        head += block
    whole = chain([head] if head else [], rest)
    return _unpack(whole, name) if head.startswith(MAGIC) else whole


def _unpack(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    member: zlib._Decompress | None = zlib.decompressobj(_GZIP)
    given = 0
    for block in blocks:
        waiting = block
        while waiting:
            if member is None:
                waiting = waiting.lstrip(b"\0")
                if not waiting:
                    break
                member = zlib.decompressobj(_GZIP)
            try:
                out = member.decompress(waiting, MOST_AT_ONCE)
            except zlib.error:
                raise InvalidRequest(
                    f"{name} is damaged gzip: it cannot be unpacked beyond {given:,} bytes; pack or copy it again"
                ) from None
            given += len(out)
            if out:
                yield out
            waiting = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member = None
    if member is not None:
        raise InvalidRequest(f"{name} is gzip that is cut off after {given:,} unpacked bytes; copy it again")
