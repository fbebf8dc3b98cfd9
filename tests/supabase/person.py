"""A signed-in person with the real supabase-py client: everything goes through the front door, and nothing else is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from realtime import RealtimeChannelOptions, RealtimeSubscribeStates
from supabase_functions.errors import FunctionsHttpError

from supabase import AsyncClient, create_async_client
from tests.eventually import eventually

Json = dict[str, Any]
OVER = frozenset({"completed", "cancelled", "failed"})


@dataclass
class Watching:
    """What Realtime has said of one topic since it was joined."""

    said: list[tuple[str, Json]] = field(default_factory=list)

    def of(self, event: str) -> list[Json]:
        """The payloads of this event, oldest first."""
        return [payload for name, payload in self.said if name == event]

    @property
    def last(self) -> Json:
        """The newest progress; {} before there was one."""
        return max(self.of("progress"), key=lambda said: int(said["revision"]), default={})

    def answers(self, command: str) -> list[Json]:
        """What was said of one command."""
        return [said for said in self.of("command") if said["id"] == command]


@dataclass
class Person:
    """One account; `token` is its session's."""

    client: AsyncClient
    id: str
    email: str
    organisation: str

    async def submit(self, lines: Iterable[Mapping[str, Any] | str], **wish: Any) -> Json:
        """A request with its operations in the call; the answer's `request`."""
        operations = as_lines(lines)
        answer = await self.invoke("submit", {"organisation": self.organisation, "operations": operations, **wish})
        request: Json = answer["request"]
        return request

    async def submit_file(self, content: bytes, **wish: Any) -> Json:
        """A request whose operations go through storage: announced, uploaded, released."""
        upload = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        answer = await self.invoke("submit", {"organisation": self.organisation, "upload": upload, **wish})
        signed, request = answer["upload"], answer["request"]
        assert request["status"] == "awaiting_upload"
        bucket = self.client.storage.from_(signed["bucket"])
        await bucket.upload_to_signed_url(signed["path"], signed["token"], content)
        await self.invoke(f"submit/{request['id']}/finalize")
        made: Json = request
        return made

    async def command(self, request: str, command: str, **more: Any) -> Json:
        """Says something to a request; the command as it was taken."""
        answer = await self.invoke("command", {"request": request, "command": command, **more})
        said: Json = answer["command"]
        return said

    async def request(self, request: str) -> Json:
        """The request as the front door shows it now."""
        found: Json = (await self.history(request))["request"]
        return found

    async def history(self, request: str = "") -> Json:
        """One request with all that belongs to it, or the organisation's list."""
        path = f"history/{request}" if request else f"history?organisation={self.organisation}"
        return await self.invoke(path, method="GET")

    async def until(self, request: str, *states: str, within: float = 60.0) -> Json:
        """The request, once it is in one of these states."""

        async def now() -> Json:
            found = await self.request(request)
            return found if found["status"] in states else {}

        return await eventually(now, within, 0.1)

    async def invoke(self, path: str, body: Json | None = None, method: str = "POST") -> Json:
        """An Edge Function's answer; raises `FunctionsHttpError`."""
        answer = await self.client.functions.invoke(
            path, {"method": method, "responseType": "json", **({"body": body} if body is not None else {})}
        )
        assert isinstance(answer, dict)
        return answer

    async def refused(self, path: str, body: Json | None = None, method: str = "POST") -> tuple[int | None, str]:
        """The status and the words of a refusal, which must come."""
        try:
            answer = await self.invoke(path, body, method)
        except FunctionsHttpError as error:
            return error.status, error.message
        raise AssertionError(f"this was taken: {answer}")

    @asynccontextmanager
    async def watching(self, topic: str) -> AsyncIterator[Watching]:
        """A private channel of Realtime, joined; left with the block."""
        heard = Watching()
        states: list[RealtimeSubscribeStates] = []
        channel = self.client.channel(topic, cast(RealtimeChannelOptions, {"config": {"private": True}}))

        channel.on_broadcast("*", lambda said: heard.said.append((said["event"], dict(said["payload"]))))
        await channel.subscribe(lambda state, error: states.append(state))
        assert states[-1] == RealtimeSubscribeStates.SUBSCRIBED, states
        try:
            yield heard
        finally:
            await self.client.remove_channel(channel)


async def signed_in(url: str, key: str, email: str, password: str, organisation: str) -> Person:
    """A person with a session of its own."""
    client = await create_async_client(url, key)
    answer = await client.auth.sign_in_with_password({"email": email, "password": password})
    assert answer.user is not None
    assert answer.session is not None
    await client.realtime.set_auth(answer.session.access_token)
    return Person(client, answer.user.id, email, organisation)


def as_lines(lines: Iterable[Mapping[str, Any] | str]) -> str:
    """JSON Lines; a text is a line as it is."""
    return "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
