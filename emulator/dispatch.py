"""A call goes the same way every time: arrive, quota, latency, apply, answer; a fault may end it at each step.

The arrival is taken before the body is read and before any wait. The quota is asked next, so what latency is simulated does not
change what is counted. Applies come one after another, each as a whole: two calls never see half of each other.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import struct
import time
from urllib.parse import unquote

from aiohttp import web

from emulator import routes
from emulator.errors import ApiError, Json, forbidden, quota_exceeded, unauthenticated
from emulator.faults import UNCOUNTED, Fault, FaultPlan, Seen
from emulator.ledger import Call, Ledger
from emulator.methods import Methods
from emulator.quota import Quota
from emulator.routes import Query, Route
from emulator.settings import EmulatorSettings

MAX_URL = 16_384
LARGE_BODY = 32_768
DEFAULT_PROJECT = "100000000001"
HTML = (
    "<!DOCTYPE html><html lang=en><title>Error {status}</title>"
    "<p><b>{status}.</b> <ins>That’s an error.</ins><p>The server encountered an error. Please try again later."
)


class Dispatcher:
    """Everything that is shared by the calls of one emulator."""

    def __init__(
        self, settings: EmulatorSettings, methods: Methods, quota: Quota, ledger: Ledger, faults: FaultPlan
    ) -> None:
        self.settings = settings
        self.quota = quota
        self.ledger = ledger
        self.faults = faults
        self.projects = dict(settings.projects)
        self._methods = methods
        self._applying = asyncio.Lock()
        self._random = random.Random(settings.seed)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = time.monotonic()
        path, _, raw_query = request.raw_path.partition("?")
        query = routes.parse_query(raw_query)
        user = _user(request)
        project = self.projects.get(user, DEFAULT_PROJECT)
        if len(request.raw_path) > MAX_URL:
            return web.Response(status=414, text=HTML.format(status=414), content_type="text/html")
        route = routes.parse(request.method, path)
        if route is None:
            return web.Response(status=404, text=HTML.format(status=404), content_type="text/html")
        call = Call(
            number=self.ledger.count,
            arrived=arrived,
            user=user,
            project=project,
            method=route.method_id,
            kind=route.kind,
            spreadsheet=route.spreadsheet_id,
        )
        self.ledger.arrive(call, self.quota.keys(project, user, route.kind))
        body = await request.read()
        call.sha256 = hashlib.sha256(body).hexdigest()
        seen = Seen(
            route.method_id,
            route.kind,
            route.spreadsheet_id,
            user,
            unquote(path),
            body,
            arrived - self.faults.since,
            self.ledger.gauge(route.spreadsheet_id, "any").now,
        )
        fault = self.faults.choose(seen)
        call.fault = fault.name if fault else None
        try:
            return await self._passed(request, route, query, body, call, fault)
        except ApiError as refusal:
            return self._refused(call, refusal, _v1(query, fault))
        except Exception:
            call.status = 500  # an error of the emulator itself: the server logs it
            raise
        finally:
            call.answered = time.monotonic()

    async def _passed(
        self,
        request: web.BaseRequest,
        route: Route,
        query: Query,
        body: bytes,
        call: Call,
        fault: Fault | None,
    ) -> web.StreamResponse:
        keys = self.quota.keys(call.project, call.user, call.kind)
        if fault is not None and fault.effect in UNCOUNTED:
            raise self._uncounted(call, fault)
        refusal = self.quota.take(call.project, call.user, call.kind, call.arrived)
        if refusal is not None:
            self.ledger.refuse(refusal.key)
            raise quota_exceeded(call.kind, refusal.key.level, refusal.limit, call.project)
        self.ledger.passed(call, keys)
        gauges = [self.ledger.gauge(call.spreadsheet, kind) for kind in ("any", call.kind)]
        for gauge in gauges:
            gauge.enter()
        try:
            await self._wait(fault)
            if fault is not None and fault.when == "before":
                ended = await self._end(request, call, fault, None)
                if ended is not None:
                    return ended
            return await self._applied(request, route, query, body, call, fault)
        finally:
            for gauge in gauges:
                gauge.leave()

    def _uncounted(self, call: Call, fault: Fault) -> ApiError:
        if fault.effect == "unauthorized":
            return unauthenticated()
        if fault.effect == "forbidden":
            return forbidden()
        limit = self.quota.limits[fault.level, call.kind]
        return quota_exceeded(call.kind, fault.level, limit, call.project)

    async def _wait(self, fault: Fault | None) -> None:
        settings = self.settings
        wait = settings.latency_ms / 1000
        if settings.jitter_ms:
            wait += self._random.uniform(-settings.jitter_ms, settings.jitter_ms) / 1000
        if fault is not None and fault.effect in ("delay", "zombie"):
            wait = max(0.0, wait) + fault.seconds
        if wait > 0:
            await asyncio.sleep(wait)

    async def _applied(
        self,
        request: web.BaseRequest,
        route: Route,
        query: Query,
        body: bytes,
        call: Call,
        fault: Fault | None,
    ) -> web.StreamResponse:
        answer = await self._answer(route, query, body, call)
        payload = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
        if fault is not None:
            ended = await self._end(request, call, fault, payload)
            if ended is not None:
                return ended
        call.status = 200
        return _json(200, payload)

    async def _answer(self, route: Route, query: Query, body: bytes, call: Call) -> Json:
        """Writes apply one at a time; a large one in a thread, so that other calls' arrivals are still seen in time.

        Reads need not wait: what they see is replaced as a whole, never changed.
        """
        if route.kind == "read":
            return self._methods.call(route, query, body, call.project, call.user)
        async with self._applying:
            if len(body) > LARGE_BODY:
                answer = await asyncio.to_thread(self._methods.call, route, query, body, call.project, call.user)
            else:
                answer = self._methods.call(route, query, body, call.project, call.user)
            self.ledger.apply(call)
        return answer

    async def _end(
        self, request: web.BaseRequest, call: Call, fault: Fault, payload: bytes | None
    ) -> web.StreamResponse | None:
        """The end that a fault gives a call, or None where it does nothing at this point."""
        if payload is not None and fault.effect in ("truncate", "drip"):
            call.status = 200
            return await _in_pieces(request, payload, fault)
        if (payload is None) != (fault.when == "before"):
            return None
        match fault.effect:
            case "close":
                _close(request)
                return web.Response()
            case "reset":
                _reset(request)
                return web.Response()
            case "html":
                call.status = fault.status
                response = web.Response(
                    status=fault.status, text=HTML.format(status=fault.status), content_type="text/html"
                )
                response.force_close()
                return response
            case "error":
                raise ApiError(fault.status, fault.message or _message(fault.status))
            case "quota_500":
                raise ApiError(500, fault.message or "Quota exceeded for quota group 'WriteGroup'.")
        return None

    def _refused(self, call: Call, refusal: ApiError, v1: bool) -> web.Response:
        call.status = refusal.code
        response = _json(refusal.code, json.dumps(refusal.body(v1)).encode())
        if refusal.code == 429 and self.settings.retry_after is not None:
            response.headers["Retry-After"] = str(self.settings.retry_after)
        return response


def _user(request: web.BaseRequest) -> str:
    """The bearer token stands for the user; a call without one is anonymous."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else "anonymous"


