"""The read model in Postgres, as role `headgate_projector`: rows of requests and their dead letters.

1. A row only ever takes a higher version than it has, and one of its own organisation: writing may be repeated and may come
   late, in any order and from any process.
2. A row is not written twice within `ROW_EVERY`, whoever wrote it last. What came too early is told to whoever wrote it.
   A time that is still to come says nothing: the database's clock was set back.
3. A row that is missing was deleted, and stays so; but a retry, which no client inserted, gets a row by its first projection.
4. Everything is written by COPY into a table of the session, then one statement. That works behind a pooler of transactions too,
   where another release's tables may lie in the session that one gets.
5. No error says more than a sentence without secrets. What is wrong with one row fails that row alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg

from headgate.databases import Database
from headgate.errors import NotProjected
from headgate.messages.projections import Projection
from headgate.messages.requests import BulkRequest
from headgate.messages.words import Applied
from headgate.retries import retried

#: A little more than a second: two writes are a second apart by anybody's clock.
ROW_EVERY: Final = timedelta(milliseconds=1050)
ANSWERS_WITHIN_S: Final = 15.0
CONNECTS_WITHIN_S: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: What is wrong with a row, and not with the database, the way to it, or what it lets us do.
ROWS_FAULT: Final = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException)

#: The columns that a projection sets, with their types; where the results are stays known where it does not say so.
_SHOWN: Final = {
    "priority": "text",
    "status": "text",
    "version": "bigint",
    "operations_total": "bigint",
    "operations_succeeded": "bigint",
    "operations_failed": "bigint",
    "operations_unprocessed": "bigint",
    "calls_planned": "bigint",
    "calls_made": "bigint",
    "calls_retried": "bigint",
    "rate_per_minute": "double precision",
    "eta_at": "timestamptz",
    "waiting_reason": "text",
    "waiting_cause": "text",
    "waiting_until": "timestamptz",
    "failures": "jsonb",
    "error": "text",
    "finished_at": "timestamptz",
}
_KEPT: Final = {"results_location": "text"}
#: The columns that only a new row takes: a retry's own, and its parent for whose it is.
_NEW: Final = {
    "name": "text",
    "ordering": "text",
    "stop_after": "integer",
    "grow": "boolean",
    "created_at": "timestamptz",
}
_COLUMNS: Final = {
    "id": "text",
    "organisation_id": "uuid",
    **_SHOWN,
    **_KEPT,
    **_NEW,
    "parent": "text",
}
_LETTERS: Final = {"line": "integer", "operation_id": "text", "reason": "text", "applied": "text"}


class _Staged:
    """A table of the session, named after its columns as well: one that another release left there is never taken for it."""

    def __init__(self, name: str, columns: dict[str, str]) -> None:
        fields = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        self.table = f"pg_temp.{name}_{hashlib.sha256(fields.encode()).hexdigest()[:8]}"
        self.create = f"create temporary table if not exists {self.table} ({fields}) on commit delete rows"


_PROJECTED: Final = _Staged("projected", _COLUMNS)
_PROJECTED_LETTERS: Final = _Staged("projected_letters", _LETTERS)
_inserted = ["id", "organisation_id", *_SHOWN, *_KEPT, *_NEW]
_updated = [f"{c} = excluded.{c}" for c in _SHOWN] + [f"{c} = coalesce(excluded.{c}, r.{c})" for c in _KEPT]
_PROJECT: Final = f"""
insert into public.bulk_requests as r ({", ".join(_inserted)}, created_by)
select {", ".join(f"p.{column}" for column in _inserted)}, parent.created_by
from {_PROJECTED.table} p
left join public.bulk_requests known on known.id = p.id
left join public.bulk_requests parent on parent.id = p.parent and parent.organisation_id = p.organisation_id
where case when known.id is null then parent.id is not null else known.version < p.version end
order by p.id
on conflict (id) do update set {", ".join(_updated)}
where r.version < excluded.version and r.organisation_id = excluded.organisation_id
  and (r.updated_at <= clock_timestamp() - %s or r.updated_at > clock_timestamp())
