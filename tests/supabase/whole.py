"""The front door and all that runs behind it, as processes on this machine: what a hosted project and its operator would have.

1. Postgres, what stands in for the platform, the Edge Functions, the bridge, the workers and the Temporal server are real processes
   on free ports; the emulator runs in this one, so that its ledger can be asked at any moment.
2. Operators are SQL here (organisations, accounts, memberships), people are clients of the gateway (`tests.supabase.person`).
3. Everything ends with the block, and is gone.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from temporalio.client import Client

from emulator.grid import Sheet
from emulator.server import Emulator, EmulatorSettings
from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import ProgressView
from starter.companion import Companion
from starter.connection import connect
from starter.devserver import DevServer
from tests.eventually import eventually
from tests.supabase.person import Person, signed_in
from tests.supabase.platform import seed
from tests.supabase.platform.project import Project, User, running_project
from workflows import names
from workflows.limiter_start import signal_with_start_limiter

SHEET: Final = "Orders"
#: Longer than any token that was given before a pause may still be used for.
SILENCE_S: Final = 2.5
#: A call takes a quarter of a second on average: fast enough for a test, slow enough to look at.
QUOTA: Final = LimiterSettings(
    read_per_project=60,
    read_per_user=40,
    write_per_project=60,
    write_per_user=40,
    window_ns=10 * SECOND_NS,
    spreadsheet_spacing_ns=20_000_000,
)


@dataclass(frozen=True)
class Organisation:
    """One of the front door's organisations; `project` has a limiter of its own."""

    id: str
    name: str
    project: str
    credential: str


