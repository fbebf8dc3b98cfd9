"""A receiver is told what becomes of a request: signed, in order, at least once, without the request ever waiting for it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

import worker
from activities.layout import input_path
from activities.notices import keep_address
from headgate.errors import NotDelivered
from headgate.messages.carried import BulkInput
from headgate.messages.notices import Happening, LastNotices, Notice, TellNotice
from headgate.messages.requests import BulkRequest
from headgate.messages.views import Control
from headgate.settings import NotifySettings
from starter.client import BulkRequests
from starter.service import TemporalService
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import NOTIFY_SECRET, Handle, Stack, append, running_stack
from workflows import names
from workflows.bulk_request import BulkRequestWorkflow
from workflows.notice import NoticeWorkflow

EVENTS: tuple[Happening, ...] = ("started", "first_dead_letter", "completed")


@dataclass
class Inbox:
    """A receiver on this machine: what arrived and verified, by the order of arrival; `answer` gives the status for each."""

    port: int
    answer: Callable[[str], int] = lambda event_id: 204
    arrived: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=in-the-address"

    @property
    def events(self) -> list[str]:
        """What was told, every notice at its first arrival."""
        return list({document["id"]: document["event"] for document in self.arrived}.values())

    async def take(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        body = await request.read()
        signature = dict(part.split("=", 1) for part in request.headers["Headgate-Signature"].split(","))
        signed = signature["t"].encode() + b"." + body
        assert signature["v1"] == hmac.new(NOTIFY_SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert abs(time.time() - int(signature["t"])) < 60
        document = json.loads(body)
        assert request.headers["Headgate-Event-Id"] == document["id"]
        assert request.headers["Headgate-Key"] == "tests"
        status = self.answer(document["id"])
        self.arrived.append(document)
        return web.Response(status=status, headers={"Location": f"http://127.0.0.1:{self.port}/elsewhere"})

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """The receiver answers on its port for a while."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.take)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
def inbox() -> Inbox:
    """Not open yet, on a port that nobody has."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return Inbox(probe.getsockname()[1])


def told(inbox: Inbox, last: str) -> Callable[[], bool]:
    return lambda: last in inbox.events


async def started_with_paused_calls(stack: Stack, inbox: Inbox, spreadsheet: str, calls: int = 40) -> Handle:
    """A request that is under way, and takes some seconds."""
    stack.spreadsheets(spreadsheet)
    lines = [append(f"{spreadsheet}/{n}", spreadsheet) for n in range(calls)]
    handle = await stack.submit(await stack.project(), lines, operations_per_call=1, owner="team", url=inbox.url)
    await eventually(lambda: len(stack.calls(spreadsheet)) > 3, timeout=30)
    return handle


async def notice_runs(stack: Stack, handle: Handle) -> list[str]:
    """The workflows that the request left behind, once it did."""
    query = f"WorkflowType = '{names.NOTICE_TYPE}'"
    request_id = handle.id.removeprefix("bulk/")
    return [run.id async for run in stack.client.list_workflows(query) if run.id.startswith(f"notice/{request_id}/")]


async def test_every_event_is_told_signed_and_in_order(stack: Stack, inbox: Inbox) -> None:
    """Each notice is refused once, and comes again with the same id and the same words. A bad line is known before anything
    is sent."""
    refused: set[str] = set()

    def refuse_once(event_id: str) -> int:
        first = event_id not in refused
        refused.add(event_id)
        return 503 if first else 204

    inbox.answer = refuse_once
    async with inbox.open():
        stack.spreadsheets("told")
        lines: list[dict[str, Any] | bytes] = [append(f"told/{n}", "told") for n in range(40)]
        project = await stack.project()
        handle = await stack.submit(
            project, [b"{no operation", *lines], operations_per_call=1, owner="team", url=inbox.url
        )
        await eventually(lambda: len(stack.calls("told")) > 3, timeout=30)
        await eventually(told(inbox, "first_dead_letter"), timeout=15)
        await handle.signal("pause", Control(by="ana"))
        await eventually(told(inbox, "paused"), timeout=15)
        await handle.signal("resume", Control(by="bob"))
        await eventually(told(inbox, "resumed"), timeout=15)
        await asyncio.wait_for(handle.result(), 60)
        await eventually(lambda: [d["event"] for d in inbox.arrived].count("completed") == 2, timeout=15)
    assert inbox.events == ["first_dead_letter", "started", "paused", "resumed", "completed"]
    by_id: dict[str, list[dict[str, Any]]] = {}
    for document in inbox.arrived:
        by_id.setdefault(document["id"], []).append(document)
    assert all(len(attempts) >= 2 and all(a == attempts[0] for a in attempts) for attempts in by_id.values())
    dead, started, paused, resumed, end = (attempts[0] for attempts in by_id.values())
    request_id = handle.id.removeprefix("bulk/")
    assert {(d["request"], d["project"], d["owner"]) for d in inbox.arrived} == {(request_id, project, "team")}
    assert [d["sequence"] for d in (dead, started, paused, resumed, end)] == [1, 2, 3, 4, 5]
    assert (paused["by"], paused["state"], resumed["by"]) == ("ana", "paused", "bob")
    assert dead["why"]
    assert (end["state"], end["operations"]["succeeded"], end["operations"]["failed"]) == ("completed", 40, 1)
    history = (await handle.fetch_history()).to_json()
    assert "in-the-address" not in history
    assert NOTIFY_SECRET not in history


@asynccontextmanager
async def away(inbox: Inbox, *, silent: bool) -> AsyncIterator[None]:
    """Nobody listens on the receiver's port; or somebody does, and never answers."""
    over = asyncio.Event()

    async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.transport.abort()

    server = await asyncio.start_server(listen, "127.0.0.1", inbox.port) if silent else None
    yield
    over.set()
    if server is not None:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "silent"])