def _v1(query: Query, fault: Fault | None) -> bool:
    return query.given.get("$.xgafv") == "1" or (fault is not None and fault.v1)


def _message(status: int) -> str:
    return {
        500: "Internal error encountered.",
        503: "The service is currently unavailable.",
        504: "Deadline expired before operation could complete.",
    }.get(status, f"Error {status}.")


def _json(status: int, payload: bytes) -> web.Response:
    return web.Response(status=status, body=payload, headers={"Content-Type": "application/json; charset=UTF-8"})


async def _in_pieces(request: web.BaseRequest, payload: bytes, fault: Fault) -> web.StreamResponse:
    """Sends half of the answer and closes, or all of it slowly."""
    response = web.StreamResponse(headers={"Content-Type": "application/json; charset=UTF-8"})
    response.content_length = len(payload)
    await response.prepare(request)
    if fault.effect == "truncate":
        await response.write(payload[: len(payload) // 2])
        _close(request)
        return response
    pieces = 20
    size = -(-len(payload) // pieces)
    for start in range(0, len(payload), size):
        await asyncio.sleep(fault.seconds / pieces)
        await response.write(payload[start : start + size])
    return response


def _close(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.BaseRequest) -> None:
    """Lingering for 0 s makes the kernel send RST in place of FIN."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def refusal_response(refusal: ApiError) -> web.Response:
    return _json(refusal.code, json.dumps(refusal.body()).encode())


def json_response(answer: Json | list[Json], status: int = 200) -> web.Response:
    return _json(status, json.dumps(answer, ensure_ascii=False).encode())
