"""What is inserted into one table, streamed by logical decoding as Realtime itself reads it (pgoutput, version 1).

1. The slot is temporary: it ends with the connection, and what is inserted while there is none is never seen.
2. Rows of partitions come under their root (`publish_via_partition_root`), so that tomorrow's partition is no surprise.
3. A row is seen once its transaction has committed, in the order of the commits.
"""

from __future__ import annotations

import asyncio
import struct
import time
import uuid
from collections.abc import AsyncIterator

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGconn

Row = dict[str, str | None]

KEEPALIVE, DATA = b"k", b"w"
_POSTGRES_EPOCH = 946_684_800


class StreamEnded(Exception):
    """The connection to Postgres is gone, and the slot with it."""


def published(url: str, table: tuple[str, str], publication: str) -> None:
    """There is a publication of the table's inserts by that name."""
    with psycopg.connect(url, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_publication where pubname = %s", (publication,)).fetchone():
            connection.execute(
                sql.SQL(
                    "create publication {} for table {} with (publish = 'insert', publish_via_partition_root = true)"
                ).format(sql.Identifier(publication), sql.Identifier(*table))
            )


class Inserts:
    """The stream of a publication's inserted rows, as texts by column name: an async context and an async iterator.

    Entering it creates the slot: whatever commits from then on is seen. `url` is a role's with REPLICATION.
    """

    def __init__(self, url: str, publication: str) -> None:
        self._url = url
        self._publication = publication
        self._columns: dict[int, list[str]] = {}

    async def __aenter__(self) -> Inserts:
        self._pg = await asyncio.to_thread(self._start)
        self._pg.nonblocking = 1
        self._readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pg.socket, self._readable.set)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._pg.finish()

    async def __aiter__(self) -> AsyncIterator[Row]:
        while True:
            await self._readable.wait()
            self._readable.clear()
            try:
                self._pg.consume_input()
                while message := self._next():
                    if (row := self._taken(message)) is not None:
                        yield row
            except psycopg.Error as problem:
                raise StreamEnded(str(problem).strip()) from problem

    def _start(self) -> PGconn:
        pg = pq.PGconn.connect(f"{self._url}{'&' if '?' in self._url else '?'}replication=database".encode())
        if pg.status != pq.ConnStatus.OK:
            raise StreamEnded(pg.get_error_message())
        self._socket = pg.socket
        slot = f"relay_{uuid.uuid4().hex}"
        for command, wanted in (
            (f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT", pq.ExecStatus.TUPLES_OK),
            (
                f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names '{self._publication}')",
                pq.ExecStatus.COPY_BOTH,
            ),
        ):
            if pg.exec_(command.encode()).status != wanted:
                problem = pg.get_error_message()
                pg.finish()
                raise StreamEnded(problem)
        return pg

    def _next(self) -> bytes | None:
        """The next message that is here; None: none is."""
        size, data = self._pg.get_copy_data(1)
        if size > 0:
            return bytes(data)
        if size == 0:
            return None
        raise StreamEnded("Postgres ended the replication")

    def _taken(self, message: bytes) -> Row | None:
        """The inserted row that a message brings, if it brings one."""
        kind = message[:1]
        if kind == KEEPALIVE:
            (end,) = struct.unpack_from("!Q", message, 1)
            self._confirm(end)
            return None
        if kind != DATA:
            return None
        body = message[25:]
        if body[:1] == b"R":
            relation, columns = _relation(body)
            self._columns[relation] = columns
        elif body[:1] == b"I":
            (relation,) = struct.unpack_from("!I", body, 1)
            return dict(zip(self._columns[relation], _tuple(body, 6), strict=True))
        return None

    def _confirm(self, position: int) -> None:
        """Tells the server that everything up to here is taken, so that it keeps the connection and not the WAL."""
        now = int((time.time() - _POSTGRES_EPOCH) * 1_000_000)
        self._pg.put_copy_data(b"r" + struct.pack("!QQQQB", position, position, position, now, 0))
        self._pg.flush()


def _relation(body: bytes) -> tuple[int, list[str]]:
    """The number of a relation and the names of its columns, of an R message."""
    (number,) = struct.unpack_from("!I", body, 1)
    at = body.index(b"\0", body.index(b"\0", 5) + 1) + 2
    (count,) = struct.unpack_from("!H", body, at)
    at += 2
    names = []
    for _ in range(count):
        end = body.index(b"\0", at + 1)
        names.append(body[at + 1 : end].decode())
        at = end + 9
    return number, names


def _tuple(body: bytes, at: int) -> list[str | None]:
    """The values of a row, of an I message."""
    (count,) = struct.unpack_from("!H", body, at)
    at += 2
    values: list[str | None] = []
    for _ in range(count):
        kind = body[at : at + 1]
        at += 1
        if kind != b"t":
            values.append(None)
            continue
        (size,) = struct.unpack_from("!I", body, at)
        values.append(body[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return values
