"""What a test's database begins with: organisations, their accounts, people and where they belong.

Each takes a connection of the owner (`Postgres.url()`); nothing is committed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg


def organisation(
    connection: psycopg.Connection[Any],
    name: str = "Acme",
    *,
    project: str | None = "acme-project",
    default_user: str = "billing-bot",
    users: Sequence[str] = (),
    submits_per_minute: int = 100_000,
    commands_per_minute: int = 100_000,
    member_share: float = 1,
) -> UUID:
    """A new organisation; with an account unless `project` is None."""
    (made,) = _row(connection, "insert into public.organisations (name) values (%s) returning id", name)
    if project is not None:
        account(connection, made, project, default_user, users, submits_per_minute, commands_per_minute, member_share)
    return UUID(str(made))


def account(
    connection: psycopg.Connection[Any],
    organisation: UUID,
    project: str,
    default_user: str,
    users: Sequence[str] = (),
    submits_per_minute: int = 100_000,
    commands_per_minute: int = 100_000,
    member_share: float = 1,
) -> None:
    connection.execute(
        "insert into private.accounts values (%s, %s, %s, %s, %s, %s, %s)",
        (organisation, project, default_user, list(users), submits_per_minute, commands_per_minute, member_share),
    )


def user(connection: psycopg.Connection[Any], email: str | None = None) -> UUID:
    """A new person, known to auth by an address of their own."""
    (made,) = _row(connection, "insert into auth.users (email) values (%s) returning id", email or f"{uuid4()}@test")
    return UUID(str(made))


def membership(connection: psycopg.Connection[Any], organisation: UUID, user: UUID, role: str = "member") -> None:
    connection.execute(
        "insert into public.memberships (organisation_id, user_id, role) values (%s, %s, %s)",
        (organisation, user, role),
    )


def uploaded(connection: psycopg.Connection[Any], path: str, size: int | None) -> None:
    """Storage's row of a file in the bucket `inputs`, as after an upload."""
    connection.execute(
        "insert into storage.objects (bucket_id, name, metadata) values ('inputs', %s, %s)",
        (path, None if size is None else json.dumps({"size": size})),
    )


@contextmanager
def acting_as(
    connection: psycopg.Connection[Any], user: UUID | None, role: str = "authenticated", *, keep: bool = True
) -> Iterator[None]:
    """A transaction as PostgREST makes one for this user's token, rolled back unless `keep`; `user` None: no `sub`."""
    claims = {"role": role} | ({"sub": str(user)} if user else {})
    with connection.transaction(force_rollback=not keep):
        connection.execute("select set_config('role', %s, true)", (role,))
        connection.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps(claims),))
        yield
        connection.execute("reset role")


def _row(connection: psycopg.Connection[Any], query: str, *values: object) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
    assert row is not None
    return row
