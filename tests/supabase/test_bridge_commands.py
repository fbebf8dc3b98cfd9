"""Commands reach their request in order and once, whichever bridge carries them, and are answered.

The witness is the request's own history in Temporal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.messages.views import Control, ProgressView
from starter.carrying import Carrier
from starter.commands import RECORDED, CommandRefused
from starter.service import TemporalService
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import Stack, running_stack
from tests.supabase.front_door import FrontDoor
from workflows import names
from workflows.limiter_start import signal_with_start_limiter

#: What is said to a request, one after the other.
SAID: Sequence[tuple[str, str | None]] = (
    ("pause", None),
    ("resume", None),
    ("reprioritise", "low"),
    ("pause", None),
    ("resume", None),
    ("reprioritise", "urgent"),
    ("resume", None),
    ("pause", None),
)


def carrier_of(stack: Stack) -> Carrier:
    async def reach() -> Client:
        return stack.client

    return Carrier(reach, stack.store)


async def held_project(door: FrontDoor, stack: Stack) -> None:
    """The organisation's project is paused, so that its requests stay open whatever they are told."""
    project = await stack.project()
    await signal_with_start_limiter(stack.client, project, "pause", Control(by="ops"))
    await door.sql("update private.accounts set project = %s", project)


async def heard(client: Client, request_id: str) -> list[Control]:
    """The commands that the request's histories hold, in their order: updates that were accepted, and signals."""
    found: list[Control] = []
    async for run in client.list_workflows(f"WorkflowId = '{names.bulk_request_id(request_id)}'"):
        handle = client.get_workflow_handle(run.id, run_id=run.run_id)
        runs: list[Control] = []
        async for event in handle.fetch_history_events():
            update = event.workflow_execution_update_accepted_event_attributes
            signal = event.workflow_execution_signaled_event_attributes
            if update.accepted_request.input.name:
                payloads = update.accepted_request.input.args.payloads
            elif signal.signal_name in (*(kind for kind, _ in SAID), "cancel_request"):
                payloads = signal.input.payloads
            else:
                continue
            runs += await client.data_converter.decode(payloads, [Control])
        found = [*runs, *found]  # visibility lists the latest run first
    return found


async def test_commands_go_in_their_order_whoever_carries_them(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    """Four requests that two bridges steer at once; each ends as it was told last."""
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path) as stack:
        await held_project(door, stack)
        async with (
            door.bridging(client, carrier_of(stack), at_once=2),
            door.bridging(client, carrier_of(stack), at_once=2),
        ):
            ids = [await door.submit() for _ in range(4)]
            said: dict[str, list[str]] = {request_id: [] for request_id in ids}
            for kind, argument in SAID:
                for request_id in ids:
                    said[request_id].append(await door.command(request_id, kind, argument))
            await eventually(door.is_done, timeout=60)
            for request_id, commands in said.items():
                rows = [await door.answered(command_id) for command_id in commands]
                assert all(row is not None and row["status"] == "accepted" for row in rows), rows
                told = await heard(client, request_id)
                assert [control.id for control in told] == commands
                assert [control.sequence for control in told] == [*range(1, len(SAID) + 1)]
                handle = client.get_workflow_handle(names.bulk_request_id(request_id))
                view: ProgressView = await handle.query("progress", result_type=ProgressView)
                assert (view.state, view.priority) == ("paused", "urgent")
                await door.command(request_id, "cancel")
            for request_id in ids:
                handle = client.get_workflow_handle(names.bulk_request_id(request_id), result_type=ProgressView)
                assert (await asyncio.wait_for(handle.result(), 60)).state == "cancelled"
            late = await door.command(ids[0], "resume")
            await eventually(lambda: door.answered(late), timeout=20)
            refused = await door.answered(late)
            assert refused is not None
            assert refused["status"] == "refused"
            assert "is over (cancelled)" in refused["answer"]


async def test_a_command_that_no_worker_hears_is_recorded_and_holds_up_nobody(
    door: FrontDoor, start_server: StartServer
) -> None:
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with door.bridging(client, at_once=2):
        first = await door.submit()
        commands = [await door.command(first, kind) for kind in ("pause", "resume", "pause")]
        others = [await door.submit() for _ in range(5)]
        await eventually(door.is_done, timeout=60)
        rows = [await door.answered(command_id) for command_id in commands]
        assert [(row or {})["answer"] for row in rows] == [RECORDED] * 3
        assert [control.id for control in await heard(client, first)] == commands
        done = {row["request_id"]: row["done_at"] for row in await door.sql(
            "select request_id, done_at from private.inbox where sequence = 0")}  # fmt: skip
        first_answer = min(row["answered_at"] for row in rows if row is not None)
        assert all(done[request_id] < first_answer for request_id in others), "starts wait for no command"


async def test_the_highest_sequence_is_kept_when_a_request_continues_as_new(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=80"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path, max_cached_workflows=0, max_concurrent_workflow_task_polls=1) as stack:
        await held_project(door, stack)
        async with door.bridging(client, carrier_of(stack)):
            request_id = await door.submit()
            handle = client.get_workflow_handle(names.bulk_request_id(request_id))
            commands: list[str] = []
            runs: set[str] = set()
            while len(runs) < 2 and len(commands) < 80:
                commands.append(await door.command(request_id, "reprioritise", ("low", "normal")[len(commands) % 2]))
                await eventually(lambda: door.answered(commands[-1]), timeout=30)
                runs.add((await handle.describe()).run_id)
            assert len(runs) == 2, "it did not continue as new"
            count = len(commands)
            # One that another bridge would say late, under an id that the request never heard.
            with pytest.raises(CommandRefused, match=rf"a later command \(number {count}\)"):
                await TemporalService(client).control(request_id, "reprioritise", Control(to="low", id="x", sequence=2))
            # The same one again is answered as before.
            again = await TemporalService(client).control(
                request_id, "reprioritise", Control(to="low", id=commands[0], sequence=1)
            )
            assert again.sentence == ((await door.answered(commands[0])) or {})["answer"]
            paused = await door.command(request_id, "pause")
            await eventually(lambda: door.answered(paused), timeout=30)
            assert ((await door.answered(paused)) or {})["status"] == "accepted"
            view: ProgressView = await handle.query("progress", result_type=ProgressView)
            assert (view.state, view.priority) == ("paused", ("low", "normal")[(count - 1) % 2])
