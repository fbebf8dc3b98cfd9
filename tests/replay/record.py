"""`python -m tests.replay.record`: record histories of both workflows anew, after a change that no running one has to survive.

Every recorded history is a promise to requests under way: replaying it against today's code must issue the same commands.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import tempfile
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

import worker
from headgate.models import Control
from starter.devserver import DevServer
from tests.eventually import eventually
from tests.integration.stack import append, running_stack
from workflows import names

FOLDER = Path(__file__).parent / "histories"


def without_machine(history: str) -> str:
    """The history without the names of the machine and the folders that it was recorded on."""
    shown = re.sub(r'"identity": "[^"]*"', '"identity": "recorded"', history)
    for told in (socket.gethostname(), f"{Path(worker.__file__).parent}/", f"{sys.prefix}/", f"{sys.base_prefix}/"):
        shown = shown.replace(told, "")
    return shown


async def record() -> None:
    """A request with faults, a pause and a new priority, and its limiter, across continue-as-new."""
    FOLDER.mkdir(exist_ok=True)
    config = ["limit.historyCount.suggestContinueAsNew=150"]
    with tempfile.TemporaryDirectory() as folder:
        async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, dynamic_config=config, say=print) as server:
            client = await Client.connect(server.address, data_converter=pydantic_data_converter)
            async with running_stack(client, Path(folder)) as stack:
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
                await keep(client, "bulk", handle.id)
                await keep(client, "limiter", names.rate_limiter_id(project))


async def record_retry() -> None:
    """A request that is told by update and by signal to retry what has failed so far, across continue-as-new."""
    config = ["limit.historyCount.suggestContinueAsNew=60"]
    with tempfile.TemporaryDirectory() as folder:
        async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, dynamic_config=config, say=print) as server:
            client = await Client.connect(server.address, data_converter=pydantic_data_converter)
            async with running_stack(client, Path(folder)) as stack:
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
                await keep(client, "bulk-retry", handle.id)


async def keep(client: Client, kind: str, workflow_id: str) -> None:
    """The histories of all runs of a workflow, in their order."""
    runs = [run async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")]
    for number, run in enumerate(sorted(runs, key=lambda r: r.start_time)):
        history = await client.get_workflow_handle(workflow_id, run_id=run.run_id).fetch_history()
        text = without_machine(json.dumps(json.loads(history.to_json()), indent=1))
        (FOLDER / f"{kind}-{number}.json").write_text(text + "\n")


async def main() -> None:
    """Every scenario."""
    await record()
    await record_retry()


if __name__ == "__main__":
    asyncio.run(main())
