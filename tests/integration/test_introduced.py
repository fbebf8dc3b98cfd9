"""What a request is stays readable in the Web UI however often it has continued as new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.request_details import introduction
from starter.service import TemporalService
from starter.submitting import Wish, submit
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import append, running_stack


async def test_a_later_run_still_says_what_was_asked_for(start_server: StartServer, tmp_path: Path) -> None:
    """A server keeps the static summary and details for the first run alone; the current details bring them from then on."""
    server = await start_server(dynamic_config=["limit.historyCount.suggestContinueAsNew=60"])
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    async with running_stack(client, tmp_path) as stack:
        stack.spreadsheets("told")
        service, project = TemporalService(client), await stack.project()
        lines = [json.dumps(append(f"t{n}", "told")).encode() + b"\n" for n in range(200)]
        wish = Wish(project=project, user="bot", owner="<b>sales", id="told", operations_per_call=1)
        await submit(service, stack.store, wish, lines, None, "told.jsonl")
        handle = client.get_workflow_handle("bulk/told")
        first = await handle.describe()
        said = introduction(await service.request("told"))
        assert await first.static_details() == said
        assert said not in await current(handle)

        async def later() -> bool:
            return (await handle.describe()).run_id != first.run_id

        await eventually(later, 60)
        shown = await eventually(lambda: current(handle), 20)
        assert f"`{await first.static_summary()}`\n\n{said}" in shown
        assert len(shown.encode()) < 4000, "it travels in an address"
        await handle.signal("cancel")
        await handle.result()


async def current(handle: WorkflowHandle[Any, Any]) -> str:
    """The current details, as the Web UI asks for them."""
    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata")
    return metadata.current_details
