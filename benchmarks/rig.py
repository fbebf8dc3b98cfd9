"""A real server, worker and emulator in a folder of their own, and what the emulator's ledger says at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.store import Store
from benchmarks import metrics
from benchmarks.ports import lasting
from benchmarks.readings import arrivals
from headgate.messages.views import LimiterView, ProgressView
from headgate.settings import PROCESSES
from starter import submitting
from starter.devserver import DevServer, claim
from starter.service import TemporalService
from starter.submitting import Wish
from starter.temporal_cli import guarded
from workflows.names import RATE_LIMITER_TYPE, SEARCH_ATTRIBUTES, bulk_request_id, rate_limiter_id

PROJECT = "bench"


@dataclass(frozen=True)
class Setting:
    """One benchmark's setting: quotas, window (s), latency, faults, and settings of the Temporal server."""

    per_project: int = 300
    per_user: int = 60
    window: float = 60.0
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    spacing: float = 1.0
    faults: Sequence[dict[str, Any]] = ()
    dynamic_config: Sequence[str] = ()
    users: int = 12

    def scaled(self, window: float) -> Setting:
        """The same rates with another window: limits in proportion."""
        share = window / self.window
        project, user = round(self.per_project * share), round(self.per_user * share)
        return replace(self, window=window, per_project=max(1, project), per_user=max(1, user))

    @property
    def rate(self) -> float:
        """The project's quota in calls a second."""
        return self.per_project / self.window


class Handed(NamedTuple):
    """A request that was submitted in this process: when the call began, and when it returned (monotonic clock)."""

    id: str
    called_at: float
    returned_at: float


