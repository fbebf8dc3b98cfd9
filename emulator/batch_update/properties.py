"""Requests about sheets and the spreadsheet as a whole: add, delete, duplicate, rename, resize, hide, move."""

from __future__ import annotations

from typing import Any

from emulator import fields, metadata, reading, theme
from emulator.batch_update.kinds import Draft, kind
from emulator.errors import Json, invalid
from emulator.fields import Mask
from emulator.grid import Sheet
from emulator.schema import unknown_path

_GRID_FLAGS = (
    "frozenRowCount",
    "frozenColumnCount",
    "hideGridlines",
    "rowGroupControlAfter",
    "columnGroupControlAfter",
)
_SHEET_FLAGS = ("hidden", "rightToLeft")


def mask_of(request: Json, schema: str) -> Mask:
    """The mask of an update, which may name fields of this schema only."""
    text = request.get("fields")
    if not text:
        raise invalid("At least one field must be listed in 'fields'. (Use '*' to indicate all fields.)")
    mask = fields.parse(text)
    unknown = unknown_path(mask, schema)
    if unknown is not None:
        raise invalid(f"Invalid field: {unknown}")
    return mask


@kind("addSheet")
def add_sheet(draft: Draft, request: Json) -> Json:
    wanted = request.get("properties") or {}
    spreadsheet = draft.spreadsheet
    sheet = new_sheet(draft, wanted)
    index = wanted.get("index")
    spreadsheet.add(sheet, None if index is None else int(index))
    shown = reading.sheet_properties(sheet, spreadsheet.sheets.index(sheet))
    return {"addSheet": {"properties": shown}}


def new_sheet(draft: Draft, wanted: Json) -> Sheet:
    spreadsheet = draft.spreadsheet
    if wanted.get("sheetType", "GRID") != "GRID":
        raise invalid("Only GRID sheets can be added.")
    sheet_id = wanted.get("sheetId")
    title = wanted.get("title") or _free_title(draft)
    grid = wanted.get("gridProperties") or {}
    sheet = Sheet(
        spreadsheet.draw_id() if sheet_id is None else _checked_id(sheet_id),
        title,
        int(grid.get("rowCount") or 1000),
        int(grid.get("columnCount") or 26),
    )
    _flags(sheet, wanted, grid)
    return sheet


def _checked_id(sheet_id: Any) -> int:
    if int(sheet_id) < 0:
        raise invalid(f"Sheet ID must be non-negative: {sheet_id}")
    return int(sheet_id)


def _flags(sheet: Sheet, wanted: Json, grid: Json) -> None:
    sheet.grid_properties = {name: grid[name] for name in _GRID_FLAGS if grid.get(name)}
    sheet.properties = {name: wanted[name] for name in _SHEET_FLAGS if wanted.get(name)}
    for name in ("tabColor", "tabColorStyle"):
        _tab_colour(sheet, name, wanted.get(name))


def _free_title(draft: Draft) -> str:
    taken = {sheet.title for sheet in draft.spreadsheet.sheets}
    number = len(taken) + 1
    while f"Sheet{number}" in taken:
        number += 1
    return f"Sheet{number}"


@kind("deleteSheet")
def delete_sheet(draft: Draft, request: Json) -> Json:
    sheet_id = int(request.get("sheetId") or 0)
    if all(sheet.sheet_id != sheet_id for sheet in draft.spreadsheet.sheets):
        raise invalid(f"No sheet with id: {sheet_id}")
    draft.spreadsheet.remove(sheet_id)
    metadata.drop_sheet(draft.spreadsheet, sheet_id)
    return {}


@kind("duplicateSheet")
def duplicate_sheet(draft: Draft, request: Json) -> Json:
    spreadsheet = draft.spreadsheet
    source = spreadsheet.sheet(request.get("sourceSheetId"))
    sheet = source.fork()
    new_id = request.get("newSheetId")
    sheet.sheet_id = spreadsheet.draw_id() if new_id is None else _checked_id(new_id)
    sheet.title = request.get("newSheetName") or f"Copy of {source.title}"
    sheet.protected = {}
    spreadsheet.add(sheet, int(request.get("insertSheetIndex") or 0))
    shown = reading.sheet_properties(sheet, spreadsheet.sheets.index(sheet))
    return {"duplicateSheet": {"properties": shown}}


