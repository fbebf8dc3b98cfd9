"""Requests that write cells as CellData: updateCells, appendCells, repeatCell.

Facts (reference: sheets, 4.3, 4.10): a field that the mask names and the body lacks is cleared; updateCells with a range and fewer rows
clears the rest of it; appendCells goes below the last row with a value, whatever tables there are, and answers `{}`.
"""

from __future__ import annotations

import re
from typing import Any

from emulator import fields, theme
from emulator.a1 import Area
from emulator.arithmetic import plain
from emulator.batch_update.kinds import Draft, kind
from emulator.batch_update.properties import mask_of
from emulator.errors import Json, invalid, not_emulated
from emulator.fields import Mask
from emulator.grid import NO_CELL, Cell, Formula, Sheet, Value, check_length
from emulator.spreadsheet import Located
from emulator.writes import grow

_REFERENCE = re.compile(r"\$?[A-Za-z]{1,3}\$?\d+|[A-Za-z]+\d*\s*!")
_READ_ONLY = frozenset({"effectiveValue", "formattedValue", "effectiveFormat", "hyperlink"})


def located(draft: Draft, grid_range: Json | None, what: str = "range") -> Located:
    if grid_range is None:
        raise invalid(f"Must specify a {what}.")
    return draft.spreadsheet.locate_grid_range(grid_range)


def area_of(draft: Draft, grid_range: Json | None, what: str = "range") -> tuple[Sheet, Area]:
    """A GridRange as this draft's own sheet and an area inside its grid."""
    place = located(draft, grid_range, what)
    area = place.strict_area
    if area.height < 1 or area.width < 1:
        raise invalid(f"The {what} must not be empty.")
    return draft.spreadsheet.edit(place.sheet.sheet_id), area


def entered_value(given: Json | None) -> Value | None:
    """An ExtendedValue; formulas come as such, a string is never parsed."""
    for name, value in (given or {}).items():
        if value is None:
            continue
        match name:
            case "stringValue":
                check_length(str(value))
                return str(value) if value != "" else None
            case "numberValue":
                return plain(value if isinstance(value, int | float) else float(value))
            case "boolValue":
                return bool(value)
            case "formulaValue":
                check_length(str(value))
                return Formula(str(value))
            case _:
                raise invalid(f"The value '{name}' cannot be written.")
    return None


def merged(old: Cell, given: Json, mask: Mask) -> Cell:
    """The cell with the masked fields of a CellData."""
    every = "*" in mask
    value = old.value
    if every or "userEnteredValue" in mask:
        value = entered_value(given.get("userEnteredValue"))
    names = [name for name in mask if name not in ("*", "userEnteredValue")]
    if not names and not every:
        return Cell(value, old.extra)
    rest = {name: v for name, v in given.items() if name != "userEnteredValue" and v not in (None, "")}
    if isinstance(rest.get("userEnteredFormat"), dict):
        rest["userEnteredFormat"] = theme.paired(rest["userEnteredFormat"])
    if every:
        return Cell(value, {name: v for name, v in rest.items() if name not in _READ_ONLY})
    refused = _READ_ONLY.intersection(names)
    if refused:
        raise invalid(f"The field '{min(refused)}' cannot be written.")
    extra = fields.merge(old.extra or {}, rest, _paired_mask({name: mask[name] for name in names}))
    return Cell(value, extra)


def _paired_mask(mask: Mask) -> Mask:
    """A mask that names one form of a colour names both."""
    both: Mask = {}
    for name, below in mask.items():
        both[name] = _paired_mask(below)
        if name.endswith("Color"):
            both[f"{name}Style"] = {}
        elif name.endswith("ColorStyle"):
            both[name.removesuffix("Style")] = {}
    return both


def _rows_of(request: Json) -> list[list[Json]]:
    rows: list[Any] = request.get("rows") or []
    return [(row or {}).get("values") or [] for row in rows]


def write_rows(sheet: Sheet, area: Area, rows: list[list[Json]], mask: Mask) -> None:
    """Writes rows of CellData into an area; what of the area they do not reach is cleared."""
    values_only = set(mask) == {"userEnteredValue"}
    for offset in range(area.height):
        index = area.top + offset
        given = rows[offset] if offset < len(rows) else []
        old = sheet.row(index)
        if values_only and not old:
            sheet.put_row(index, _fresh(area.left, given))
            continue
        cells = {
            area.left + place: merged(
                old.get(area.left + place, NO_CELL),
                (given[place] or {}) if place < len(given) else {},
                mask,
            )
            for place in range(area.width)
        }
        if cells:
            sheet.write(index, cells)


def _fresh(left: int, given: list[Json]) -> dict[int, Cell]:
    """A row of values where there was none."""
    row = {}
    for column, data in enumerate(given, left):
        value = entered_value(data.get("userEnteredValue")) if data else None
        if value is not None:
            row[column] = Cell(value)
    return row


@kind("updateCells")
def update_cells(draft: Draft, request: Json) -> Json:
    mask = mask_of(request, "CellData")
    rows = _rows_of(request)
    if request.get("range") is not None:
        sheet, area = area_of(draft, request["range"])
        _check_fits(rows, area)
        write_rows(sheet, area, rows, mask)
        return {}
    start = request.get("start")
    if start is None:
        raise invalid("Must specify a start or a range.")
    sheet = draft.spreadsheet.edit(start.get("sheetId"))
    top, left = int(start.get("rowIndex") or 0), int(start.get("columnIndex") or 0)
    whole = Area(top, sheet.row_count, left, sheet.column_count)
    _check_fits(rows, whole)
    for index, row in enumerate(rows, top):
        write_rows(sheet, Area(index, index + 1, left, left + len(row)), [row], mask)
    return {}


def _check_fits(rows: list[list[Json]], area: Area) -> None:
    if len(rows) > area.height:
        raise invalid(f"Attempting to write row: {area.bottom}, beyond the last requested row of: {area.bottom - 1}")
    if any(len(row) > area.width for row in rows):
        raise invalid(
            f"Attempting to write column: {area.right}, beyond the last requested column of: {area.right - 1}"
        )


@kind("appendCells")
def append_cells(draft: Draft, request: Json) -> Json:
    if request.get("tableId") is not None:
        raise not_emulated("appendCells into a table")
    mask = mask_of(request, "CellData")
    rows = _rows_of(request)
    sheet = draft.spreadsheet.edit(request.get("sheetId"))
    top = sheet.last_row_with_value() + 1
    width = max((len(row) for row in rows), default=0)
    grow(draft.spreadsheet, sheet, top + len(rows), width)
    for index, row in enumerate(rows, top):
        if row:
            write_rows(sheet, Area(index, index + 1, 0, len(row)), [row], mask)
    return {}


@kind("repeatCell")
def repeat_cell(draft: Draft, request: Json) -> Json:
    mask = mask_of(request, "CellData")
    sheet, area = area_of(draft, request.get("range"))
    given = request.get("cell") or {}
    value = entered_value(given.get("userEnteredValue"))
    if isinstance(value, Formula) and area.height * area.width > 1:
        check_portable(value)
    sheet.change(area, lambda old, _row, _column: merged(old, given, mask))
    return {}


def check_portable(formula: Formula) -> None:
    """A formula with references would have to be rewritten where it goes."""
    if _REFERENCE.search(formula.text):
        raise not_emulated(f"copying the formula {formula.text[:80]}")