@dataclass
class Rig:
    """What runs, and how to ask it."""

    setting: Setting
    folder: Path
    server: DevServer
    emulator_url: str
    client: Client
    environ: dict[str, str]
    metrics_port: int
    worker_metrics_port: int
    worker: subprocess.Popen[bytes] | None = None
    submitted: list[str] = field(default_factory=list)

    def start_worker(self) -> None:
        """A worker with its processes in a group of their own."""
        log = (self.folder / "worker.log").open("ab")
        command = [sys.executable, "-m", "worker"]
        self.worker = subprocess.Popen(
            guarded(command), env=self.environ, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )

    def kill_worker(self) -> None:
        """SIGKILL to every process of the worker."""
        assert self.worker is not None
        with suppress(ProcessLookupError):
            os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.wait()

    def last_words(self, lines: int = 40) -> str:
        """The end of the worker's log: the reason where nothing moves any more."""
        log = self.folder / "worker.log"
        said = log.read_text(errors="replace").splitlines() if log.exists() else ["no worker was started"]
        return "\n".join(["the worker's log ends with", *said[-lines:]])

    def headgate(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """The command line, as a person would use it."""
        command = [sys.executable, "-m", "starter.cli", *arguments]
        return subprocess.run(command, input=stdin, env=self.environ, capture_output=True, timeout=300, check=False)

    async def submit(self, operations: Iterable[dict[str, Any]], *options: str) -> str:
        """A request made of these operations; returns its id."""
        path = self.folder / f"input-{len(self.submitted)}.jsonl"
        with path.open("wb") as file:
            file.writelines(_blocks(operations))
        return await self.submit_file(path, *options)

    async def submit_file(self, path: Path, *options: str) -> str:
        """`headgate submit`; returns the request's id."""
        arguments = ("submit", str(path), "--project", PROJECT, "--json", *options)
        done = await asyncio.to_thread(self.headgate, *arguments)
        if done.returncode:
            raise RuntimeError(f"submit ended with {done.returncode}: {done.stderr.decode()}")
        request_id: str = json.loads(done.stdout)["id"]
        self.submitted.append(request_id)
        return request_id

    async def hand_in(self, operations: Iterable[dict[str, Any]], **wished: Any) -> Handed:
        """As `submit`, without the start of a process and its connection; `wished` are fields of `Wish`."""
        lines = _blocks(operations)
        store, service = Store.open(self.environ["HEADGATE_STORE"]), TemporalService(self.client)
        called_at = time.monotonic()
        done = await submitting.submit(service, store, Wish(project=PROJECT, **wished), lines, None, "benchmark")
        self.submitted.append(done.id)
        return Handed(done.id, called_at, time.monotonic())

    async def accepted_at(self, request_id: str) -> float:
        """When the server accepted the start of the request: its own time, put on this machine's monotonic clock."""
        described = await self.client.get_workflow_handle(bulk_request_id(request_id)).describe()
        return described.start_time.timestamp() - (time.time() - time.monotonic())

    async def limit(self, **limits: int) -> float:
        """`headgate limiter set`; returns the instant at which the command was done."""
        await self.set_limiter(*(f"--{name.replace('_', '-')}={limit}" for name, limit in limits.items()))
        return time.monotonic()

    async def set_limiter(self, *options: str) -> None:
        """`headgate limiter set`."""
        done = await asyncio.to_thread(self.headgate, "limiter", "set", "--project", PROJECT, *options)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())

    async def progress(self, request_id: str) -> ProgressView:
        """The `progress` query."""
        handle = self.client.get_workflow_handle(bulk_request_id(request_id))
        view: ProgressView = await handle.query("progress", result_type=ProgressView)
        return view

    async def limiter_view(self) -> LimiterView:
        """The limiter's `show` query."""
        handle = self.client.get_workflow_handle(rate_limiter_id(PROJECT))
        view: LimiterView = await handle.query("show", result_type=LimiterView)
        return view

    async def ended(self, request_id: str, within_s: float) -> ProgressView:
        """The request's result."""
        handle = self.client.get_workflow_handle(bulk_request_id(request_id), result_type=ProgressView)
        async with asyncio.timeout(within_s):
            view: ProgressView = await handle.result()
            return view

    async def ask_emulator(self, path: str, body: Any = None) -> Any:
        """An answer of the emulator's admin routes; PUT where there is a body."""
        async with httpx.AsyncClient(timeout=120, trust_env=False) as client:
            url = f"{self.emulator_url}/admin/{path}"
            answer = await (client.get(url) if body is None else client.put(url, json=body))
            answer.raise_for_status()
            return answer.json()

    async def ledger(self) -> dict[str, Any]:
        """Every call so far. Long ones take the emulator's time: not to be read while something is measured."""
        answer: dict[str, Any] = await self.ask_emulator("ledger")
        return answer

    async def first_write(self, within_s: float = 60.0) -> float:
        """Returns when the first write has arrived, and at which instant it was seen."""
        async with asyncio.timeout(within_s):
            while not arrivals(await self.ledger()):
                await asyncio.sleep(0.2)
        return time.monotonic()

    async def accounts(self, request_id: str, operations: int, spreadsheets: Sequence[str]) -> dict[str, Any]:
        """What became of operations `op-0` on, each an append of its id: by the emulator's cells, and by the results."""
        rows: Counter[str] = Counter()
        for spreadsheet in spreadsheets:
            rows += await self.rows(spreadsheet)
        done = await asyncio.to_thread(self.headgate, "results", request_id, "--json")
        results = [json.loads(line) for line in done.stdout.splitlines()]
        return {
            "operations": operations,
            "lost": sum(1 for n in range(operations) if rows[f"op-{n}"] == 0),
            "doubled": sum(1 for n in range(operations) if rows[f"op-{n}"] > 1),
            "results": dict(Counter(f"{r['outcome']}/{r['applied']}" for r in results)),
            "outcomes_each_once": len({r["id"] for r in results}) == len(results) == operations,
        }

    async def rows(self, spreadsheet: str) -> Counter[str]:
        """How often each value stands in the first column of a spreadsheet, over all its sheets."""
        shown = await self.ask_emulator(f"spreadsheets/{spreadsheet}")
        return Counter(str(row[0]) for grid in shown.values() for row in grid if row and row[0] not in (None, ""))

    async def actions(self) -> Counter[str]:
        """Billable actions so far by type."""
        return metrics.actions(await metrics.page(self.metrics_port))

    async def limiter_task_seconds(self) -> dict[str, float | None] | None:
        """How long the worker computed at workflow tasks of limiters; None where it shows no metrics."""
        return metrics.task_seconds(await metrics.page(self.worker_metrics_port), RATE_LIMITER_TYPE)