@kind("updateSheetProperties")
def update_sheet_properties(draft: Draft, request: Json) -> Json:
    wanted = request.get("properties") or {}
    mask = mask_of(request, "SheetProperties")
    sheet = draft.spreadsheet.edit(wanted.get("sheetId"))
    if "*" in mask:
        mask = {name: {} for name in ("title", "hidden", "rightToLeft", "tabColorStyle", "gridProperties")}
        mask |= {"index": {}} if wanted.get("index") is not None else {}
    for name, below in mask.items():
        _update_one(draft, sheet, name, below, wanted)
    return {}


def _update_one(draft: Draft, sheet: Sheet, name: str, below: Mask, wanted: Json) -> None:
    value = wanted.get(name)
    match name:
        case "title":
            if not value:
                raise invalid("Sheet title may not be empty.")
            draft.spreadsheet.check_title(value, but=sheet)
            sheet.title = value
        case "index":
            _move(draft, sheet, int(value or 0))
        case "hidden":
            _hide(draft, sheet, bool(value))
        case "rightToLeft":
            _set(sheet.properties, name, value)
        case "tabColor" | "tabColorStyle":
            _tab_colour(sheet, name, value)
        case "gridProperties":
            _grid(draft, sheet, below, value or {})
        case _:
            raise invalid(f"The field '{name}' cannot be updated.")


def _set(target: Json, name: str, value: Any) -> None:
    if value:
        target[name] = value
    else:
        target.pop(name, None)


def _move(draft: Draft, sheet: Sheet, index: int) -> None:
    """The index counts as before the move."""
    sheets = draft.spreadsheet.sheets
    if not 0 <= index <= len(sheets):
        raise invalid(f"Sheet index {index} is out of bounds.")
    old = sheets.index(sheet)
    sheets.remove(sheet)
    sheets.insert(index - 1 if index > old else index, sheet)


def _hide(draft: Draft, sheet: Sheet, hidden: bool) -> None:
    others = any(s is not sheet and not s.properties.get("hidden") for s in draft.spreadsheet.sheets)
    if hidden and not others:
        raise invalid("You can't hide all the sheets in a document.")
    _set(sheet.properties, "hidden", hidden)


def _tab_colour(sheet: Sheet, name: str, value: Json | None) -> None:
    rgb = (value or {}).get("rgbColor") if name == "tabColorStyle" else value
    if rgb is None:
        if name in sheet.properties:
            for stale in ("tabColor", "tabColorStyle"):
                sheet.properties.pop(stale, None)
        return
    shown = theme.colour(rgb)
    sheet.properties["tabColor"] = shown
    sheet.properties["tabColorStyle"] = {"rgbColor": shown}


def _grid(draft: Draft, sheet: Sheet, mask: Mask, wanted: Json) -> None:
    names = ("rowCount", "columnCount", *_GRID_FLAGS) if not mask or "*" in mask else tuple(mask)
    rows = int(wanted.get("rowCount") or 0) if "rowCount" in names else sheet.row_count
    columns = int(wanted.get("columnCount") or 0) if "columnCount" in names else sheet.column_count
    # growing rows is checked against the old width (reference: sheets, 1.4)
    for size in (rows * sheet.column_count, rows * columns):
        if size > sheet.cells:
            draft.spreadsheet.check_cells(size - sheet.cells)
    if (rows, columns) != (sheet.row_count, sheet.column_count):
        sheet.resize(rows, columns)
    for name in names:
        if name in _GRID_FLAGS:
            _set(sheet.grid_properties, name, wanted.get(name))
        elif name not in ("rowCount", "columnCount"):
            raise invalid(f"The field 'gridProperties.{name}' cannot be updated.")
    _order(sheet)


def _order(sheet: Sheet) -> None:
    flags = sheet.grid_properties
    if int(flags.get("frozenRowCount", 0)) >= sheet.row_count:
        raise invalid("You can't freeze all visible rows on the sheet.")
    if int(flags.get("frozenColumnCount", 0)) >= sheet.column_count:
        raise invalid("You can't freeze all visible columns on the sheet.")


@kind("updateSpreadsheetProperties")
def update_spreadsheet_properties(draft: Draft, request: Json) -> Json:
    wanted = request.get("properties") or {}
    for name in mask_of(request, "SpreadsheetProperties"):
        if name == "title" and not wanted.get("title"):
            raise invalid("Spreadsheet title may not be empty.")
        if name == "*":
            draft.spreadsheet.properties.update({name: value for name, value in wanted.items() if value is not None})
        elif wanted.get(name) is not None:
            draft.spreadsheet.properties[name] = wanted[name]
        else:
            raise invalid(f"The field '{name}' must have a value.")
    return {}
