"""Every call is one of the API's 17 methods, and a read or a write by its method, never by its verb.

Facts (reference: sheets, 2): three POSTs are reads; `/{id}/` and `/{id}/:batchUpdate` are sent by a Node client and mean the same
as without the slash; ranges are URL-encoded, and may hold colons themselves.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, unquote

PREFIX = "/v4/spreadsheets"

READS = frozenset(
    {
        "spreadsheets.get",
        "spreadsheets.getByDataFilter",
        "spreadsheets.developerMetadata.get",
        "spreadsheets.developerMetadata.search",
        "spreadsheets.values.get",
        "spreadsheets.values.batchGet",
        "spreadsheets.values.batchGetByDataFilter",
    }
)

_COLLECTION = {
    ("POST", "values:batchGetByDataFilter"): "spreadsheets.values.batchGetByDataFilter",
    ("POST", "values:batchUpdate"): "spreadsheets.values.batchUpdate",
    ("POST", "values:batchUpdateByDataFilter"): "spreadsheets.values.batchUpdateByDataFilter",
    ("POST", "values:batchClear"): "spreadsheets.values.batchClear",
    ("POST", "values:batchClearByDataFilter"): "spreadsheets.values.batchClearByDataFilter",
    ("GET", "values:batchGet"): "spreadsheets.values.batchGet",
    ("POST", "developerMetadata:search"): "spreadsheets.developerMetadata.search",
}


class Route(NamedTuple):
    """Which method a call is, and what its path names."""

    method_id: str
    spreadsheet_id: str
    argument: str = ""

    @property
    def kind(self) -> str:
        return "read" if self.method_id in READS else "write"


class Query(NamedTuple):
    """The query parameters; the last of a repeated one, and all of `ranges`."""

    given: dict[str, str]
    ranges: list[str]


def parse_query(raw: str) -> Query:
    lists = parse_qs(raw, keep_blank_values=True)
    return Query({name: values[-1] for name, values in lists.items()}, lists.get("ranges", []))


def parse(verb: str, raw_path: str) -> Route | None:
    """The route of a path that starts with PREFIX; None where the API has no such method."""
    rest = raw_path[len(PREFIX) :]
    if rest in ("", "/"):
        return Route("spreadsheets.create", "") if verb == "POST" else None
    if not rest.startswith("/"):
        return None
    head, _, tail = rest[1:].partition("/")
    if not tail or tail.startswith(":"):
        return _whole(verb, head + tail)
    spreadsheet_id = unquote(head)
    tail = tail.replace("%3A", ":") if tail.startswith(("values%3A", "developerMetadata%3A")) else tail
    known = _COLLECTION.get((verb, tail))
    if known is not None:
        return Route(known, spreadsheet_id)
    folder, _, argument = tail.partition("/")
    match folder:
        case "values" if argument:
            return _one_range(verb, spreadsheet_id, argument)
        case "developerMetadata" if verb == "GET" and argument:
            return Route("spreadsheets.developerMetadata.get", spreadsheet_id, unquote(argument))
        case "sheets" if verb == "POST" and argument.endswith(":copyTo"):
            return Route("spreadsheets.sheets.copyTo", spreadsheet_id, unquote(argument.removesuffix(":copyTo")))
    return None


def _whole(verb: str, segment: str) -> Route | None:
    name, _, action = unquote(segment).partition(":")
    match verb, action:
        case "GET", "":
            return Route("spreadsheets.get", name)
        case "POST", "batchUpdate" | "getByDataFilter":
            return Route(f"spreadsheets.{action}", name)
    return None


def _one_range(verb: str, spreadsheet_id: str, argument: str) -> Route | None:
    text = unquote(argument)
    match verb:
        case "GET":
            return Route("spreadsheets.values.get", spreadsheet_id, text)
        case "PUT":
            return Route("spreadsheets.values.update", spreadsheet_id, text)
        case "POST":
            for action in ("append", "clear"):
                if text.endswith(f":{action}"):
                    return Route(f"spreadsheets.values.{action}", spreadsheet_id, text.removesuffix(f":{action}"))
    return None
