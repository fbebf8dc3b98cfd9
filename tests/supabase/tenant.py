"""An organisation of a test's own, with one member who has signed in; and what the projection would do to its requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from tests.supabase.platform import seed
from tests.supabase.platform.project import Project, User

Json = dict[str, Any]


@dataclass(frozen=True)
class Tenant:
    """`user` is its member; the rest is done as the database's owner."""

    project: Project
    organisation: UUID
    user: User

    def connection(self) -> psycopg.Connection[Any]:
        """The owner's; commits at the end of the `with`."""
        return psycopg.connect(self.project.database_url, row_factory=dict_row)

    def request(self, **columns: Any) -> str:
        """The id of a new request of the member's."""
        values = {
            "organisation_id": self.organisation,
            "created_by": self.user.id,
            "operations": '{"id": "1"}',
            **columns,
        }
        with self.connection() as connection:
            statement = sql.SQL("insert into bulk_requests ({}) values ({}) returning id").format(
                sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Placeholder, values))
            )
            found = connection.execute(statement, values).fetchone()
        assert found is not None
        return str(found["id"])

    def update(self, request: str, **columns: Any) -> None:
        """One write of the row, with the next version."""
        values = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in columns.items()}
        with self.connection() as connection:
            statement = sql.SQL("update bulk_requests set version = version + 1, {} where id = {}").format(
                sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(n), sql.Placeholder(n)) for n in values),
                sql.Placeholder("request"),
            )
            connection.execute(statement, {**values, "request": request})

    def end(self, request: str, **columns: Any) -> None:
        """The last write of the row."""
        self.update(request, finished_at=datetime.now(UTC), **columns)

    def row(self, request: str) -> Json:
        """The row as it is now."""
        with self.connection() as connection:
            found = connection.execute("select * from bulk_requests where id = %s", (request,)).fetchone()
        assert found is not None
        return dict(found)

    def shows(self, told: Json, request: str) -> bool:
        """Whether what a client was told is the row as it is now."""
        row = self.row(request)
        return bool(told) and (
            told["revision"],
            told["version"],
            told["status"],
            told["priority"],
            told["operations"],
            told["failures"],
        ) == (
            row["revision"],
            row["version"],
            row["status"],
            row["priority"],
            {name: row[f"operations_{name}"] for name in ("total", "succeeded", "failed", "unprocessed")},
            row["failures"],
        )


async def tenant(project: Project) -> Tenant:
    """A new one."""
    user = await project.sign_up()
    with psycopg.connect(project.database_url) as connection:
        organisation = seed.organisation(connection)
        seed.membership(connection, organisation, UUID(user.id), "member")
    return Tenant(project, organisation, user)
