"""The admin routes are for referees and tests: never counted, never in the ledger, never faulted.

GET    /admin/ledger?since=N&limit=M   {"started", "now", "wall_offset", "dropped", "next", "calls": [...], "applies": [...]}
GET    /admin/verdict                  buckets with limits and worst windows, 429s, concurrency
GET    /admin/faults                   {"faults": [rule + fitted, fired]}
PUT    /admin/faults                   [rule, ...] or {"faults": [rule, ...]}; replaces, and starts `between` anew
PUT    /admin/quota                    any of {"enabled", "read_per_project", ..., "window", "window_mode"}
PUT    /admin/projects                 {token: project}
PUT    /admin/latency                  {"latency_ms", "jitter_ms"}
POST   /admin/reset                    spreadsheets, ledger, quota, faults as at the start; ?keep=spreadsheets keeps those
GET    /admin/spreadsheets             {"spreadsheets": [id, ...]}
GET    /admin/spreadsheets/{id}        {title: rows}, cells as entered, an empty one null
PUT    /admin/spreadsheets/{id}        {"titles": [...], "title", "private"}: creates or replaces
DELETE /admin/spreadsheets/{id}
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from emulator.dispatch import Dispatcher, json_response
from emulator.errors import ApiError, Json, invalid, not_found
from emulator.faults import FaultPlan, InvalidRule, rules_of
from emulator.grid import Sheet
from emulator.ledger import Ledger
from emulator.library import Library
from emulator.routes import Query, parse_query

_LIMITS = {
    "read_per_project": ("project", "read"),
    "read_per_user": ("user", "read"),
    "write_per_project": ("project", "write"),
    "write_per_user": ("user", "write"),
}
_PAGE = 1000


class Admin:
    """The admin routes over one dispatcher and its library."""

    def __init__(self, dispatcher: Dispatcher, library: Library) -> None:
        self._dispatcher = dispatcher
        self._library = library
        self._routes: dict[tuple[str, str], Callable[[Any, Query], Json]] = {
            ("GET", "faults"): lambda body, query: {"faults": self._dispatcher.faults.shown()},
            ("PUT", "faults"): lambda body, query: self._set_faults(body),
            ("PUT", "quota"): lambda body, query: self._set_quota(body),
            ("GET", "quota"): lambda body, query: self._set_quota({}),
            ("PUT", "projects"): lambda body, query: self._set_projects(body),
            ("PUT", "latency"): lambda body, query: self._set_latency(body),
            ("POST", "reset"): lambda body, query: self._reset(query),
            ("GET", "spreadsheets"): lambda body, query: {"spreadsheets": list(library.spreadsheets)},
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, raw_query = request.raw_path.partition("?")
        query = parse_query(raw_query)
        name = path.removeprefix("/admin/").strip("/")
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError as reason:
            raise invalid(f"Invalid JSON: {reason}") from None
        if request.method == "GET" and name == "ledger":
            return await self._ledger(request, query)
        if name.startswith("spreadsheets/"):
            # in a thread: a dump of many cells must not hold up the arrivals of others
            spreadsheet_id = unquote(name.removeprefix("spreadsheets/"))
            return json_response(await asyncio.to_thread(self._spreadsheet, request.method, spreadsheet_id, body))
        if request.method == "GET" and name == "verdict":
            return json_response(await asyncio.to_thread(self._verdict))
        route = self._routes.get((request.method, name))
        if route is None:
            raise not_found()
        return json_response(route(body, query))

    async def _ledger(self, request: web.BaseRequest, query: Query) -> web.StreamResponse:
        """Written in pages, so that a long ledger neither blocks the loop nor doubles in memory."""
        ledger = self._dispatcher.ledger
        since = int(query.given.get("since", 0))
        limit = int(query.given.get("limit", 10**9))
        calls = ledger.calls[max(0, since - ledger.dropped) :][:limit]
        first = calls[0].number if calls else since
        applies = [entry for entry in ledger.applies if entry.call >= since]
        if calls and limit < 10**9:
            applies = [entry for entry in applies if entry.call <= calls[-1].number]
        head = {
            **_clock(ledger),
            "dropped": ledger.dropped,
            "next": first + len(calls),
        }
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=UTF-8"})
        await response.prepare(request)
        await response.write(json.dumps(head)[:-1].encode() + b', "calls": ')
        await _write_list(response.write, [call.shown for call in calls])
        await response.write(b', "applies": ')
        await _write_list(response.write, [entry.shown for entry in applies])
        await response.write(b"}")
        return response

    def _verdict(self) -> Json:
        dispatcher = self._dispatcher
        return {**_clock(dispatcher.ledger), **dispatcher.ledger.verdict(dispatcher.quota)}

    def _set_faults(self, body: Any) -> Json:
        try:
            plan = FaultPlan(rules_of(body), self._dispatcher.settings.seed, time.monotonic())
        except InvalidRule as reason:
            raise invalid(str(reason)) from None
        self._dispatcher.faults = plan
        return {"faults": plan.shown()}

    def _set_quota(self, body: Json) -> Json:
        quota = self._dispatcher.quota
        unknown = set(body) - {*_LIMITS, "enabled", "window", "window_mode"}
        if unknown:
            raise invalid(f"Unknown quota settings: {sorted(unknown)}")
        for name, key in _LIMITS.items():
            if name in body:
                quota.limits[key] = int(body[name])
        quota.enabled = bool(body.get("enabled", quota.enabled))
        quota.window = float(body.get("window", quota.window))
        quota.mode = body.get("window_mode", quota.mode)
        limits = {name: quota.limits[key] for name, key in _LIMITS.items()}
        return {**limits, "enabled": quota.enabled, "window": quota.window, "window_mode": quota.mode}

    def _set_projects(self, body: Json) -> Json:
        self._dispatcher.projects.update({str(token): str(project) for token, project in body.items()})
        return dict(self._dispatcher.projects)

    def _set_latency(self, body: Json) -> Json:
        settings = self._dispatcher.settings
        latency = float(body.get("latency_ms", settings.latency_ms))
        jitter = float(body.get("jitter_ms", settings.jitter_ms))
        self._dispatcher.settings = replace(settings, latency_ms=latency, jitter_ms=jitter)
        return {"latency_ms": latency, "jitter_ms": jitter}

    def _reset(self, query: Query) -> Json:
        dispatcher = self._dispatcher
        dispatcher.ledger.reset()
        dispatcher.quota.reset()
        if query.given.get("keep") != "spreadsheets":
            self._library.reset()
        settings = dispatcher.settings
        dispatcher.faults = FaultPlan(settings.faults, settings.seed, time.monotonic())
        return {}

    def _spreadsheet(self, verb: str, spreadsheet_id: str, body: Json) -> Json:
        match verb:
            case "GET":
                return self._library.shown(spreadsheet_id)
            case "DELETE":
                self._library.delete(spreadsheet_id)
                return {}
            case "PUT":
                made = self._library.create(spreadsheet_id, body.get("title") or spreadsheet_id)
                made.private = bool(body.get("private"))
                titles = body.get("titles") or ["Sheet1"]
                made.sheets = [Sheet(index, title) for index, title in enumerate(titles)]
                return {"spreadsheetId": spreadsheet_id, "titles": titles}
        raise ApiError(405, "Method not allowed.")


def _clock(ledger: Ledger) -> Json:
    """Instants are monotonic; add `wall_offset` for the wall clock."""
    now = time.monotonic()
    return {"started": ledger.started, "now": now, "wall_offset": time.time() - now}


async def _write_list(write: Callable[[bytes], Awaitable[None]], entries: list[Callable[[], Json]]) -> None:
    await write(b"[")
    for start in range(0, len(entries), _PAGE):
        page = json.dumps([shown() for shown in entries[start : start + _PAGE]])
        await write((b", " if start else b"") + page[1:-1].encode())
    await write(b"]")
