"""A client of the relay: one websocket, and the channels that it has joined on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.supabase.platform.tokens import Claims, Refused, verified
from tests.supabase.platform.wire import Message, encoded

if TYPE_CHECKING:
    from tests.supabase.platform.relay import Relay

PREFIX = "realtime:"


@dataclass
class Channel:
    """A client's membership of one topic."""

    topic: str
    join_ref: str | None
    token: str
    claims: Claims
    expiry: asyncio.TimerHandle | None = None
    may_write: bool | None = None

    @property
    def name(self) -> str:
        return self.topic.removeprefix(PREFIX)


class Client:
    """One websocket and the channels it has joined."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, vsn: str, relay: Relay) -> None:
        self._request = request
        self._socket = socket
        self._vsn = vsn
        self._relay = relay
        self.channels: dict[str, Channel] = {}

    async def send(self, message: Message) -> None:
        """Sends, or notices that nobody is there."""
        frame = encoded(message, self._vsn)
        with suppress(ConnectionError):
            await (self._socket.send_bytes(frame) if isinstance(frame, bytes) else self._socket.send_str(frame))

    async def hear(self, message: Message) -> None:
        """Answers one message of the client's."""
        channel = self.channels.get(message.topic)
        if message.event == "heartbeat":
            await self._reply(message, "ok", {})
        elif message.event == "phx_join":
            await self._join(message)
        elif channel is None:
            await self._reply(message, "error", {"reason": "unmatched topic"})
        elif message.event == "phx_leave":
            self._forget(channel)
            await self._reply(message, "ok", {})
            await self.send(Message(message.topic, "phx_close", {}, channel.join_ref, channel.join_ref))
        elif message.event == "access_token":
            await self._take_token(channel, message.payload.get("access_token"))
        elif message.event == "broadcast":
            await self._broadcast(channel, message)

    async def tell(self, channel: Channel, status: str, words: str) -> None:
        """A `system` message."""
        payload = {"extension": "system", "status": status, "message": words, "channel": channel.name}
        await self.send(Message(channel.topic, "system", payload))

    async def shut(self, channel: Channel, why: str) -> None:
        """Ends a channel against its client's will."""
        if self.channels.get(channel.topic) is channel:
            self._forget(channel)
            await self.tell(channel, "error", why)
            await self.send(Message(channel.topic, "phx_close", {}, channel.join_ref, channel.join_ref))

    def drop(self) -> None:
        """The connection breaks, without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()
        self.gone()

    def gone(self) -> None:
        """The websocket has ended."""
        for channel in list(self.channels.values()):
            self._forget(channel)

    async def _join(self, message: Message) -> None:
        if self._relay.faults.mute:
            return
        payload = message.payload if isinstance(message.payload, dict) else {}
        config = payload.get("config") or {}
        token = payload.get("access_token") or ""
        if not token or token.startswith("sb_"):
            token = self._relay.anonymous_token
        try:
            claims = await self._admitted(message.topic, bool(config.get("private")), token)
        except Refused as refusal:
            await self._reply(message, "error", {"reason": str(refusal)})
            return
        if (before := self.channels.get(message.topic)) is not None:
            self._forget(before)
            await self.send(Message(before.topic, "phx_close", {}, before.join_ref, before.join_ref))
        channel = Channel(message.topic, message.join_ref or message.ref, token, claims)
        self.channels[message.topic] = channel
        self._watch_expiry(channel)
        await self._reply(message, "ok", {"postgres_changes": []})
        if (config.get("broadcast") or {}).get("replication_ready"):
            self._relay.when_ready(self, channel)

    async def _take_token(self, channel: Channel, token: object) -> None:
        if not isinstance(token, str) or token.startswith("sb_") or token == channel.token:
            return
        try:
            claims = await self._admitted(channel.topic, True, token)
        except Refused as refusal:
            await self.shut(channel, refusal.message)
        else:
            channel.token, channel.claims, channel.may_write = token, claims, None
            self._watch_expiry(channel)

    async def _admitted(self, topic: str, private: bool, token: str) -> Claims:
        """The claims of a token that opens the topic."""
        name = topic.removeprefix(PREFIX)
        if self._relay.faults.refuse_joins:
            raise Refused("InitializingProjectConnection", self._relay.faults.refuse_joins)
        if not topic.startswith(PREFIX) or not name:
            raise Refused("TopicNameRequired", "You must provide a topic name")
        if not private:
            raise Refused("PrivateOnly", "This project only allows private channels")
        claims = verified(token, self._relay.jwks)
        if not await self._relay.permissions.may_read(name, claims):
            raise Refused("Unauthorized", f"You do not have permissions to read from this Channel topic: {name}")
        return claims

    async def _broadcast(self, channel: Channel, message: Message) -> None:
        with suppress(Refused):
            if channel.may_write is None:
                channel.may_write = await self._relay.permissions.may_write(channel.name, channel.claims)
            if channel.may_write:
                await self._relay.deliver(Message(channel.topic, "broadcast", message.payload), but=self)

    def _watch_expiry(self, channel: Channel) -> None:
        if channel.expiry is not None:
            channel.expiry.cancel()
        loop, seconds = asyncio.get_running_loop(), channel.claims["exp"] - time.time()
        channel.expiry = loop.call_later(max(0.0, min(seconds, 86_400)), self._relay.expire, self, channel)

    def _forget(self, channel: Channel) -> None:
        if channel.expiry is not None:
            channel.expiry.cancel()
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]

    async def _reply(self, to: Message, status: str, response: Mapping[str, Any]) -> None:
        payload = {"status": status, "response": dict(response)}
        await self.send(Message(to.topic, "phx_reply", payload, to.ref, to.join_ref))
