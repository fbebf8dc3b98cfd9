"""The emulator listens on loopback, answers as Google Sheets does, and keeps a ledger of what it was asked.

    async with Emulator(EmulatorSettings(quota=False)) as emulator:
        ...  # emulator.url

It imports nothing of headgate, so that it can convict it.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import signal
import sys
import time
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from emulator import drive, routes
from emulator.admin import Admin
from emulator.dispatch import Dispatcher, json_response, refusal_response
from emulator.errors import ApiError, not_found
from emulator.faults import FaultPlan
from emulator.ledger import Ledger
from emulator.library import Library
from emulator.methods import Methods
from emulator.quota import Quota
from emulator.settings import EmulatorSettings

__all__ = ["Emulator", "EmulatorSettings", "serve"]

IDLE_CONNECTION = 240.0


class Emulator:
    """One server with its own spreadsheets, quota, faults and ledger."""

    def __init__(self, settings: EmulatorSettings | None = None) -> None:
        self.settings = settings or EmulatorSettings()
        self.library = Library(self.settings)
        self.ledger = Ledger(self.settings.ledger_calls)
        self.quota = Quota(self.settings)
        faults = FaultPlan(self.settings.faults, self.settings.seed, time.monotonic())
        methods = Methods(self.library, self.settings)
        self.dispatcher = Dispatcher(self.settings, methods, self.quota, self.ledger, faults)
        self._admin = Admin(self.dispatcher, self.library)
        self._runner: web.ServerRunner | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """`http://host:port`, without a slash at the end, once it listens."""
        return self._url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        server = web.Server(
            self._handle,
            request_factory=_unlimited,
            access_log=None,
            keepalive_timeout=IDLE_CONNECTION,
            max_line_size=65_536,
            max_field_size=65_536,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, backlog=1024)
        await site.start()
        bound = self._runner.addresses[0]
        self._url = f"http://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        if path.startswith(routes.PREFIX):
            return await self.dispatcher.handle(request)
        try:
            if path.startswith("/admin/"):
                return await self._admin.handle(request)
            if path.startswith((drive.FILES, drive.UPLOAD)):
                return await drive.handle(request, self.library)
            if path == "/token" and request.method == "POST":
                return await _token(request)
            raise not_found()
        except ApiError as refusal:
            return refusal_response(refusal)


async def _token(request: web.BaseRequest) -> web.Response:
    """A token endpoint for fake credentials: the same account gets the same token, so its quota is one user's."""
    form = parse_qs((await request.read()).decode())
    given = form.get("refresh_token") or form.get("assertion") or ["anonymous"]
    account = given[0]
    if "assertion" in form and account.count(".") == 2:
        account = _subject(account)
    return json_response({"access_token": f"token-of-{account}", "expires_in": 3600, "token_type": "Bearer"})


def _subject(assertion: str) -> str:
    payload = assertion.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims.get("sub") or claims.get("iss"))


def _unlimited(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """The size of a payload is limited by the API's own 400, not by the server."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=0)


async def _serve(settings: EmulatorSettings, port: int) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    emulator = Emulator(settings)
    await emulator.start(port=port)
    print(f"emulator listens on {emulator.url}", flush=True)
    await stopped.wait()
    await emulator.stop()


def serve(settings: EmulatorSettings, port: int = 0) -> None:
    """Runs until SIGTERM or SIGINT; prints one line with the URL when it listens."""
    # millions of live cells are no garbage: looking through them would hold up the arrivals of calls
    gc.set_threshold(100_000, 50, 1000)
    # a large batch applies in a thread: the loop gets its turn back in a millisecond
    sys.setswitchinterval(0.001)
    asyncio.run(_serve(settings, port))
