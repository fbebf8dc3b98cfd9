"""What is away comes back: Temporal, the database, the store, a connection in the middle of a row; nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

import starter.bridge
from headgate.inbox import Asked
from headgate.inbox_outcomes import Outcome
from starter.carrying import Carrier
from starter.connection import connect
from starter.devserver import DevServer
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.supabase.conftest import Database
from tests.supabase.front_door import FrontDoor, front_door, started
from tests.supabase.platform.postgres import Postgres


def said(caplog: pytest.LogCaptureFixture, message: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage() == message]


async def test_a_temporal_that_is_away_is_waited_for_and_never_an_attempt(
    door: FrontDoor, start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headgate.bridge")
    server = await start_server()

    async def reach() -> Client:
        return await connect(server.address, within_s=2)

    await server.stop()
    async with door.bridging(None, Carrier(reach, door.kept()), poll_s=0.2):
        ids = [await door.submit() for _ in range(5)]

        async def told() -> bool:
            return any("no Temporal server answers" in (row["last_error"] or "") for row in await door.open_rows())

        await eventually(told, timeout=20)
        await server.start()
        await eventually(door.is_done, timeout=60)
        await server.stop(abruptly=True)  # under a client that was connected
        ids += [await door.submit() for _ in range(3)]
        commands = [await door.command(ids[0], "pause")]

        async def told_again() -> bool:
            rows = await door.open_rows()
            return {row["kind"] for row in rows if "does not answer" in (row["last_error"] or "")} == {"start", "pause"}

        await eventually(told_again, timeout=60)
        await server.start()
        await eventually(door.is_done, timeout=90)
    assert await door.sql("select from private.inbox where attempts > 0") == []
    assert {row["status"] for row in await door.sql("select status from public.bulk_requests")} == {"planning"}
    # Its memory ended with the server: what was started before is unknown to it, and the command is told so.
    assert "there is no request" in ((await door.answered(commands[0])) or {})["answer"]
    assert 2 <= len(said(caplog, "Temporal cannot be reached")) <= 3
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    for request_id in ids[5:]:
        assert (await client.get_workflow_handle(f"bulk/{request_id}").describe()).id


async def test_a_database_that_restarts_in_the_middle_costs_nothing(
    tmp_path: Path, temporal_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """By a crash and in good order, with several bridges."""
    caplog.set_level(logging.INFO, "headgate.bridge")
    with Postgres(15) as server:
        name = server.database()
        async with front_door(Database(server, name), tmp_path) as door:
            ids: list[str] = []

            async def submitting() -> None:
                while len(ids) < 150:
                    try:
                        ids.append(await door.submit())
                    except psycopg.OperationalError:
                        await asyncio.sleep(0.1)

            async with door.bridging(temporal_client), door.bridging(temporal_client):
                submitted = asyncio.create_task(submitting())
                await eventually(lambda: len(ids) >= 50, timeout=60)
                await asyncio.to_thread(server.restart, "immediate")
                await eventually(lambda: len(ids) >= 100, timeout=60)
                await asyncio.to_thread(server.restart, "fast")
                await submitted
                await eventually(door.is_done, timeout=60)
            rows = await door.sql("select id from public.bulk_requests where status = 'planning'")
            everything = Counter(f"bulk/{row['id']}" for row in rows)
            assert {f"bulk/{request_id}" for request_id in ids} <= set(everything)

            async def found() -> bool:
                return await started(temporal_client, door.organisation) == everything

            await eventually(found, timeout=30)
            assert await door.sql("select from private.inbox where attempts > 0") == []
    lost = said(caplog, "The database cannot be used")
    assert 2 <= len(lost) <= 2 * 2 + 2, "once for each bridge and restart, or once more where it flickered"
    assert len(said(caplog, "The database answers again")) >= 2


class Dying(Carrier):
    """Loses the bridge's own connection after the workflow was started, before that is recorded."""

    door: FrontDoor
    starts = 0

    async def start(self, asked: Asked | None) -> Outcome:
        outcome = await super().start(asked)
        self.starts += 1
        if self.starts == 1:
            admin = self.door.database.url("supabase_admin")
            connection = await psycopg.AsyncConnection.connect(admin, autocommit=True)
            async with connection:
                ended = await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and state = 'idle in transaction'"
                )
                assert await ended.fetchall() == [(True,)]
        return outcome


async def test_a_bridge_that_dies_between_start_and_record_starts_nothing_twice(
    door: FrontDoor, temporal_client: Client
) -> None:
    async def reach() -> Client:
        return temporal_client

    carrier = Dying(reach, door.kept())
    carrier.door = door
    async with door.bridging(temporal_client, carrier, at_once=1):
        request_id = await door.submit()
        await eventually(door.is_done, timeout=20)
    assert carrier.starts == 2

    async def once() -> bool:
        return await started(temporal_client, door.organisation) == Counter([f"bulk/{request_id}"])

    await eventually(once, timeout=20)
    assert (await door.request(request_id))["status"] == "planning"
    assert await door.sql("select from private.inbox where attempts > 0") == []


