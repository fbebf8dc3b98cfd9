"""Requests about rows and columns: insert, delete, append, move, size, hide, group.

Facts (reference: sheets, 4.8, 8.1): what points at a place moves with it: merges, named and protected ranges, filters, developer
metadata. References inside formulas are not rewritten: there is no formula engine.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator import metadata, rendering
from emulator.a1 import Area, Box, from_grid_range, to_grid_range
from emulator.batch_update.cells import area_of
from emulator.batch_update.kinds import Draft, kind
from emulator.batch_update.properties import mask_of
from emulator.errors import Json, invalid, not_emulated
from emulator.grid import NO_ROW, Cell, Dimension, Sheet, deleted, inserted
from emulator.reading import dimension_group
from emulator.writes import grow


def _dimension(draft: Draft, given: Json | None) -> tuple[Sheet, Dimension]:
    if given is None:
        raise invalid("Must specify a dimension range.")
    if given.get("dimension") not in ("ROWS", "COLUMNS"):
        raise invalid("dimension must be ROWS or COLUMNS.")
    sheet = draft.spreadsheet.edit(given.get("sheetId"))
    rows = given["dimension"] == "ROWS"
    size = sheet.row_count if rows else sheet.column_count
    start, end = int(given.get("startIndex") or 0), given.get("endIndex")
    where = Dimension(rows, start, size if end is None else int(end))
    if where.size < 1:
        raise invalid("The dimension range must not be empty.")
    return sheet, where


def _word(where: Dimension) -> str:
    return "row" if where.rows else "column"


def _size(sheet: Sheet, where: Dimension) -> int:
    return sheet.row_count if where.rows else sheet.column_count


@kind("insertDimension")
def insert_dimension(draft: Draft, request: Json) -> Json:
    sheet, where = _dimension(draft, request.get("range"))
    size = _size(sheet, where)
    before = bool(request.get("inheritFromBefore"))
    if before and where.start == 0:
        raise invalid("inheritFromBefore cannot be true when inserting at index 0.")
    if where.start > size or (where.start == size and not before):
        raise invalid(
            f"range.startIndex[{where.start}] must be less than the grid size[{size}] if inheritFromBefore is false."
        )
    other = sheet.column_count if where.rows else sheet.row_count
    draft.spreadsheet.check_cells(where.size * other)
    sheet.insert(where)
    _follow(draft, sheet, where, insertion=True)
    return {}


@kind("deleteDimension")
def delete_dimension(draft: Draft, request: Json) -> Json:
    sheet, where = _dimension(draft, request.get("range"))
    size = _size(sheet, where)
    if where.end > size:
        word = _word(where)
        raise invalid(
            f"Cannot delete a {word} that doesn't exist. Tried to delete {word} index {where.end - 1} but there "
            f"are only {size} {word}s."
        )
    if where.size == size:
        raise invalid(f"You can't delete all the {_word(where)}s on the sheet.")
    sheet.delete(where)
    _follow(draft, sheet, where, insertion=False)
    return {}


def _follow(draft: Draft, sheet: Sheet, where: Dimension, insertion: bool) -> None:
    """Everything that points at a place of the sheet moves, or goes, with it."""

    def moved(start: int | None, end: int | None) -> tuple[int | None, int | None] | None:
        if start is None and end is None:
            return None, None
        size = _size(sheet, where)
        span = (start or 0, size + where.size if end is None else end)
        new = inserted(span, where.start, where.size) if insertion else deleted(span, where)
        if new is None:
            return None
        return (None if start is None else new[0]), (None if end is None else new[1])

    def moved_box(box: Box) -> Box | None:
        span = moved(box.top, box.bottom) if where.rows else moved(box.left, box.right)
        if span is None:
            return None
        return Box(*span, box.left, box.right) if where.rows else Box(box.top, box.bottom, *span)

    spreadsheet = draft.spreadsheet
    metadata.shift(spreadsheet, sheet.sheet_id, where, insertion)
    for named_id, named in list(spreadsheet.named_ranges.items()):
        if named.sheet_id != sheet.sheet_id:
            continue
        box = moved_box(named.box)
        if box is None:
            del spreadsheet.named_ranges[named_id]
        else:
            spreadsheet.named_ranges[named_id] = named._replace(box=box)
    _follow_ranges(sheet, moved_box)


def _follow_ranges(sheet: Sheet, moved_box: Callable[[Box], Box | None]) -> None:
    for protected_id, protected in list(sheet.protected.items()):
        box = moved_box(from_grid_range(protected["range"]))
        if box is None:
            del sheet.protected[protected_id]
        else:
            sheet.protected[protected_id] = {**protected, "range": to_grid_range(sheet.sheet_id, box)}
    if sheet.basic_filter is not None:
        box = moved_box(from_grid_range(sheet.basic_filter["range"]))
        shown = None if box is None else to_grid_range(sheet.sheet_id, box)
        sheet.basic_filter = None if shown is None else {**sheet.basic_filter, "range": shown}


@kind("appendDimension")
def append_dimension(draft: Draft, request: Json) -> Json:
    sheet = draft.spreadsheet.edit(request.get("sheetId"))
    length = int(request.get("length") or 0)
    if length < 1:
        raise invalid("length must be positive.")
    rows = request.get("dimension") == "ROWS"
    if rows:
        grow(draft.spreadsheet, sheet, sheet.row_count + length, 0)
    else:
        grow(draft.spreadsheet, sheet, 0, sheet.column_count + length)
    return {}


@kind("moveDimension")
def move_dimension(draft: Draft, request: Json) -> Json:
    sheet, where = _dimension(draft, request.get("source"))
    to = int(request.get("destinationIndex") or 0)
    size = _size(sheet, where)
    if where.end > size or not 0 <= to <= size:
        raise invalid(f"Cannot move a {_word(where)} that doesn't exist.")
    if where.start < to < where.end:
        raise invalid("destinationIndex must not be inside the source.")
    if sheet.merges:
        raise not_emulated("moveDimension on a sheet with merged cells")
    sheet.move(where, to)
    return {}


@kind("insertRange")
def insert_range(draft: Draft, request: Json) -> Json:
    """Shifts the cells below (or to the right) and lets the grid grow."""
    sheet, area = area_of(draft, request.get("range"))
    if request.get("shiftDimension") == "ROWS":
        grow(draft.spreadsheet, sheet, len(sheet.rows) + area.height, 0)
        _shift_down(sheet, area, area.height)
        return {}
    width = max((max(row, default=-1) for row in sheet.rows), default=-1) + 1
    grow(draft.spreadsheet, sheet, 0, width + area.width)
    _shift_right(sheet, area, area.width)
    return {}


@kind("deleteRange")
def delete_range(draft: Draft, request: Json) -> Json:
    sheet, area = area_of(draft, request.get("range"))
    if request.get("shiftDimension") == "ROWS":
        _shift_down(sheet, area, -area.height)
    else:
        _shift_right(sheet, area, -area.width)
    return {}


def _shift_down(sheet: Sheet, area: Area, by: int) -> None:
    def inside(row: int, wanted: bool) -> dict[int, Cell]:
        return {c: v for c, v in sheet.row(row).items() if (area.left <= c < area.right) == wanted}

    end = max(len(sheet.rows), area.bottom) + abs(by)
    moved: dict[int, dict[int, Cell]] = {}
    for index in range(area.top, end):
        source = index - by
        stays_open = by > 0 and index < area.bottom
        moved[index] = {**inside(index, False), **({} if stays_open else inside(source, True))}
    for index, row in moved.items():
        sheet.put_row(index, row or NO_ROW)


def _shift_right(sheet: Sheet, area: Area, by: int) -> None:
    for index in range(area.top, min(area.bottom, len(sheet.rows))):
        row: dict[int, Cell] = {}
        for column, cell in sheet.rows[index].items():
            if column < area.left:
                row[column] = cell
            elif by > 0 or column >= area.right:
                row[column + by] = cell
        sheet.rows[index] = row
    sheet.table = None
    sheet.trim()


@kind("updateDimensionProperties")
def update_dimension_properties(draft: Draft, request: Json) -> Json:
    mask = mask_of(request, "DimensionProperties")
    sheet, where = _dimension(draft, request.get("range"))
    if where.end > _size(sheet, where):
        raise invalid(f"Cannot update a {_word(where)} that doesn't exist.")
    wanted = request.get("properties") or {}
    names = [name for name in ("hiddenByUser", "pixelSize") if name in mask or "*" in mask]
    unknown = set(mask) - {"hiddenByUser", "pixelSize", "*"}
    if unknown:
        raise not_emulated(f"the dimension properties {sorted(unknown)}")
    sizes = sheet.row_sizes if where.rows else sheet.column_sizes
    for index in range(where.start, where.end):
        size = {name: value for name, value in sizes.get(index, {}).items() if name not in names}
        size.update({name: wanted[name] for name in names if wanted.get(name)})
        if size:
            sizes[index] = size
        else:
            sizes.pop(index, None)
    return {}


@kind("autoResizeDimensions")
def auto_resize_dimensions(draft: Draft, request: Json) -> Json:
    """A column gets about as wide as its longest text: the emulator has no fonts, but one width that was measured."""
    sheet, where = _dimension(draft, request.get("dimensions"))
    if where.rows:
        return {}
    for index in range(where.start, where.end):
        cells = (row[index] for row in sheet.rows if index in row)
        widest = max((_pixels(rendering.formatted(cell)) for cell in cells), default=0)
        if widest:
            sheet.column_sizes[index] = {**sheet.column_sizes.get(index, {}), "pixelSize": widest}
    return {}


def _pixels(text: str) -> int:
    """1,024 capital letters A took 8,691 pixels; the small letters are a guess."""
    return 3 + round(sum(8.484375 if letter.isupper() else 6 for letter in text))


@kind("addDimensionGroup")
def add_dimension_group(draft: Draft, request: Json) -> Json:
    sheet, where = _dimension(draft, request.get("range"))
    groups = sheet.groups[where.rows]
    depth = 1
    deeper = []
    for start, end, level in groups:
        if where.start <= start and end <= where.end:
            deeper.append((start, end, level + 1))
            continue
        if start <= where.start and where.end <= end:
            depth = max(depth, level + 1)
        elif start < where.end and where.start < end:
            raise not_emulated("groups that overlap without one holding the other")
        deeper.append((start, end, level))
    sheet.groups[where.rows] = sorted([*deeper, (where.start, where.end, depth)], key=lambda g: (g[2], g[0]))
    sheet.grid_properties["rowGroupControlAfter" if where.rows else "columnGroupControlAfter"] = True
    return {"addDimensionGroup": _groups(sheet, where.rows)}


@kind("deleteDimensionGroup")
def delete_dimension_group(draft: Draft, request: Json) -> Json:
    sheet, where = _dimension(draft, request.get("range"))
    groups = sheet.groups[where.rows]
    found = [group for group in groups if group[:2] == (where.start, where.end)]
    if not found:
        raise invalid("There is no group over the given range.")
    gone = max(found, key=lambda group: group[2])
    sheet.groups[where.rows] = [group for group in groups if group != gone]
    return {"deleteDimensionGroup": _groups(sheet, where.rows)}


def _groups(sheet: Sheet, rows: bool) -> Json:
    shown = [dimension_group(sheet, rows, group) for group in sheet.groups[rows]]
    return {"dimensionGroups": shown} if shown else {}
