"""The emulator's methods without HTTP, for tests of what they do."""

from __future__ import annotations

import json
from typing import Any

from emulator import routes
from emulator.errors import ApiError
from emulator.library import Library
from emulator.methods import Methods
from emulator.settings import EmulatorSettings


class Api:
    """One library with the spreadsheet S; a refusal is an ApiError."""

    def __init__(self, **settings: Any) -> None:
        self.library = Library(EmulatorSettings(spreadsheets=("S",), **settings))
        self._methods = Methods(self.library, EmulatorSettings(**settings))

    def call(self, verb: str, path: str, body: Any = None, project: str = "p", user: str = "u") -> dict[str, Any]:
        raw_path, _, raw_query = (routes.PREFIX + path).partition("?")
        route = routes.parse(verb, raw_path)
        assert route is not None, path
        raw = b"" if body is None else json.dumps(body).encode()
        return self._methods.call(route, routes.parse_query(raw_query), raw, project, user)

    def put(self, cells: str, values: list[list[Any]], option: str = "RAW") -> dict[str, Any]:
        return self.call("PUT", f"/S/values/{cells}?valueInputOption={option}", {"values": values})

    def get(self, cells: str, query: str = "") -> Any:
        return self.call("GET", f"/S/values/{cells}?{query}").get("values")

    def append(self, cells: str, values: list[list[Any]], query: str = "") -> dict[str, Any]:
        path = f"/S/values/{cells}:append?valueInputOption=RAW&{query}"
        return self.call("POST", path, {"values": values})

    def batch(self, *requests: dict[str, Any], project: str = "p") -> list[Any]:
        answer = self.call("POST", "/S:batchUpdate", {"requests": list(requests)}, project)
        return list(answer["replies"])

    def show(self, mask: str, query: str = "") -> dict[str, Any]:
        return self.call("GET", f"/S?fields={mask}&{query}")

    def refused(self, verb: str, path: str, body: Any = None) -> ApiError:
        try:
            self.call(verb, path, body)
        except ApiError as refusal:
            return refusal
        raise AssertionError(f"{verb} {path} was not refused")

    def refused_batch(self, *requests: dict[str, Any]) -> ApiError:
        return self.refused("POST", "/S:batchUpdate", {"requests": list(requests)})