async def test_a_store_that_is_away_keeps_no_upload_from_starting(door: FrontDoor, temporal_client: Client) -> None:
    door.store.mkdir()
    store = door.kept()
    folder = door.store / "requests"
    folder.write_text("a file where a folder should be")

    async def reach() -> Client:
        return temporal_client

    async with door.bridging(temporal_client, Carrier(reach, store), poll_s=0.2):
        inline = await door.submit()
        uploaded = await door.upload(b"x\n")
        await door.command(uploaded, "finalize")

        async def told() -> bool:
            rows = await door.open_rows()
            return [row["request_id"] for row in rows if "cannot be reached" in (row["last_error"] or "")] == [inline]

        await eventually(told, timeout=20)

        async def planning() -> bool:
            return str((await door.request(uploaded))["status"]) == "planning"

        await eventually(planning, timeout=20)
        folder.unlink()
        await eventually(door.is_done, timeout=30)
    assert await door.sql("select from private.inbox where attempts > 0") == []


class Stuck(Carrier):
    """Waits for ever for whatever it needs for one request."""

    stuck = ""

    async def start(self, asked: Asked | None) -> Outcome:
        assert asked is not None
        if asked.id == self.stuck:
            await asyncio.Event().wait()
        return await super().start(asked)


async def test_what_takes_too_long_is_put_off_before_the_database_ends_its_transaction(
    door: FrontDoor, temporal_client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(starter.bridge, "CARRIED_WITHIN_S", 0.5)

    async def reach() -> Client:
        return temporal_client

    carrier = Stuck(reach, door.kept())
    carrier.stuck = await door.submit()
    async with door.bridging(temporal_client, carrier, at_once=1, poll_s=0.2):
        good = await door.submit()

        async def told() -> bool:
            rows = await door.open_rows()
            return [row["request_id"] for row in rows if "not carried in" in (row["last_error"] or "")] == [
                carrier.stuck
            ]

        await eventually(told, timeout=20)

        async def planning() -> bool:
            return str((await door.request(good))["status"]) == "planning"

        await eventually(planning, timeout=20)
        carrier.stuck = ""
        await eventually(door.is_done, timeout=30)
    assert await door.sql("select from private.inbox where attempts > 0") == []
    assert "The database cannot be used" not in caplog.messages


# As a process


async def once(door: FrontDoor, address: str, *flags: str, **environ: str) -> tuple[int, Any]:
    """Exit code and answer of `headgate bridge --once`."""
    process = await door.bridge(address, "--once", *flags, **environ)
    answer, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, json.loads(answer) if answer.strip() else None


async def test_once_does_what_is_there_and_says_what_kept_it(door: FrontDoor, temporal_server: DevServer) -> None:
    assert await once(door, temporal_server.address, "--json") == (0, {})
    ids = [await door.submit() for _ in range(7)]
    assert await once(door, temporal_server.address, "--json") == (0, {"started": 7})
    assert await door.is_done()
    assert {(await door.request(request_id))["status"] for request_id in ids} == {"planning"}
    lines = [json.loads(line) for line in door.log.splitlines()]
    assert [line["message"] for line in lines].count("Request started") == 7

    await door.submit()
    assert await once(door, "127.0.0.1:1") == (3, None)
    assert "Temporal cannot be reached" in door.log
    assert len(await door.open_rows()) == 1


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("", 2, "HEADGATE_INBOX_URL is not set"),
        ("postgresql://bridge:sekret@127.0.0.1:6543/x", 2, "transaction pooler"),
        ("postgresql://bridge:sekret@127.0.0.1:1/x", 3, "the database at bridge@127.0.0.1:1/x cannot be used"),
        ("postgresql://bridge:sekret@127.0.0.1:port/x", 2, "is not an address"),
    ],
)
async def test_what_keeps_it_from_running_is_said_without_the_password(
    door: FrontDoor, temporal_server: DevServer, url: str, code: int, why: str
) -> None:
    assert await once(door, temporal_server.address, HEADGATE_INBOX_URL=url) == (code, None)
    assert why in door.log
    assert "sekret" not in door.log
    assert "Traceback" not in door.log


async def test_a_role_that_may_not_is_said_once_and_waited_for(
    door: FrontDoor, temporal_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await door.sql("revoke select on private.inbox from headgate_bridge")
    async with door.bridging(temporal_client, poll_s=0.1):
        request_id = await door.submit()
        await eventually(lambda: said(caplog, "The database cannot be used"))
        await door.sql("grant select on private.inbox to headgate_bridge")
        await eventually(door.is_done, timeout=20)
    assert (await door.request(request_id))["status"] == "planning"
    (lost,) = said(caplog, "The database cannot be used")
    assert "permission denied" in lost.__dict__["why"]


async def test_rights_that_are_missing_are_no_attempt(
    door: FrontDoor, temporal_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The row can be claimed, and what it needs cannot be read: an operator's matter, not the user's."""
    await door.sql("revoke select on private.accounts from headgate_bridge")
    async with door.bridging(temporal_client, poll_s=0.1):
        request_id = await door.submit()
        await eventually(lambda: len(said(caplog, "The database does not let a row pass")) > 5, timeout=30)
        ((attempts, why),) = [
            (row["attempts"], row["last_error"])
            for row in await door.sql("select * from private.inbox where done_at is null")
        ]
        assert attempts == 0
        assert "permission denied" in why
        await door.sql("grant select on private.accounts to headgate_bridge")
        await eventually(door.is_done, timeout=30)
    assert (await door.request(request_id))["status"] == "planning"
