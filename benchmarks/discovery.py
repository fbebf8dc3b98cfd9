"""Whether Google's own description of the API accepts a call: method, address, query and body.

It reads the discovery document that ships with google-api-python-client, and nothing of headgate's or the emulator's tables.
Scalars are read as protobuf's JSON mapping has it: a number may be a text, an enum is one of its words, null is unset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import googleapiclient

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "sheets.v4.json"
LARGEST_BODY = 10_485_760
DEEPEST = 100
LARGEST_FLOAT = 3.4028235677973366e38
LARGEST_DOUBLE = 1.7976931348623157e308
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
#: Looser than any reader of masks: names, separators, groups, and no hole between two separators.
_MASK = re.compile(r"[A-Za-z0-9_.,*()/ ]+")
_HOLE = re.compile(r"[.,(/] *[.,)/]|^ *[.,/(]|[.,/] *$|^ *$")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@cache
def document() -> dict[str, Any]:
    """The description, whole."""
    read: dict[str, Any] = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    return read


@cache
def methods() -> tuple[dict[str, Any], ...]:
    """Every method, however deep its resource."""

    def below(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield from resource.get("methods", {}).values()
        for inner in resource.get("resources", {}).values():
            yield from below(inner)

    return tuple(below(document()))


def complaint(method: str, target: str, body: bytes) -> str:
    """What the description has against a call; "" if nothing."""
    path, _, query = target.partition("?")
    found = [m for m in methods() if m["httpMethod"] == method and _pattern(m["flatPath"]).fullmatch(path)]
    if len(found) != 1:
        return f"{len(found)} methods for {method} {path[:200]}"
    described = found[0]
    return _query_complaint(described, query) or _body_complaint(described, body)


@cache
def _pattern(flat_path: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^}]*\}", flat_path)
    return re.compile("/" + "([^/?#:]+)".join(map(re.escape, parts)))


def _query_complaint(described: dict[str, Any], query: str) -> str:
    known = {**document()["parameters"], **described.get("parameters", {})}
    seen: set[str] = set()
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict"):
        parameter = known.get(name)
        if parameter is None or parameter.get("location") == "path":
            return f"{described['id']} has no parameter {name}"
        if name in seen and not parameter.get("repeated"):
            return f"{name} is given twice"
        seen.add(name)
        if "enum" in parameter and value not in parameter["enum"]:
            return f"{name} is {value!r}"
    return ""


def _body_complaint(described: dict[str, Any], body: bytes) -> str:
    if "request" not in described:
        return "a body where none belongs" if body else ""
    if len(body) > LARGEST_BODY:
        return "the body is too large"

    def constant(name: str) -> Any:
        raise ValueError(name)

    try:
        decoded = json.loads(body.decode("utf-8"), parse_constant=constant)
    except ValueError as error:
        return f"the body is no JSON: {error}"
    return against({"$ref": described["request"]["$ref"]}, decoded, "body")


def against(shape: dict[str, Any], value: Any, path: str, depth: int = 0) -> str:
    """What a shape of the document has against a value."""
    if depth > DEEPEST:
        return f"{path}: too deep"
    if "$ref" in shape:
        schema = document()["schemas"][shape["$ref"]]
        if schema.get("type") != "object":
            return against(schema, value, path, depth)
        if not isinstance(value, dict):
            return f"{path}: not an object"
        fields = schema.get("properties", {})
        for name, entry in value.items():
            if name not in fields:
                return f"{path}: no field {name!r}"
            if entry is not None and (wrong := against(fields[name], entry, f"{path}.{name}", depth + 1)):
                return wrong
        return ""
    match shape.get("type"):
        case "array":
            if not isinstance(value, list):
                return f"{path}: not a list"
            return next(filter(None, (against(shape["items"], v, f"{path}[]", depth + 1) for v in value)), "")
        case "object":
            if not isinstance(value, dict):
                return f"{path}: not an object"
            inner = shape.get("additionalProperties", {})
            return next(filter(None, (against(inner, v, f"{path}.*", depth + 1) for v in value.values())), "")
        case "any" | None:
            return ""
        case "boolean":
            return "" if isinstance(value, bool) else f"{path}: {value!r} is no boolean"
        case "integer":
            return "" if _is_int32(value) else f"{path}: {value!r} is no int32"
        case "number":
            most = LARGEST_FLOAT if shape.get("format") == "float" else LARGEST_DOUBLE
            return "" if _is_number(value, most) else f"{path}: {value!r} is no {shape.get('format')}"
        case "string":
            return "" if _is_text(shape, value) else f"{path}: {value!r} is no {shape.get('format') or 'text'}"
    return f"{path}: a type unknown here"


def _is_int32(value: Any) -> bool:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value) or len(value) > 12:
            return False
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -(2**31) <= value < 2**31 and value == int(value)


def _is_number(value: Any, most: float) -> bool:
    if isinstance(value, str):
        return bool(_NUMBER.fullmatch(value)) and abs(float(value)) <= most
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) <= most


def _is_text(shape: dict[str, Any], value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if "enum" in shape:
        return value in shape["enum"]
    match shape.get("format"):
        case "google-fieldmask":
            return not value or (bool(_MASK.fullmatch(value) and not _HOLE.search(value)) and _balanced(value))
        case "google-datetime":
            return bool(_INSTANT.fullmatch(value))
    return True


def _balanced(text: str) -> bool:
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0