@dataclass
class Whole:
    """What runs. `project.url` with `project.key` is all that people are told."""

    project: Project
    client: Client
    emulator: Emulator
    quota: LimiterSettings
    temporal_ui: str = ""
    companions: tuple[Companion, ...] = ()
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- what an operator does

    async def organisation(self, name: str) -> Organisation:
        """A new one, with an account in a project of its own."""
        number = next(self._numbers)
        project, credential = f"project-{number}-{secrets.token_hex(3)}", f"bot-{number}"
        await signal_with_start_limiter(self.client, project, "configure", self.quota)
        made = await asyncio.to_thread(self._seed_organisation, name, project, credential)
        return Organisation(made, name, project, credential)

    async def account(self, organisation: Organisation, role: str, email: str = "", password: str = "") -> User:
        """Somebody who has signed up, and whom the operator has taken into the organisation."""
        user = await self.project.sign_up(email or f"{role}-{next(self._numbers)}@example.com", password)
        await asyncio.to_thread(self._seed_membership, organisation.id, user.id, role)
        return user

    async def person(self, organisation: Organisation, role: str) -> Person:
        """A new member with the real Python client, signed in."""
        account = await self.account(organisation, role)
        return await signed_in(self.project.url, self.project.key, account.email, account.password, organisation.id)

    def _seed_organisation(self, name: str, project: str, credential: str) -> str:
        with psycopg.connect(self.project.database_url) as connection:
            return str(seed.organisation(connection, name, project=project, default_user=credential))

    def _seed_membership(self, organisation: str, user: str, role: str) -> None:
        with psycopg.connect(self.project.database_url) as connection:
            connection.execute(
                "insert into public.memberships (organisation_id, user_id, role) values (%s, %s, %s)",
                (organisation, user, role),
            )

    # -- what the witnesses say

    async def row(self, request: str) -> dict[str, Any]:
        """The read model's row, by SQL."""
        connection = await psycopg.AsyncConnection.connect(self.project.database_url, row_factory=dict_row)
        async with connection:
            cursor = await connection.execute("select * from public.bulk_requests where id = %s", (request,))
            found = await cursor.fetchone()
        assert found is not None
        return found

    async def view(self, request: str) -> ProgressView:
        """Temporal's `progress` query."""
        handle = self.client.get_workflow_handle(names.bulk_request_id(request))
        view: ProgressView = await handle.query("progress", result_type=ProgressView)
        return view

    async def result(self, request: str) -> ProgressView:
        """The workflow's result."""
        handle = self.client.get_workflow_handle(names.bulk_request_id(request), result_type=ProgressView)
        ended: ProgressView = await asyncio.wait_for(handle.result(), 60)
        return ended

    def calls(self, *spreadsheets: str) -> int:
        """How many calls the emulator has had for these."""
        return sum(call.shown()["spreadsheet"] in spreadsheets for call in self.emulator.ledger.calls)

    def values(self, spreadsheet: str, title: str = SHEET) -> list[list[Any]]:
        """The rows of a sheet, as the emulator has them."""
        rows: list[list[Any]] = self.emulator.library.shown(spreadsheet)[title]
        return rows

    def written(self, *spreadsheets: str) -> dict[str, int]:
        """How often each id stands in the first column."""
        rows = (row for spreadsheet in spreadsheets for row in self.values(spreadsheet))
        return dict(Counter(str(row[0]) for row in rows if row and row[0] not in (None, "")))

    async def falls_silent(self, spreadsheet: str, within: float = 20.0) -> int:
        """The number of calls, once it has stayed the same for `SILENCE_S`."""
        clock = asyncio.get_running_loop().time
        seen, since = self.calls(spreadsheet), clock()

        def silent() -> bool:
            nonlocal seen, since
            if self.calls(spreadsheet) != seen:
                seen, since = self.calls(spreadsheet), clock()
            return clock() - since >= SILENCE_S

        await eventually(silent, within)
        return seen

    def must_run(self) -> None:
        """Raises with its last lines if a process has ended by itself."""
        for companion in self.companions:
            companion.must_run()

    # -- what is submitted

    def spreadsheet(self, name: str = "") -> str:
        """A new one with one empty sheet; its id."""
        spreadsheet = name or f"sheet-{next(self._numbers)}"
        self.emulator.library.create(spreadsheet, spreadsheet).sheets = [Sheet(0, SHEET)]
        return spreadsheet

    def add_sheet(self, spreadsheet: str, title: str) -> None:
        """One more sheet in it."""
        sheets = self.emulator.library.spreadsheets[spreadsheet].sheets
        sheets.append(Sheet(len(sheets), title))

    def append(self, name: str, spreadsheet: str) -> dict[str, Any]:
        """An append of one row that begins with the operation's id."""
        return {"id": name, "op": "append", "spreadsheet": spreadsheet, "range": f"{SHEET}!A:B", "values": [[name, 1]]}

    def lines(self, spreadsheet: str, number: int) -> list[dict[str, Any]]:
        """Appends with a read after each: in strict order no two of them travel in one call."""
        read = {"op": "read", "spreadsheet": spreadsheet, "range": f"{SHEET}!A1:B2"}
        pairs = (
            [self.append(f"{spreadsheet}-{n}", spreadsheet), {**read, "id": f"{spreadsheet}-look-{n}"}]
            for n in range(number // 2)
        )
        return list(itertools.chain.from_iterable(pairs))

    @staticmethod
    def appended(lines: Iterable[Mapping[str, Any]]) -> list[str]:
        """The ids of the appends."""
        return [line["id"] for line in lines if line["op"] == "append"]


@asynccontextmanager
async def running_whole(
    folder: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    quota: LimiterSettings = QUOTA,
    ui: bool = False,
) -> AsyncIterator[Whole]:
    """All of it; what it keeps it keeps in `folder`. Raises Unavailable where a program is missing."""
    async with AsyncExitStack() as parts:
        say("Postgres and what stands in for Supabase …")
        project = await parts.enter_async_context(running_project(folder / "project", with_example=True))
        say("Temporal …")
        server = DevServer(names.SEARCH_ATTRIBUTES, ui_port=0 if ui else None, say=say)
        await parts.enter_async_context(server)
        client = await connect(address=server.address)
        emulator = await parts.enter_async_context(Emulator(EmulatorSettings(quota=False)))
        environ = _environ(folder, project, server.address, emulator.url)
        say("workers and bridge …")
        bridge = Companion("bridge", ["starter.cli", "bridge"], environ, folder / "bridge.log")
        worker = Companion("worker", ["worker"], environ, folder / "worker.log")
        for companion in (bridge, worker):
            await parts.enter_async_context(companion)
        yield Whole(project, client, emulator, quota, server.ui_url or "", (bridge, worker))


def _environ(folder: Path, project: Project, temporal: str, sheets: str) -> dict[str, str]:
    """What bridge and workers see: this process's environment, but none of its Temporal and headgate settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HEADGATE_"))}
    nothing = folder / "temporal.toml"
    nothing.touch()
    return {
        **kept,
        "TEMPORAL_CONFIG_FILE": str(nothing),
        "TEMPORAL_ADDRESS": temporal,
        "HEADGATE_SHEETS_URL": sheets,
        "HEADGATE_STORE": str(folder / "store"),
        "HEADGATE_INBOX_URL": project.role_url("headgate_bridge"),
        "HEADGATE_PROJECTION_URL": project.role_url("headgate_projector"),
        **project.uploads,
    }
