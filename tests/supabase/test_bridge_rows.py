"""One row after the other: what becomes of good ones, of poison, and of requests that ended without a word."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from typing import Any

import psycopg
import pytest
from temporalio.client import Client, Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from headgate.inbox import Asked
from headgate.inbox_outcomes import Outcome
from starter.bridge import Bell
from starter.carrying import Carrier
from starter.doctor import inbox_finding
from tests.eventually import eventually
from tests.supabase.front_door import LINE, FrontDoor, started
from workflows import names
from workflows.submitted import submitted


async def status_of(door: FrontDoor, request_id: str) -> str:
    return str((await door.request(request_id))["status"])


async def test_a_row_becomes_the_request_that_the_operator_allows(door: FrontDoor, temporal_client: Client) -> None:
    other = await door.with_account("shop", users=("ana", "ben"), default="bot")
    async with door.bridging(temporal_client):
        request_id = await door.submit(
            organisation_id=other, name="orders", priority="low", ordering="strict", stop_after=3, grow=True
        )
        await eventually(door.is_done)
    request = await submitted(temporal_client, request_id)
    assert request is not None
    assert (request.project, request.user, request.users) == ("shop", "bot", ("bot", "ana", "ben"))
    assert request.owner == request.organisation == other
    assert (request.priority, request.order, request.stop_after, request.grow) == ("low", "strict", 3, True)
    row = await door.request(request_id)
    assert row["status"] == "planning"
    assert request.submitted_at_ns // 1000 == round(row["created_at"].timestamp() * 1e6)
    assert (request.input_sha256, request.uploaded) == (hashlib.sha256(LINE).hexdigest(), "")
    kept = await door.kept().get(f"requests/{request_id}/input-{request.input_sha256}.jsonl")
    assert kept == LINE
    assert await door.sql("select from private.inputs") == []
    described = await temporal_client.get_workflow_handle(names.bulk_request_id(request_id)).describe()
    assert await described.static_summary() == "orders · 1 lines · project shop"
    assert [kind for kind, _ in await door.events(request_id)] == ["submitted", "status"]


async def test_an_upload_is_started_when_it_is_finalized(door: FrontDoor, temporal_client: Client) -> None:
    content = b"x" * 2_000_000
    async with door.bridging(temporal_client):
        request_id = await door.upload(content)
        assert await door.open_rows() == []
        command_id = await door.command(request_id, "finalize")
        await eventually(door.is_done)
        request = await submitted(temporal_client, request_id)
        assert request is not None
        assert request.uploaded == f"{door.organisation}/{request_id}"
        assert (request.input_sha256, request.input_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert ((await door.answered(command_id)) or {})["status"] == "accepted"
        assert await status_of(door, request_id) == "planning"


async def test_poison_is_rejected_at_once_and_stops_nothing(door: FrontDoor, temporal_client: Client) -> None:
    poor = await door.with_account()
    poison = {
        await door.submit(): "another SHA-256",
        await door.submit(): "bytes where",
        await door.submit(): "is not there",
        await door.submit(b"\n \n"): "input is empty",
        await door.submit(organisation_id=poor): "no account",
    }
    hashed, sized, gone, _, _ = poison
    await door.sql("update private.inputs set content = replace(content, '1', '2') where request_id = %s", hashed)
    await door.sql("update private.inputs set content = content || 'x' where request_id = %s", sized)
    await door.sql("delete from private.inputs where request_id = %s", gone)
    await door.sql("delete from private.accounts where organisation_id = %s", poor)
    said = {request_id: await door.command(request_id, "pause") for request_id in (hashed, sized)}
    good = [await door.submit() for _ in range(10)]
    async with door.bridging(temporal_client, at_once=1):
        await eventually(door.is_done)
        for request_id, why in poison.items():
            row = await door.request(request_id)
            assert row["status"] == "failed"
            assert why in row["error"]
            assert row["finished_at"]
            assert ("rejected", {"why": row["error"]}) in await door.events(request_id)
            assert await submitted(temporal_client, request_id) is None
        for request_id, command_id in said.items():
            answer = await door.answered(command_id)
            assert answer is not None
            assert (answer["status"], answer["answer"]) == ("failed", (await door.request(request_id))["error"])
        assert {await status_of(door, request_id) for request_id in good} == {"planning"}
    assert await door.sql("select from private.inbox where attempts > 0") == []


class Odd(Carrier):
    """Fails for some requests, as a defect would."""

    odd: frozenset[str] = frozenset()
    tries: Counter[str]

    async def start(self, asked: Asked | None) -> Outcome:
        assert asked is not None
        if asked.id in self.odd:
            self.tries[asked.id] += 1
            raise ValueError("odd")
        return await super().start(asked)


async def test_what_is_unexpected_is_tried_five_times(door: FrontDoor, temporal_client: Client) -> None:
    async def reach() -> Client:
        return temporal_client

    carrier = Odd(reach, door.kept())
    carrier.tries = Counter()
    strange = await door.submit()
    carrier.odd = frozenset({strange})

    async def over() -> bool:
        await door.sql("update private.inbox set not_before = clock_timestamp() where done_at is null")
        return await status_of(door, strange) == "failed"

    async with door.bridging(temporal_client, carrier, poll_s=0.2):
        good = await door.submit()
        await eventually(over, timeout=30)
        await eventually(door.is_done)
        assert carrier.tries == {strange: 5}
        row = await door.request(strange)
        assert "given up after 5 attempts" in row["error"]
        assert "odd" not in row["error"], "people are not told of defects"
        assert await status_of(door, good) == "planning"
    (kept,) = await door.sql("select attempts, last_error from private.inbox where request_id = %s", strange)
    assert kept["attempts"] == 4


class NoDetails(Interceptor):
    """A server, or a proxy before it, that says of an earlier start no more than its status."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        class Plain(OutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
                try:
                    return await super().start_workflow(input)
                except WorkflowAlreadyStartedError:
                    raise RPCError("already started", RPCStatusCode.ALREADY_EXISTS, b"") from None

        return Plain(next)


