"""Requests about ranges: named, protected, merged, filtered.

Facts (reference: sheets, 2.1, 8.1): a client may choose the id, and a taken one is refused; a protected range's reply has no editors
and says that the caller can edit, a later read names the caller as editor; a merge keeps its first cell's value only;
a basic filter without a range covers the grid.
"""

from __future__ import annotations

import re
from typing import Any

from emulator import reading
from emulator.a1 import Area, Box, from_grid_range, parse_cells, to_grid_range
from emulator.batch_update.cells import area_of, located
from emulator.batch_update.kinds import Draft, kind
from emulator.batch_update.properties import mask_of
from emulator.errors import Json, invalid
from emulator.grid import Cell, Sheet
from emulator.spreadsheet import NamedRange

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,249}$")


def _check_name(draft: Draft, name: Any, but: str | None = None) -> str:
    if not isinstance(name, str) or not _NAME.match(name) or parse_cells(name) is not None:
        raise invalid(f"The name of the named range is invalid: {name}")
    for named in draft.spreadsheet.named_ranges.values():
        if named.name.casefold() == name.casefold() and named.named_range_id != but:
            raise invalid(f"A named range with the name [{name}] already exists.")
    return name


def _box(draft: Draft, grid_range: Json | None) -> tuple[int, Box]:
    place = located(draft, grid_range)
    _ = place.strict_area  # refuses what lies beyond the grid
    return place.sheet.sheet_id, from_grid_range(grid_range or {})


@kind("addNamedRange")
def add_named_range(draft: Draft, request: Json) -> Json:
    wanted = request.get("namedRange") or {}
    named_id = str(wanted.get("namedRangeId") or draft.spreadsheet.draw_id())
    if named_id in draft.spreadsheet.named_ranges:
        raise invalid(f"Cannot add named range with ID [{named_id}] because one with that ID already exists.")
    name = _check_name(draft, wanted.get("name"))
    named = NamedRange(named_id, name, *_box(draft, wanted.get("range")))
    draft.spreadsheet.named_ranges[named_id] = named
    return {"addNamedRange": {"namedRange": reading.named_range(named)}}


def _named(draft: Draft, named_id: Any) -> NamedRange:
    named = draft.spreadsheet.named_ranges.get(str(named_id))
    if named is None:
        raise invalid(f"No named range with id: {named_id}")
    return named


@kind("updateNamedRange")
def update_named_range(draft: Draft, request: Json) -> Json:
    wanted = request.get("namedRange") or {}
    named = _named(draft, wanted.get("namedRangeId"))
    mask = mask_of(request, "NamedRange")
    if "name" in mask or "*" in mask:
        named = named._replace(name=_check_name(draft, wanted.get("name"), named.named_range_id))
    if "range" in mask or "*" in mask:
        sheet_id, box = _box(draft, wanted.get("range"))
        named = named._replace(sheet_id=sheet_id, box=box)
    draft.spreadsheet.named_ranges[named.named_range_id] = named
    return {}


@kind("deleteNamedRange")
def delete_named_range(draft: Draft, request: Json) -> Json:
    named = _named(draft, request.get("namedRangeId"))
    del draft.spreadsheet.named_ranges[named.named_range_id]
    return {}


@kind("addProtectedRange")
def add_protected_range(draft: Draft, request: Json) -> Json:
    wanted = request.get("protectedRange") or {}
    given_id = wanted.get("protectedRangeId")
    protected_id = draft.spreadsheet.draw_id() if given_id is None else int(given_id)
    if _holder(draft, protected_id) is not None:
        raise invalid(f"Cannot add protected range with ID [{protected_id}] because one with that ID already exists.")
    place, named_id = _protected_place(draft, wanted)
    sheet = draft.spreadsheet.edit(place[0])
    protected: Json = {"protectedRangeId": protected_id, "range": to_grid_range(*place)}
    if named_id is not None:
        protected["namedRangeId"] = named_id
    protected.update(_protection(wanted))
    protected["requestingUserCanEdit"] = True
    editors = {name: list(who) for name, who in (wanted.get("editors") or {}).items() if who and name != "users"}
    users = [*((wanted.get("editors") or {}).get("users") or [])]
    shown = {**protected, "editors": {**({"users": users} if users else {}), **editors}}
    own = [] if draft.user in users else [draft.user]
    sheet.protected[protected_id] = {**protected, "editors": {"users": [*users, *own], **editors}}
    return {"addProtectedRange": {"protectedRange": shown}}


