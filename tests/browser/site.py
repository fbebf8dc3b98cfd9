"""A Temporal server with its Web UI, workers and emulator, and requests to look at; for the tests and for the pictures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import ProgressView
from starter.devserver import DevServer
from starter.service import TemporalService
from starter.submitting import Wish, submit
from tests.integration.stack import Handle, Stack, append, running_stack
from workflows import names
from workflows.bulk_request import BulkRequestWorkflow
from workflows.limiter_start import signal_with_start_limiter

PROJECT: Final = "shop"
USER: Final = "billing-bot"
#: Slow enough that a request of a few hundred calls runs for as long as anybody looks at it.
QUOTA: Final = LimiterSettings(
    read_per_project=60,
    read_per_user=40,
    write_per_project=60,
    write_per_user=40,
    window_ns=10 * SECOND_NS,
    spreadsheet_spacing_ns=20_000_000,
)
#: Two lines that end as dead letters, for different reasons.
BAD: Final = (
    {"id": "typo", "op": "upsert", "spreadsheet": "orders-north"},
    append("lost", "orders-north", range="Nowhere!A:B"),
)


@dataclass
class Site:
    """`root` is the address of the namespace's pages."""

    stack: Stack
    service: TemporalService
    root: str

    async def submit(
        self, request_id: str, calls: int, spreadsheets: Sequence[str], *, more: Iterable[Any] = (), **wish: Any
    ) -> Handle:
        """A request as `headgate submit` starts it, of so many appends, each in a call of its own, and `more` lines."""
        self.stack.spreadsheets(*(s for s in spreadsheets if s not in self.stack.emulator.library.spreadsheets))
        lines = [append(f"{request_id}-{n}", spreadsheets[n % len(spreadsheets)]) for n in range(calls)]
        body = [json.dumps(line).encode() + b"\n" for line in [*lines, *more]]
        asked = Wish(project=PROJECT, user=USER, id=request_id, operations_per_call=1, **wish)
        await submit(self.service, self.stack.store, asked, body, None, f"{request_id}.jsonl")
        return self.stack.client.get_workflow_handle_for(BulkRequestWorkflow.run, names.bulk_request_id(request_id))

    async def view(self, handle: Handle) -> ProgressView:
        """The `progress` query."""
        return await self.stack.view(handle)


@asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[Site]:
    """A site on free ports; it ends with the block."""
    async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=0) as server:
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        async with running_stack(client, folder) as stack:
            await signal_with_start_limiter(client, PROJECT, "configure", QUOTA)
            yield Site(stack, TemporalService(client), f"{server.ui_url}/namespaces/{client.namespace}")
