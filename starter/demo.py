"""`headgate demo`: a real server, a real worker and the emulator, one bulk request, and a verdict by the emulator.

Everything that it starts it ends, also when it is interrupted, and it leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from activities.results import read_results
from activities.store import Store
from headgate.errors import Unreachable
from headgate.messages.views import ProgressView
from starter.companion import Companion
from starter.connection import connect
from starter.demo_script import OPERATIONS_PER_CALL, SPREADSHEETS, TITLES, USERS, Script
from starter.devserver import DevServer, claim
from starter.doctor import QUEUES, TemporalSide
from starter.following import follow
from starter.panel import progress_panel
from starter.service import TemporalService
from starter.showing import Lines
from starter.submitting import Wish, submit
from starter.surroundings import Surroundings
from starter.verdict import Verdict, buckets_of, judge, verdict_lines
from workflows.names import SEARCH_ATTRIBUTES

PROJECT: Final = "demo"
REQUEST: Final = "demo-1"
GOOGLE_WINDOW_S: Final = 60.0
READY_WITHIN_S: Final = 60.0
GAUGE_EVERY_S: Final = 2.0
#: 4 % of the writes take effect but their answer is lost; 2 % of all calls meet a busy server.
FAULTS: Final = (
    {"kind": "write", "probability": 0.04, "effect": "close", "when": "after"},
    {"probability": 0.02, "effect": "error", "status": 503, "when": "before"},
)


@dataclass(frozen=True)
class Scale:
    """Google's quotas, scaled to a window: the same rate, so that a shorter window only makes the demo shorter."""

    window_s: float

    @property
    def per_project(self) -> int:
        return max(10, round(300 * self.window_s / GOOGLE_WINDOW_S))

    @property
    def per_user(self) -> int:
        return max(2, round(60 * self.window_s / GOOGLE_WINDOW_S))

    @property
    def slack_s(self) -> float:
        """Half of what each booking holds a token beyond the window; shorter than usual in a shorter window."""
        return min(0.3, max(0.15, self.window_s / 50))

    @property
    def script(self) -> Script:
        """Enough calls for about three short windows, or two long ones, of full quota."""
        rounds = max(1, round(self.window_s * 2.5 / 30)) if self.window_s > 12 else 1
        return Script(write_calls_a_lane=3 * rounds, read_calls_a_lane=2 * rounds)

    @property
    def limiter(self) -> dict[str, int]:
        second = 1_000_000_000
        return {
            "read_per_project": self.per_project,
            "read_per_user": self.per_user,
            "write_per_project": self.per_project,
            "write_per_user": self.per_user,
            "window_ns": round(self.window_s * second),
            "token_valid_for_ns": round(self.slack_s * second),
            "network_spread_ns": round(self.slack_s * second),
            "spreadsheet_spacing_ns": round(min(1.0, self.window_s / GOOGLE_WINDOW_S) * second),
        }

    @property
    def emulator(self) -> list[str]:
        quotas = {
            "--read-per-project": self.per_project,
            "--read-per-user": self.per_user,
            "--write-per-project": self.per_project,
            "--write-per-user": self.per_user,
        }
        flags = [text for flag, value in quotas.items() for text in (flag, str(value))]
        return [*flags, "--window", str(self.window_s), "--latency-ms", "60", "--jitter-ms", "30"]


class Ledger:
    """The emulator's own account, over its admin routes."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=20.0)

    async def __aenter__(self) -> Ledger:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def verdict(self) -> dict[str, Any]:
        return await self._json("GET", "/admin/verdict")

    async def create(self, spreadsheet: str) -> None:
        await self._json("PUT", f"/admin/spreadsheets/{spreadsheet}", {"titles": list(TITLES)})

    async def cells(self, spreadsheet: str) -> dict[str, list[list[object]]]:
        return await self._json("GET", f"/admin/spreadsheets/{spreadsheet}")

    async def _json(self, verb: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            reply = await self._http.request(verb, path, json=body)
            reply.raise_for_status()
            answer: dict[str, Any] = reply.json()
        except httpx.HTTPError as error:
            raise Unreachable(f"the emulator does not answer: {type(error).__name__}") from error
        return answer


@dataclass
class Stage:
    """Everything that the demo runs on."""

    service: TemporalService
    side: TemporalSide
    ledger: Ledger
    store: Store
    emulator: Companion
    worker: Companion
    ui_url: str


@asynccontextmanager
async def staged(scale: Scale, faults: bool, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Server, emulator and worker, ready; ended with the block."""
    async with AsyncExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="headgate-demo-", ignore_cleanup_errors=True))
        )
        server = await stack.enter_async_context(DevServer(SEARCH_ATTRIBUTES, say=say))
        url = f"http://127.0.0.1:{claim('emulator port', 0)}"
        environ = _environ(server.address, url, folder)
        arguments = ["emulator", "--port", url.rpartition(":")[2], *scale.emulator]
        if faults:
            (folder / "faults.json").write_text(json.dumps(FAULTS))
            arguments += ["--faults", str(folder / "faults.json")]
        emulator = Companion("emulator", arguments, environ, folder / "emulator.log")
        worker = Companion("worker", ["worker"], environ, folder / "worker.log")
        await stack.enter_async_context(emulator)
        await stack.enter_async_context(worker)
        ledger = await stack.enter_async_context(Ledger(url))
        client = await connect(address=server.address)
        stage = Stage(
            service=TemporalService(client),
            side=TemporalSide(client),
            ledger=ledger,
            store=Store.open(environ["HEADGATE_STORE"]),
            emulator=emulator,
            worker=worker,
            ui_url=server.ui_url or "",
        )
        await _until(stage, _emulator_answers)
        say(f"Sheets emulator: {url}")
        await _until(stage, _worker_polls)
        say("worker:          ready")
        yield stage


