"""Workers and an emulator in the test's own process, with scaled windows; what is counted is counted by the emulator."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

import worker
from activities.notices import keep_address
from activities.results import read_results
from activities.store import Store
from activities.submission import store_input
from benchmarks.rig import worst_windows
from emulator.faults import FaultPlan, rules_of
from emulator.grid import Sheet
from emulator.server import Emulator, EmulatorSettings
from headgate.databases import Database
from headgate.message import SECOND_NS
from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import LimiterView, ProgressView
from headgate.settings import NotifySettings, Settings, UploadSettings
from workflows import names
from workflows.bulk_request import BulkRequestWorkflow
from workflows.limiter_start import signal_with_start_limiter

WINDOW = 5.0
FAST = LimiterSettings(
    read_per_project=60,
    read_per_user=30,
    write_per_project=60,
    write_per_user=30,
    window_ns=int(WINDOW * SECOND_NS),
    spreadsheet_spacing_ns=20_000_000,
)
NOTIFY_SECRET = "a secret for receivers in tests"
NUMBER = itertools.count(1)
Handle = WorkflowHandle[BulkRequestWorkflow, ProgressView]


@dataclass
class Stack:
    """What runs. Every test takes a project of its own, and so a limiter of its own."""

    client: Client
    emulator: Emulator
    store: Store
    settings: Settings

    async def project(self, limits: LimiterSettings = FAST) -> str:
        """A new project with these limits."""
        project = f"p{next(NUMBER)}"
        await signal_with_start_limiter(self.client, project, "configure", limits)
        return project

    def spreadsheets(self, *ids: str, titles: Sequence[str] = ("Orders",)) -> None:
        """Create spreadsheets with these sheets."""
        for spreadsheet in ids:
            made = self.emulator.library.create(spreadsheet, spreadsheet)
            made.sheets = [Sheet(index, title) for index, title in enumerate(titles)]

    async def submit(self, project: str, lines: Iterable[Mapping[str, Any] | bytes], **options: Any) -> Handle:
        """Start a request made of these lines; `url` is told of it, signed by the key `tests`."""
        url = options.pop("url", "")
        request_id = options.pop("id", "") or f"r{next(NUMBER)}"
        encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        stored = await store_input(self.store, request_id, iter([b"\n".join(encoded) + b"\n"]))
        request = BulkRequest(
            id=request_id,
            project=project,
            user=options.pop("user", "bot"),
            input_sha256=stored.sha256,
            input_bytes=stored.size,
            nonce=request_id,
            notify="tests" if url else "",
            **options,
        )
        if url:
            await keep_address(self.store, request, url)
        return await self.start(request)

    async def start(self, request: BulkRequest) -> Handle:
        """The workflow of a request."""
        return await self.client.start_workflow(
            BulkRequestWorkflow.run,
            BulkInput(request=request, release=names.RELEASE),
            id=names.bulk_request_id(request.id),
            task_queue=names.WORKFLOW_QUEUE,
        )

    async def results(self, handle: Handle, *, closed: bool = False) -> dict[str, dict[str, Any]]:
        """Results by operation id; an operation with two results fails the test."""
        request_id = handle.id.removeprefix("bulk/")
        found: dict[str, dict[str, Any]] = {}
        async for result in read_results(self.store, request_id, closed=closed):
            assert result["id"] not in found, f"{result['id']} has two results"
            found[result["id"]] = result
        return found

    @contextmanager
    def faults(self, *rules: Mapping[str, Any]) -> Iterator[None]:
        """The emulator misbehaves by these rules for a while."""
        self.emulator.dispatcher.faults = FaultPlan(rules_of(list(rules)), 1, 0.0)
        try:
            yield
        finally:
            self.emulator.dispatcher.faults = FaultPlan((), 1, 0.0)

    async def view(self, handle: Handle) -> ProgressView:
        """The `progress` query."""
        view: ProgressView = await handle.query("progress", result_type=ProgressView)
        return view

    def limiter(self, project: str) -> WorkflowHandle[Any, Any]:
        """The project's limiter, whichever of its runs is on."""
        return self.client.get_workflow_handle(names.rate_limiter_id(project))

    async def shown(self, project: str) -> LimiterView:
        """The limiter's `show` query."""
        view: LimiterView = await self.limiter(project).query("show", result_type=LimiterView)
        return view

    async def completes(self, handle: Handle, lines: Sequence[Mapping[str, Any]], within: float) -> ProgressView:
        """The request's last word, once every one of its appends stands in its spreadsheet exactly once."""
        view = await asyncio.wait_for(handle.result(), within)
        assert (view.operations.succeeded, view.operations.failed) == (len(lines), 0)
        assert self.counted(*{line["spreadsheet"] for line in lines}) == {line["id"]: 1 for line in lines}
        return view

    def within(self, limits: LimiterSettings, *spreadsheets: str) -> None:
        """No window of the ledger holds more calls to these spreadsheets than the limits, at both levels."""
        worst = worst_windows({"calls": self.calls(*spreadsheets)}, limits.window_ns / SECOND_NS)
        assert worst
        assert all(most <= getattr(limits, bucket) for bucket, most in worst.items()), worst

    def arrivals(self, *spreadsheets: str) -> list[float]:
        """When the writes to these spreadsheets arrived."""
        return [call["arrived"] for call in self.calls(*spreadsheets) if call["kind"] == "write"]

    async def result_lines(self, handle: Handle) -> dict[int, dict[str, Any]]:
        """Results by line number."""
        request_id = handle.id.removeprefix("bulk/")
        return {result["line"]: result async for result in read_results(self.store, request_id)}

    def cells(self, spreadsheet: str) -> list[list[Any]]:
        """The rows of a spreadsheet's first sheet."""
        rows: list[list[Any]] = next(iter(self.emulator.library.shown(spreadsheet).values()))
        return rows

    def calls(self, *spreadsheets: str) -> list[dict[str, Any]]:
        """The ledger's calls that went to these spreadsheets."""
        return [c for c in (call.shown() for call in self.emulator.ledger.calls) if c["spreadsheet"] in spreadsheets]

    def worst(self, *spreadsheets: str) -> dict[str, int]:
        """The most calls to these spreadsheets in any window."""
        return worst_windows({"calls": self.calls(*spreadsheets)}, WINDOW)

    def counted(self, *spreadsheets: str) -> Counter[str]:
        """How often each value stands in the first column."""
        return Counter(str(row[0]) for s in spreadsheets for row in self.cells(s) if row and row[0] not in (None, ""))


