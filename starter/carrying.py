"""What a row of the inbox asks for, carried to Temporal: a request is started, a command is told.

1. Whatever is carried twice acts once: Temporal takes an id of a request once, and a request an id of a command once.
2. A server that does not answer, or lets nobody in, is `Away`: that says nothing of the row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.store import Store
from activities.submission import store_input
from headgate.absence import Away, Silence
from headgate.ended_requests import OVER, Ended, ended
from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from headgate.inbox import Asked, Row, bulk_request, control, is_of
from headgate.inbox import inline_input as checked_input
from headgate.inbox_outcomes import Answered, Dropped, Outcome, Started, untold
from headgate.messages.views import ProgressView
from headgate.messages.words import State
from headgate.retries import said as sentence_of
from headgate.steering import Command, NotDone, Refused, overtaken
from headgate.summaries import request_summary, uploaded_summary
from headgate.wording import words
from starter import connection
from starter.commands import ANSWER_WITHIN, CommandNotDone, CommandRefused, Patience
from starter.retrying import retry_by_workers
from starter.service import TemporalService, UnknownRequest
from workflows import names

#: A command that takes longer is asked for again; meanwhile others are carried.
DONE_WITHIN_S: Final = 20.0
#: What a server says of itself, never of the request.
_TROUBLE: Final = {
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.ABORTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
}


@contextmanager
def reaching() -> Iterator[None]:
    """Errors of the server that say nothing of what was asked become `Away`."""
    try:
        yield
    except (CommandRefused, UnknownRequest):
        raise
    except HeadgateError as error:
        cause = error.__cause__
        if isinstance(cause, RPCError) and (isinstance(error, InvalidRequest) or cause.status in _TROUBLE):
            raise Away(str(error)) from cause
        raise


class Carrier:
    """The way to Temporal and to the store. It connects when it is first needed, and stays connected."""

    def __init__(self, reach: Callable[[], Awaitable[Client]], store: Store, *, fences: bool = True) -> None:
        self._reach = reach
        self._store = store
        self._fences = fences
        self._reached: tuple[Client, bool] | None = None
        self._silence = Silence()

    async def start(self, asked: Asked | None) -> Outcome:
        """Temporal holds the request, and the store what came with it. Raises one of `headgate.errors`."""
        if asked is None or asked.status in OVER:
            return Dropped("the request is not there any more" if asked is None else f"the request is {asked.status}")
        content = checked_input(asked)
        if content is None:
            request = bulk_request(asked, None, fences=self._fences)
            summary = uploaded_summary(_named(asked), request.input_bytes, request.project)
        else:
            bulk_request(asked, ("0" * 64, len(content)))  # what cannot be started leaves nothing in the store
            stored = await store_input(self._store, asked.id, [content])
            request = bulk_request(asked, (stored.sha256, stored.size), fences=self._fences)
            summary = request_summary(_named(asked), stored.lines, request.project)
        service, indexed = await self._service()
        with reaching():
            await service.start(request, summary=summary, indexed=indexed)
        return Started()

    async def holds(self, asked: Asked) -> bool:
        """Whether Temporal has the request from an earlier try, whatever would be wrong with it now."""
        service, _ = await self._service()
        try:
            with reaching():
                return is_of(await service.request(asked.id), asked)
        except UnknownRequest:
            return False

    async def tell(self, row: Row) -> Answered:
        """What the request answers to the command. Raises `Refused`, `NotDone` and other `headgate.errors`."""
        command, said = control(row)
        within = timedelta(seconds=self._silence.answer_within_s(ANSWER_WITHIN.total_seconds()))
        patience = Patience(within, DONE_WITHIN_S, records=not row.recorded)
        service, _ = await self._service()
        try:
            with reaching():
                answered = await service.control(row.request_id, command, said, patience)
                if row.recorded and not answered.heard:
                    await service.over(row.request_id)  # silence says nothing of Temporal; this does
        except (CommandRefused, UnknownRequest) as error:
            return await self._refused(row, command, said.id, error)
        except CommandNotDone as error:
            raise NotDone(str(error)) from None
        self._silence.met(heard=answered.heard)
        if row.recorded and not answered.heard:
            raise Unreachable(answered.sentence)
        return Answered("accepted", answered.sentence, heard=answered.heard)

    async def _refused(self, row: Row, command: Command, command_id: str, error: InvalidRequest) -> Answered:
        """What a refusal means: of a request that is over, or of a command that may have come true before, it says little."""
        service, _ = await self._service()
        if isinstance(error, UnknownRequest):
            state: State | None = "failed"
        else:
            with reaching():
                state = await service.over(row.request_id)
            if command == "retry_failed" and state is not None:
                return Answered("accepted", await self._retried(row.request_id, state, command_id))
            if command == "cancel" and state == "cancelled":
                return Answered("accepted", "the request is cancelled, and over: what was not sent is left unprocessed")
        if row.recorded and (state is not None or overtaken(str(error))):
            return untold(str(error))
        raise Refused(str(error)) from None

    async def _retried(self, request_id: str, state: State, command_id: str) -> str:
        """A request that is over starts nothing any more: workers find what failed in it, and it is started from here."""
        client, indexed = await self._connected()
        service = TemporalService(client)
        with reaching():
            request = await service.request(request_id)
            retry = await retry_by_workers(client, request, state, command_id, DONE_WITHIN_S)
            if retry.first:
                try:
                    await service.start(retry.request, summary=retry.summary, indexed=indexed)
                except InvalidRequest as taken:
                    if isinstance(taken.__cause__, RPCError):
                        raise
                    raise NotDone(f"somebody else took the id {retry.request.id}: say it again") from None
        return sentence_of(retry)

    async def ended(self, request_id: str) -> Ended | None:
        """How the request ended; None where it runs. Asks no worker."""
        client = (await self._connected())[0]
        with reaching(), connection.rpc_errors(client):
            handle: WorkflowHandle[Any, ProgressView] = client.get_workflow_handle(
                names.bulk_request_id(request_id), result_type=ProgressView
            )
            try:
                described = await handle.describe(rpc_timeout=connection.RPC_TIMEOUT)
                status = described.status.name if described.status is not None else "RUNNING"
                if status != "COMPLETED":
                    return ended(status)
                return ended(status, await handle.result(rpc_timeout=connection.RPC_TIMEOUT))
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                return ended(None)

    async def _service(self) -> tuple[TemporalService, bool]:
        client, indexed = await self._connected()
        return TemporalService(client), indexed

    async def _connected(self) -> tuple[Client, bool]:
        """The client, and whether its namespace has headgate's search attributes."""
        if self._reached is None:
            try:
                client = await self._reach()
                self._reached = client, await connection.ensure_search_attributes(client)
            except HeadgateError as error:
                raise Away(str(error)) from error
        return self._reached


def _named(asked: Asked) -> str:
    return words(asked.name) or f"request {asked.id[:8]}"
