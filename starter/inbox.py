"""The inbox in Postgres, as the role `headgate_bridge` sees it: every statement of the bridge, and nothing but those.

A row is claimed, worked on and recorded in one transaction, so whatever becomes of the process, it is either done or still there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, LiteralString, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from headgate.databases import Database
from headgate.ended_requests import Ended
from headgate.inbox import Asked, Row
from headgate.inbox_outcomes import Answered, Dropped, Later, Outcome, Rejected, Started

CHANNEL: Final = "headgate_inbox"
CONNECT_WITHIN_S: Final = 10
#: Longer than the server takes to end a statement by itself (`_SESSION`): what has not answered by then will not.
ANSWERS_WITHIN_S: Final = 20.0
#: A host that vanished in the middle of a row must not keep it: the server ends its transaction.
_SESSION: Final = """
    select set_config('statement_timeout', '15s', false), set_config('lock_timeout', '10s', false),
           set_config('idle_in_transaction_session_timeout', '120s', false)
"""
_ROW: Final = """
    select i.id, i.request_id, i.sequence, i.kind, i.command_id::text, i.data, i.attempts,
           extract(epoch from clock_timestamp() - i.created_at)::float8 as age_s, i.recorded_at is not null as recorded
    from private.inbox i
"""
#: A clock that stands still during the statement, so that the index of what is open serves it.
_CLAIM: Final[LiteralString] = f"""
    {_ROW}
    where i.done_at is null and i.not_before <= statement_timestamp() and (i.kind = 'start') = %s
      and not exists (
        select from private.inbox earlier
        where earlier.request_id = i.request_id and earlier.done_at is null and earlier.sequence < i.sequence)
    order by i.not_before, i.id
    limit 1
    for update of i skip locked
"""
_CLAIM_RECORDED: Final[LiteralString] = f"""
    {_ROW}
    where i.recorded_at is not null and i.not_before <= statement_timestamp()
    order by i.not_before, i.id
    limit 1
    for update of i skip locked
"""
_ASKED: Final = """
    select r.id, r.organisation_id::text, r.status, r.name, r.priority, r.ordering, r.stop_after, r.grow, r.created_at,
           r.input_sha256, r.input_bytes, r.input_path, given.content,
           a.project, a.default_user, coalesce(a.users, '{}') as users
    from public.bulk_requests r
    left join private.inputs given on given.request_id = r.id
    left join private.accounts a on a.organisation_id = r.organisation_id
    where r.id = %s
"""
_STALE: Final = """
    select r.id from public.bulk_requests r
    where r.finished_at is null and r.status <> 'awaiting_upload'
      and r.updated_at < clock_timestamp() - make_interval(secs => %s) and r.id > %s
      and not exists (select from private.inbox i where i.request_id = r.id and i.kind = 'start' and i.done_at is null)
    order by r.id
    limit %s
"""
_END_STALE: Final = """
    select private.request_ended(r.id, %s, %s, %s, %s, %s, %s) from public.bulk_requests r
    where r.id = %s and r.finished_at is null and r.status <> 'awaiting_upload'
      and r.updated_at < clock_timestamp() - make_interval(secs => %s)
"""
_DONE: Final = """
    update private.inbox set done_at = coalesce(done_at, clock_timestamp()), last_error = %s, recorded_at = null where id = %s
"""
_RECORDED: Final = """
    update private.inbox set done_at = clock_timestamp(), recorded_at = clock_timestamp(), attempts = 0,
      not_before = clock_timestamp() + make_interval(secs => %s)
    where id = %s
"""
_LATER: Final = """
    update private.inbox set attempts = attempts + %s, last_error = %s,
      not_before = clock_timestamp() + make_interval(secs => %s)
    where id = %s
"""
_PUT_OFF_TOO_FAR: Final = """
    update private.inbox set not_before = clock_timestamp()
    where (done_at is null or recorded_at is not null) and not_before > clock_timestamp() + make_interval(secs => %s)
"""
_WAITING: Final = """
    select count(*) as waits, extract(epoch from clock_timestamp() - min(created_at))::float8 as oldest_s,
           (array_agg(last_error order by id) filter (where last_error is not null))[1] as why
    from private.inbox where done_at is null
