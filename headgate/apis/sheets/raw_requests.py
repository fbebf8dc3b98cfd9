"""Raw `batchUpdate` requests, checked against Google's own table before any quota is spent.

1. A request has exactly one kind, a known one; every field is known and has the right type; null means unset.
2. What runs on after the call has ended (`refreshDataSource`, `cancelDataSourceRefresh`) is refused.
3. Nothing may touch the fences: metadata is deleted or changed only where its key is named as well, and is not ours.

Source: reference/sheets.md sections 2.1, 3 and 8.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import cache

from headgate.apis.sheets.limits import DEEPEST
from headgate.apis.sheets.request_table import ENUMS, SCHEMAS

FENCE_KEY = "hg"
#: Kinds that leave the same cells and sheets when they are sent twice (reference/sheets.md section 2.1).
REPEATABLE_KINDS = frozenset(
    [
        "updateCells",
        "repeatCell",
        "updateSheetProperties",
        "updateSpreadsheetProperties",
        "updateDimensionProperties",
        "updateBorders",
        "updateNamedRange",
        "updateProtectedRange",
        "updateFilterView",
        "updateBanding",
        "updateChartSpec",
        "setDataValidation",
        "setBasicFilter",
        "clearBasicFilter",
        "mergeCells",
        "unmergeCells",
        "autoResizeDimensions",
    ]
)
REFUSED_KINDS = ("refreshDataSource", "cancelDataSourceRefresh")
_INT32 = range(-(2**31), 2**31)
_WORDS = {
    "s": "a text",
    "m": "a fields mask such as title,gridProperties.rowCount",
    "t": "an instant such as 2026-11-24T09:30:00Z",
    "b": "true or false",
    "i": "a whole number",
    "d": "a number",
    "f": "a number",
}
_LARGEST_FLOAT = 3.4028235e38
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,10})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INSTANT = re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_STEP = r"(?:\*|[A-Za-z][A-Za-z0-9_]*)"
_PATH = rf" *{_STEP}(?:[./]{_STEP})* *"
_PATHS = re.compile(rf"{_PATH}(?:,{_PATH})*")
_GROUP = re.compile(rf"\({_PATH}(?:,{_PATH})*\)")


@cache
def fields_of(schema: str) -> dict[str, str]:
    """The fields of a schema and their types."""
    return dict(field.split(":", 1) for field in SCHEMAS[schema].split())


@cache
def _words_of(enum: str) -> frozenset[str]:
    return frozenset(ENUMS[int(enum[1:])].split())


def kind_of(request: dict[str, object]) -> str:
    """The kind of a raw request that `complaint` found nothing wrong with."""
    return next(iter(request))


def complaint(request: object) -> str:
    """What is wrong with a raw request, as one sentence without a full stop; "" if nothing is."""
    if not isinstance(request, dict) or len(request) != 1:
        return 'request must be an object with exactly one key, the kind, such as {"addSheet": {...}}'
    kind, body = next(iter(request.items()))
    kinds = fields_of("Request")
    if kind not in kinds:
        return f"request kind {_shown(kind)} is not one that Sheets knows; see the kinds of spreadsheets.batchUpdate"
    if kind in REFUSED_KINDS:
        return f"request kind {kind} runs on after its call and cannot be followed; start it outside headgate"
    if not isinstance(body, dict):
        return f"request.{kind} must be an object"
    return _object_complaint(kinds[kind], body, f"request.{kind}", 0) or _fence_complaint(kind, body)


def _object_complaint(schema: str, body: dict[str, object], path: str, depth: int) -> str:
    if depth > DEEPEST:
        return f"{path[:80]}... is nested too deeply; make it flatter"
    known = fields_of(schema)
    for field, value in body.items():
        if field not in known:
            return f"{path} has no field {_shown(field)}; correct or remove it"
        if value is not None and (found := _complaint(known[field], value, f"{path}.{field}", depth)):
            return found
    return ""


def _complaint(kind: str, value: object, path: str, depth: int) -> str:
    if kind.startswith("*"):
        if not isinstance(value, list):
            return f"{path} must be a list"
        for position, entry in enumerate(value):
            if found := _complaint(kind[1:], entry, f"{path}[{position}]", depth):
                return found
        return ""
    if kind[0].isupper() or kind[0] == "{":
        if not isinstance(value, dict):
            return f"{path} must be an object"
        if kind[0] == "{":
            entries = (_complaint(kind[1:], entry, f"{path}.{_name(name)}", depth) for name, entry in value.items())
            return next(filter(None, entries), "")
        return _object_complaint(kind, value, path, depth + 1)
    if kind[0] == "e":
        if isinstance(value, str) and value in _words_of(kind):
            return ""
        return f"{path} must be one of {_listed(kind)}"
    return "" if _fits(kind, value) else f"{path} must be {_WORDS[kind]}"


def _fits(kind: str, value: object) -> bool:
    if kind in "smt":
        return isinstance(value, str) and (kind == "s" or (_is_mask(value) if kind == "m" else _is_instant(value)))
    if kind == "b":
        return isinstance(value, bool)
    if isinstance(value, str):  # protobuf's JSON takes numbers as text
        if not (_INTEGER if kind == "i" else _NUMBER).fullmatch(value):
            return False
        value = int(value) if kind == "i" else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        if kind == "i":
            return value == int(value) and int(value) in _INT32
        return math.isfinite(value) and (kind == "d" or abs(value) <= _LARGEST_FLOAT)
    except (OverflowError, ValueError):
        return False


def _is_mask(text: str) -> bool:
    """Paths, with groups in parentheses as in Google's own examples; an empty mask is one that is not set."""
    while (reduced := _GROUP.sub("", text)) != text:
        text = reduced
    return not text or bool(_PATHS.fullmatch(text))


def _is_instant(text: str) -> bool:
    if not _INSTANT.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def _fence_complaint(kind: str, body: dict[str, object]) -> str:
    if kind == "createDeveloperMetadata":
        created = body.get("developerMetadata")
        if isinstance(created, dict) and created.get("metadataKey") == FENCE_KEY:
            return f"metadataKey {FENCE_KEY!r} is headgate's own; choose another"
        return ""
    if kind == "deleteDeveloperMetadata":
        filters = [body.get("dataFilter")]
    elif kind == "updateDeveloperMetadata":
        listed = body.get("dataFilters")
        filters = listed if isinstance(listed, list) else []
    else:
        return ""
    for one in filters:
        lookup = one.get("developerMetadataLookup") if isinstance(one, dict) else None
        key = lookup.get("metadataKey") if isinstance(lookup, dict) else None
        if not key or key == FENCE_KEY:
            return (
                f"request.{kind} must name a metadataKey other than {FENCE_KEY!r} in each developerMetadataLookup, "
                "or it could touch headgate's own marks"
            )
    if kind == "updateDeveloperMetadata":
        changed = body.get("developerMetadata")
        if isinstance(changed, dict) and changed.get("metadataKey") == FENCE_KEY:
            return f"metadataKey {FENCE_KEY!r} is headgate's own; choose another"
    return ""


def _name(text: str) -> str:
    return text if text.isascii() and text.isalnum() and len(text) <= 40 else _shown(text)


def _listed(enum: str) -> str:
    words = ENUMS[int(enum[1:])].split()
    return ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