@asynccontextmanager
async def rig(
    setting: Setting, spreadsheets: Sequence[str], variables: Mapping[str, str] | None = None
) -> AsyncIterator[Rig]:
    """Everything running, with these spreadsheets; everything gone afterwards. `variables` are more of the worker's environment."""
    with tempfile.TemporaryDirectory(prefix="headgate-bench-") as name:
        folder = Path(name)
        metrics_port, emulator_port = claim("metrics port", 0), claim("emulator port", 0)
        worker_metrics_port = lasting("metrics port of the worker", PROCESSES)
        server = DevServer(
            SEARCH_ATTRIBUTES,
            ui_port=None,
            metrics_port=metrics_port,
            dynamic_config=list(setting.dynamic_config),
            say=lambda line: None,
        )
        users = "".join(f'[users.u{n}]\ntype = "static_token"\ntoken = "u{n}"\n' for n in range(setting.users))
        (folder / "credentials.toml").write_text(users)
        (folder / "faults.json").write_text(json.dumps(list(setting.faults)))
        async with server:
            url = f"http://127.0.0.1:{emulator_port}"
            environ = {
                **os.environ,
                "TEMPORAL_ADDRESS": server.address,
                "HEADGATE_SHEETS_URL": url,
                "HEADGATE_STORE": str(folder / "store"),
                "HEADGATE_CREDENTIALS": str(folder / "credentials.toml"),
                "HEADGATE_METRICS_PORT": str(worker_metrics_port),
                **(variables or {}),
            }
            limits = [f"--{k}-per-{s}={n}" for k in ("read", "write") for s, n in _levels(setting)]
            emulator = subprocess.Popen(
                guarded(
                    [
                        *(sys.executable, "-m", "emulator", f"--port={emulator_port}", *limits),
                        *(f"--window={setting.window}", f"--latency-ms={setting.latency_ms}"),
                        *(f"--jitter-ms={setting.jitter_ms}", f"--faults={folder / 'faults.json'}"),
                    ]
                ),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )
            client = await Client.connect(server.address, data_converter=pydantic_data_converter)
            made = Rig(setting, folder, server, url, client, environ, metrics_port, worker_metrics_port)
            try:
                await _listens(made)
                for spreadsheet in spreadsheets:
                    await made.ask_emulator(f"spreadsheets/{spreadsheet}", {"titles": ["Orders"]})
                made.start_worker()
                spacing = (f"--window={setting.window}", f"--spreadsheet-spacing={setting.spacing}")
                await made.set_limiter(*limits, *spacing)
                yield made
            except BaseException:
                print(made.last_words(), file=sys.stderr)
                raise
            finally:
                if made.worker is not None:
                    made.kill_worker()
                if os.environ.get("HEADGATE_BENCH_KEEP"):
                    keep = Path(os.environ["HEADGATE_BENCH_KEEP"])
                    (keep / f"worker-{int(time.time())}.log").write_bytes((folder / "worker.log").read_bytes())
                emulator.communicate()


def _blocks(operations: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """JSON Lines in blocks, as a file is read: storing hands every block to another thread."""
    waiting = iter(operations)
    while lines := [json.dumps(operation) for operation in islice(waiting, 1000)]:
        yield ("\n".join(lines) + "\n").encode()


async def _listens(made: Rig) -> None:
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        with suppress(httpx.HTTPError):
            await made.ask_emulator("verdict")
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("the emulator does not answer")


def _levels(setting: Setting) -> list[tuple[str, int]]:
    return [("project", setting.per_project), ("user", setting.per_user)]


def worst_windows(ledger: dict[str, Any], window: float) -> dict[str, int]:
    """From the arrivals alone: the most calls in any window, by kind of bucket."""
    arrivals: dict[tuple[str, str, str], list[float]] = {}
    for call in ledger["calls"]:
        for level, who in (("project", ""), ("user", call["user"])):
            arrivals.setdefault((call["kind"], level, who), []).append(call["arrived"])
    worst: dict[str, int] = {}
    for (kind, level, _), times in arrivals.items():
        times.sort()
        oldest = 0
        for newest, at in enumerate(times):
            while times[oldest] <= at - window:
                oldest += 1
            name = f"{kind}_per_{level}"
            worst[name] = max(worst.get(name, 0), newest - oldest + 1)
    return worst
