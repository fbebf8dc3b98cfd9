"""`python -m tests.replay.record [NAME ...]`: record histories anew, after a change that no running workflow has to survive.

Every recorded history is a promise to what is under way: replaying it against today's code must issue the same commands.
Those of `request` are of the first release, and are not to be recorded any more.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from aiohttp import web
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.contrib.pydantic import pydantic_data_converter

import worker
from headgate.messages.views import Control
from starter.client import BulkRequests
from starter.devserver import DevServer
from starter.retrying import retry_by_workers
from starter.service import TemporalService
from tests.eventually import eventually
from tests.integration.stack import Stack, append, running_stack
from workflows import names
from workflows.submitted import submitted

FOLDER = Path(__file__).parent / "histories"
KINDS = {
    *("bulk", "limiter", "steered", "cancelled", "limiter-steered", "bulk-retry", "told", "notice", "occurrence"),
    *("projected", "projection", "retry"),
}


def without_machine(history: str) -> str:
    """The history without the names of the machine and the folders that it was recorded on."""
    shown = re.sub(r'"identity": "[^"]*"', '"identity": "recorded"', history)
    for told in (socket.gethostname(), f"{Path(worker.__file__).parent}/", f"{sys.prefix}/", f"{sys.base_prefix}/"):
        shown = shown.replace(told, "")
    return shown


@asynccontextmanager
async def recording(events: int) -> AsyncIterator[Stack]:
    """A stack on a server of its own, whose workflows continue as new after so many events."""
    FOLDER.mkdir(exist_ok=True)
    config = [f"limit.historyCount.suggestContinueAsNew={events}"]
    with tempfile.TemporaryDirectory() as folder:
        async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, dynamic_config=config, say=print) as server:
            client = await Client.connect(server.address, data_converter=pydantic_data_converter)
            async with running_stack(client, Path(folder)) as stack:
                yield stack


async def keep(stack: Stack, kind: str, workflow_id: str) -> None:
    """The histories of a workflow's runs, in their order."""
    for old in FOLDER.glob(f"{kind}-[0-9].json"):
        old.unlink()
    runs = [run async for run in stack.client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    for number, run in enumerate(sorted(runs, key=lambda r: r.start_time)):
        history = await stack.client.get_workflow_handle(workflow_id, run_id=run.run_id).fetch_history()
        text = without_machine(json.dumps(json.loads(history.to_json()), indent=1))
        (FOLDER / f"{kind}-{number}.json").write_text(text + "\n")


async def record_request(stack: Stack) -> None:
    """A request with faults, a pause and a new priority, and its limiter, across continue-as-new."""
    stack.spreadsheets("one", "two")
    project = await stack.project()
    lines = [append(f"{s}/{n}", s, user=s) for n in range(30) for s in ("one", "two")]
    lines.append(append("lost", "nowhere"))
    with stack.faults({"kind": "write", "every": 7, "effect": "close", "when": "after"}):
        handle = await stack.submit(project, lines, operations_per_call=1)
        await asyncio.sleep(4)
        await handle.signal("pause", Control(by="ana"))
        await asyncio.sleep(3)
        await handle.signal("reprioritise", Control(to="urgent"))
        await handle.signal("resume")
        await handle.result()
    await keep(stack, "bulk", handle.id)
    await keep(stack, "limiter", names.rate_limiter_id(project))


async def record_steered(stack: Stack) -> None:
    """Two requests that are steered by updates, among them refused ones: one is cancelled, one by Temporal's own cancellation."""
    stack.spreadsheets("one", "two")
    project = await stack.project()
    with stack.faults({"kind": "write", "every": 7, "effect": "close", "when": "after"}):
        handles = [
            await stack.submit(project, [append(f"{s}/{n}", s) for n in range(80)], operations_per_call=1)
            for s in ("one", "two")
        ]
        for handle in handles:
            await eventually(lambda: len(stack.calls("one", "two")) > 10, timeout=30)
            await handle.execute_update("pause", Control(by="ana", id="c1"))
            await handle.execute_update("pause", Control(by="ana", id="c1"), id="again")
            await handle.execute_update("reprioritise", Control(to="urgent"))
            with suppress(WorkflowUpdateFailedError):
                await handle.execute_update("reprioritise", Control(to="high"))
            await handle.execute_update("resume")
            called = len(stack.calls("one", "two"))
            await eventually(partial(_more, stack, called + 20), timeout=30)
        await handles[0].execute_update("cancel", Control(by="bob"))
        await handles[1].cancel()
        for handle in handles:
            await handle.result()
    await keep(stack, "steered", handles[0].id)
    await keep(stack, "cancelled", handles[1].id)
    await keep(stack, "limiter-steered", names.rate_limiter_id(project))


def _more(stack: Stack, calls: int) -> bool:
    return len(stack.calls("one", "two")) >= calls


async def record_retry(stack: Stack) -> None:
    """A request that is told by update and by signal to retry what has failed so far, across continue-as-new."""
    stack.spreadsheets("one")
    lines = [append("lost", "nowhere"), *(append(f"one/{n}", "one") for n in range(40))]
    handle = await stack.submit(await stack.project(), lines, operations_per_call=1)

    async def failed() -> bool:
        return (await stack.view(handle)).operations.failed == 1

    await eventually(failed, timeout=30)
    await handle.execute_update("retry_failed", Control(by="ana", id="c1"))
    await handle.signal("retry_failed", Control(by="ana", id="c1"))
    await handle.signal("retry_failed")
    await handle.result()
    await keep(stack, "bulk-retry", handle.id)


async def record_told(stack: Stack) -> None:
    """A request whose receiver comes when it is over already, and the workflow that tells its end."""
    stack.spreadsheets("one", "two")
    app = web.Application()
    app.router.add_post("/", lambda _: _answered())
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.socket() as taken:  # nobody listens, and nobody else takes the port
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        lines = [append(f"{s}/{n}", s, user=s) for n in range(60) for s in ("one", "two")]
        lines.append(append("lost", "nowhere"))
        handle = await stack.submit(await stack.project(), lines, operations_per_call=1, url=url)
        await asyncio.sleep(3)
        await handle.signal("pause", Control(by="ana"))
        await asyncio.sleep(1)
        await handle.signal("resume", Control(by="bob"))
        await handle.result()
        runs = stack.client.list_workflows(f"WorkflowType = '{names.NOTICE_TYPE}'")
        (notice_id,) = [run.id async for run in runs]
        taken.listen()
        await web.SockSite(runner, taken).start()
        await stack.client.get_workflow_handle(notice_id).result()
        await runner.cleanup()
    await keep(stack, "told", handle.id)
    await keep(stack, "notice", notice_id)


async def record_projected(stack: Stack) -> None:
    """A request that people see in a read model: it sends, is steered, waits and ends; and the workflow that shows its end."""
    stack.spreadsheets("one", "two")
    lines = [append(f"{s}/{n}", s, user=s) for n in range(60) for s in ("one", "two")]
    lines.append(append("lost", "nowhere"))
    with stack.faults({"kind": "write", "every": 9, "effect": "close", "when": "after"}):
        handle = await stack.submit(
            await stack.project(), lines, operations_per_call=1, organisation="acme", users=("one", "two", "bot")
        )
        await eventually(lambda: len(stack.calls("one", "two")) > 10, timeout=30)
        await handle.execute_update("pause", Control(by="ana", sequence=1))
        await handle.execute_update("reprioritise", Control(to="urgent", sequence=2))
        await asyncio.sleep(5)
        await handle.execute_update("resume", Control(by="ana", sequence=3))
        view = await handle.result()
    shown = names.projection_id(view.id, view.version)
    await stack.client.get_workflow_handle(shown).result()
    await keep(stack, "projected", handle.id)
    await keep(stack, "projection", shown)


async def record_retry_over(stack: Stack) -> None:
    """What failed in a request that is over is looked for."""
    handle = await stack.submit(await stack.project(), [append("lost", "nowhere")])
    view = await handle.result()
    request = await submitted(stack.client, view.id)
    assert request is not None
    retry = await retry_by_workers(stack.client, request, view.state, "c1", 60)
    assert retry.operations == 1
    await keep(stack, "retry", names.retry_id(view.id, "c1"))


async def record_occurrence(stack: Stack) -> None:
    """A schedule that runs once."""
    stack.spreadsheets("later")
    requests = BulkRequests(TemporalService(stack.client), stack.store)
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    project = await stack.project()
    await requests.schedule([append("row", "later")], project=project, user="bot", id="later", start_at=at)

    async def ended() -> bool:
        return [one.state for one in (await requests.scheduled("later")).requests] == ["completed"]

    await eventually(ended, 30)
    workflow_id = f"{names.occurrence_id('later')}-{at.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    await stack.client.get_workflow_handle(workflow_id).result()
    await keep(stack, "occurrence", workflow_id)


async def _answered() -> web.Response:
    return web.Response(status=204)


#: The scenario, and after how many events its workflows continue as new.
RECORDS = {
    "request": (record_request, 150),
    "steered": (record_steered, 150),
    "retry": (record_retry, 60),
    "told": (record_told, 150),
    "projected": (record_projected, 150),
    "retry-over": (record_retry_over, 150),
    "occurrence": (record_occurrence, 150),
}


async def record(wanted: Sequence[str]) -> None:
    """Each on a server of its own."""
    for name in wanted or RECORDS:
        scenario, events = RECORDS[name]
        async with recording(events) as stack:
            await scenario(stack)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
