"""The worker: workflows, sending and planning, each in a process of its own, because a busy event loop makes tokens stale.

`python worker.py` supervises all of them; `python worker.py --role ROLE` is one of them.

1. A process that ends without being asked to is started again, after a pause that grows while it keeps ending.
2. SIGTERM or SIGINT ends all in good order: what is under way may finish. A second SIGINT ends them at once.
3. No process outlives the supervisor, not even one that was killed: each watches a pipe whose other end is the supervisor's.
4. With `HEADGATE_METRICS_PORT` each process serves its metrics to Prometheus: workflows on that port, sending and
   planning on the next two.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import NoneType
from typing import Any, Final, TypeVar

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.plugin import SimplePlugin
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.alerts import AlertActivities
from activities.batches import Batches
from activities.bookings import Desk
from activities.cache import Cache
from activities.calls import CallActivities
from activities.clock import ServerClock
from activities.credentials import Credentials
from activities.fences import Fences
from activities.http import Wire
from activities.notices import NoticeActivities
from activities.occurrences import OccurrenceActivities
from activities.plan import PlanActivities
from activities.projections import ProjectionActivities
from activities.projector import Projector
from activities.pushback import Pushback
from activities.read_model import ReadModel
from activities.results import Results
from activities.retrying import RetryActivities
from activities.sending import Sender
from activities.store import Store
from activities.uploads import Uploads
from activities.webhook import Webhook
from headgate import senders
from headgate.errors import HeadgateError, InvalidRequest
from headgate.messages.tokens import Settlement
from headgate.settings import Settings
from workflows import names
from workflows.bulk_request import BulkRequestWorkflow
from workflows.failures import plainly
from workflows.limiter_start import signal_with_start_limiter, start_limiter
from workflows.notice import NoticeWorkflow
from workflows.occurrence import OccurrenceWorkflow
from workflows.projection import ProjectionWorkflow
from workflows.rate_limiter import RateLimiterWorkflow
from workflows.retry_when_over import RetryWorkflow
from workflows.submitted import submitted

log = logging.getLogger("headgate.worker")
T = TypeVar("T")

DEFAULT_ADDRESS: Final = "localhost:7233"
OWNER_PIPE: Final = "HEADGATE_OWNER_PIPE"
SAY_EVERY: Final = 5.0
#: Threads that compute with large batches would each keep memory that they no longer use.
FEW_ARENAS: Final = {"MALLOC_ARENA_MAX": "2"}
FINISH_WITHIN: Final = timedelta(seconds=20)  # a role's own grace, shorter than what its supervisor gives it


# A role


def sandbox() -> SandboxedWorkflowRunner:
    """Workflows run guarded against what a replay cannot repeat; the core is pure and passes through."""
    passed = SandboxRestrictions.default.with_passthrough_modules("headgate", "workflows.names", "workflows.policies")
    return SandboxedWorkflowRunner(restrictions=passed)


def workflow_worker(client: Client, **options: Any) -> Worker:
    """Decides: bulk requests, limiters, the occurrences of schedules, who is still to be told or shown an end, retries."""
    return Worker(
        plainly(client),
        task_queue=names.WORKFLOW_QUEUE,
        workflows=[
            BulkRequestWorkflow,
            RateLimiterWorkflow,
            OccurrenceWorkflow,
            NoticeWorkflow,
            ProjectionWorkflow,
            RetryWorkflow,
        ],
        workflow_runner=sandbox(),
        max_concurrent_workflow_tasks=100,
        **options,
    )


def send_worker(client: Client, settings: Settings | None = None) -> Worker:
    """Sends: one call for each token. It tells the read model what its orders take along, and what people said."""
    settings = settings or Settings.from_environ(os.environ)
    store = Store.open(settings.store)
    clock = ServerClock()
    wire = Wire(settings.sheets_url, _credentials(settings), clock)

    async def ask(project: str, signal: str, said: object) -> None:
        await signal_with_start_limiter(client, project, signal, said)

    async def tell(project: str, said: Settlement) -> None:
        await client.get_workflow_handle(names.rate_limiter_id(project)).signal("settle", said)

    sender = Sender(Batches(store), Results(store), wire, clock, Pushback(clock, tell), Fences(store), Cache(store))

    async def revive(project: str) -> None:
        await start_limiter(client, project)

    projector = _projector(settings)
    calls = CallActivities(sender, Desk(client, clock, names.rate_limiter_id, revive), clock, ask, projector)
    alerts = AlertActivities(None if settings.alert_webhook is None else Webhook.open(settings.alert_webhook))
    notices = NoticeActivities(store, settings.notify)
    return Worker(
        plainly(client),
        task_queue=names.SEND_QUEUE,
        activities=[
            calls.send_lease,
            calls.resend_batch,
            calls.ask_limiter,
            alerts.raise_alert,
            notices.notify,
            ProjectionActivities(projector, store).project,
        ],
        plugins=[SimplePlugin("headgate.projector", run_context=projector.running)],
        max_concurrent_activities=500,
        graceful_shutdown_timeout=FINISH_WITHIN,
    )


def plan_worker(client: Client, settings: Settings | None = None) -> Worker:
    """Plans, and records what cannot be sent; in a process of its own, since planning is all computing.

    It tells the read model how requests ended as well: reading their dead letters is of the same kind.
    """
    settings = settings or Settings.from_environ(os.environ)
    users = _credentials(settings).users
    store = Store.open(settings.store)
    plans = PlanActivities(store, None if users is None else frozenset(users), Cache(store), _uploads(settings))
    projector = _projector(settings)
    retries = RetryActivities(store, partial(submitted, client))
    return Worker(
        plainly(client),
        task_queue=names.PLAN_QUEUE,
        activities=[
            plans.plan,
            plans.load_page,
            plans.abandon_lane,
            retries.retry_failed,
            OccurrenceActivities(store).take_input,
            ProjectionActivities(projector, store).project_final,
        ],
        plugins=[SimplePlugin("headgate.projector", run_context=projector.running)],
        max_concurrent_activities=8,
        graceful_shutdown_timeout=FINISH_WITHIN,
    )


def _projector(settings: Settings) -> Projector:
    return Projector(None if settings.projection is None else ReadModel(settings.projection))


def _uploads(settings: Settings) -> Uploads:
    said = settings.uploads
    return Uploads(None if said is None else Store.open(said.location, said.bucket, "HEADGATE_UPLOADS"))


def _credentials(settings: Settings) -> Credentials:
    return Credentials.read(settings.credentials, settings.sheets_url, allow_foreign_host=settings.allow_foreign_host)


#: Their order is that of the metrics ports: what a limiter counts is on the first.
ROLES: Final[Mapping[str, Callable[[Client], Worker]]] = {
    "workflows": workflow_worker,
    "send": send_worker,
    "plan": plan_worker,
}


async def run_role(role: str, roles: Mapping[str, Callable[[Client], Worker]] = ROLES) -> None:
    """One role, until SIGTERM or SIGINT; then no new work is taken and what is under way may finish."""
    asked = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, asked.set)
    runtime = measured(Settings.from_environ(os.environ).metrics_bound_to([*roles].index(role)))
    client = await unless(asked, connected(runtime, senders.worker(role, os.getpid(), socket.gethostname())))
    if client is None:
        return
    worker = roles[role](client)
    # A batch is tens of thousands of objects that live for seconds and are no garbage: looking through them again and again
    # took most of a sender's time, and made its tokens stale.
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    if role == "send":
        sys.setswitchinterval(0.001)  # computing beside the event loop hands the interpreter back soon
    running = asyncio.create_task(worker.run())
    log.info("Worker started", extra={"role": role, "task_queue": worker.task_queue})
    await unless(asked, asyncio.wait({running}))
    if asked.is_set():
        log.info("Worker finishing", extra={"role": role})
        await worker.shutdown()
    await running


def measured(address: str | None) -> Runtime | None:
    """A runtime that serves its metrics at an address, if there is one; raises `InvalidRequest` when it cannot."""
    if address is None:
        return None
    try:
        runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=address)))
    except ValueError as error:
        raise InvalidRequest(f"metrics cannot be served at {address}, see HEADGATE_METRICS_PORT: {error}") from None
    log.info("Metrics served", extra={"url": f"http://{address}/metrics"})
    return runtime


async def connected(runtime: Runtime | None = None, identity: str | None = None) -> Client:
    """A client of the configured server, under this name in every history; a server that cannot be reached is waited for."""
    config = ClientConfig.load_client_connect_config()
    config.setdefault("target_host", DEFAULT_ADDRESS)
    address = config["target_host"]
    say_at = 0.0
    while True:
        try:
            async with asyncio.timeout(10):
                client = await Client.connect(
                    **config, data_converter=pydantic_data_converter, runtime=runtime, identity=identity
                )
                await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
        except (RuntimeError, RPCError, TimeoutError) as error:
            if time.monotonic() >= say_at:
                say_at = time.monotonic() + SAY_EVERY
                log.warning("Waiting for the Temporal server", extra={"address": address, "error": error})
            await asyncio.sleep(0.5)
        else:
            log.info("Connected", extra={"address": address, "namespace": client.namespace})
            return client


async def unless(asked: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What the work returns; None when the end is asked for first, and the work is cancelled then."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        working.cancel()
        await asyncio.wait({working})
        return None
    finally:
        waiting.cancel()
        working.cancel()  # where this was cancelled itself


def end_with_owner() -> None:
    """This process ends at once when its supervisor is gone, however that came about."""
    pipe = os.environ.pop(OWNER_PIPE, None)
    if pipe is None:
        return

    def watch(descriptor: int) -> None:
        os.read(descriptor, 1)  # nobody writes: it returns when the last writer is gone
        os._exit(1)

    threading.Thread(target=watch, args=(int(pipe),), name="owner", daemon=True).start()


# The supervisor


class Supervisor:
    """Keeps one process for each name running in its own process group, until it is asked to end."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        finish_within: float = 30.0,
        shortest_pause: float = 0.5,
        longest_pause: float = 30.0,
        settled_after: float = 60.0,
    ) -> None:
        self._commands = dict(commands)
        self._finish_within = finish_within
        self._shortest_pause = shortest_pause
        self._longest_pause = longest_pause
        self._settled_after = settled_after
        self._asked = asyncio.Event()
        self._hurry = asyncio.Event()
        self._all_finished = True

    async def run(self) -> int:
        """The exit code: 0 when every process finished after it was asked to, 1 when one had to be killed."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._asked.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        reading, writing = os.pipe()
        try:
            await asyncio.gather(*(self._keep(name, reading) for name in self._commands))
        finally:
            os.close(writing)
            os.close(reading)
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)
        return 0 if self._all_finished else 1

    def _interrupt(self) -> None:
        (self._hurry if self._asked.is_set() else self._asked).set()

    async def _keep(self, name: str, pipe: int) -> None:
        pause = self._shortest_pause
        while not self._asked.is_set():
            started_at = time.monotonic()
            process = await asyncio.create_subprocess_exec(
                *self._commands[name],
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(pipe,),
                env={**FEW_ARENAS, **os.environ, OWNER_PIPE: str(pipe)},
            )
            log.info("Process started", extra={"role": name, "pid": process.pid})
            await unless(self._asked, process.wait())
            if self._asked.is_set():
                await self._finish(name, process)
                return
            if time.monotonic() - started_at >= self._settled_after:
                pause = self._shortest_pause
            facts = {"role": name, "pid": process.pid, "exit_code": process.returncode, "restart_in": pause}
            log.warning("Process ended unasked", extra=facts)
            await unless(self._asked, asyncio.sleep(pause))
            pause = min(2 * pause, self._longest_pause)

    async def _finish(self, name: str, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._finish_within):
                await unless(self._hurry, process.wait())
        if process.returncode is None:
            self._all_finished = False
            log.warning("Process killed", extra={"role": name, "pid": process.pid})
            process.kill()
            await process.wait()
        log.info("Process ended", extra={"role": name, "pid": process.pid, "exit_code": process.returncode})


# The log


def on_purpose(error: BaseException | None) -> bool:
    """Whether an error was raised for the server to act on, so that where it was raised is no news; not what hides a defect."""
    return isinstance(error, ApplicationError) and isinstance(error.__cause__, FailureError | HeadgateError | NoneType)


class Line(logging.Formatter):
    """One line for each decision: instant, level, a constant message, and the facts as `name=value`."""

    _own = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"})

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = "".join(f" {name}={self._shown(value)}" for name, value in self.facts(record).items())
        line = f"{at} {record.levelname} {record.getMessage()}{said}"
        if record.exc_info and on_purpose(record.exc_info[1]):
            return f"{line} error={self._shown(record.exc_info[1])}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def facts(self, record: logging.LogRecord) -> dict[str, object]:
        """What a line says beside its message; what the SDK says about the workflow or activity is in that already."""
        return {
            name: value
            for name, value in record.__dict__.items()
            if name not in self._own and not name.startswith(("temporal_", "_"))
        }

    @staticmethod
    def _shown(value: object) -> str:
        text = str(value)
        return text if text.isprintable() and not {" ", '"', "="} & {*text} else json.dumps(text)


def log_to_stderr(line: logging.Formatter | None = None) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(line or Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every call says nothing that the store does not


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        prog="headgate worker", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--role", choices=sorted(ROLES), help="be this one process; without it: supervise all of them")
    role: str | None = parser.parse_args(arguments).role
    log_to_stderr()
    if role is None:
        try:
            Settings.from_environ(os.environ)
        except InvalidRequest as mistake:
            log.error("Settings refused", extra={"why": mistake})  # noqa: TRY400  # a sentence, for whom a traceback is noise
            return 2
        commands = {name: [sys.executable, "-m", "worker", "--role", name] for name in ROLES}
        return asyncio.run(supervise(commands))
    end_with_owner()
    try:
        asyncio.run(run_role(role))
    except InvalidRequest as mistake:
        log.error("Worker failed", extra={"role": role, "why": mistake})  # noqa: TRY400  # a sentence, as above
        return 1
    except Exception:
        log.exception("Worker failed", extra={"role": role})
        return 1
    return 0


async def supervise(commands: Mapping[str, Sequence[str]]) -> int:
    """A supervisor belongs to the loop it runs in."""
    return await Supervisor(commands).run()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # The SDK's threads may touch an interpreter that is going down (sdk-python#300): leave without that.
    os._exit(code)
