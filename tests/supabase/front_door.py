"""Organisations, requests and commands as the front door's database takes them, and bridges as processes of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from temporalio.client import Client

from activities.store import Store
from headgate import databases
from starter.bridge import Bridge, Pace
from starter.carrying import Carrier
from tests.eventually import eventually

if TYPE_CHECKING:
    from tests.supabase.conftest import Database

LINE = b'{"op": "append", "spreadsheet": "s", "range": "Orders!A:B", "values": [["a", 1]]}\n'


@dataclass
class FrontDoor:
    """One organisation in a database of the test's own, seen by the database's owner."""

    database: Database
    folder: Path
    organisation: str = ""
    bridges: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.database.url("headgate_bridge")

    @property
    def store(self) -> Path:
        return self.folder / "store"

    async def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What a statement of the owner returns."""
        connection = await psycopg.AsyncConnection.connect(self.database.url(), autocommit=True, row_factory=dict_row)
        async with connection:
            cursor = await connection.execute(statement, values)
            rows = cursor.rownumber is not None  # also of a `select from`, whose rows have no columns to describe
            return await cursor.fetchall() if rows else []

    async def with_account(self, project: str = "p", users: tuple[str, ...] = (), default: str = "bot") -> str:
        """A new organisation that may submit as much as it likes; its id."""
        made = await self.sql("insert into public.organisations (name) values ('acme') returning id::text")
        await self.sql(
            "insert into private.accounts (organisation_id, project, default_user, users, submits_per_minute,"
            " commands_per_minute) values (%s, %s, %s, %s, 1000000, 1000000)",
            made[0]["id"],
            project,
            default,
            list(users),
        )
        organisation: str = made[0]["id"]
        self.organisation = self.organisation or organisation
        return organisation

    async def submit(self, content: bytes = LINE, **columns: object) -> str:
        """The id of a new request with this inline input."""
        given = {"organisation_id": self.organisation, "operations": content.decode(), **columns}
        names = ", ".join(given)
        places = ", ".join(["%s"] * len(given))
        made = await self.sql(
            f"insert into public.bulk_requests ({names}) values ({places}) returning id", *given.values()
        )
        request_id: str = made[0]["id"]
        return request_id

    async def upload(self, content: bytes) -> str:
        """The id of a request whose input is announced, and lies in Storage."""
        sha256 = hashlib.sha256(content).hexdigest()
        made = await self.sql(
            "insert into public.bulk_requests (organisation_id, input_sha256, input_bytes) values (%s, %s, %s)"
            " returning id, input_path",
            self.organisation,
            sha256,
            len(content),
        )
        await self.sql(
            "insert into storage.objects (bucket_id, name, metadata) values ('inputs', %s, %s)",
            made[0]["input_path"],
            json.dumps({"size": len(content)}),
        )
        request_id: str = made[0]["id"]
        return request_id

    async def command(self, request_id: str, kind: str, argument: str | None = None) -> str:
        """The id of a new command."""
        command_id = str(uuid.uuid4())
        await self.sql(
            "insert into public.commands (id, request_id, kind, argument) values (%s, %s, %s, %s)",
            command_id,
            request_id,
            kind,
            argument,
        )
        return command_id

    async def request(self, request_id: str) -> dict[str, Any]:
        return (await self.sql("select * from public.bulk_requests where id = %s", request_id))[0]

    async def answered(self, command_id: str) -> dict[str, Any] | None:
        """The command, once it is answered."""
        row = (await self.sql("select * from public.commands where id = %s", command_id))[0]
        return row if row["status"] != "pending" else None

    async def open_rows(self) -> list[dict[str, Any]]:
        """What the inbox still holds, in its order."""
        return await self.sql("select * from private.inbox where done_at is null order by id")

    async def is_done(self) -> bool:
        return not await self.open_rows()

    async def events(self, request_id: str) -> list[tuple[str, Any]]:
        """Kinds and data of what the audit holds of a request, in order."""
        rows = await self.sql("select kind, data from public.events where request_id = %s order by id", request_id)
        return [(row["kind"], row["data"]) for row in rows]

    # Bridges

    def environ(self, address: str, **more: str) -> Mapping[str, str]:
        """What a bridge reads."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HEADGATE_", "TEMPORAL_"))},
            "TEMPORAL_ADDRESS": address,
            "HEADGATE_INBOX_URL": self.url,
            "HEADGATE_STORE": str(self.store),
            **more,
        }

    async def bridge(self, address: str, *flags: str, **environ: str) -> asyncio.subprocess.Process:
        """A bridge; its log is appended to `bridge.log`."""
        with (self.folder / "bridge.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "starter.cli",
                "bridge",
                *flags,
                env=self.environ(address, **environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self.bridges.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.folder / "bridge.log").read_text()

    async def killed(self, process: asyncio.subprocess.Process) -> None:
        """By SIGKILL, as a crash."""
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def finished(self, process: asyncio.subprocess.Process, within: float = 30.0) -> int:
        """The exit code after SIGTERM, which a process that is still coming up does not handle yet."""

        def handles_it() -> bool:
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
            return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

        if process.returncode is None:
            await eventually(handles_it, timeout=within)
        process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(process.wait(), within)

    # In this process

    @asynccontextmanager
    async def bridging(
        self, client: Client | None, carrier: Carrier | None = None, **pace: Any
    ) -> AsyncIterator[Bridge]:
        """A bridge in this process. It looks once a minute only, so that what is done is done by NOTIFY, unless told otherwise."""

        async def reach() -> Client:
            assert client is not None
            return client

        made = Bridge(self.inbox, carrier or Carrier(reach, self.kept()), Pace(**{"poll_s": 60.0, **pace}))
        working = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            made.end()
            await asyncio.wait_for(working, 60)

    @property
    def inbox(self) -> databases.Database:
        """As a bridge is told of it."""
        named = databases.Database.from_environ({"HEADGATE_INBOX_URL": self.url}, "HEADGATE_INBOX_URL", listens=True)
        assert named is not None
        return named

    def kept(self) -> Store:
        """The store that a bridge puts inputs into."""
        return Store.open(str(self.store))


async def started(client: Client, organisation: str) -> Counter[str]:
    """How many runs each workflow of an organisation has, by the server's visibility."""
    found = client.list_workflows(f"HeadgateOwner = '{organisation}'")
    return Counter([execution.id async for execution in found])


@asynccontextmanager
async def front_door(database: Database, folder: Path) -> AsyncIterator[FrontDoor]:
    """An organisation with an account, and no bridge left at the end."""
    door = FrontDoor(database, folder)
    await door.with_account()
    try:
        yield door
    finally:
        for process in door.bridges:
            if process.returncode is None:
                await door.killed(process)
