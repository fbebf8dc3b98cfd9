"""A project's limiter as a process outside the workers speaks to it: bookings in one update, settlements as signals.

What it raises says what to do: `Unreachable` may pass, so ask again; every other `HeadgateError` is for a person.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Self

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode

from activities.bookings import Desk
from activities.clock import ServerClock
from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from headgate.messages.tokens import Booking, BookingAnswer, Settlement
from starter.connection import address_of, translated
from workflows.limiter_start import signal_with_start_limiter, start_limiter
from workflows.names import rate_limiter_id

_FINAL: Final = {RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.UNIMPLEMENTED}


@dataclass(frozen=True, slots=True)
class ProjectLimiter:
    """The limiter of one project, started where there is none. `clock` is set by what it answers."""

    client: Client
    project: str
    desk: Desk
    clock: ServerClock = field(default_factory=ServerClock)

    @classmethod
    def of(cls, client: Client, project: str) -> Self:
        """The limiter that this client reaches; whatever else the client converts, headgate's messages are pydantic's."""
        converter = replace(
            client.data_converter, payload_converter_class=pydantic_data_converter.payload_converter_class
        )
        config = client.config()
        config["data_converter"] = converter
        speaking = Client(**config)
        clock = ServerClock()
        return cls(speaking, project, Desk(speaking, clock, rate_limiter_id, partial(start_limiter, speaking)), clock)

    async def ask(self, bookings: Sequence[Booking]) -> list[tuple[BookingAnswer, int]]:
        """One answer a booking and for how long (ns) its token may be used; the clock is trusted before any is asked for."""
        try:
            try:
                return await self._ask(bookings)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
            return await self._ask(bookings)  # there was no limiter, and the desk has started one
        except RPCError as error:
            raise self._meaning(error) from error
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            raise Unreachable(f"the Temporal server at {address_of(self.client)} does not answer") from error
        except WorkflowUpdateFailedError as error:
            raise HeadgateError(f"the limiter of project {self.project} refuses: {error.cause}") from error

    async def tell(self, said: Settlement) -> None:
        """The settlement is recorded durably."""
        try:
            await signal_with_start_limiter(self.client, self.project, "settle", said)
        except RPCError as error:
            raise self._meaning(error) from error

    async def _ask(self, bookings: Sequence[Booking]) -> list[tuple[BookingAnswer, int]]:
        if not self.clock.trusted:
            try:
                await self.desk.set_clock(self.project)
            except RuntimeError as error:
                raise Unreachable(str(error)) from error
        return await asyncio.gather(*(self.desk.book(self.project, booking) for booking in bookings))

    def _meaning(self, error: RPCError) -> HeadgateError:
        """Whether asking again can help: it does not against a refusal, and it may against everything else."""
        meant = translated(error, self.client)
        if isinstance(meant, InvalidRequest | Unreachable) or error.status in _FINAL:
            return meant
        return Unreachable(str(meant))
