"""Bulk requests out of a Python program: operations from an iterable in, progress and results out.

    async with bulk_requests() as requests:
        submitted = await requests.submit(operations(), project="shop", user="alice", id="orders-7")
        view = await requests.ended(submitted.id)
        async for result in requests.results(submitted.id, "failed"):
            ...

Rules:

1. An operation is a mapping with the fields of a line of JSON Lines; nothing of it is checked here, planning does that.
2. The iterable is read once, as a stream; one that raises starts nothing.
3. The same id with the same operations is one request, so a program that was cut off may simply run again.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from temporalio.client import Client

from activities.purging import purge
from activities.results import Outcome, read_results
from activities.store import Store
from activities.streams import each, joined
from headgate.errors import InvalidRequest
from headgate.facts import Entry
from headgate.models import Operation, Order, Priority, ProgressView
from headgate.settings import Settings
from starter.connection import connect
from starter.following import follow
from starter.purging import purgeable
from starter.retrying import Retried, retry_failed
from starter.service import Service, Submitted, TemporalService
from starter.submitting import Wish, submit
from starter.users import user_names

Operations = Iterable[Mapping[str, Any] | Operation] | AsyncIterable[Mapping[str, Any] | Operation]

_BLOCK_BYTES: Final = 256 * 1024
_AS_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
#: What planning decides of an operation, and no line may say.
_PLANNED: Final = frozenset({"line", "sheet_id", "gone_sheets"})


@asynccontextmanager
async def bulk_requests(
    *, client: Client | None = None, settings: Settings | None = None
) -> AsyncIterator[BulkRequests]:
    """Ready to submit. `client` is a Temporal client that there is already, made with the pydantic data converter; `settings`
    say where the store is and who has credentials, and come from the environment if missing.

    Raises `Unreachable` where no server answers, `InvalidRequest` for settings that cannot be.
    """
    settings = settings or Settings.from_environ(os.environ)
    service = TemporalService(client or await connect())
    users = user_names(settings.credentials)
    yield BulkRequests(service, Store.open(settings.store), users, fences=settings.fences)


class BulkRequests:
    """What a program asks of its bulk requests; every method may be called from several tasks at once."""

    def __init__(
        self, service: Service, store: Store, known_users: tuple[str, ...] | None = None, *, fences: bool = True
    ) -> None:
        self._service = service
        self._store = store
        self._known_users = known_users
        self._fences = fences

    async def submit(
        self,
        operations: Operations,
        *,
        project: str,
        user: str | None = None,
        owner: str = "",
        priority: Priority = "normal",
        id: str | None = None,
        order: Order = "lane",
        operations_per_call: int = 0,
        stop_after: int = 0,
        grow: bool = False,
    ) -> Submitted:
        """The request, held durably; options as those of `headgate submit`. Raises InvalidRequest for what is no mapping of
        JSON values, naming its place, and for other operations under an id that exists."""
        wish = Wish(
            project=project,
            user=user,
            owner=owner,
            priority=priority,
            id=id,
            order=order,
            operations_per_call=operations_per_call,
            stop_after=stop_after,
            grow=grow,
            fences=self._fences,
        ).checked()
        return await submit(
            self._service, self._store, wish, joined(_lines(operations), _BLOCK_BYTES), self._known_users, "Python"
        )

    async def progress(self, request_id: str) -> ProgressView:
        """Where the request stands now."""
        return await self._service.progress(request_id)

    async def ended(self, request_id: str) -> ProgressView:
        """The request's last view, once it is over; `Unreachable` only after half a minute of silence."""
        return await follow(self._service, request_id, show=lambda _: None, note=lambda _: None)

    async def results(self, request_id: str, outcome: Outcome | None = None) -> AsyncIterator[dict[str, Any]]:
        """What became of every operation so far, as `headgate results --json` has it; of one outcome alone, if named."""
        state = await self._service.over(request_id)
        async for result in read_results(self._store, request_id, outcome, closed=state in ("cancelled", "failed")):
            yield result

    def history(self, request_id: str, *, follow: bool = False) -> AsyncIterator[Entry]:
        """Who did what and when, as `headgate history` says it; with `follow` until the request is over."""
        return self._service.history(request_id, follow=follow)

    async def retry_failed(
        self, request_id: str, *, include_unknown: bool = False, include_unprocessed: bool = False
    ) -> Retried:
        """A new request of what failed in one that is over, as `headgate retry-failed` makes it."""
        return await retry_failed(
            self._service,
            self._store,
            request_id,
            include_unknown=include_unknown,
            include_unprocessed=include_unprocessed,
        )

    async def purge(self, request_id: str) -> None:
        """Nothing of a request that is over is in the store any more. Raises InvalidRequest while it runs."""
        await purgeable(self._service, self._store, request_id)
        await purge(self._store, request_id)


async def _lines(operations: Operations) -> AsyncIterator[bytes]:
    number = 0
    async for operation in each(operations):
        number += 1
        yield _line(operation, number)


def _line(operation: Mapping[str, Any] | Operation, number: int) -> bytes:
    if isinstance(operation, Operation):
        operation = operation.model_dump(mode="json", exclude=set(_PLANNED), exclude_defaults=True)
    if not isinstance(operation, Mapping):
        raise InvalidRequest(
            f"operation {number} is a {type(operation).__name__} and must be a mapping, such as a dict"
        )
    try:
        return _AS_JSON(dict(operation)).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"operation {number} cannot be written as JSON: {str(error)[:200]}") from None
