"""What came of a command that no worker heard: its person is told once a worker runs, and it acts once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

import starter.bridge
from headgate.absence import Away
from headgate.errors import Unreachable
from headgate.inbox import Row, control
from headgate.inbox_outcomes import Answered, Later, Outcome
from headgate.messages.views import ProgressView
from starter.bridge import Bridge, Pace
from starter.carrying import Carrier
from starter.commands import RECORDED
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import running_stack
from tests.supabase.front_door import FrontDoor
from workflows import names


async def answers(door: FrontDoor, commands: list[str]) -> list[tuple[str, str]]:
    rows = [await door.answered(command_id) or {} for command_id in commands]
    return [(row.get("status", ""), row.get("answer", "")) for row in rows]


async def signals(client: Client, request_id: str) -> list[str]:
    """The names of all signals that the request's history holds."""
    handle = client.get_workflow_handle(names.bulk_request_id(request_id))
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]


async def recorded(door: FrontDoor, request_id: str, *said: tuple[str, str | None]) -> list[str]:
    """Commands that nobody heard, once their people have read that."""
    commands = [await door.command(request_id, kind, argument) for kind, argument in said]

    async def told() -> bool:
        return await answers(door, commands) == [("accepted", RECORDED)] * len(commands)

    await eventually(told, timeout=60)
    await eventually(door.is_done)
    return commands


async def unheard(door: FrontDoor) -> list[dict[str, Any]]:
    return await door.sql("select id from private.inbox where recorded_at is not null")


