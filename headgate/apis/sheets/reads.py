"""Many reads as one: each range is asked for once, and what it covers is served from its answer.

1. `plan_reads` depends on the operations alone, so the answer can be dealt out by whoever knows them.
2. A range is served from a covering one of the same title only; a title alone (perhaps a named range) covers nothing.
3. What is served reads as if it had been asked for alone: cut to the range, empty ends trimmed, the range echoed as the
   API does, refused where it begins beyond the grid.

Source: reference/sheets.md sections 4.5 and 8.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headgate.apis.sheets import a1
from headgate.messages.requests import Operation

_GRID_SIZE = re.compile(r"Max rows: (\d{1,9}), max columns: (\d{1,9})")
#: Covers are looked for in blocks of rows; one that reaches over more blocks than these is tried for every range.
_BLOCK = 16
_BLOCKS = 64
_NO_END = 1 << 40


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """`ranges` are asked for in this order; operation `i` is served from the answer to `ranges[served[i]]`."""

    ranges: tuple[str, ...]
    served: tuple[int, ...]


def plan_reads(operations: Sequence[Operation]) -> ReadPlan:
    """The fewest ranges that serve all the operations."""
    areas = {operation.range: a1.parse(operation.range) for operation in operations}
    kept: set[str] = set()
    covers = Covers()
    cover_of: dict[str, str] = {}
    for text, area in sorted(areas.items(), key=lambda entry: _size(entry[1]), reverse=True):
        cover = covers.of(area)
        cover_of[text] = cover or text
        if cover is None:
            kept.add(text)
            covers.add(area, text)
    ranges = tuple(text for text in areas if text in kept)
    place = {text: number for number, text in enumerate(ranges)}
    return ReadPlan(ranges, tuple(place[cover_of[operation.range]] for operation in operations))


class Covers:
    """Ranges that others may lie in, found by where those begin: a thousand of them cost a thousand looks, not a million."""

    def __init__(self) -> None:
        self._near: dict[tuple[str, int], list[tuple[a1.GridRange, str]]] = {}
        self._tall: dict[str, list[tuple[a1.GridRange, str]]] = {}

    def add(self, area: a1.GridRange, text: str) -> None:
        """Another one; a title alone covers nothing, since it may be a named range."""
        if area.whole or area.cells == 1:
            return
        title = area.title.casefold()
        first, last = area.top // _BLOCK, (_NO_END if area.bottom is None else area.bottom) // _BLOCK
        if last - first >= _BLOCKS:
            self._tall.setdefault(title, []).append((area, text))
            return
        for block in range(first, last + 1):
            self._near.setdefault((title, block), []).append((area, text))

    def of(self, area: a1.GridRange) -> str | None:
        """One that holds every cell of the area, if there is one."""
        if area.whole:
            return None
        title = area.title.casefold()
        for some in (self._tall.get(title, ()), self._near.get((title, area.top // _BLOCK), ())):
            for cover, text in some:
                if cover.contains(area):
                    return text
        return None


def _size(area: a1.GridRange) -> int:
    height = area.height if area.height is not None else a1.LAST_ROW - area.top
    width = area.width if area.width is not None else a1.LAST_COLUMN - area.left
    return height * width


def deal_out(operations: Sequence[Operation], answer: object) -> list[dict[str, object] | str] | None:
    """Each operation's own value range, in order, or why the API would have refused it alone.

    None when the answer does not have what was asked for.
    """
    plan = plan_reads(operations)
    answered = _answered(plan, answer)
    if answered is None:
        return None
    return [
        serve(operation, plan.ranges[place], answered[place])
        for operation, place in zip(operations, plan.served, strict=True)
    ]


def refused_alike(operations: Sequence[Operation], refused: str, reason: str) -> tuple[int, ...]:
    """The operations (by position) that the API would refuse as it refused the range that its `reason` names.

    A range that could not be parsed is a good one, so its sheet is missing: all that name this sheet fail, and a title alone,
    which may be a named range, if it is the one that was refused. Beyond a grid lies all that begins beyond its size.
    """
    try:
        bad = a1.parse(refused)
    except ValueError:
        return ()
    areas = [a1.parse(operation.range) for operation in operations]
    title = bad.title.casefold()
    if (size := _GRID_SIZE.search(reason)) is None:
        return tuple(
            place
            for place, (operation, area) in enumerate(zip(operations, areas, strict=True))
            if operation.range == refused
            or (title and area.title.casefold() == title and (bad.whole or not area.whole))
        )
    rows, columns = int(size[1]), int(size[2])
    beyond = [place for place, area in enumerate(areas) if area.top >= rows or area.left >= columns]
    named = [place for place in beyond if areas[place].title.casefold() == title]
    # The refusal names the sheet even where the range did not: then it is the first one that is too small.
    return tuple(named or (place for place in beyond if not areas[place].title))


class Known:
    """Value ranges by the range that was asked for, all shown in the same way; serves what they hold or cover."""

    def __init__(self, ranges: Mapping[str, dict[str, object]]) -> None:
        self._ranges = ranges
        self._covers = Covers()
        for text in ranges:
            self._covers.add(a1.parse(text), text)

    def serve(self, operation: Operation) -> dict[str, object] | None:
        """The operation's value range, or None if it has to be asked for."""
        if (found := self._ranges.get(operation.range)) is not None:
            return found
        cover = self._covers.of(a1.parse(operation.range))
        served = None if cover is None else serve(operation, cover, self._ranges[cover])
        return served if isinstance(served, dict) else None


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


def serve(operation: Operation, asked: str, value_range: dict[str, object]) -> dict[str, object] | str:
    """The operation's own value range out of the answer to `asked`, which covers it, or why the API would have refused it."""
    if operation.range == asked:
        return value_range
    wanted, cover = a1.parse(operation.range), a1.parse(asked)
    echoed = value_range.get("range")
    title, mark, _ = echoed.rpartition("!") if isinstance(echoed, str) else ("", "", "")
    try:
        shown = a1.parse(echoed) if isinstance(echoed, str) else cover
    except ValueError:
        shown = cover
    bottom, right = _least(wanted.bottom, shown.bottom), _least(wanted.right, shown.right)
    if (bottom is not None and bottom <= wanted.top) or (right is not None and right <= wanted.left):
        return f"Range ({operation.range}) exceeds grid limits."
    top, left = wanted.top - cover.top, wanted.left - cover.left
    spans = (
        (top, None if bottom is None else bottom - cover.top),
        (left, None if right is None else right - cover.left),
    )
    major, minor = spans if operation.major_dimension == "ROWS" else spans[::-1]
    listed = value_range.get("values")
    rows = [_trimmed(row[slice(*minor)]) for row in listed[slice(*major)]] if isinstance(listed, list) else []
    while rows and not rows[-1]:
        rows.pop()
    area = a1.GridRange("", wanted.top, wanted.left, bottom, right)
    cells = a1.format_range(replace(area, anchor=area.cells == 1))
    served: dict[str, object] = {"range": title + mark + cells, "majorDimension": operation.major_dimension}
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