returning r.id
"""
#: What was not written and is still news: whose row has a lower version, because it was written a moment ago.
_EARLY: Final = f"""
select p.id from {_PROJECTED.table} p
join public.bulk_requests r on r.id = p.id and r.organisation_id = p.organisation_id
where r.version < p.version
"""
_ADD_LETTERS: Final = f"""
insert into public.dead_letters (submitted_at, request_id, organisation_id, line, operation_id, reason, applied)
select %(at)s, %(request)s, %(organisation)s, line, operation_id, reason, applied
from {_PROJECTED_LETTERS.table}
where exists (select from public.bulk_requests r where r.id in (%(request)s, %(parent)s) and r.organisation_id = %(organisation)s)
on conflict do nothing
"""


class Letter(NamedTuple):
    """A dead letter: an operation by its line and id, why it failed, and whether it took effect."""

    line: int
    operation_id: str
    reason: str
    applied: Applied


class Written(NamedTuple):
    """What became of projections, by their requests' ids: `early` ones came too soon, of `refused` ones it says why. The others
    are in the read model, or something newer is."""

    early: frozenset[str]
    refused: dict[str, str]


class ReadModel:
    """One connection, opened where it is needed and given up at the first error; one thing is done at a time."""

    def __init__(self, database: Database, row_every: timedelta = ROW_EVERY) -> None:
        self.location = database.location
        self._database = database
        self._row_every = row_every
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def reach(self) -> None:
        """Raises `NotProjected` while the database cannot be spoken to."""
        async with self._transaction() as cursor:
            await cursor.execute("select")

    async def check(self) -> None:
        """Raises `NotProjected` where nothing could be told, for lack of rights too; nothing is changed."""
        await self._write([])

    async def write(self, projections: Sequence[Projection], locations: Sequence[str | None]) -> Written:
        """These are written, one of each request at most; `locations` are those of their results, where they are known."""
        rows = [_row(one, location) for one, location in zip(projections, locations, strict=True)]
        try:
            return Written(await self._write(rows), {})
        except ROWS_FAULT as error:
            if len(rows) == 1:
                return Written(frozenset(), {projections[0].request.id: self._database.said(error)})
        each = [
            await self.write([one], [location]) for one, location in zip(projections, locations, strict=True)
        ]  # one by one: what is wrong with one of them keeps none of the others
        refused = {name: why for written in each for name, why in written.refused.items()}
        return Written(frozenset().union(*(written.early for written in each)), refused)

    async def add_letters(self, request: BulkRequest, letters: Sequence[Letter]) -> None:
        """These dead letters are there; those that were there before stay as they are. Raises `NotProjected`."""
        facts = {
            "at": _at(request.submitted_at_ns),
            "request": request.id,
            "parent": retried(request.id),
            "organisation": request.organisation,
        }
        try:
            async with self._transaction() as cursor:
                await _fill(cursor, _PROJECTED_LETTERS, letters)
                await cursor.execute(_ADD_LETTERS, facts)
        except ROWS_FAULT as error:
            raise NotProjected(f"the dead letters of {request.id} were refused: {self._database.said(error)}") from None

    async def close(self) -> None:
        """The connection is given up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()

    async def _write(self, rows: Sequence[tuple[Any, ...]]) -> frozenset[str]:
        async with self._transaction() as cursor:
            await _fill(cursor, _PROJECTED, rows)
            await cursor.execute(_PROJECT, [self._row_every])
            if cursor.rowcount == len(rows):
                return frozenset()
            await cursor.execute(_EARLY)
            return frozenset(name for (name,) in await cursor.fetchall())

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[psycopg.AsyncCursor[Any]]:
        """A row's own fault comes out as it is, and everything else as `NotProjected`: then the connection is given up."""
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWERS_WITHIN_S):
                    if self._connection is None:
                        self._connection = await psycopg.AsyncConnection.connect(
                            self._database.url,
                            connect_timeout=CONNECTS_WITHIN_S,
                            prepare_threshold=None,
                            application_name="headgate projector",
                        )
                    async with self._connection.transaction(), self._connection.cursor() as cursor:
                        yield cursor
            except ROWS_FAULT:
                raise
            except (psycopg.Error, OSError, TimeoutError) as error:
                await self.close()
                said = self._database.said(error)
                raise NotProjected(f"the read model at {self.location} cannot be written: {said}") from None
            except BaseException:
                await self.close()
                raise


async def _fill(cursor: psycopg.AsyncCursor[Any], staged: _Staged, rows: Sequence[tuple[Any, ...]]) -> None:
    await cursor.execute(staged.create)
    async with cursor.copy(f"copy {staged.table} from stdin") as copy:
        for row in rows:
            await copy.write_row(row)


def _row(told: Projection, location: str | None) -> tuple[Any, ...]:
    request, view = told.request, told.progress
    parent = retried(request.id)
    return (
        request.id,
        request.organisation,
        view.priority,
        view.state,
        view.version,
        view.operations.total,
        view.operations.succeeded,
        view.operations.failed,
        view.operations.unprocessed,
        view.calls.planned,
        view.calls.made,
        view.calls.retried,
        view.rate_per_minute,
        view.eta_at,
        _text(view.waiting.reason),
        view.waiting.cause,
        view.waiting.until,
        json.dumps({_text(reason): count for reason, count in view.failures.items()}),
        _text(told.error) or None,
        _at(told.ended_ns) if told.ended_ns else None,
        location,
        f"retry of {parent}"[:200] if parent else "",
        request.order,
        min(request.stop_after, 1_000_000),
        request.grow,
        _at(request.submitted_at_ns),
        parent,
    )


def _at(at_ns: int) -> datetime:
    """To the microsecond, as Postgres keeps instants: a float would not hold it."""
    return _EPOCH + timedelta(microseconds=at_ns // 1000)


def _text(said: str) -> str:
    """What Postgres takes: a text without the character 0."""
    return said.replace("\x00", " ")
