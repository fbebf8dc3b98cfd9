"""What failed in a request that is over goes again, however long it takes to read, and no row waits for it in a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.contrib.pydantic import pydantic_data_converter

import activities.leftovers
import starter.carrying
import starter.inbox
from activities.results import read_results
from headgate.messages.views import ProgressView
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import Stack, running_stack
from tests.supabase.front_door import FrontDoor
from tests.supabase.test_bridge_commands import carrier_of
from workflows import names, policies
from workflows.submitted import submitted


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of a row, in seconds where they are minutes."""
    session = starter.inbox._SESSION.replace("'120s'", "'2s'")
    assert session != starter.inbox._SESSION
    monkeypatch.setattr(starter.inbox, "_SESSION", session)
    monkeypatch.setattr(starter.carrying, "DONE_WITHIN_S", 1.0)


@asynccontextmanager
async def over(door: FrontDoor, start_server: StartServer, folder: Path) -> AsyncIterator[tuple[Client, Stack, str]]:
    """A request that is over, with one dead letter."""
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, folder) as stack:
        await door.sql("update private.accounts set project = %s", await stack.project())
        async with door.bridging(client, carrier_of(stack)):
            request_id = await door.submit()
            await eventually(door.is_done)
        handle = client.get_workflow_handle(names.bulk_request_id(request_id), result_type=ProgressView)
        assert (await asyncio.wait_for(handle.result(), 60)).operations.failed == 1
        yield client, stack, request_id


async def most_attempts(door: FrontDoor) -> int:
    return int((await door.sql("select max(attempts) as most from private.inbox"))[0]["most"])


@pytest.mark.usefixtures("impatient")
async def test_results_that_take_longer_to_read_than_a_row_may_take_are_read(
    door: FrontDoor,
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reads = 0

    async def slowly(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(5)
        async for result in read_results(*arguments, **options):
            yield result

    monkeypatch.setattr(activities.leftovers, "read_results", slowly)
    async with over(door, start_server, tmp_path) as (client, stack, request_id):
        async with door.bridging(client, carrier_of(stack)), door.bridging(client, carrier_of(stack)):
            commands = [await door.command(request_id, kind) for kind in ("retry_failed", "pause", "retry_failed")]
            await eventually(door.is_done, timeout=60)
        retried, paused, again = [await door.answered(command_id) or {} for command_id in commands]
        assert (retried["status"], retried["answer"]) == ("accepted", f"1 operation goes again as {request_id}.retry1")
        assert paused["status"] == "refused"
        assert again["answer"].startswith(f"1 operation goes again as {request_id}.retry1 already")
        assert reads == 2, "once for each command, whichever bridge asks how often"
        assert await most_attempts(door) == 0
        request = await submitted(client, f"{request_id}.retry1")
        assert request is not None
        assert request.organisation == door.organisation
    assert "The database cannot be used" not in caplog.messages, "no row was held for longer than it may"


@pytest.mark.usefixtures("impatient")
async def test_results_that_can_never_be_read_end_the_command(
    door: FrontDoor, start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    async def never(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        nonlocal reads
        reads += 1
        raise ValueError("odd")
        yield

    monkeypatch.setattr(activities.leftovers, "read_results", never)
    few = RetryPolicy(**{**vars(policies.RETRY_OVER["retry_policy"]), "maximum_attempts": 3})
    monkeypatch.setitem(policies.RETRY_OVER, "retry_policy", few)
    async with over(door, start_server, tmp_path) as (client, stack, request_id):
        async with door.bridging(client, carrier_of(stack)):
            commands = [await door.command(request_id, kind) for kind in ("retry_failed", "resume")]
            await eventually(door.is_done, timeout=60)
        retried, resumed = [await door.answered(command_id) or {} for command_id in commands]
        assert retried["status"] == "failed"
        assert "what failed could not be read" in retried["answer"]
        assert "say it again" in retried["answer"]
        assert resumed["status"] == "refused"
        assert reads == 3


async def test_where_nothing_failed_a_retry_is_refused(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    async with over(door, start_server, tmp_path) as (client, stack, _):
        stack.spreadsheets("s")
        async with door.bridging(client, carrier_of(stack)):
            good = await door.submit()
            await eventually(door.is_done)
            handle = client.get_workflow_handle(names.bulk_request_id(good), result_type=ProgressView)
            assert (await asyncio.wait_for(handle.result(), 60)).operations.succeeded == 1
            command = await door.command(good, "retry_failed")
            await eventually(door.is_done, timeout=30)
        answer = await door.answered(command) or {}
        assert (answer["status"], answer["answer"]) == (
            "refused",
            f"nothing of request {good!r} is to be retried: all of it succeeded",
        )
