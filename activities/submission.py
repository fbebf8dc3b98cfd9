"""The input of a request goes into the store before anything is started; nothing of it rides in a message."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import IO, NamedTuple

from activities.layout import input_path, request_root, schedule_root, scheduled_input_path
from activities.lines import LineSplitter
from activities.store import BLOCK_BYTES, Store
from activities.streams import each
from headgate.errors import InvalidRequest

Stream = AsyncIterable[bytes] | Iterable[bytes] | IO[bytes]


class StoredInput(NamedTuple):
    """An input in the store: named by its SHA-256 in hexadecimal, with its size in bytes and its lines that are not blank."""

    sha256: str
    size: int
    lines: int


async def store_input(store: Store, request_id: str, stream: Stream) -> StoredInput:
    """The input is stored under its request and its content: two submissions of one id can never change each other's.

    It passes through a temporary file, since its name is known at its end only; memory stays bounded. Raises InvalidRequest
    for an input without a line that is not blank, and then stores nothing.
    """
    request_root(request_id)
    return await _stored(store, stream, lambda sha256: input_path(request_id, sha256))


async def store_scheduled_input(store: Store, schedule_id: str, stream: Stream) -> StoredInput:
    """The same for a schedule, whose requests take it from there."""
    schedule_root(schedule_id)
    return await _stored(store, stream, lambda sha256: scheduled_input_path(schedule_id, sha256))


async def _stored(store: Store, stream: Stream, path_of: Callable[[str], str]) -> StoredInput:
    with tempfile.TemporaryFile(prefix="headgate-input-") as spool:
        count = _Count()
        async for block in _blocks(stream):
            await asyncio.to_thread(count.take, block, spool)
        count.finish()
        if not count.lines:
            raise InvalidRequest("The input is empty: give a file with one operation a line, as JSON.")
        path = path_of(count.digest.hexdigest())
        if not await store.exists(path):
            spool.seek(0)
            await store.put_stream(path, iter(lambda: spool.read(BLOCK_BYTES), b""))
        return StoredInput(count.digest.hexdigest(), count.size, count.lines)


class _Count:
    """What is known of an input once it has passed by."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.lines = 0
        self._splitter = LineSplitter()

    def take(self, block: bytes, spool: IO[bytes]) -> None:
        spool.write(block)
        self.digest.update(block)
        self.size += len(block)
        self._see(self._splitter.feed(block))

    def finish(self) -> None:
        self._see(self._splitter.finish())

    def _see(self, lines: list[bytes | None]) -> None:
        self.lines += sum(1 for line in lines if line is None or line.strip())


async def _blocks(stream: Stream) -> AsyncIterator[bytes]:
    if hasattr(stream, "read") and not isinstance(stream, AsyncIterable):
        # Not by lines, as a file iterates: one may be very long. Standard input may block, so another thread waits.
        while block := await asyncio.to_thread(stream.read, BLOCK_BYTES):
            yield block
        return
    async for block in each(stream):
        yield block
