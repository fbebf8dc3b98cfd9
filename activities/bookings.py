"""Bookings of one worker process, coalesced into one update a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from activities.clock import ServerClock
from headgate.messages.tokens import Booking, BookingAnswer, BookReply, BookRequest

#: Bookings that come within this time travel together: an update is an action, and at most 10 may be under way.
GATHER_FOR_S = 0.02


@dataclass(slots=True)
class Desk:
    """Where later attempts book their tokens. `limiter_id` names a project's limiter, `revive` starts one that is gone."""

    client: Client
    clock: ServerClock
    limiter_id: Callable[[str], str]
    revive: Callable[[str], Awaitable[None]]
    _waiting: dict[str, list[tuple[Booking, asyncio.Future[tuple[BookingAnswer, int]]]]] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def book(self, project: str, booking: Booking) -> tuple[BookingAnswer, int]:
        """The limiter's answer, and for how long (ns) a booked token may be used."""
        future: asyncio.Future[tuple[BookingAnswer, int]] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(project, [])
        waiting.append((booking, future))
        if len(waiting) == 1:
            task = asyncio.create_task(self._flush(project))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def set_clock(self, project: str) -> None:
        """Take two-sided samples of the limiter's time until one is close enough to send by."""
        for _ in range(50):
            await self._update(project, BookRequest())
            if self.clock.trusted:
                return
        raise RuntimeError("the server's time cannot be read closely enough: every answer took more than 0.1 s")

    async def _flush(self, project: str) -> None:
        await asyncio.sleep(GATHER_FOR_S)
        waiting = self._waiting.pop(project)
        try:
            reply = await self._update(project, BookRequest(bookings=tuple(booking for booking, _ in waiting)))
        except Exception as error:  # every waiter gets it, and raises it in its own attempt
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(waiting, reply.answers, strict=True):
            if not future.done():
                future.set_result((answer, reply.token_valid_for_ns))

    async def _update(self, project: str, request: BookRequest) -> BookReply:
        handle = self.client.get_workflow_handle(self.limiter_id(project))
        sent_ns = self.clock.monotonic_ns()
        try:
            reply: BookReply = await handle.execute_update("book", request, result_type=BookReply)
        except (RPCError, WorkflowUpdateFailedError) as error:
            if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
                await self.revive(project)
            raise
        self.clock.between(sent_ns, reply.now_ns)
        return reply