async def test_a_receiver_that_is_away_delays_nothing_and_learns_the_end(
    stack: Stack, inbox: Inbox, silent: bool
) -> None:
    """The request takes no longer than one of which nobody is told; what waited comes once the receiver is there, in order."""

    async def taken(spreadsheet: str, url: str) -> tuple[Handle, float]:
        """A request of its own project, and the seconds from its start to its end."""
        stack.spreadsheets(spreadsheet)
        lines = [append(f"{spreadsheet}/{n}", spreadsheet) for n in range(20)]
        began = time.monotonic()
        handle = await stack.submit(await stack.project(), lines, operations_per_call=1, url=url)
        await eventually(lambda: len(stack.calls(spreadsheet)) > 3, timeout=30)
        for n in range(3):
            await handle.execute_update("pause", Control(by=f"ana{n}"))
            await handle.execute_update("resume", Control(by=f"bob{n}"))
        view = await asyncio.wait_for(handle.result(), 60)
        assert (view.state, view.operations.succeeded) == ("completed", 20)
        return handle, time.monotonic() - began

    async with away(inbox, silent=silent):
        _, untold_s = await taken(f"untold-{silent}", "")
        handle, told_s = await taken(f"away-{silent}", inbox.url)
    assert told_s < untold_s + 5, f"{told_s:.1f} s, without a receiver {untold_s:.1f} s"
    assert not inbox.arrived
    async with inbox.open():
        await eventually(told(inbox, "completed"), timeout=90)
    assert inbox.events == ["started", "resumed", "completed"], "of six pauses and resumes the last one is told"
    assert next(d["by"] for d in inbox.arrived if d["event"] == "resumed") == "bob2"
    (left,) = await eventually(lambda: notice_runs(stack, handle), timeout=10)
    await stack.client.get_workflow_handle(left).result()


async def test_a_cancelled_request_says_who_cancelled_it(stack: Stack, inbox: Inbox) -> None:
    """With the counts of its end, not of the moment when it was cancelled."""
    async with inbox.open():
        handle = await started_with_paused_calls(stack, inbox, "cancelled")
        await handle.execute_update("cancel", Control(by="eve"))
        view = await asyncio.wait_for(handle.result(), 30)
        await eventually(told(inbox, "cancelled"), timeout=15)
    end = inbox.arrived[-1]
    assert (inbox.events, end["by"]) == (["started", "cancelled"], "eve")
    assert end["operations"]["unprocessed"] == view.operations.unprocessed > 0


