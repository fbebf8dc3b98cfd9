"""Tokens for other people's scripts: their calls and headgate's spend one quota, and neither causes the other's 429s.

    async with headgate_tokens("my-project", "billing-bot", "read", calls=5) as tokens:
        async for token in tokens:
            ...  # make one call now

Rules:

1. A token is handed out in [at, at + token_valid_for] of the server's clock, checked in the same step of the event loop.
2. What was handed out counts as used, whatever became of the call; everything else that was booked goes back.
3. An outage, a pause or a lost limiter is a wait; only `wait_for` ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Final, Literal, Protocol, Self
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError
from temporalio.client import Client

from activities.clock import ServerClock
from headgate.errors import HeadgateError, InvalidRequest, NoToken, Unreachable
from headgate.message import SECOND_NS
from headgate.messages.tokens import Booking, BookingAnswer, Settlement, Throttling
from headgate.messages.words import Kind, Name, Priority
from starter.ahead import Ahead, Token
from starter.connection import connect
from starter.project_limiter import ProjectLimiter

#: Leaving waits this long for an answer under way, and as long again for the limiter to hear what goes back.
LEAVES_WITHIN_S: Final = 5.0


@asynccontextmanager
async def headgate_tokens(
    project: str,
    user: str,
    kind: Kind,
    *,
    calls: int | None = None,
    priority: Priority = "normal",
    owner: str = "",
    spreadsheet: str = "",
    wait_for: timedelta | None = None,
    client: Client | None = None,
) -> AsyncIterator[Tokens]:
    """Tokens for at most `calls` calls (None: as many as are taken) out of the project's and the user's quota.

    `owner` is what fairness is measured by; calls to a named `spreadsheet` are spaced like headgate's own. `wait_for` bounds
    the wait for each token (None: as long as it takes). Whatever was not handed out goes back when the context is left.
    Raises `InvalidRequest` for a mistake, `Unreachable` where no server answers at the start, `NoToken` after `wait_for`.
    """
    if calls is not None and calls < 1:
        raise InvalidRequest(f"calls={calls} must be at least 1")
    holder = f"outside/{owner or 'script'}/{uuid4().hex[:8]}"
    try:
        TypeAdapter(Name).validate_python(project)
        pattern = Booking(
            id=holder,
            holder=holder,
            kind=kind,
            user=user,
            spreadsheet=spreadsheet,
            priority=priority,
            fairness_key=owner,
        )
    except ValidationError as error:
        wrong = error.errors()[0]
        named = ".".join(map(str, wrong["loc"])) or "project"
        raise InvalidRequest(f"{named}={wrong['input']!r}: {wrong['msg']}") from error
    limiter = ProjectLimiter.of(client or await connect(), project)
    async with Tokens(limiter, Ahead(pattern, calls), wait_for) as tokens:
        yield tokens


class Limiter(Protocol):
    """What books and takes back; `ask` raises `Unreachable` for what may pass. `clock` is the server's time."""

    @property
    def clock(self) -> ServerClock: ...

    async def ask(self, bookings: Sequence[Booking]) -> list[tuple[BookingAnswer, int]]: ...

    async def tell(self, said: Settlement) -> None: ...


