"""One origin for all of the platform, as a hosted project has it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.eventually import eventually
from tests.supabase.platform.relay import Relay
from tests.supabase.platform.storage import Storage
from tests.supabase.platform.tokens import SigningKey

_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
_SQL_TIME = re.compile(rb'"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00"')
_LARGEST_BODY = 64 * 1024 * 1024


class Gateway:
    """What listens on `socket`; where /rest, /auth and /functions lead is told once it is known.

    Auth's answers are put right as they pass: tokens are signed again with the key's and the issuer's name, and times
    spelt as in RFC 3339. Lite does neither, and the functions and supabase-py ask for it.
    `down` holds the first parts of paths (`/rest/v1`) that are answered 503 for the time being. `lose_answer` says of a
    method and a path whether what was done stays without an answer: the connection breaks.
    """

    def __init__(self, socket: socket.socket, signing: SigningKey) -> None:
        self._socket = socket
        self._signing = signing
        self.upstreams: dict[str, str] = {}
        self.down: set[str] = set()
        self.lose_answer: Callable[[str, str], bool] = lambda _method, _path: False

    @contextmanager
    def readings(self) -> Iterator[list[str]]:
        """What is read of the front door within the block: the paths, as they are answered."""
        paths: list[str] = []
        before = self.lose_answer

        def noted(method: str, path: str) -> bool:
            if method == "GET" and path.startswith("/functions/v1"):
                paths.append(path)
            return before(method, path)

        self.lose_answer = noted
        try:
            yield paths
        finally:
            self.lose_answer = before

    async def falls_silent(self, seconds: float = 1.0) -> None:
        """Returns once nothing has been read of the front door for so long."""
        clock = asyncio.get_running_loop().time
        seen, since = 0, clock()
        with self.readings() as readings:

            def silent() -> bool:
                nonlocal seen, since
                if len(readings) != seen:
                    seen, since = len(readings), clock()
                return clock() - since >= seconds

            await eventually(silent)

    async def proxy(self, request: web.Request) -> web.StreamResponse:
        """Passes a request on to whoever answers for its first two parts."""
        service = "/" + "/".join(request.path.split("/")[1:3])
        upstream = self.upstreams.get(service)
        if service in self.down or upstream is None:
            return web.json_response({"message": f"nothing answers for {service}"}, status=503)
        # What is packed for a browser could not be read here.
        unasked = _HOP | {"accept-encoding"}
        headers = {name: value for name, value in request.headers.items() if name.lower() not in unasked}
        try:
            async with self._session.request(
                request.method,
                f"{upstream}{request.rel_url.raw_path_qs}",
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
                if service == "/auth/v1":
                    body = self._put_right(body)
                passed = [
                    (name, value)
                    for name, value in answer.headers.items()
                    if name.lower() not in _HOP | {"content-encoding"}
                ]
                response = web.Response(status=answer.status, body=body)
                response.headers.popall("Content-Type", None)
                response.headers.extend(passed)
                return response
        except aiohttp.ClientError:
            return web.json_response({"message": f"nothing answers for {service}"}, status=503)

    @web.middleware
    async def _lossy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if self.lose_answer(request.method, request.path) and request.transport is not None:
            request.transport.abort()
        return answer

    def _put_right(self, body: bytes) -> bytes:
        body = _SQL_TIME.sub(rb'"\1T\2Z"', body)
        try:
            answer: Any = json.loads(body)
        except ValueError:
            return body
        if isinstance(answer, dict) and isinstance(answer.get("access_token"), str):
            answer["access_token"] = self._signing.again(answer["access_token"])
            return json.dumps(answer).encode()
        return body

    @asynccontextmanager
    async def serving(self, relay: Relay, storage: Storage, example: Path | None) -> AsyncIterator[None]:
        """Listens, with what is served from here."""
        application = web.Application(client_max_size=_LARGEST_BODY, middlewares=[self._lossy])
        application.router.add_get("/realtime/v1/websocket", relay.websocket)
        application.router.add_routes(storage.routes())
        for service in ("rest", "auth", "functions"):
            application.router.add_route("*", f"/{service}/v1{{rest:(/.*)?}}", self.proxy)
        if example is not None:

            async def page(_: web.Request) -> web.FileResponse:
                return web.FileResponse(example / "index.html")

            application.router.add_get("/example/", page)
            application.router.add_static("/example/", example)
        runner = web.AppRunner(application, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, self._socket).start()
        try:
            async with aiohttp.ClientSession(
                auto_decompress=True, skip_auto_headers={"Accept-Encoding"}
            ) as self._session:
                yield
        finally:
            relay.drop_connections()
            await runner.cleanup()
