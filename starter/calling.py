"""Single calls that a command makes by itself: each with a token of the project's limiter, like every other call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from activities.clock import ServerClock
from activities.credentials import Credentials
from activities.http import Answer, Wire, open_wire
from headgate.apis.sheets.compose import Call
from headgate.message import SECOND_NS
from headgate.messages.words import Kind
from headgate.settings import Settings
from starter.tokens import Tokens, headgate_tokens

#: Without a project's limiter calls are so far apart that they stay below Google's default of 60 a minute.
PACE_S = 1.1


@dataclass(slots=True)
class Caller:
    """Makes one call after the other, as one user, to one spreadsheet. No project: at a steady pace, without tokens."""

    wire: Wire
    user: str
    spreadsheet: str
    project: str | None
    clock: ServerClock
    _contexts: AsyncExitStack
    _tokens: dict[Kind, Tokens] = field(default_factory=dict)
    _last_s: float = 0.0

    async def make(self, call: Call, user: str = "") -> Answer:
        """The answer to the call. Raises `Unreachable` or `InvalidRequest` if it was not sent, `NoReply` if nothing came back."""
        at_ns, until_ns = await self._token(call.kind)
        self.clock.between(self.clock.monotonic_ns(), at_ns)
        return await self.wire.send(user or self.user, call.method, call.target, call.body, at_ns, until_ns)

    async def _token(self, kind: Kind) -> tuple[int, int]:
        if self.project is None:
            await asyncio.sleep(max(0.0, self._last_s + PACE_S - time.monotonic()))
            self._last_s = time.monotonic()
            now = time.time_ns()
            return now, now + SECOND_NS
        if kind not in self._tokens:
            opened = headgate_tokens(self.project, self.user, kind, spreadsheet=self.spreadsheet, owner="headgate")
            self._tokens[kind] = await self._contexts.enter_async_context(opened)
        token = await self._tokens[kind].take()
        return token.at_ns, token.until_ns


@asynccontextmanager
async def calling(settings: Settings, user: str, spreadsheet: str, project: str | None) -> AsyncIterator[Caller]:
    """A caller with the credentials that the settings name; tokens that it did not use go back at the end."""
    credentials = Credentials.read(
        settings.credentials, settings.sheets_url, allow_foreign_host=settings.allow_foreign_host
    )
    clock = ServerClock()
    async with open_wire(settings.sheets_url, credentials, clock) as wire, AsyncExitStack() as contexts:
        yield Caller(wire, user, spreadsheet, project, clock, contexts)