class Tokens:
    """An asynchronous iterator of tokens, each at its time. Several at once may iterate or `take`; they share `calls`."""

    def __init__(self, limiter: Limiter, ahead: Ahead, wait_for: timedelta | None = None) -> None:
        self._limiter = limiter
        self._clock = limiter.clock
        self._ahead = ahead
        self._wait_s = wait_for.total_seconds() if wait_for is not None else None
        self._takers = 0
        self._left = False
        self._failure: HeadgateError | None = None
        self._wake = asyncio.Event()
        self._news = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._limiter.ask(())
        except TimeoutError:
            raise self._too_late() from None
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = asyncio.create_task(self._leave())
        await asyncio.shield(self._leaving)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Token:
        self._refuse_if_over()
        if self._all_claimed():
            raise StopAsyncIteration
        return await self.take()

    @property
    def waits_for(self) -> str:
        """Why the last token that was not to be had at once was not."""
        return self._ahead.why

    async def take(self) -> Token:
        """A token at its time; `NoToken` if none comes within `wait_for`, `InvalidRequest` beyond `calls`."""
        self._refuse_if_over()
        if self._all_claimed():
            raise InvalidRequest(f"all {self._ahead.calls} tokens that were asked for are taken")
        self._ahead.wanted(self._clock.now_ns())
        self._takers += 1
        try:
            async with asyncio.timeout(self._wait_s):
                while (token := self._due()) is None:
                    self._wake.set()
                    await self._until(self._news, self._ahead.next_due(self._clock.now_ns()))
                    self._refuse_if_over()
                return token
        except TimeoutError:
            raise self._too_late() from None
        finally:
            self._takers -= 1

    async def throttled(self, scope: Literal["project", "user", ""] = "") -> None:
        """Tell the limiter of a 429 and of the quota that it named (`""`: none): that quota pauses, for everybody."""
        self._refuse_if_over()
        pattern = self._ahead.pattern
        self._ahead.give_up_tokens()  # they would meet the same refusal
        self._wake.set()
        await self._settle(Throttling(kind=pattern.kind, scope=scope, user=pattern.user, at_ns=self._clock.now_ns()))

    def _refuse_if_over(self) -> None:
        if self._left:
            raise InvalidRequest("these tokens have been left: take them inside their `async with`")
        if self._failure is not None:
            raise self._failure

    def _all_claimed(self) -> bool:
        """Whether those who wait already wait for the last of them."""
        return self._ahead.calls is not None and self._takers >= self._ahead.left()

    def _due(self) -> Token | None:
        """The token to hand out in this step; none by a clock that is no longer trusted."""
        return self._ahead.due(self._clock.now_ns()) if self._clock.trusted else None

    def _too_late(self) -> NoToken:
        return NoToken(f"no token came within {self._wait_s:g} s: {self._ahead.why}")

    async def _keep(self) -> None:
        """Book for whoever waits, ask again at the time that was named, hand back what went stale; until it is left."""
        try:
            while not self._left:
                self._wake.clear()
                try:
                    await self._once()
                except Unreachable as error:
                    self._ahead.rest(self._clock.now_ns(), str(error))
                await self._until(self._wake, self._ahead.next_event(self._clock.now_ns()))
        except HeadgateError as error:
            self._failure = error
        except Exception as error:  # whoever waits must not wait for ever
            self._failure = HeadgateError(f"a defect of headgate: {type(error).__name__}: {error}")
        finally:
            self._announce()

    async def _once(self) -> None:
        now = self._clock.now_ns()
        if self._clock.trusted:
            self._ahead.give_up_stale(now)
        else:
            self._ahead.give_up_tokens()
        asked = self._ahead.to_ask(now, self._takers)
        if self._ahead.unused and now >= self._ahead.not_before_ns:
            await self._settle()
        if asked:
            answers = await self._limiter.ask([held.booking for held in asked])
            self._ahead.answered(self._clock.now_ns(), self._takers, asked, answers)
            self._announce()

    def _announce(self) -> None:
        """Wake everybody who waits for a token."""
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, event: asyncio.Event, instant_ns: int | None) -> None:
        """Wait for the event, or until the instant if that is sooner."""
        wait_s = None if instant_ns is None else max(instant_ns - self._clock.now_ns(), 0) / SECOND_NS
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await event.wait()

    async def _settle(self, *throttled: Throttling) -> None:
        """Tell of what was not used; what could not be told stays to be told."""
        unused = tuple(self._ahead.unused)
        holder = self._ahead.pattern.holder
        await self._limiter.tell(
            Settlement(holder=holder, epoch=0, unused_bookings=unused, throttled=throttled),
        )
        self._ahead.told(unused)

    async def _leave(self) -> None:
        """Hand everything back; what a server that is away does not hear of, runs out by itself."""
        self._left = True
        self._wake.set()
        self._announce()
        if self._keeping is not None:
            # An answer under way names bookings: handed back before it comes, they would be booked after that.
            await asyncio.wait({self._keeping}, timeout=LEAVES_WITHIN_S)
            self._keeping.cancel()
        self._ahead.give_up()
        if self._ahead.unused:
            with suppress(HeadgateError, TimeoutError):
                async with asyncio.timeout(LEAVES_WITHIN_S):
                    await self._settle()
