"""What a person names finds, on a real server, what a naive look at every request would find."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headgate.errors import InvalidRequest
from headgate.messages.requests import BulkRequest
from headgate.messages.words import Priority, State
from starter.connection import address_of
from starter.selection import Selection
from starter.service import RequestRow, TemporalService
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.unit.test_completing import completed
from workflows import names

QUEUE: Final = "selection"
PROJECT: Final = "selection"
HOSTILE: Final = 'a "quoted" \\ owner\\'


@workflow.defn(name=names.BULK_REQUEST_TYPE)
class Puppet:
    """A request that ends as it is told to, or not at all."""

    @workflow.run
    async def run(self, ends: str) -> None:
        if ends == "continues":
            workflow.continue_as_new("stays")
        if ends == "fails":
            raise ApplicationError("told to", non_retryable=True)
        if ends != "completes":
            await asyncio.Event().wait()


@dataclass(frozen=True)
class Case:
    """What a request says of itself, how Temporal ended it, and the state that a person would say it is in."""

    said: str
    ends: str
    state: State
    owner: str = "team"
    priority: Priority = "normal"
    age_h: int = 0


CASES: Final = {
    "plans": Case("planning", "stays", "planning"),
    "runs": Case("running", "stays", "running", priority="urgent"),
    "old": Case("running", "continues", "running", age_h=9),
    "paused": Case("paused", "stays", "paused", owner=HOSTILE),
    "stopping": Case("cancelled", "stays", "cancelled", age_h=2),
    "done": Case("completed", "completes", "completed", owner="", priority="low", age_h=30),
    "ended": Case("cancelled", "completes", "cancelled"),
    "revoked": Case("running", "cancel", "cancelled"),
    "broken": Case("running", "fails", "failed", age_h=5),
    "killed": Case("paused", "terminate", "failed", priority="urgent"),
}


@pytest.fixture(scope="module")
async def service(temporal_client: Client) -> TemporalService:
    """A server that has every case, indexed."""
    service = TemporalService(temporal_client)
    worker = Worker(temporal_client, task_queue=QUEUE, workflows=[Puppet], workflow_runner=UnsandboxedWorkflowRunner())
    async with worker:
        for name, case in CASES.items():
            await begin(temporal_client, name, case)
        await eventually(lambda: all_as_they_are(service), timeout=30)
    return service


async def begin(client: Client, name: str, case: Case) -> None:
    said = {"State": case.said, "Priority": case.priority, "Owner": case.owner, "Project": PROJECT}
    keywords = [SearchAttributePair(SearchAttributeKey.for_keyword(f"Headgate{k}"), v) for k, v in said.items()]
    submitted = SearchAttributeKey.for_datetime("HeadgateSubmittedAt")
    at = datetime.now(UTC) - timedelta(hours=case.age_h)
    handle = await client.start_workflow(
        Puppet.run,
        case.ends,
        id=names.bulk_request_id(name),
        task_queue=QUEUE,
        search_attributes=TypedSearchAttributes([*keywords, SearchAttributePair(submitted, at)]),
    )
    if case.ends == "cancel":
        await handle.cancel()
    elif case.ends == "terminate":
        await handle.terminate()


async def all_as_they_are(service: TemporalService) -> bool:
    rows = [row async for row in service.requests(Selection(project=PROJECT))]
    return {row.id: row.state for row in rows} == {name: case.state for name, case in CASES.items()}


async def found(service: TemporalService, selection: Selection) -> list[RequestRow]:
    return [row async for row in service.requests(selection)]


def over(case: Case) -> bool:
    return case.ends not in ("stays", "continues")


@pytest.mark.parametrize(
    "named",
    [
        *({"state": state} for state in ("planning", "running", "paused", "completed", "cancelled", "failed")),
        *({"owner": owner} for owner in ("team", HOSTILE, "", '" OR HeadgateProject = "selection', "nobody")),
        *({"priority": priority} for priority in ("urgent", "normal", "low")),
        {"is_open": True},
        {"is_open": True, "state": "cancelled"},
        {"older_than_h": 1},
        {"older_than_h": 4, "state": "running"},
        {"owner": "team", "state": "failed", "priority": "urgent"},
    ],
    ids=str,
)
async def test_every_request_that_is_meant_is_found_and_no_other(
    service: TemporalService, named: dict[str, object]
) -> None:
    rest = dict(named)
    hours, is_open = int(str(rest.pop("older_than_h", 0))), bool(rest.pop("is_open", False))
    chosen = Selection(project=PROJECT, older_than_s=hours * 3_600, is_open=is_open, **rest)  # type: ignore[arg-type]
    expected = {
        name
        for name, case in CASES.items()
        if case.age_h >= hours and not (is_open and over(case)) and all(getattr(case, k) == v for k, v in rest.items())
    }
    rows = await found(service, chosen)
    assert {row.id for row in rows} == expected
    assert len(rows) == len(expected)


async def test_a_limit_takes_open_ones_first(service: TemporalService) -> None:
    open_ones = {name for name, case in CASES.items() if not over(case)}
    rows = await found(service, Selection(project=PROJECT, limit=len(open_ones)))
    assert {row.id for row in rows} == open_ones


async def test_ids_are_found_by_how_they_begin(service: TemporalService) -> None:
    for begins in ("p", "pla", "paused", "plansx"):
        rows = await found(service, Selection(project=PROJECT, begins=begins))
        assert {row.id for row in rows} == {name for name in CASES if name.startswith(begins)}


async def test_bash_is_offered_the_ids_that_the_server_has(
    service: TemporalService, temporal_client: Client, tmp_path: Path
) -> None:
    assert await found(service, Selection(project=PROJECT))
    address = address_of(temporal_client)
    shown = await asyncio.to_thread(completed, "headgate pause sto", tmp_path, TEMPORAL_ADDRESS=address)
    assert (shown.stdout.split(), shown.stderr) == (["stopping"], "")


async def test_a_row_tells_its_submission_not_its_present_run(service: TemporalService) -> None:
    (row,) = [row for row in await found(service, Selection(project=PROJECT, state="running")) if row.id == "old"]
    age = datetime.now(UTC) - datetime.fromisoformat(row.started_at)
    assert timedelta(hours=9) <= age < timedelta(hours=10)


async def test_a_submitted_request_is_young(service: TemporalService) -> None:
    request = BulkRequest(id="sel-young", project="selection-young", owner="team", input_sha256="0" * 64)
    await service.submit(request, summary="s")
    await eventually(lambda: found(service, Selection(project="selection-young")))
    assert not await found(service, Selection(project="selection-young", older_than_s=3_600))
    await eventually(lambda: found(service, Selection(project="selection-young", older_than_s=1)))


async def test_a_namespace_without_the_attributes_is_said_in_a_sentence(start_server: StartServer) -> None:
    server = await start_server(search_attributes={})
    service = TemporalService(await Client.connect(server.address))
    assert await found(service, Selection()) == []
    with pytest.raises(InvalidRequest, match="headgate doctor"):
        await found(service, Selection(owner="team"))
