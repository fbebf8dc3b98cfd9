"""Streams as they are handed in: asynchronous or not, piece by piece or in blocks."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")


async def each(items: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    """The same items, one after the other."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item


async def joined(pieces: AsyncIterable[bytes] | Iterable[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in blocks of at least `size`, but for the last."""
    waiting: list[bytes] = []
    length = 0
    async for piece in each(pieces):
        waiting.append(piece)
        length += len(piece)
        if length >= size:
            yield b"".join(waiting)
            waiting, length = [], 0
    if waiting:
        yield b"".join(waiting)
