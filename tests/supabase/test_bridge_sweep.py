"""Requests that are open in Postgres and over in Temporal are ended, once and by what is known; all others are left alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.ended_requests import UNKNOWN, UNTOLD
from headgate.messages.views import Control, ProgressView
from starter.carrying import Carrier
from starter.sweeping import sweep
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import running_stack
from tests.supabase.front_door import FrontDoor
from workflows import names
from workflows.limiter_start import signal_with_start_limiter

APPEND = b'{"op": "append", "spreadsheet": "swept", "range": "Orders!A:B", "values": [["a", 1]]}\n'


async def test_requests_that_ended_without_a_word_are_ended(
    door: FrontDoor, start_server: StartServer, tmp_path: Path
) -> None:
    """These workers have no projection, so nobody else tells of the one that completed."""
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)

    async def reach() -> Client:
        return client

    async with running_stack(client, tmp_path) as stack:
        stack.spreadsheets("swept")
        await door.sql("update private.accounts set project = %s", await stack.project())
        carrier = Carrier(reach, stack.store)
        async with door.bridging(client, carrier):
            completed = await door.submit(APPEND)
            await eventually(door.is_done)
            handle = client.get_workflow_handle(names.bulk_request_id(completed), result_type=ProgressView)
            assert (await handle.result()).operations.succeeded == 1
            late = await door.command(completed, "pause")
            await eventually(lambda: door.answered(late))
            assert ((await door.answered(late)) or {})["status"] == "refused"
            held = await stack.project()
            await signal_with_start_limiter(client, held, "pause", Control(by="ops"))
            await door.sql("update private.accounts set project = %s", held)
            terminated, running, cut_off = [await door.submit(APPEND) for _ in range(3)]
            await eventually(door.is_done)
        # Of one a person's `cancel` was shown, and that its last calls end.
        await door.sql("update public.bulk_requests set status = 'cancelled', version = 1 where id = %s", cut_off)
        for request_id in (terminated, cut_off):
            await client.get_workflow_handle(names.bulk_request_id(request_id)).terminate()
        # A row that nobody carries, and one that was done without a workflow: a history that is kept no longer.
        unknown, waits = await door.submit(APPEND), await door.submit(APPEND)
        await door.sql("update private.inbox set done_at = now() where request_id = %s", unknown)
        before = await door.sql("select * from public.bulk_requests order by id")

        assert await sweep(door.inbox, carrier, 3600) == ""
        assert await door.sql("select * from public.bulk_requests order by id") == before, "all were heard of just now"

        for _ in range(2):  # the second time changes nothing
            assert await sweep(door.inbox, carrier, 0) == ""
        ends = {
            terminated: ("failed", "terminated"),
            cut_off: ("failed", "terminated"),
            unknown: ("failed", UNKNOWN),
            completed: ("completed", UNTOLD),
        }
        for request_id, (status, why) in ends.items():
            row = await door.request(request_id)
            assert row["status"] == status
            assert why in row["error"]
            assert row["finished_at"] is not None
            assert Counter(kind for kind, _ in await door.events(request_id))["ended"] == 1
        row = await door.request(completed)
        assert (row["operations_total"], row["operations_succeeded"]) == (1, 1)
        for request_id, status in ((running, "planning"), (waits, "submitted")):
            row = await door.request(request_id)
            assert (row["status"], row["finished_at"]) == (status, None)


async def test_rows_that_a_clock_set_back_would_hold_are_due(door: FrontDoor, temporal_client: Client) -> None:
    """Of two rows one waits longer than any pause, as after a step of the database's clock."""
    stepped, waits = await door.submit(), await door.submit()
    for request_id, ahead in ((stepped, "1 hour"), (waits, "1 minute")):
        statement = "update private.inbox set not_before = clock_timestamp() + %s::interval where request_id = %s"
        await door.sql(statement, ahead, request_id)
    async with door.bridging(temporal_client, poll_s=0.2, sweep_s=0.2):

        async def planning() -> bool:
            return str((await door.request(stepped))["status"]) == "planning"

        await eventually(planning, timeout=20)
    assert [row["request_id"] for row in await door.open_rows()] == [waits]
