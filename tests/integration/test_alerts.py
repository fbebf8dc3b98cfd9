"""A worker tells of alerts as a workflow asks it to: signed, tried again under the same id, and never where it may not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import worker
from activities.alerts import AlertActivities
from headgate.messages.alerts import AlertEvent
from headgate.settings import Settings, WebhookSettings
from tests.conftest import StartServer
from workflows import policies

EVENT = AlertEvent(
    id="e1",
    project="p",
    condition="waiting",
    subject="urgent",
    phase="raised",
    at_ns=2_000_000_000,
    since_ns=1_000_000_000,
    sentence="The class urgent has had no token for 11 s; its bound is 10 s.",
)
SECRET = "correct horse battery staple"


@workflow.defn
class Alarm:
    @workflow.run
    async def run(self, event: AlertEvent) -> None:
        await workflow.execute_activity_method(AlertActivities.raise_alert, event, **policies.ALERT)


class Hooks:
    """Answers the first delivery with a 503."""

    def __init__(self) -> None:
        self.url = ""
        self.told: list[tuple[str, str]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.told.append((request.headers["Headgate-Event-Id"], json.loads(await request.read())["sentence"]))
        return web.Response(status=503 if len(self.told) == 1 else 204)


@pytest.fixture
async def client(start_server: StartServer) -> Client:
    """Of a server of the test's own: another send worker on the queue would know of no webhook."""
    return await Client.connect((await start_server()).address, data_converter=pydantic_data_converter)


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    found = Hooks()
    app = web.Application()
    app.router.add_post("/", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield found
    await runner.cleanup()


async def alarm(client: Client, folder: Path, url: str) -> None:
    """One alert through the send worker that the settings make."""
    key_file = folder / "alerts.key"
    key_file.write_text(SECRET)
    hook = WebhookSettings(url=url, key_file=key_file, key_name="k", loopback=True)
    settings = Settings(store=str(folder / "store"), cache_dir=folder, alert_webhook=hook)
    deciding = Worker(
        client, task_queue=f"alarm-{folder.name}", workflows=[Alarm], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with deciding, worker.send_worker(client, settings):
        await client.execute_workflow(Alarm.run, EVENT, id=f"alarm-{folder.name}", task_queue=f"alarm-{folder.name}")


async def test_an_alert_is_told_until_it_has_arrived(client: Client, tmp_path: Path, hooks: Hooks) -> None:
    await alarm(client, tmp_path, hooks.url)
    assert hooks.told == [("e1", EVENT.sentence)] * 2


async def test_where_it_may_not_go_it_is_not_tried_again(client: Client, tmp_path: Path) -> None:
    """What the history then holds is a sentence, without the key or the address."""
    with pytest.raises(WorkflowFailureError) as caught:
        await alarm(client, tmp_path, "https://10.0.0.1/in-the-address")
    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    assert caught.value.cause.cause.type == "InvalidRequest"
    handle = client.get_workflow_handle(f"alarm-{tmp_path.name}")
    history = (await handle.fetch_history()).to_json()
    assert "not public" in history
    assert "in-the-address" not in history
    assert SECRET not in history
