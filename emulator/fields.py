"""A field mask selects the same fields in every spelling that Google takes.

Facts (reference: sheets, 4.10 and 8.1): paths join with `.` or `/`, siblings with `,`, a parent takes a group in
parentheses, `*` is everything. On a read the mask is a projection; on an update it also says what is cleared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from emulator.errors import Json, bad_field

Mask = dict[str, Any]  # name -> Mask; an empty Mask selects the whole value


@lru_cache(maxsize=512)
def parse(text: str) -> Mask:
    """`a(b,c/d),e.f` -> {a: {b: {}, c: {d: {}}}, e: {f: {}}}."""
    mask: Mask = {}
    position = _group(text, 0, mask)
    if position != len(text):
        raise bad_field("fields", f"Invalid field selection {text}")
    return mask


def _group(text: str, position: int, into: Mask) -> int:
    while position < len(text):
        position = _path(text, position, into)
        if position < len(text) and text[position] == ",":
            position += 1
            continue
        break
    return position


def _path(text: str, position: int, into: Mask) -> int:
    node = into
    name = ""
    while position < len(text):
        letter = text[position]
        if letter in "./":
            node, name = node.setdefault(camel(name), {}), ""
        elif letter == "(":
            node = node.setdefault(camel(name), {})
            position = _group(text, position + 1, node)
            if position >= len(text) or text[position] != ")":
                raise bad_field("fields", f"Invalid field selection {text}")
            return position + 1
        elif letter in ",)":
            break
        else:
            name += letter
        position += 1
    if name.strip():
        node.setdefault(camel(name), {})
    return position


def camel(name: str) -> str:
    head, *rest = name.strip().split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def project(value: Any, mask: Mask) -> Any:
    """What of `value` the mask selects; lists are passed through, an absent field stays absent."""
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [project(entry, mask) for entry in value]
    if not isinstance(value, dict):
        return value
    return {name: project(value[name], below) for name, below in mask.items() if name in value}


def selects(mask: Mask | None, *path: str) -> bool:
    """Whether the mask selects anything at or below `path`."""
    node = mask
    for name in path:
        if not node or "*" in node:
            return True
        if name not in node:
            return False
        node = node[name]
    return True


def merge(target: Json, source: Json, mask: Mask) -> Json:
    """A copy of `target` in which every field of the mask is as in `source`: absent there, cleared here."""
    if not mask or "*" in mask:
        return dict(source)
    merged = dict(target)
    for name, below in mask.items():
        if name not in source or source[name] is None:
            if below and isinstance(merged.get(name), dict):
                merged[name] = merge(merged[name], {}, below)
            else:
                merged.pop(name, None)
        elif below and isinstance(source[name], dict):
            merged[name] = merge(merged.get(name) or {}, source[name], below)
        else:
            merged[name] = source[name]
        if merged.get(name) == {}:
            del merged[name]
    return merged