def _protected_place(draft: Draft, wanted: Json) -> tuple[tuple[int, Box], str | None]:
    named_id = wanted.get("namedRangeId")
    if named_id is None:
        return _box(draft, wanted.get("range")), None
    named = _named(draft, named_id)
    return (named.sheet_id, named.box), named.named_range_id


def _protection(wanted: Json) -> Json:
    names = ("description", "warningOnly", "unprotectedRanges")
    return {name: wanted[name] for name in names if wanted.get(name)}


def _holder(draft: Draft, protected_id: int) -> Sheet | None:
    return next((sheet for sheet in draft.spreadsheet.sheets if protected_id in sheet.protected), None)


@kind("updateProtectedRange")
def update_protected_range(draft: Draft, request: Json) -> Json:
    wanted = request.get("protectedRange") or {}
    protected_id = int(wanted.get("protectedRangeId") or 0)
    mask = mask_of(request, "ProtectedRange")
    sheet = _protected_sheet(draft, protected_id)
    protected = dict(sheet.protected[protected_id])
    if "range" in mask:
        sheet_id, box = _box(draft, wanted.get("range"))
        protected["range"] = to_grid_range(sheet_id, box)
    for name in ("description", "warningOnly", "unprotectedRanges", "editors"):
        if name in mask or "*" in mask:
            protected.pop(name, None)
            if wanted.get(name):
                protected[name] = wanted[name]
    sheet.protected[protected_id] = protected
    return {}


def _protected_sheet(draft: Draft, protected_id: int) -> Sheet:
    holder = _holder(draft, protected_id)
    if holder is None:
        raise invalid(f"No protected range with id: {protected_id}")
    return draft.spreadsheet.edit(holder.sheet_id)


@kind("deleteProtectedRange")
def delete_protected_range(draft: Draft, request: Json) -> Json:
    protected_id = int(request.get("protectedRangeId") or 0)
    del _protected_sheet(draft, protected_id).protected[protected_id]
    return {}


@kind("mergeCells")
def merge_cells(draft: Draft, request: Json) -> Json:
    sheet, area = area_of(draft, request.get("range"))
    _check_whole_merges(sheet, area)
    sheet.merges = [merge for merge in sheet.merges if not area.overlaps(merge)]
    match request.get("mergeType") or "MERGE_ALL":
        case "MERGE_ROWS":
            parts = [Area(row, row + 1, area.left, area.right) for row in range(area.top, area.bottom)]
        case "MERGE_COLUMNS":
            parts = [Area(area.top, area.bottom, c, c + 1) for c in range(area.left, area.right)]
        case "MERGE_ALL":
            parts = [area]
        case other:
            raise invalid(f"Unknown merge type: {other}")
    for part in parts:
        if part.height * part.width > 1:
            _merge(sheet, part)
    return {}


def _merge(sheet: Sheet, part: Area) -> None:
    """The first value, row by row, moves to the first cell; the others go."""
    cells = [
        sheet.cell(row, column)
        for row in range(part.top, min(part.bottom, len(sheet.rows)))
        for column in range(part.left, part.right)
    ]
    first = next((cell.value for cell in cells if cell.value is not None), None)
    if first is not None:
        sheet.clear_values(part)
        corner = sheet.cell(part.top, part.left)
        sheet.write(part.top, {part.left: Cell(first, corner.extra)})
    sheet.merges.append(part)


def _check_whole_merges(sheet: Sheet, area: Area) -> None:
    if any(area.overlaps(merge) and not area.covers(merge) for merge in sheet.merges):
        raise invalid("You must select all cells in a merged range to merge or unmerge them.")


@kind("unmergeCells")
def unmerge_cells(draft: Draft, request: Json) -> Json:
    sheet, area = area_of(draft, request.get("range"))
    _check_whole_merges(sheet, area)
    sheet.merges = [merge for merge in sheet.merges if not area.overlaps(merge)]
    return {}


@kind("setBasicFilter")
def set_basic_filter(draft: Draft, request: Json) -> Json:
    wanted = request.get("filter") or {}
    sheet, area = area_of(draft, wanted.get("range"))
    kept = {name: value for name, value in wanted.items() if name != "range" and value}
    sheet.basic_filter = {"range": to_grid_range(sheet.sheet_id, area), **kept}
    return {}


@kind("clearBasicFilter")
def clear_basic_filter(draft: Draft, request: Json) -> Json:
    draft.spreadsheet.edit(request.get("sheetId")).basic_filter = None
    return {}