async def test_a_recorded_command_is_answered_once_a_worker_runs(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with door.bridging(client, poll_s=0.2), door.bridging(client, poll_s=0.2):
        request_id = await door.submit()
        said = [("pause", None), ("reprioritise", "low"), ("retry_failed", None), ("reprioritise", "urgent")]
        commands = await recorded(door, request_id, *said)
        assert len(await unheard(door)) == 4
        before = await signals(client, request_id)
        assert before == ["pause", "reprioritise", "retry_failed", "reprioritise"]
        async with running_stack(client, tmp_path):

            async def all_known() -> bool:
                await door.sql("update private.inbox set not_before = now() where recorded_at is not null")
                return not await unheard(door)

            await eventually(all_known, timeout=60)
            paused, low, retried, urgent = await answers(door, commands)
            assert paused[0] == "accepted"
            assert paused[1].startswith("paused by ")
            assert low == ("accepted", "its priority is low now, it was normal")
            assert urgent == ("accepted", "its priority is urgent now, it was low")
            # Refused when it came, and the number of a later one stands by now: nobody says that it was refused for sure.
            assert retried[0] == "accepted"
            assert "whether it took effect nobody can say" in retried[1]
            handle = client.get_workflow_handle(names.bulk_request_id(request_id))
            view: ProgressView = await handle.query("progress", result_type=ProgressView)
            assert (view.state, view.priority) == ("paused", "urgent")
            late = await door.command(request_id, "retry_failed")
            await eventually(lambda: door.answered(late), timeout=20)
            assert (await answers(door, [late]))[0][0] == "refused"
    assert await signals(client, request_id) == before, "it was told once, and asked about by updates"
    told = [data for kind, data in await door.events(request_id) if kind == "answered" and data["id"] == commands[0]]
    assert [one["answer"] for one in told] == [RECORDED, paused[1]]


async def test_a_recorded_command_that_is_refused_is_told_so(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with door.bridging(client, poll_s=0.2):
        request_id = await door.submit()
        _, retry = await recorded(door, request_id, ("pause", None), ("retry_failed", None))
        async with running_stack(client, tmp_path):

            async def known() -> bool:
                await door.sql("update private.inbox set not_before = now() where recorded_at is not null")
                return not await unheard(door)

            await eventually(known, timeout=60)
    assert await answers(door, [retry]) == [("refused", "nothing has failed so far: nothing to retry")]


async def test_what_nobody_can_say_any_more_is_not_asked_for_ever(door: FrontDoor, start_server: StartServer) -> None:
    """The request was terminated before any worker ran."""
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with door.bridging(client, poll_s=0.2):
        request_id = await door.submit()
        commands = await recorded(door, request_id, ("pause", None))
        await client.get_workflow_handle(names.bulk_request_id(request_id)).terminate()

        async def known() -> bool:
            await door.sql("update private.inbox set not_before = now() where recorded_at is not null")
            return not await unheard(door)

        await eventually(known, timeout=60)
    ((status, answer),) = await answers(door, commands)
    assert status == "accepted"
    assert answer.startswith("recorded; whether it took effect nobody can say any more")
    assert "is over (failed)" in answer


class BySignal(Carrier):
    """Tells a command by its signal at once: no update of it is left that a worker would answer later."""

    async def tell(self, row: Row) -> Answered:
        command, said = control(row)
        handle = (await self._reach()).get_workflow_handle(names.bulk_request_id(row.request_id))
        await handle.signal(f"{command}_request", said)
        return Answered("accepted", RECORDED, heard=False)


async def test_who_cancelled_is_told_that_it_is_cancelled_also_when_it_has_ended_by_then(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)

    async def reach() -> Client:
        return client

    async with door.bridging(client, BySignal(reach, door.kept())):
        request_id = await door.submit()
        commands = await recorded(door, request_id, ("cancel", None))
    async with running_stack(client, tmp_path):
        handle = client.get_workflow_handle(names.bulk_request_id(request_id), result_type=ProgressView)
        assert (await asyncio.wait_for(handle.result(), 60)).state == "cancelled"
    await door.sql("update private.inbox set not_before = now() where recorded_at is not null")
    async with door.bridging(client, poll_s=0.2):

        async def known() -> bool:
            return not await unheard(door)

        await eventually(known, timeout=60)
    ((status, answer),) = await answers(door, commands)
    assert status == "accepted"
    assert answer.startswith("the request is cancelled")


async def test_a_server_that_is_away_is_not_taken_for_workers_that_are_silent(
    door: FrontDoor, start_server: StartServer
) -> None:
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)

    async def reach() -> Client:
        return client

    carrier = Carrier(reach, door.kept())
    row = Row(id=1, request_id="x", sequence=1, kind="pause", command_id="c1", data={}, recorded=True)
    assert (await carrier.tell(row)).status == "accepted", "nobody can say: there is no such request"
    await server.stop(abruptly=True)
    with pytest.raises(Away):
        await carrier.tell(row)


class Silent(Carrier):
    """Nobody hears what is said, however often; `asked` are the rows that were told again."""

    def __init__(self, reach: Any, store: Any) -> None:
        super().__init__(reach, store)
        self.asked: list[int] = []

    async def tell(self, row: Row) -> Answered:
        if not row.recorded:
            return Answered("accepted", RECORDED, heard=False)
        self.asked.append(row.id)
        raise Unreachable(RECORDED)


async def test_once_ends_though_some_row_is_always_due_again(
    door: FrontDoor, temporal_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row is asked about, and what is put off is not waited for."""

    def due_at_once(row: Row, error: Exception, said: str) -> Outcome:
        return Later(0.0, counted=False, why=said)

    async def reach() -> Client:
        return temporal_client

    carrier = Silent(reach, door.kept())
    bridge = Bridge(door.inbox, carrier, Pace())
    request_id = await door.submit()
    for kind in ("pause", "resume", "pause"):
        await door.command(request_id, kind)
    async with asyncio.timeout(30):
        while not await door.is_done():
            await bridge.drain()
    await door.sql("update private.inbox set not_before = now() where recorded_at is not null")
    rows = {row["id"] for row in await unheard(door)}
    assert len(rows) == 3
    monkeypatch.setattr(starter.bridge, "after", due_at_once)
    carrier.asked.clear()
    async with asyncio.timeout(10):
        await bridge.drain()
    assert {*carrier.asked} == rows
    assert len(carrier.asked) <= len(rows) + 1
