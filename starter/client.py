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
4. So is a command of the same `command_id`: it acts once, however often it is said, and is answered as before.
5. What a request refuses is an InvalidRequest with its sentence; where no worker runs a command is recorded (`heard` is False).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio.client import Client

from activities.purging import purge
from activities.results import Outcome, read_results
from activities.store import Store
from activities.streams import each, joined
from headgate.errors import InvalidRequest
from headgate.facts import Entry
from headgate.messages.requests import Operation
from headgate.messages.views import Control, ProgressView
from headgate.messages.words import Order, Priority
from headgate.schedules import Overlap
from headgate.settings import NotifySettings, Settings
from starter.commands import Answered
from starter.connection import connect
from starter.following import follow
from starter.notifying import receiver
from starter.purging import purgeable
from starter.retrying import Retried, retry_failed
from starter.schedules import Scheduled, ScheduleRow
from starter.scheduling import Removal, remove
from starter.selection import Selection
from starter.service import RequestRow, Service, Submitted, TemporalService
from starter.submitting import Wish, schedule, submit
from starter.timing import timing
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
    store = Store.open(settings.store)
    yield BulkRequests(service, store, users, fences=settings.fences, notify=settings.notify)


class BulkRequests:
    """What a program asks of its bulk requests; every method may be called from several tasks at once.

    `store` is one, or where it is: then it is opened when something in it is needed.
    """

    def __init__(
        self,
        service: Service,
        store: Store | str,
        known_users: tuple[str, ...] | None = None,
        *,
        fences: bool = True,
        notify: NotifySettings | None = None,
    ) -> None:
        self._service = service
        self._opened = store
        self._known_users = known_users
        self._fences = fences
        self._notify = notify or NotifySettings()

    @property
    def _store(self) -> Store:
        if isinstance(self._opened, str):
            self._opened = Store.open(self._opened)
        return self._opened

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
        notify: str = "",
        notify_key: str = "",
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
            notify=receiver(notify, notify_key, self._notify),
        ).checked()
        return await submit(
            self._service, self._store, wish, joined(_lines(operations), _BLOCK_BYTES), self._known_users, "Python"
        )

    async def schedule(
        self,
        operations: Operations,
        *,
        project: str,
        start_at: datetime | str | None = None,
        every: timedelta | str | None = None,
        overlap: Overlap | None = None,
        time_zone: str | None = None,
        user: str | None = None,
        owner: str = "",
        priority: Priority = "normal",
        id: str | None = None,
        order: Order = "lane",
        operations_per_call: int = 0,
        stop_after: int = 0,
        grow: bool = False,
        notify: str = "",
        notify_key: str = "",
    ) -> Scheduled:
        """Requests of these operations that begin at an instant, or again and again, as `headgate submit` makes them with
        `--start-at` and `--every`. The operations are read now, and each request has the same ones.

        A datetime without a zone is local time. Raises InvalidRequest as `submit`, and for times that cannot be.
        """
        when = timing(start_at, every, overlap, time_zone)
        if when is None:
            raise InvalidRequest("a schedule needs start_at or every: submit what begins now")
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
            notify=receiver(notify, notify_key, self._notify),
        ).checked()
        return await schedule(
            self._service,
            self._store,
            wish,
            when,
            joined(_lines(operations), _BLOCK_BYTES),
            self._known_users,
            "Python",
        )

    def schedules(self) -> AsyncIterator[ScheduleRow]:
        """Every schedule with its next instant and its last requests."""
        return self._service.schedules.all()

    async def scheduled(self, schedule_id: str) -> ScheduleRow:
        """One schedule as it stands; `UnknownSchedule` if there is none."""
        return await self._service.schedules.show(schedule_id)

    async def pause_schedule(self, schedule_id: str, by: str = "someone") -> None:
        """Nothing is started until it is resumed; what falls into the pause is not made up for."""
        await self._service.schedules.pause(schedule_id, f"paused by {by}")

    async def resume_schedule(self, schedule_id: str, by: str = "someone") -> ScheduleRow:
        """The schedule goes on with its next instant."""
        return await self._service.schedules.resume(schedule_id, f"resumed by {by}")

    async def remove_schedule(self, schedule_id: str) -> Removal:
        """Nothing is started any more and the stored input is gone; requests under way go on."""
        return await remove(self._service.schedules, self._store, schedule_id)

    async def progress(self, request_id: str) -> ProgressView:
        """Where the request stands now."""
        return await self._service.progress(request_id)

    async def watch(self, request_id: str) -> AsyncGenerator[ProgressView, None]:
        """The request's views, each newer than the one before, asked for at most once a second; the last one is that of its end.

        Who reads slowly misses some. Raises `Unreachable` only after half a minute of silence.
        """
        newest: asyncio.Queue[ProgressView] = asyncio.Queue(maxsize=1)

        def show(view: ProgressView) -> None:
            if newest.full():
                newest.get_nowait()
            newest.put_nowait(view)

        following = asyncio.create_task(follow(self._service, request_id, show=show, note=lambda _: None))
        shown: ProgressView | None = None
        try:
            while not following.done():
                getting = asyncio.create_task(newest.get())
                await asyncio.wait({getting, following}, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                elif shown is None or getting.result().version > shown.version:
                    shown = getting.result()
                    yield shown
            if (last := following.result()) != shown:
                yield last
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

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

    async def pause(self, request_id: str, *, by: str = "", command_id: str = "") -> Answered:
        """Nothing more is sent until it is resumed; calls under way end."""
        return await self._service.control(request_id, "pause", Control(by=by, id=command_id))

    async def resume(self, request_id: str, *, by: str = "", command_id: str = "") -> Answered:
        """It goes on after a pause."""
        return await self._service.control(request_id, "resume", Control(by=by, id=command_id))

    async def cancel(self, request_id: str, *, by: str = "", command_id: str = "") -> Answered:
        """It ends: calls under way end, the rest is left unprocessed."""
        return await self._service.control(request_id, "cancel", Control(by=by, id=command_id))

    async def reprioritise(self, request_id: str, to: Priority, *, by: str = "", command_id: str = "") -> Answered:
        """It goes first, or last, from now on."""
        return await self._service.control(request_id, "reprioritise", Control(to=to, by=by, id=command_id))

    async def retry_failed(
        self,
        request_id: str,
        *,
        include_unknown: bool = False,
        include_unprocessed: bool = False,
        by: str = "",
        command_id: str = "",
    ) -> Retried:
        """A new request of what failed, or of what has failed so far in one that runs, as `headgate retry-failed` makes it."""
        return await retry_failed(
            self._service,
            self._store,
            request_id,
            include_unknown=include_unknown,
            include_unprocessed=include_unprocessed,
            control=Control(by=by, id=command_id),
        )

    async def list(self, selection: Selection | None = None) -> AsyncGenerator[RequestRow, None]:
        """The requests that are meant, open ones first; up to a second old. Without a selection the last hundred."""
        async for row in self._service.requests(selection or Selection()):
            yield row

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
