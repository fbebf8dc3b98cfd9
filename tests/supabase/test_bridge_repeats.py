"""A start that is carried again, because its bridge died after Temporal had taken it: the request runs, whatever is wrong by now."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from temporalio.client import Client

from headgate.inbox import Asked
from headgate.inbox_outcomes import Outcome
from starter.carrying import Carrier
from tests.eventually import eventually
from tests.supabase.front_door import LINE, FrontDoor, started


@asynccontextmanager
async def taken(door: FrontDoor, client: Client) -> AsyncIterator[str]:
    """A request that Temporal has and whose row nobody has marked; then a bridge comes, and must find that it runs."""
    async with door.bridging(client):
        request_id = await door.submit()
        await eventually(door.is_done)
    await door.sql("update private.inbox set done_at = null")
    await door.sql("update public.bulk_requests set status = 'submitted'")
    await door.sql("insert into private.inputs (request_id, content) values (%s, %s)", request_id, LINE.decode())
    yield request_id
    async with door.bridging(client):
        await eventually(door.is_done)
    row = await door.request(request_id)
    assert (row["status"], row["error"]) == ("planning", None)
    assert "rejected" not in [kind for kind, _ in await door.events(request_id)]
    assert await door.sql("select from private.inputs") == []
    assert await door.sql("select from private.inbox where attempts > 0") == []

    async def once() -> bool:
        return await started(client, door.organisation) == Counter([f"bulk/{request_id}"])

    await eventually(once, timeout=20)


@pytest.mark.parametrize(
    "change",
    [
        "delete from private.accounts",
        "update private.accounts set project = 'other'",
        "update private.accounts set default_user = 'other'",
        "update private.accounts set users = array['../x']",
        "delete from private.inputs",
        "update private.inputs set content = 'x'",
    ],
)
async def test_what_runs_is_not_rejected_for_what_changed_since(
    door: FrontDoor, temporal_client: Client, change: str
) -> None:
    async with taken(door, temporal_client):
        await door.sql(change)


async def test_what_another_organisation_has_under_the_id_is_not_this_request(
    door: FrontDoor, temporal_client: Client
) -> None:
    async with door.bridging(temporal_client):
        request_id = await door.submit()
        await eventually(door.is_done)
    poor = await door.with_account()
    await door.sql("update private.inbox set done_at = null")
    await door.sql("update public.bulk_requests set status = 'submitted', organisation_id = %s", poor)
    await door.sql("delete from private.accounts where organisation_id = %s", poor)
    async with door.bridging(temporal_client):
        await eventually(door.is_done)
    row = await door.request(request_id)
    assert row["status"] == "failed"
    assert "its input is not there" in row["error"]


class Forgetful(Carrier):
    """Has the request started, and fails then, as a defect would."""

    starts = 0

    async def start(self, asked: Asked | None) -> Outcome:
        await super().start(asked)
        self.starts += 1
        raise ValueError("odd")


async def test_what_runs_is_not_given_up(door: FrontDoor, temporal_client: Client) -> None:
    async def reach() -> Client:
        return temporal_client

    carrier = Forgetful(reach, door.kept())

    async def soon() -> bool:
        await door.sql("update private.inbox set not_before = clock_timestamp() where done_at is null")
        return await door.is_done()

    async with door.bridging(temporal_client, carrier, poll_s=0.2):
        request_id = await door.submit()
        await eventually(soon, timeout=30)
    assert carrier.starts == 5
    row = await door.request(request_id)
    assert (row["status"], row["error"]) == ("planning", None)


async def test_what_is_over_by_then_leaves_no_input_behind(door: FrontDoor, temporal_client: Client) -> None:
    """It was told of its end while its start was open."""
    request_id = await door.submit()
    await door.sql("update public.bulk_requests set status = 'completed', version = 7 where id = %s", request_id)
    async with door.bridging(temporal_client):
        await eventually(door.is_done)
    row = await door.request(request_id)
    assert (row["status"], row["version"], row["error"]) == ("completed", 7, None)
    assert await door.sql("select from private.inputs") == []