async def test_a_cancellation_by_temporal_itself_is_told_too(stack: Stack, inbox: Inbox) -> None:
    async with inbox.open():
        handle = await started_with_paused_calls(stack, inbox, "uicancelled")
        await handle.cancel()
        await asyncio.wait_for(handle.result(), 30)
        await eventually(told(inbox, "cancelled"), timeout=15)


async def test_a_request_that_fails_says_why(stack: Stack, inbox: Inbox) -> None:
    """Its input is not what was submitted, so there is nothing that it could send."""
    request = BulkRequest(
        id="fails", project=await stack.project(), user="bot", input_sha256="0" * 64, nonce="n", notify="tests"
    )
    await stack.store.put(input_path("fails", "0" * 64), b"{}\n")
    await keep_address(stack.store, request, inbox.url)
    async with inbox.open():
        handle = await stack.client.start_workflow(
            BulkRequestWorkflow.run,
            BulkInput(request=request),
            id=names.bulk_request_id("fails"),
            task_queue=names.WORKFLOW_QUEUE,
        )
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        await eventually(told(inbox, "failed"), timeout=15)
    assert inbox.events == ["failed"]
    assert inbox.arrived[0]["why"]
    assert inbox.arrived[0]["state"] == "failed"


async def test_a_redirect_is_not_followed(stack: Stack, inbox: Inbox) -> None:
    inbox.answer = lambda event_id: 302
    stack.spreadsheets("moved")
    async with inbox.open():
        handle = await stack.submit(await stack.project(), [append("moved/0", "moved")], url=inbox.url)
        assert (await asyncio.wait_for(handle.result(), 30)).state == "completed"
        await eventually(lambda: len(inbox.arrived) >= 3, timeout=30)
    assert set(inbox.paths) == {"/hook"}


@pytest.mark.parametrize("host", ["10.0.0.1", "[fd00::1]", "169.254.169.254"])
async def test_an_address_inside_is_sent_nothing(stack: Stack, inbox: Inbox, host: str) -> None:
    """The request runs as ever; what was left to tell fails at once, and says why without the address."""
    sheet = f"inside-{host.strip('[]').replace(':', '-')}"
    stack.spreadsheets(sheet)
    url = f"https://{host}:{inbox.port}/in-the-address"
    async with inbox.open():
        handle = await stack.submit(await stack.project(), [append(f"{sheet}/0", sheet)], url=url)
        assert (await asyncio.wait_for(handle.result(), 30)).state == "completed"
        (left,) = await eventually(lambda: notice_runs(stack, handle), timeout=10)
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(stack.client.get_workflow_handle(left).result(), 20)
    assert not inbox.arrived
    assert not inbox.paths
    history = (await stack.client.get_workflow_handle(left).fetch_history()).to_json()
    assert "not public" in history
    assert "in-the-address" not in history


