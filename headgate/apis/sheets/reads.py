"""Many reads as one: each range is asked for once, and what it covers is served from its answer.

1. `plan_reads` depends on the operations alone, so the answer can be dealt out by whoever knows them.
2. A range is served from a covering one of the same title only; a title alone (perhaps a named range) covers nothing.
3. What is served reads as if it had been asked for: cut to the range, empty ends trimmed.

Source: reference/sheets.md sections 4.5 and 8.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headgate.apis.sheets import a1
from headgate.models import Operation


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """`ranges` are asked for in this order; operation `i` is served from the answer to `ranges[served[i]]`."""

    ranges: tuple[str, ...]
    served: tuple[int, ...]


def plan_reads(operations: Sequence[Operation]) -> ReadPlan:
    """The fewest ranges that serve all the operations."""
    areas = {operation.range: a1.parse(operation.range) for operation in operations}
    kept: list[str] = []
    covers: dict[str, list[str]] = {}
    cover_of: dict[str, str] = {}
    for text, area in sorted(areas.items(), key=lambda entry: _size(entry[1]), reverse=True):
        cover = next((c for c in covers.get(area.title, ()) if areas[c].contains(area)), None)
        cover_of[text] = cover or text
        if cover is None:
            kept.append(text)
            if area.cells != 1 and not area.whole:
                covers.setdefault(area.title, []).append(text)
    wanted = set(kept)
    ranges = tuple(text for text in areas if text in wanted)
    place = {text: number for number, text in enumerate(ranges)}
    return ReadPlan(ranges, tuple(place[cover_of[operation.range]] for operation in operations))


def _size(area: a1.GridRange) -> int:
    height = area.height if area.height is not None else a1.LAST_ROW - area.top
    width = area.width if area.width is not None else a1.LAST_COLUMN - area.left
    return height * width


def deal_out(operations: Sequence[Operation], answer: object) -> list[dict[str, object]] | None:
    """Each operation's own value range, in order; None when the answer does not have what was asked for."""
    plan = plan_reads(operations)
    answered = _answered(plan, answer)
    if answered is None:
        return None
    return [
        _serve(operation, answered[place], plan.ranges[place])
        for operation, place in zip(operations, plan.served, strict=True)
    ]


def _answered(plan: ReadPlan, answer: Any) -> list[dict[str, object]] | None:
    listed = answer.get("valueRanges") if isinstance(answer, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        return None
    if not any("valueRange" in entry or "dataFilters" in entry for entry in listed):
        return listed if len(listed) == len(plan.ranges) else None
    by_range: dict[str, dict[str, object]] = {}
    for entry in listed:
        for one in entry.get("dataFilters") or ():
            if isinstance(one, dict) and isinstance(one.get("a1Range"), str):
                by_range[one["a1Range"]] = entry.get("valueRange") or {}
    if all(text in by_range for text in plan.ranges):
        return [by_range[text] for text in plan.ranges]
    return [entry.get("valueRange") or {} for entry in listed] if len(listed) == len(plan.ranges) else None


def _serve(operation: Operation, value_range: dict[str, object], asked: str) -> dict[str, object]:
    if operation.range == asked:
        return value_range
    wanted, cover = a1.parse(operation.range), a1.parse(asked)
    echoed = value_range.get("range")
    try:
        shown = a1.parse(echoed) if isinstance(echoed, str) else cover
    except ValueError:
        shown = cover
    bottom, right = _least(wanted.bottom, shown.bottom), _least(wanted.right, shown.right)
    top, left = wanted.top - cover.top, wanted.left - cover.left
    spans = (
        (top, None if bottom is None else max(bottom - cover.top, top)),
        (
            left,
            None if right is None else max(right - cover.left, left),
        ),
    )
    major, minor = spans if operation.major_dimension == "ROWS" else spans[::-1]
    listed = value_range.get("values")
    rows = [_trimmed(row[slice(*minor)]) for row in listed[slice(*major)]] if isinstance(listed, list) else []
    while rows and not rows[-1]:
        rows.pop()
    area = a1.GridRange(shown.title, wanted.top, wanted.left, bottom, right, anchor=wanted.anchor)
    served: dict[str, object] = {"range": a1.format_range(area), "majorDimension": operation.major_dimension}
    if rows:
        served["values"] = rows
    return served


def _least(one: int | None, other: int | None) -> int | None:
    return min((end for end in (one, other) if end is not None), default=None)


def _trimmed(row: list[object]) -> list[object]:
    end = len(row)
    while end and row[end - 1] == "":
        end -= 1
    return row[:end]