@pytest.mark.parametrize("details", [True, False], ids=["with details", "without"])
async def test_what_is_started_already_is_done_if_it_is_the_same(
    door: FrontDoor, temporal_client: Client, details: bool
) -> None:
    config = temporal_client.config()
    if not details:
        config["interceptors"] = [NoDetails()]
    client = Client(**config)
    same, other = await door.submit(), await door.submit()
    async with door.bridging(temporal_client):
        await eventually(door.is_done)
    await door.sql("update private.inbox set done_at = null")
    await door.sql("update public.bulk_requests set status = 'submitted'")
    changed = LINE + LINE
    for request_id, content in ((same, LINE), (other, changed)):
        await door.sql("insert into private.inputs (request_id, content) values (%s, %s)", request_id, content.decode())
    await door.sql(
        "update public.bulk_requests set input_sha256 = %s, input_bytes = %s where id = %s",
        hashlib.sha256(changed).hexdigest(),
        len(changed),
        other,
    )
    async with door.bridging(client):
        await eventually(door.is_done)
    assert await status_of(door, same) == "planning"
    rejected = await door.request(other)
    assert rejected["status"] == "failed"
    assert "exists already with another input" in rejected["error"]
    assert await door.sql("select from private.inbox where attempts > 0") == []

    async def both() -> bool:
        return await started(temporal_client, door.organisation) == Counter([f"bulk/{same}", f"bulk/{other}"])

    await eventually(both, timeout=20)


async def test_what_nobody_announced_is_found_by_looking(door: FrontDoor, temporal_client: Client) -> None:
    request_id = await door.submit()
    await door.sql("update private.inbox set not_before = clock_timestamp() + interval '1 s'")
    async with door.bridging(temporal_client, poll_s=0.2):
        await eventually(door.is_done)
    assert await status_of(door, request_id) == "planning"


async def test_a_storm_of_notifications_is_one_ring() -> None:
    bell = Bell()
    for _ in range(1_000):
        bell.ring()
    await asyncio.wait_for(bell.heard(), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bell.heard(), 0.05)


async def test_the_role_may_do_what_it_does_and_nothing_else(door: FrontDoor) -> None:
    request_id = await door.submit()
    connection = await psycopg.AsyncConnection.connect(door.url, autocommit=True)
    async with connection:
        for statement in (
            "update public.bulk_requests set status = 'completed'",
            "update private.inbox set data = '{}'",
            "delete from private.inbox",
            "insert into private.inbox (request_id, sequence, kind) values ('x', 1, 'start')",
            "update private.accounts set project = 'x'",
            "delete from private.inputs",
            "select from public.memberships",
            "insert into public.events (organisation_id, kind) values (gen_random_uuid(), 'x')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement)
    assert await status_of(door, request_id) == "submitted"


async def test_the_doctor_says_what_waits(door: FrontDoor) -> None:
    assert (await inbox_finding(door.inbox)).said.endswith("can be drained, 0 rows wait")
    await door.submit()
    await door.sql("update private.inbox set created_at = now() - interval '5 min', last_error = 'Temporal is away'")
    finding = await inbox_finding(door.inbox)
    assert finding.state == "note"
    assert "the oldest for 300 s: Temporal is away" in finding.said
    await door.sql("revoke select on private.inbox from headgate_bridge")
    assert (await inbox_finding(door.inbox)).state == "bad"