async def test_what_is_untold_goes_into_the_next_run(start_server: StartServer, tmp_path: Path, inbox: Inbox) -> None:
    """A receiver that is away holds no continue-as-new up; later it hears the first notice under the id that it had in the
    first run."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=80"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path, max_cached_workflows=0, max_concurrent_workflow_task_polls=1) as stack:
        handle = await started_with_paused_calls(stack, inbox, "longlived", calls=60)

        async def ended_runs() -> list[str]:
            """The runs that another one has followed, the first of them first."""
            found = [run async for run in client.list_workflows(f"WorkflowId = '{handle.id}'")]
            continued = [run for run in found if run.status is WorkflowExecutionStatus.CONTINUED_AS_NEW]
            return [run.run_id for run in sorted(continued, key=lambda run: run.start_time)]

        await handle.execute_update("pause", Control(by="ana"))
        await handle.execute_update("resume", Control(by="bob"))
        so_far = len(await ended_runs())

        async def more_runs() -> list[str]:
            found = await ended_runs()
            return found if len(found) > so_far else []

        (first, *_) = await eventually(more_runs, timeout=60)
        async with inbox.open():
            assert (await asyncio.wait_for(handle.result(), 90)).operations.succeeded == 60
            await eventually(told(inbox, "completed"), timeout=90)
        first_told, *_, last_told = inbox.arrived
        assert (first_told["event"], first_told["sequence"]) == ("started", 1)
        assert inbox.events == ["started", "resumed", "completed"], "the pause was overtaken"
        assert (last_told["event"], last_told["sequence"]) == ("completed", 4), "counted on from run to run"
        assert stack.counted("longlived") == {f"longlived/{n}": 1 for n in range(60)}
        scheduled = [
            json.loads(event.activity_task_scheduled_event_attributes.input.payloads[0].data)
            async for event in client.get_workflow_handle(handle.id, run_id=first).fetch_history_events()
            if event.activity_task_scheduled_event_attributes.activity_type.name == "notify"
        ]
        assert {order["notice"]["id"] for order in scheduled} == {first_told["id"]}


@pytest.mark.parametrize("refused", ["started", "completed", "nothing"])
async def test_a_notice_that_nobody_takes_keeps_no_other_from_being_told(
    start_server: StartServer, refused: str
) -> None:
    """The end is what counts: the workflow fails without it, and only then; one that is cancelled tells no more."""
    told: list[str] = []

    @activity.defn(name="notify")
    async def notify(order: TellNotice) -> None:
        told.append(order.notice.event)
        if refused == "nothing":
            raise NotDelivered
        if order.notice.event == refused:
            raise ApplicationError("a receiver that knows no such event", type="InvalidRequest")

    client = await Client.connect((await start_server()).address, data_converter=pydantic_data_converter)
    orders = tuple(
        TellNotice(
            request_id="r",
            nonce="n",
            key="k",
            project="p",
            owner="",
            notice=Notice(id=event, sequence=place, event=event, state="running", at_ns=1),
        )
        for place, event in enumerate(EVENTS)
    )
    async with (
        Worker(client, task_queue=names.WORKFLOW_QUEUE, workflows=[NoticeWorkflow], workflow_runner=worker.sandbox()),
        Worker(client, task_queue=names.SEND_QUEUE, activities=[notify]),
    ):
        handle = await client.start_workflow(
            NoticeWorkflow.run, LastNotices(orders=orders), id="notice/r/2-completed", task_queue=names.WORKFLOW_QUEUE
        )
        if refused == "started":
            await asyncio.wait_for(handle.result(), 20)
        else:
            if refused == "nothing":
                await eventually(lambda: len(told) >= 2)
                await handle.cancel()
            with pytest.raises(WorkflowFailureError) as caught:
                await asyncio.wait_for(handle.result(), 20)
            ended = "nobody could be told that r is completed" if refused == "completed" else "cancelled"
            assert ended in str(caught.value.cause).lower()
    assert [*dict.fromkeys(told)] == (["started"] if refused == "nothing" else [*EVENTS])


async def test_every_request_of_a_schedule_tells_the_schedules_receiver(stack: Stack, inbox: Inbox) -> None:
    """The address is kept with the schedule, and goes from there to each of its requests; no payload has it."""
    stack.spreadsheets("told-later")
    requests = BulkRequests(TemporalService(stack.client), stack.store, notify=NotifySettings(loopback=True))
    project = await stack.project()
    async with inbox.open():
        made = await requests.schedule(
            [append("row", "told-later")],
            project=project,
            user="bot",
            id="told-later",
            every=timedelta(seconds=3),
            notify=inbox.url,
            notify_key="tests",
        )
        try:
            await eventually(lambda: inbox.events.count("completed") >= 2, timeout=40)
        finally:
            await requests.remove_schedule(made.id)
        assert {document["request"].rpartition("-")[0] for document in inbox.arrived} == {"told-later"}
        assert len({document["request"] for document in inbox.arrived}) >= 2
