"""The client against a real server on which no worker runs: what is durable, what is refused, what ends in time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.carried import LimiterInput
from headgate.messages.requests import BulkRequest
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import Control, ProgressView
from headgate.messages.words import Priority
from starter import connection
from starter.commands import RECORDED
from starter.devserver import DevServer
from starter.doctor import QUEUES, TemporalSide
from starter.selection import Selection
from starter.service import NoWorker, RequestRow, TemporalService, UnknownRequest
from tests.conftest import StartServer
from tests.eventually import eventually
from workflows import names
from workflows.limiter_start import limiter_start


def request(request_id: str, *, project: str = "p", priority: Priority = "normal") -> BulkRequest:
    return BulkRequest(id=request_id, project=project, owner="team", priority=priority, input_sha256="0" * 64)


@pytest.fixture(scope="module")
async def temporal_client() -> AsyncIterator[Client]:
    """A server of this module's own: nobody works on its queues."""
    async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, say=print) as server:
        yield await Client.connect(server.address, data_converter=pydantic_data_converter)


@pytest.fixture
def service(temporal_client: Client) -> TemporalService:
    return TemporalService(temporal_client)


async def test_the_same_request_is_started_once(service: TemporalService) -> None:
    first = await service.submit(request("svc-same"), summary="s")
    again = await service.submit(request("svc-same", priority="urgent"), summary="s")
    assert (first.first, again.first) == (True, False)
    assert first.workflow_id == again.workflow_id == "bulk/svc-same"


async def test_other_content_is_refused_also_when_the_first_is_over(
    service: TemporalService, temporal_client: Client
) -> None:
    await service.submit(request("svc-other"), summary="s")
    with pytest.raises(InvalidRequest, match="exists already"):
        await service.submit(request("svc-other", project="q"), summary="s")
    await temporal_client.get_workflow_handle("bulk/svc-other").terminate()
    with pytest.raises(InvalidRequest, match="exists already"):
        await service.submit(request("svc-other", project="q"), summary="s")
    assert not (await service.submit(request("svc-other"), summary="s")).first


async def test_what_was_submitted_is_remembered_also_when_it_is_over(
    service: TemporalService, temporal_client: Client
) -> None:
    await service.submit(request("svc-told", priority="low"), summary="s")
    await temporal_client.get_workflow_handle("bulk/svc-told").terminate()
    assert await service.request("svc-told") == request("svc-told", priority="low")
    with pytest.raises(UnknownRequest, match="there is no request 'svc-nobody'"):
        await service.request("svc-nobody")


async def test_a_question_without_a_worker_ends_in_time(service: TemporalService) -> None:
    await service.submit(request("svc-silent"), summary="s")
    began = time.monotonic()
    with pytest.raises(NoWorker):
        await service.progress("svc-silent")
    assert time.monotonic() - began < 30


async def test_commands_are_recorded_without_a_worker(service: TemporalService, temporal_client: Client) -> None:
    await service.submit(request("svc-paused"), summary="s")
    answered = await service.control("svc-paused", "pause", Control(by="ana"))
    assert (answered.sentence, answered.heard) == (RECORDED, False)
    assert await signals(temporal_client.get_workflow_handle("bulk/svc-paused")) == ["pause"]


async def test_a_request_that_is_over_takes_no_command(service: TemporalService, temporal_client: Client) -> None:
    await service.submit(request("svc-over"), summary="s")
    await temporal_client.get_workflow_handle("bulk/svc-over").terminate()
    with pytest.raises(InvalidRequest, match="is over"):
        await service.control("svc-over", "resume", Control())
    assert await service.over("svc-over") == "failed"


async def test_nobody_knows_an_unknown_request(service: TemporalService) -> None:
    for asked in (
        service.progress("svc-none"),
        service.over("svc-none"),
        service.control("svc-none", "pause", Control()),
    ):
        with pytest.raises(UnknownRequest):
            await asked
    with pytest.raises(UnknownRequest):
        await service.limiter_show("svc-none")


async def test_a_request_is_listed_by_its_search_attributes(service: TemporalService) -> None:
    await service.submit(request("svc-listed", project="svc-list"), summary="s")

    async def rows() -> list[RequestRow]:
        return [row async for row in service.requests(Selection(project="svc-list"))]

    await eventually(rows)
    assert [(row.id, row.state, row.owner, row.percent) for row in await rows()] == [
        ("svc-listed", "planning", "team", 0)
    ]


async def test_quotas_are_kept_without_a_worker(service: TemporalService, temporal_client: Client) -> None:
    first = await service.limiter_set("svc-quota", {"window_ns": 10_000_000_000})
    second = await service.limiter_set("svc-quota", {"read_per_user": 5})
    assert first == LimiterSettings(window_ns=10_000_000_000)
    assert second == LimiterSettings(window_ns=10_000_000_000, read_per_user=5)
    assert await signals(temporal_client.get_workflow_handle(names.rate_limiter_id("svc-quota"))) == ["configure"] * 2


async def test_a_limiter_that_never_was_starts_at_once(temporal_client: Client) -> None:
    assert await limiter_start(temporal_client, "svc-new") == LimiterInput(project="svc-new", release=names.RELEASE)


async def test_a_lost_limiter_is_quiet_and_keeps_its_quotas(service: TemporalService, temporal_client: Client) -> None:
    settings = await service.limiter_set("svc-lost", {"window_ns": 10_000_000_000})
    handle = temporal_client.get_workflow_handle(names.rate_limiter_id("svc-lost"))
    await handle.terminate()
    closed = (await handle.describe()).close_time
    assert closed is not None
    start = await limiter_start(temporal_client, "svc-lost")
    assert start is not None
    assert start.settings == settings
    memory_ns = settings.furthest_ns + settings.token_valid_for_ns + settings.network_spread_ns + settings.window_ns
    assert abs(start.quiet_until_ns - memory_ns - closed.timestamp() * 1e9) < 1e6


async def test_whoever_comes_first_registers_the_search_attributes(start_server: StartServer) -> None:
    server = await start_server(search_attributes={})
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    assert (await TemporalService(client).submit(request("svc-first"), summary="s")).first
    assert not connection.missing_search_attributes(await connection.registered_search_attributes(client))


async def test_a_namespace_that_is_not_there_is_the_callers_mistake(temporal_client: Client) -> None:
    stranger = await Client.connect(
        temporal_client.service_client.config.target_host,
        namespace="svc-nowhere",
        data_converter=pydantic_data_converter,
    )
    with pytest.raises(InvalidRequest, match="svc-nowhere"):
        await TemporalService(stranger).progress("svc-none")
    with pytest.raises(InvalidRequest, match="svc-nowhere"):
        await TemporalSide(stranger).namespace_answers()


async def test_the_doctor_counts_who_polls(temporal_client: Client) -> None:
    assert await TemporalSide(temporal_client).pollers("svc-nobody", "activity") == 0
    assert set(QUEUES) == {names.WORKFLOW_QUEUE, names.SEND_QUEUE, names.PLAN_QUEUE}


async def test_no_server_is_said_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="headgate server"):
        await connection.connect("127.0.0.1:1")
    assert time.monotonic() - began < 25


async def signals(handle: WorkflowHandle[object, ProgressView]) -> list[str]:
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
