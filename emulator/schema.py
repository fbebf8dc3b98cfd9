"""A body is refused for the names and types that Google's transcoder would refuse.

`schema.json` is a trimmed table of our own, generated from the discovery document that ships with google-api-python-client: schema ->
field -> type, where a type is a schema's name, `[` a list of, `{` a map of, `enum:A,B` or a scalar (reference: sheets, 8).
A test generates it again and compares. Unknown to it: required fields, one-of, ids that exist, grid bounds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from emulator.errors import ApiError, bad_field, unknown_name
from emulator.fields import Mask

SCHEMAS: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
REQUEST_KINDS = frozenset(SCHEMAS["Request"])

ROOTS = {
    "batchUpdate": ("BatchUpdateSpreadsheetRequest", ""),
    "create": ("Spreadsheet", "spreadsheet"),
    "getByDataFilter": ("GetSpreadsheetByDataFilterRequest", ""),
    "developerMetadata.search": ("SearchDeveloperMetadataRequest", ""),
    "sheets.copyTo": ("CopySheetToAnotherSpreadsheetRequest", ""),
    "values.append": ("ValueRange", "data"),
    "values.batchClear": ("BatchClearValuesRequest", ""),
    "values.batchClearByDataFilter": ("BatchClearValuesByDataFilterRequest", ""),
    "values.batchGetByDataFilter": ("BatchGetValuesByDataFilterRequest", ""),
    "values.batchUpdate": ("BatchUpdateValuesRequest", ""),
    "values.batchUpdateByDataFilter": ("BatchUpdateValuesByDataFilterRequest", ""),
    "values.clear": ("ClearValuesRequest", ""),
    "values.update": ("ValueRange", "data"),
}

_PACKAGE = "type.googleapis.com/google.apps.sheets.v4"
_PLAIN_CELL = {"stringValue": str, "boolValue": bool, "formulaValue": str}


def check_body(name: str, body: Mapping[str, Any]) -> None:
    """Refuses the first name or type in a method's body that the API does not know."""
    root = ROOTS.get(name)
    if root is not None:
        _check_message(body, root[0], root[1])


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _check_message(message: Mapping[str, Any], schema: str, where: str) -> None:
    known = SCHEMAS[schema]
    for name, value in message.items():
        kind = known.get(name)
        if kind is None:
            raise unknown_name(name, where)
        if value is not None:
            _check_value(value, kind, where, name, schema)


def _check_value(value: Any, kind: str, where: str, name: str, schema: str) -> None:
    if kind == "[[any" or kind == "any":
        return  # cell values: emulator.values reads them
    place = f"{where}.{_snake(name)}" if where else _snake(name)
    match kind[0]:
        case "[":
            # the transcoder takes one value for a list of one
            entries = value if isinstance(value, list) else [value]
            below = kind[1:]
            for index, entry in enumerate(entries):
                if entry is None or (below == "CellData" and _is_plain_cell(entry)):
                    continue
                _check_entry(entry, below, f"{place}[{index}]", name, schema)
        case "{":
            if not isinstance(value, dict):
                raise _wrong(place, "Map", value)
            for key, entry in value.items():
                _check_entry(entry, kind[1:], f"{place}[{key}]", name, schema)
        case _:
            _check_entry(value, kind, place, name, schema)


def _check_entry(value: Any, kind: str, place: str, name: str, schema: str) -> None:
    if kind in SCHEMAS:
        if not isinstance(value, dict):
            raise _wrong(place, f"{_PACKAGE}.{kind}", value)
        _check_message(value, kind, place)
        return
    word, _, detail = kind.partition(":")
    match word:
        case "enum":
            if value not in detail.split(",") and not isinstance(value, int):
                raise _wrong(place, f"{_PACKAGE}.{schema}.{name[0].upper()}{name[1:]}", value)
        case "string":
            if not isinstance(value, str):
                raise _wrong(place, "TYPE_STRING", value)
        case "boolean":
            if not isinstance(value, bool):
                raise _wrong(place, "TYPE_BOOL", value)
        case "integer":
            if not _is_int32(value):
                raise _wrong(place, "TYPE_INT32", value)
        case "number":
            if isinstance(value, bool) or not _is_number(value):
                raise _wrong(place, "TYPE_DOUBLE" if detail == "double" else "TYPE_FLOAT", value)


def _is_plain_cell(cell: Any) -> bool:
    """A cell with nothing but one value of the right type: the most frequent message by far."""
    if type(cell) is not dict or len(cell) != 1:
        return False
    value = cell.get("userEnteredValue")
    if type(value) is not dict or len(value) != 1:
        return False
    [(name, scalar)] = value.items()
    if name == "numberValue":
        return type(scalar) in (int, float)
    return name in _PLAIN_CELL and type(scalar) is _PLAIN_CELL[name]


def _is_int32(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    return number.is_integer() and -(2**31) <= number < 2**31


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _wrong(place: str, kind: str, value: Any) -> ApiError:
    if isinstance(value, list):
        text = f'Invalid JSON payload received. Unknown name "{place.rpartition(".")[2]}"'
        return bad_field(place, f"{text}: Proto field is not repeating, cannot start list.")
    shown = f'"{value}"' if isinstance(value, str) else json.dumps(value)
    return bad_field(place, f"Invalid value at '{place}' ({kind}), {shown}")


def unknown_path(mask: Mask, schema: str) -> str | None:
    """The first path of a mask that leads nowhere in a schema, or None."""
    known = SCHEMAS.get(schema)
    for name, below in mask.items():
        if name == "*":
            continue
        if known is None or name not in known:
            return name
        deeper = unknown_path(below, known[name].lstrip("[{")) if below else None
        if deeper is not None:
            return f"{name}.{deeper}"
    return None