@asynccontextmanager
async def running_stack(client: Client, folder: Path, **options: Any) -> AsyncIterator[Stack]:
    """A stack on this server. `credentials` is a file (without it a user's name is its token), `projection` the read model,
    `uploads` a folder, other options are the workflow worker's."""
    credentials: Path | None = options.pop("credentials", None)
    projection: Database | None = options.pop("projection", None)
    uploads: Path | None = options.pop("uploads", None)
    async with AsyncExitStack() as parts:
        emulator = await parts.enter_async_context(Emulator(EmulatorSettings(quota=False)))
        keys = folder / "keys"
        keys.mkdir(exist_ok=True)
        (keys / "tests.key").write_text(NOTIFY_SECRET)
        settings = Settings(
            sheets_url=emulator.url,
            store=str(folder / "store"),
            cache_dir=folder,
            credentials=credentials,
            notify=NotifySettings(keys=keys, loopback=True),
            projection=projection,
            uploads=None if uploads is None else UploadSettings(location=str(uploads)),
        )
        for made in (
            worker.workflow_worker(client, **options),
            worker.send_worker(client, settings),
            worker.plan_worker(client, settings),
        ):
            await parts.enter_async_context(made)
        yield Stack(client, emulator, Store.open(settings.store), settings)


@asynccontextmanager
async def side_by_side(
    scenarios: Mapping[str, Coroutine[Any, Any, None]],
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Scenarios that run at the same time, since most of their time is waiting; each test awaits its own."""
    under_way = {name: asyncio.create_task(scenario) for name, scenario in scenarios.items()}
    try:
        yield under_way
    finally:
        for one in under_way.values():
            one.cancel()
        await asyncio.gather(*under_way.values(), return_exceptions=True)


def append(name: str, spreadsheet: str, **more: Any) -> dict[str, Any]:
    """An append of one row that begins with the operation's id."""
    return {
        "id": name,
        "op": "append",
        "spreadsheet": spreadsheet,
        "range": "Orders!A:B",
        "values": [[name, 1]],
        **more,
    }
