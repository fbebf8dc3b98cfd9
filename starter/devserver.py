"""A Temporal server for everyone, on this machine only.

1. A server that is configured (TEMPORAL_ADDRESS or a profile) is used as it is; nothing is started.
2. Otherwise the binary is found or fetched (starter.temporal_cli), and a server is started.
3. A server that was started here listens on 127.0.0.1 alone and never outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Self

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from starter.temporal_cli import Progress, ServerUnavailable, find_binary, guarded, silent

__all__ = [
    "DevServer",
    "Progress",
    "ServerUnavailable",
    "configured_address",
    "find_binary",
    "run_server",
    "server_address",
]

HOST: Final = "127.0.0.1"


def configured_address(environ: Mapping[str, str] | None = None) -> str | None:
    """The address that TEMPORAL_ADDRESS or the Temporal configuration profile names, if any."""
    try:
        return ClientConfig.load_client_connect_config(override_env_vars=environ).get("target_host")
    except RuntimeError as error:
        raise ServerUnavailable(f"the Temporal configuration cannot be read: {error}") from error


class DevServer:
    """One Temporal server on 127.0.0.1; started again after a stop it has the same address.

    `port` and `ui_port` 0 mean a free one, `ui_port` None means no UI. Without `db` its history is gone when it stops.
    `dynamic_config` holds lines `KEY=JSON`. `show_log` lets the server write to this process's standard error.
    """

    def __init__(
        self,
        search_attributes: Mapping[str, str],
        *,
        port: int = 0,
        ui_port: int | None = 0,
        db: Path | None = None,
        namespace: str = "default",
        dynamic_config: Sequence[str] = (),
        metrics_port: int | None = None,
        binary: Path | None = None,
        say: Progress = silent,
        show_log: bool = False,
        start_within: float = 60.0,
    ) -> None:
        self.search_attributes = dict(search_attributes)
        self.port = port
        self.ui_port = ui_port
        self.db = db
        self.namespace = namespace
        self.dynamic_config = tuple(dynamic_config)
        self.metrics_port = metrics_port
        self._binary = binary
        self._say = say
        self._show_log = show_log
        self._start_within = start_within
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def ui_url(self) -> str | None:
        return None if self.ui_port is None else f"http://{HOST}:{self.ui_port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when the server answers and knows its namespace and search attributes."""
        if self._binary is None:
            self._binary = await asyncio.to_thread(find_binary, self._say)
        self.port = claim("port", self.port)
        if self.ui_port is not None:
            self.ui_port = claim("UI port", self.ui_port)
        if self.db is not None:
            self.db.parent.mkdir(parents=True, exist_ok=True)
        self._log = None if self._show_log else tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self._process = await asyncio.create_subprocess_exec(
            *guarded([str(self._binary), *self._arguments()]),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if self._log is None else self._log,
            stderr=None if self._log is None else subprocess.STDOUT,
        )
        try:
            await self._until_it_answers(self._process)
        except BaseException:
            await self.stop()
            raise
        self._say(f"Temporal server: {self.address}")
        if self.ui_url is not None:
            self._say(f"Temporal UI:     {self.ui_url}")

    async def stop(self, *, abruptly: bool = False) -> None:
        """Ends the server: by SIGTERM, or abruptly by SIGKILL as a crash would. Stopping twice changes nothing."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with suppress(OSError):
                if abruptly:
                    process.stdin.write(b"\x00")
                    await process.stdin.drain()
            process.stdin.close()
            await process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    async def wait(self) -> int:
        """The exit code of the running server, once it has ended."""
        assert self._process is not None, "the server is not running"
        return await self._process.wait()

    def _arguments(self) -> list[str]:
        ui = ["--headless"] if self.ui_port is None else ["--ui-port", str(self.ui_port)]
        arguments = ["server", "start-dev", "--log-level", "error", "--ip", HOST, "--port", str(self.port), *ui]
        arguments += ["--namespace", self.namespace]
        if self.db is not None:
            arguments += ["--db-filename", str(self.db)]
        if self.metrics_port is not None:
            arguments += ["--metrics-port", str(self.metrics_port)]
        for name, kind in self.search_attributes.items():
            arguments += ["--search-attribute", f"{name}={kind}"]
        for line in self.dynamic_config:
            arguments += ["--dynamic-config-value", line]
        return arguments

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        give_up_at = time.monotonic() + self._start_within
        while not await self._answers():
            if process.returncode is not None:
                raise ServerUnavailable(
                    f"the Temporal server ended as it started, with exit code {process.returncode}{self._last_lines()}"
                )
            if time.monotonic() >= give_up_at:
                raise ServerUnavailable(
                    f"the Temporal server gave no answer on {self.address} within {self._start_within:g} s"
                    f"{self._last_lines()}"
                )
            await asyncio.sleep(0.1)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(5):
                _, writer = await asyncio.open_connection(HOST, self.port)
                writer.close()
                client = await Client.connect(self.address, namespace=self.namespace)
                await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=self.namespace))
                known = await client.operator_service.list_search_attributes(
                    ListSearchAttributesRequest(namespace=self.namespace)
                )
        except (OSError, TimeoutError, RuntimeError, RPCError):
            return False
        return self.search_attributes.keys() <= known.custom_attributes.keys()

    def _last_lines(self) -> str:
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()[-5:]
        return "".join(f"\n  {line}" for line in lines)


def claim(what: str, port: int) -> int:
    """The port, or a free one for 0; an error where somebody listens on it already."""
    with socket.socket() as listener:
        # As the server does: a port whose last connections linger can be had.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(1)
        except OSError as error:
            raise ServerUnavailable(
                f"the {what} {port} on {HOST} cannot be used ({error.strerror}): "
                "stop what listens there, choose another, or 0 for a free one"
            ) from error
        address: tuple[str, int] = listener.getsockname()
        if port == 0:
            # A connection that lingers keeps the kernel from handing the port to somebody else in the meantime.
            with socket.create_connection(address):
                listener.accept()[0].close()
        return address[1]


@asynccontextmanager
async def server_address(
    search_attributes: Mapping[str, str], *, say: Progress = silent, **options: Any
) -> AsyncIterator[str]:
    """The address of the configured server, else of one that is started here and ends with the block."""
    configured = configured_address()
    if configured is not None:
        say(f"Temporal server: {configured}, as configured")
        yield configured
        return
    async with DevServer(search_attributes, say=say, **options) as server:
        yield server.address


def run_server(
    search_attributes: Mapping[str, str],
    *,
    port: int = 7233,
    ui_port: int | None = 8233,
    db: Path | None = None,
    fetch_only: bool = False,
    say: Progress = print,
) -> None:
    """`headgate server`: runs until SIGTERM or SIGINT; with `fetch_only` it ends when there is a binary."""
    binary = find_binary(say)
    if fetch_only:
        say(f"Temporal CLI: {binary}")
        return
    server = DevServer(search_attributes, port=port, ui_port=ui_port, db=db, binary=binary, say=say, show_log=True)
    asyncio.run(run_until_signal(server))


async def run_until_signal(server: DevServer) -> None:
    """The server runs, and ends in good order at SIGTERM or SIGINT."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, asked.set)
    async with server:
        ended = asyncio.ensure_future(server.wait())
        waiting = asyncio.ensure_future(asked.wait())
        await asyncio.wait({ended, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        # A terminal's Ctrl-C reaches the server too, which may be the first to end.
        if not asked.is_set():
            raise ServerUnavailable(f"the Temporal server ended by itself, with exit code {ended.result()}")
        ended.cancel()
