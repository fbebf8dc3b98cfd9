"""Servers for the tests of the front door: a Postgres for the session, a database for each test.

A tier whose program is missing skips with the reason, which pytest repeats at the end (`-ra`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.supabase.front_door import FrontDoor, front_door
from tests.supabase.platform import functions
from tests.supabase.platform.postgres import Postgres, Unavailable
from tests.supabase.platform.project import Project, running_project
from tests.supabase.whole import Whole, running_whole


@dataclass(frozen=True)
class Database:
    """One database with all migrations and nothing else in it."""

    server: Postgres
    name: str

    def url(self, role: str = "postgres") -> str:
        """For `postgres` (owner), `authenticator` (PostgREST), `headgate_bridge`, `headgate_projector`, `supabase_admin`."""
        return self.server.url(role, self.name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server that tests share: Postgres 15 of Debian, else 17 of npm."""
    missing: list[str] = []
    for version in (15, 17):
        try:
            with Postgres(version, old_project=version == 15) as server:
                yield server
        except Unavailable as unavailable:
            missing.append(str(unavailable))
        else:
            return
    pytest.skip("; ".join(missing))


@pytest.fixture(scope="module", params=[15, 17])
def each_postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server of the module's own, whose tests run on both: 15 is an old project, where what is made in `public` is
    everybody's; 17 is a new one."""
    try:
        with Postgres(request.param, old_project=request.param == 15) as server:
            yield server
    except Unavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A database of the test's own."""
    name = postgres.database()
    yield Database(postgres, name)
    postgres.drop(name)


@pytest.fixture(scope="session")
async def project(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Project]:
    """The platform that tests share: each makes organisations and people of its own."""
    try:
        async with running_project(tmp_path_factory.mktemp("project"), postgres) as running:
            yield running
    except (Unavailable, functions.Unavailable) as missing:
        pytest.skip(str(missing))


@pytest.fixture
async def door(database: Database, tmp_path: Path) -> AsyncIterator[FrontDoor]:
    """An organisation with an account, in a database of the test's own."""
    async with front_door(database, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    """A platform with the example page, and all that runs behind it, for the tests from end to end."""
    try:
        async with running_whole(tmp_path_factory.mktemp("whole")) as running:
            yield running
    except (Unavailable, functions.Unavailable) as missing:
        pytest.skip(str(missing))
