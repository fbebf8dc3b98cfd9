"""A way to a server that can be cut without a word: connections stay open, and nothing passes any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Way:
    """`through(url)` leads to the same server by this way; while `cut`, it swallows everything, new connections too."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = 0
        self._open = asyncio.Event()
        self._open.set()
        self._carrying: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def forget(self) -> None:
        """What is open by now stays cut for ever."""
        self._open = asyncio.Event()

    def through(self, url: str) -> str:
        return url.replace(f":{self._to}/", f":{self.port}/")

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_open = self._open
        await is_open.wait()
        with suppress(OSError):
            further_reader, further_writer = await asyncio.open_connection("127.0.0.1", self._to)
            await asyncio.wait(
                {
                    asyncio.ensure_future(self._pass(reader, further_writer, is_open)),
                    asyncio.ensure_future(self._pass(further_reader, writer, is_open)),
                }
            )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
        with suppress(OSError):
            while block := await reader.read(65536):
                await is_open.wait()
                writer.write(block)
                await writer.drain()
        writer.close()

    async def end(self) -> None:
        self.mend()
        for carrying in [*self._carrying]:
            carrying.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


@asynccontextmanager
async def way_to(url: str) -> AsyncIterator[Way]:
    """A way to the server of this address."""
    way = Way(urlsplit(url).port or 5432)
    server = await asyncio.start_server(way.accept, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        await way.end()
