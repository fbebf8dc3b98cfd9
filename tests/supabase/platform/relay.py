"""The stand-in for Realtime: broadcasts from the database, to private channels, over Phoenix's protocol.

1. A row of realtime.messages goes to whoever has joined its topic, once its transaction has committed.
2. Joining asks Postgres, as the user (permissions.py). The verdict stands until the client sends another access token:
   a member that was removed receives until then, or until its token expires, which closes the channel.
3. Joined is not ready: without a slot messages pass unseen, and the clients are not told. Those that asked by
   `broadcast.replication_ready` get a `system` message once there is one.
4. What clients broadcast goes to the others of a topic only where an INSERT policy allows it; else silence, as in Realtime.
5. `faults` breaks what breaks in life; nothing else here does.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from aiohttp import WSCloseCode, WSMsgType, web

from tests.supabase.platform.clients import PREFIX, Channel, Client
from tests.supabase.platform.decoding import Inserts, Row, StreamEnded, published
from tests.supabase.platform.permissions import Permissions
from tests.supabase.platform.wire import ARRAYS, OBJECTS, Message, decoded

PUBLICATION = "supabase_realtime_messages_publication"
LARGEST_PAYLOAD = 256 * 1024
REPLICATION_READY_SECONDS = 60.0


@dataclass
class Faults:
    """What is broken at the moment, and what was lost by it."""

    lose: Callable[[Row], bool] = lambda _: False
    """Rows of realtime.messages that never arrive."""
    delay: float = 0.0
    """Seconds by which every message is late."""
    database_down: bool = False
    """The replication connection cannot be had: what is sent meanwhile is lost."""
    refuse_joins: str = ""
    """Joins are answered by an error with this reason."""
    mute: bool = False
    """Joins are never answered."""
    lost: list[Row] = field(default_factory=list)

    def lose_every(self, n: int) -> None:
        """Every n-th message is lost from now on; 0: none."""
        seen = 0

        def lose(_: Row) -> bool:
            nonlocal seen
            seen += 1
            return n > 0 and seen % n == 0

        self.lose = lose


class Relay:
    """Realtime for one database: an async context that replicates, and `websocket`, the handler of its one route.

    `url` is a superuser's, `jwks` the keys of access tokens, `anonymous_token` what stands for a publishable key.
    """

    def __init__(
        self, url: str, jwks: Iterable[Mapping[str, Any]], anonymous_token: str, publishable_key: str = ""
    ) -> None:
        self._url = url
        self.jwks = list(jwks)
        self.anonymous_token = anonymous_token
        self._publishable_key = publishable_key
        self.permissions = Permissions(url)
        self.faults = Faults()
        self._clients: set[Client] = set()
        self._ready = asyncio.Event()
        self._due: asyncio.Queue[tuple[float, Message]] = asyncio.Queue()
        self._replication: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self.permissions.close()

    @property
    def joined(self) -> list[str]:
        """The names of the topics that are joined, one for each client."""
        return sorted(channel.name for client in self._clients for channel in client.channels.values())

    async def start(self) -> None:
        """Takes clients, and reads what is sent from now on; unless a fault keeps it from the database."""
        self._due = asyncio.Queue()
        self._spawn(self._deliver())
        self._replication = asyncio.create_task(self._replicate())
        if not self.faults.database_down:
            await self._ready.wait()

    async def stop(self) -> None:
        """Drops everybody and the slot; until the next `start` nobody gets in and what is sent is lost."""
        if self._replication is not None:
            self._replication.cancel()
            with suppress(asyncio.CancelledError):
                await self._replication
            self._replication = None
        for task in list(self._tasks):
            task.cancel()
        self.drop_connections()

    async def restart(self) -> None:
        """What is sent between the two is lost."""
        await self.stop()
        await self.start()

    def drop_connections(self) -> None:
        """Every websocket ends, without a word."""
        for client in list(self._clients):
            client.drop()
        self._clients.clear()

    async def lose_database(self, lost: bool) -> None:
        """Takes the replication connection away, or gives it back and waits until it stands."""
        self.faults.database_down = lost
        if lost and self._replication is not None:
            self._replication.cancel()
            with suppress(asyncio.CancelledError):
                await self._replication
            self._replication = asyncio.create_task(self._replicate())
        elif not lost:
            await self._ready.wait()

    @property
    def ready(self) -> bool:
        """Whether the replication stands: what is sent now is heard."""
        return self._ready.is_set()

    def expire(self, client: Client, channel: Channel) -> None:
        """The token of a channel is too old."""
        late = max(0, int(time.time() - channel.claims["exp"]))
        self._spawn(client.shut(channel, f"Token has expired {late} seconds ago"))

    async def expire_all(self) -> None:
        """Every channel's token is too old, whatever it says."""
        for client in list(self._clients):
            for channel in list(client.channels.values()):
                await client.shut(channel, "Token has expired 0 seconds ago")

    def when_ready(self, client: Client, channel: Channel) -> None:
        """See rule 3."""
        self._spawn(self._greet(client, channel))

    async def _greet(self, client: Client, channel: Channel) -> None:
        """Tells a client when replication is ready, or that it was not in time."""
        try:
            await asyncio.wait_for(self._ready.wait(), REPLICATION_READY_SECONDS)
        except TimeoutError:
            await client.shut(channel, "Replication connection was not established in time")
        else:
            await client.tell(channel, "ok", "Replication connection established")

    async def deliver(self, message: Message, but: Client | None = None) -> None:
        """A broadcast, to all that have joined its topic."""
        for client in list(self._clients):
            if client is not but and message.topic in client.channels:
                await client.send(message)

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """GET /realtime/v1/websocket?apikey=…&vsn=1.0.0|2.0.0"""
        key, vsn = request.query.get("apikey", ""), request.query.get("vsn", OBJECTS)
        if self._replication is None:
            raise web.HTTPServiceUnavailable(text=json.dumps({"error": "Realtime is not running"}))
        if not key or (self._publishable_key and key != self._publishable_key):
            raise web.HTTPUnauthorized(text=json.dumps({"error": "API key is missing"}))
        if vsn not in (OBJECTS, ARRAYS):
            raise web.HTTPBadRequest(text=json.dumps({"error": f"vsn {vsn} is not spoken here"}))
        socket = web.WebSocketResponse(max_msg_size=4 * 1024 * 1024)
        await socket.prepare(request)
        client = Client(request, socket, vsn, self)
        self._clients.add(client)
        try:
            async for frame in socket:
                if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                try:
                    message = decoded(frame.data, vsn)
                except ValueError:
                    await socket.close(code=WSCloseCode.PROTOCOL_ERROR)
                    break
                await client.hear(message)
        finally:
            client.gone()
            self._clients.discard(client)
        return socket

    async def _replicate(self) -> None:
        """Delivers what commits, for as long as the relay runs; a database that is away is waited for."""
        try:
            while True:
                with suppress(StreamEnded, psycopg.Error, OSError):
                    if not self.faults.database_down:
                        await asyncio.to_thread(published, self._url, ("realtime", "messages"), PUBLICATION)
                        async with Inserts(self._url, PUBLICATION) as rows:
                            self._ready.set()
                            async for row in rows:
                                self._pass_on(row)
                self._ready.clear()
                await asyncio.sleep(0.1)
        finally:
            self._ready.clear()

    def _pass_on(self, row: Row) -> None:
        if row["private"] != "t":
            return
        if self.faults.lose(row) or len(row["payload"] or "") > LARGEST_PAYLOAD:
            self.faults.lost.append(row)
            return
        payload = {
            "type": "broadcast",
            "event": row["event"],
            "payload": json.loads(row["payload"] or "{}"),
            "meta": {"id": row["id"]},
        }
        message = Message(f"{PREFIX}{row['topic']}", "broadcast", payload)
        self._due.put_nowait((time.monotonic() + self.faults.delay, message))

    async def _deliver(self) -> None:
        """One after the other, in the order of the commits."""
        while True:
            due, message = await self._due.get()
            if (early := due - time.monotonic()) > 0:
                await asyncio.sleep(early)
            await self.deliver(message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