"""
LONGEST_ERROR: Final = 500
#: What came of a recorded command is asked for after so long, and later the older it is.
ASKED_AGAIN_S: Final = 5.0
Which = Literal["start", "command", "recorded"]
"""Requests that are to be started; commands; commands that are recorded in Temporal and of which it is not known what came."""


class _Answering(AsyncConnection[dict[str, Any]]):
    """A connection that is given up where its server does not answer: keepalives say nothing while something is unanswered."""

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        async with asyncio.timeout(ANSWERS_WITHIN_S):
            return await super().wait(*arguments, **options)


async def connect(database: Database, *, listens: bool = False) -> AsyncConnection[dict[str, Any]]:
    """A connection that notices when its server is gone; one that `listens` may hear nothing for ever.

    Raises OSError and psycopg's errors, which may quote what `Database.said` hides.
    """
    kind = AsyncConnection if listens else _Answering
    connection = await kind.connect(
        database.url,
        autocommit=True,
        row_factory=dict_row,
        connect_timeout=CONNECT_WITHIN_S,
        application_name="headgate bridge",
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
    )
    try:
        await connection.execute(_SESSION)
    except BaseException:
        await connection.close()
        raise
    return connection


class Inbox:
    """One connection to it."""

    def __init__(self, connection: AsyncConnection[dict[str, Any]]) -> None:
        self._connection = connection
        self.since = time.monotonic()

    @classmethod
    async def open(cls, database: Database) -> Self:
        """The inbox of this database."""
        return cls(await connect(database))

    @property
    def lost(self) -> bool:
        """Whether the connection is of no use any more."""
        return self._connection.closed

    async def close(self) -> None:
        """What was not committed is undone."""
        with contextlib.suppress(psycopg.Error, OSError):
            await self._connection.close()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All that happens inside holds together; inside another one, an error undoes this one alone."""
        async with self._connection.transaction():
            yield

    async def claim(self, which: Which) -> Row | None:
        """A row of this kind whose turn it is and that nobody else holds; of those that are open the lowest of its request."""
        if which == "recorded":
            found = await self._one(_CLAIM_RECORDED)
        else:
            found = await self._one(_CLAIM, which == "start")
        return None if found is None else Row(**found)

    async def asked(self, request_id: str) -> Asked | None:
        """What is to be started."""
        found = await self._one(_ASKED, request_id)
        return None if found is None else Asked(**{**found, "users": tuple(found["users"])})

    async def record(self, row: Row, outcome: Outcome) -> None:
        """What came of a row; of a start and of a command their people are told."""
        match outcome:
            case Later(pause_s, counted, why):
                await self._connection.execute(_LATER, (int(counted), why[:LONGEST_ERROR], pause_s, row.id))
                return
            case Started() | Dropped() if row.kind == "start":  # nobody needs its inline input any more
                await self._connection.execute("select private.request_started(%s)", (row.request_id,))
            case Rejected(why):
                await self._connection.execute("select private.request_rejected(%s, %s)", (row.request_id, why))
            case Answered(status, sentence, heard) if row.command_id:
                told = (row.command_id, status, sentence)
                await self._connection.execute("select private.command_answered(%s::uuid, %s, %s)", told)
                if not heard:
                    await self._connection.execute(_RECORDED, (ASKED_AGAIN_S, row.id))
                    return
            case Answered() | Dropped():  # there is nobody to tell
                pass
        error = outcome.why if isinstance(outcome, Rejected | Dropped) else None
        await self._connection.execute(_DONE, (error, row.id))

    async def waiting(self) -> tuple[int, float, str]:
        """How many rows are not done, for how long (s) the oldest of them waits, and why, if that is known."""
        found = await self._one(_WAITING) or {}
        return found.get("waits", 0), found.get("oldest_s") or 0.0, found.get("why") or ""

    async def stale(self, older_than_s: float, after: str, limit: int) -> Sequence[str]:
        """Requests that are open and of which nothing was heard for so long, in the order of their ids, from `after` on."""
        cursor = await self._connection.execute(_STALE, (older_than_s, after, limit))
        return [row["id"] for row in await cursor.fetchall()]

    async def hurry(self, longer_than_s: float) -> int:
        """Rows that would wait for longer than that are due; how many they are. The database's clock was set back."""
        return (await self._connection.execute(_PUT_OFF_TOO_FAR, (longer_than_s,))).rowcount

    async def end_stale(self, request_id: str, older_than_s: float, how: Ended) -> bool:
        """The request is over, unless something was heard of it meanwhile; True if it was this call that ended it."""
        counts = how.counts
        counted = (
            (counts.total, counts.succeeded, counts.failed, counts.unprocessed) if counts is not None else (None,) * 4
        )
        told = (how.status, how.why, *counted, request_id, older_than_s)
        return (await self._connection.execute(_END_STALE, told)).rowcount > 0

    async def _one(self, statement: LiteralString, *values: object) -> dict[str, Any] | None:
        return await (await self._connection.execute(statement, values)).fetchone()
