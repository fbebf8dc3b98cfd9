"""Who may read or write a topic, asked of Postgres as Realtime asks: by trying, as the user, and rolling back."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import psycopg

from tests.supabase.platform.tokens import Claims, Refused

#: A transaction becomes the user's, until it ends.
AS_THE_USER = """
select set_config('role', %(role)s, true), set_config('realtime.topic', %(topic)s, true),
       set_config('request.jwt.claims', %(claims)s, true), set_config('request.jwt.claim.sub', %(sub)s, true),
       set_config('request.jwt.claim.role', %(role)s, true), set_config('request.headers', '{}', true)
"""
_PROBE = "insert into realtime.messages (id, topic, extension) values (%s, %s, 'broadcast')"


class Permissions:
    """Asks on one connection of the owner's, one question at a time; a connection that broke is made anew."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = asyncio.Lock()
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def may_read(self, topic: str, claims: Claims) -> bool:
        """Whether the policies show the user a message of the topic: a probe is inserted and looked for."""
        probe = uuid.uuid4()
        try:
            async with self._lock, self._rolled_back() as cursor:
                await cursor.execute(_PROBE, (probe, topic))
                await cursor.execute(AS_THE_USER, settings_of(topic, claims))
                await cursor.execute("select 1 from realtime.messages where id = %s", (probe,))
                return await cursor.fetchone() is not None
        except psycopg.errors.CheckViolation:
            raise Refused("MissingPartition", "Realtime was unable to find the expected messages partition") from None
        except psycopg.OperationalError:
            raise _no_database() from None
        except psycopg.DatabaseError:
            return False

    async def may_write(self, topic: str, claims: Claims) -> bool:
        """Whether the policies let the user insert a message of the topic."""
        try:
            async with self._lock, self._rolled_back() as cursor:
                await cursor.execute(AS_THE_USER, settings_of(topic, claims))
                await cursor.execute(_PROBE, (uuid.uuid4(), topic))
                return True
        except psycopg.OperationalError:
            raise _no_database() from None
        except psycopg.DatabaseError:
            return False

    async def close(self) -> None:
        """The connection ends."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _rolled_back(self) -> _RolledBack:
        return _RolledBack(self)

    async def connection(self) -> psycopg.AsyncConnection[Any]:
        """The connection, or a new one where the last one broke."""
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self._url, connect_timeout=5)
        return self._connection


class _RolledBack:
    """A cursor in a transaction of which nothing remains; tried twice where the connection had gone stale."""

    def __init__(self, permissions: Permissions) -> None:
        self._permissions = permissions

    async def __aenter__(self) -> psycopg.AsyncCursor[Any]:
        for last in (False, True):
            connection = await self._permissions.connection()
            try:
                await connection.execute("select 1")
                break
            except psycopg.OperationalError:
                await connection.close()
                if last:
                    raise
        self._connection = connection
        return connection.cursor()

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._connection.rollback()
        except psycopg.OperationalError:
            await self._connection.close()


def settings_of(topic: str, claims: Claims) -> dict[str, str]:
    """What AS_THE_USER sets for these claims; `topic` is Realtime's."""
    return {
        "role": str(claims["role"]),
        "topic": topic,
        "claims": json.dumps(claims),
        "sub": str(claims.get("sub", "")),
    }


def _no_database() -> Refused:
    return Refused("UnableToConnectToProject", "Realtime was unable to connect to the project database")