def _environ(address: str, url: str, folder: Path) -> dict[str, str]:
    """What the children see: this process's environment, but none of its Temporal and headgate settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HEADGATE_"))}
    credentials = folder / "credentials.toml"
    credentials.write_text("".join(f'[users.{user}]\ntype = "static_token"\ntoken = "{user}"\n\n' for user in USERS))
    nothing = folder / "temporal.toml"
    nothing.touch()
    return {
        **kept,
        "TEMPORAL_CONFIG_FILE": str(nothing),
        "TEMPORAL_ADDRESS": address,
        "HEADGATE_SHEETS_URL": url,
        "HEADGATE_CREDENTIALS": str(credentials),
        "HEADGATE_STORE": str(folder / "store"),
    }


async def _until(stage: Stage, ready: Callable[[Stage], Awaitable[bool]]) -> None:
    ends = time.monotonic() + READY_WITHIN_S
    while not await ready(stage):
        stage.emulator.must_run()
        stage.worker.must_run()
        if time.monotonic() > ends:
            raise Unreachable(
                f"nothing was ready after {READY_WITHIN_S:g} s; the worker said: {stage.worker.last_lines()}"
            )
        await asyncio.sleep(0.1)


async def _emulator_answers(stage: Stage) -> bool:
    try:
        await stage.ledger.verdict()
    except Unreachable:
        return False
    return True


async def _worker_polls(stage: Stage) -> bool:
    return all([await stage.side.pollers(queue, kind) for queue, kind in QUEUES.items()])


async def perform(surroundings: Surroundings, scale: Scale, *, faults: bool, stay: bool, as_json: bool) -> Verdict:
    """The whole demo; the verdict is the emulator's."""
    async with staged(scale, faults, surroundings.say) as stage:
        script = scale.script
        for spreadsheet in SPREADSHEETS:
            await stage.ledger.create(spreadsheet)
        settings = await stage.service.limiter_set(PROJECT, scale.limiter)
        surroundings.say(
            f"quota:           {settings.write_per_project} writes and as many reads in {scale.window_s:g} s, "
            f"{settings.write_per_user} of each a user"
        )
        wish = Wish(project=PROJECT, owner="demo", id=REQUEST, operations_per_call=OPERATIONS_PER_CALL)
        submitted = await submit(stage.service, stage.store, wish, script.body, USERS, "demo")
        surroundings.say(
            f"submitted:       {len(script.lines):,} operations for {len(SPREADSHEETS)} spreadsheets by {len(USERS)} users"
        )
        surroundings.say(
            f"look inside:     {stage.ui_url}/namespaces/default/workflows/{submitted.workflow_id.replace('/', '%2F')}"
        )
        view = await _watched(surroundings.err, stage)
        verdict = await _verdict(stage, script, view)
        if as_json:
            surroundings.answer(verdict.document())
        else:
            for line in verdict_lines(verdict):
                surroundings.text(line)
        if stay:
            surroundings.say("everything stays up until Ctrl-C")
            await asyncio.Event().wait()
        return verdict


class Gauge:
    """How full the project's quotas have been so far, by the emulator's count."""

    def __init__(self) -> None:
        self.text = Text("")

    async def read(self, stage: Stage) -> None:
        while True:
            buckets = buckets_of(await stage.ledger.verdict())
            said = [
                f"{use.bucket}: worst window {use.worst_window} of {use.limit}"
                for use in buckets
                if "project" in use.bucket
            ]
            self.text = Text("  ".join(said), style="cyan")
            await asyncio.sleep(GAUGE_EVERY_S)


async def _watched(console: Console, stage: Stage) -> ProgressView:
    """The request's last view; on a terminal with a panel and the gauge on the way."""
    if not console.is_interactive:
        lines = Lines(console)
        return await follow(
            stage.service, REQUEST, show=lines.show, note=lambda sentence: lines.note(REQUEST, sentence)
        )
    gauge = Gauge()
    reading = asyncio.create_task(gauge.read(stage))
    try:
        with Live(console=console, auto_refresh=False) as live:
            return await follow(
                stage.service,
                REQUEST,
                show=lambda view: live.update(Group(progress_panel(view), gauge.text), refresh=True),
                note=lambda sentence: live.update(Text(sentence), refresh=True),
            )
    finally:
        reading.cancel()


async def _verdict(stage: Stage, script: Script, view: ProgressView) -> Verdict:
    outcomes: dict[str, str] = {}
    async for result in read_results(stage.store, REQUEST, closed=view.state in ("cancelled", "failed")):
        name = str(result["id"])
        outcomes[name] = "told twice" if name in outcomes else str(result["outcome"])
    cells = {spreadsheet: await stage.ledger.cells(spreadsheet) for spreadsheet in SPREADSHEETS}
    return judge(script, await stage.ledger.verdict(), script.found_in(cells), outcomes, view)


async def interruptible(performance: Coroutine[Any, Any, Verdict]) -> Verdict:
    """SIGTERM ends the demo as Ctrl-C does: in good order."""
    playing = asyncio.create_task(performance)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    try:
        return await playing
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
