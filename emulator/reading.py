"""spreadsheets.get shows a spreadsheet as Google prints it.

Facts (reference: sheets, 8.1): what is at its default is left out, but `sheetId` 0 is printed in SheetProperties and left out of
a GridRange; grid data come with `includeGridData`, or when the field mask asks for them; `ranges` limit sheets and cells.
"""

from __future__ import annotations

from emulator import fields, rendering, theme
from emulator.a1 import Area, Box, to_grid_range
from emulator.errors import Json
from emulator.fields import Mask
from emulator.grid import NO_CELL, Cell, Formula, Sheet
from emulator.metadata import public, sheet_of
from emulator.spreadsheet import Located, NamedRange, Spreadsheet

DEFAULT_PIXELS = {True: 21, False: 100}


def whole(spreadsheet: Spreadsheet, mask: Mask | None, grid: bool, ranges: list[str], project: str) -> Json:
    """The Spreadsheet resource; `mask` is applied here, so that what it leaves out costs nothing."""
    if mask is not None:
        grid = fields.selects(mask, "sheets", "data") and (grid or _names(mask, "sheets", "data"))
    located = [spreadsheet.locate(text) for text in ranges]
    return of_ranges(spreadsheet, mask, grid, located if ranges else None, project)


def _names(mask: Mask, *path: str) -> bool:
    """Whether the mask goes down this path by name."""
    node = mask
    for name in path:
        if name not in node:
            return False
        node = node[name]
    return True


def of_ranges(
    spreadsheet: Spreadsheet, mask: Mask | None, grid: bool, located: list[Located] | None, project: str
) -> Json:
    shown: Json = {"spreadsheetId": spreadsheet.spreadsheet_id}
    if fields.selects(mask, "properties"):
        shown["properties"] = {
            **spreadsheet.properties,
            "defaultFormat": theme.DEFAULT_FORMAT,
            "spreadsheetTheme": theme.DEFAULT_THEME,
        }
    if fields.selects(mask, "sheets"):
        shown["sheets"] = _sheets(spreadsheet, mask, grid, located, project)
    if spreadsheet.named_ranges and fields.selects(mask, "namedRanges"):
        shown["namedRanges"] = [named_range(named) for named in spreadsheet.named_ranges.values()]
    shown["spreadsheetUrl"] = f"https://docs.google.com/spreadsheets/d/{spreadsheet.spreadsheet_id}/edit"
    if spreadsheet.metadata and fields.selects(mask, "developerMetadata"):
        entries = _metadata(spreadsheet, None, project)
        if entries:
            shown["developerMetadata"] = entries
    projected: Json = fields.project(shown, mask) if mask else shown
    return projected


def named_range(named: NamedRange) -> Json:
    return {
        "namedRangeId": named.named_range_id,
        "name": named.name,
        "range": to_grid_range(named.sheet_id, named.box),
    }


def _metadata(spreadsheet: Spreadsheet, sheet_id: int | None, project: str) -> list[Json]:
    return [
        public(entry)
        for entry in spreadsheet.metadata.values()
        if sheet_of(entry["location"]) == sheet_id
        and (entry["visibility"] == "DOCUMENT" or entry["project"] == project)
    ]


def _sheets(
    spreadsheet: Spreadsheet, mask: Mask | None, grid: bool, located: list[Located] | None, project: str
) -> list[Json]:
    shown = []
    for index, sheet in enumerate(spreadsheet.sheets):
        boxes = [Box()] if located is None else [place.box for place in located if place.sheet is sheet]
        if not boxes:
            continue
        resource: Json = {"properties": sheet_properties(sheet, index)}
        if grid:
            areas = [box.bounded(sheet.row_count, sheet.column_count) for box in boxes]
            resource["data"] = [grid_data(sheet, area, mask) for area in areas]
        resource.update(_sheet_parts(sheet))
        entries = _metadata(spreadsheet, sheet.sheet_id, project) if spreadsheet.metadata else []
        if entries:
            resource["developerMetadata"] = entries
        shown.append(resource)
    return shown


def sheet_properties(sheet: Sheet, index: int) -> Json:
    grid: Json = {"rowCount": sheet.row_count, "columnCount": sheet.column_count, **sheet.grid_properties}
    return {
        "sheetId": sheet.sheet_id,
        "title": sheet.title,
        "index": index,
        "sheetType": "GRID",
        "gridProperties": grid,
        **sheet.properties,
    }


def _sheet_parts(sheet: Sheet) -> Json:
    parts: Json = {}
    if sheet.merges:
        parts["merges"] = [to_grid_range(sheet.sheet_id, area) for area in sheet.merges]
    if sheet.protected:
        parts["protectedRanges"] = list(sheet.protected.values())
    if sheet.basic_filter is not None:
        parts["basicFilter"] = sheet.basic_filter
    for rows, name in ((True, "rowGroups"), (False, "columnGroups")):
        if sheet.groups[rows]:
            parts[name] = [dimension_group(sheet, rows, group) for group in sheet.groups[rows]]
    parts.update({name: entries for name, entries in sheet.opaque.items() if entries})
    return parts


def dimension_group(sheet: Sheet, rows: bool, group: tuple[int, int, int]) -> Json:
    start, end, depth = group
    span: Json = {"dimension": "ROWS" if rows else "COLUMNS", "startIndex": start, "endIndex": end}
    if sheet.sheet_id:
        span = {"sheetId": sheet.sheet_id, **span}
    return {"range": span, "depth": depth}


def grid_data(sheet: Sheet, area: Area, mask: Mask | None) -> Json:
    shown: Json = {}
    if area.top:
        shown["startRow"] = area.top
    if area.left:
        shown["startColumn"] = area.left
    inner = _below(mask, "sheets", "data")
    if fields.selects(inner, "rowData"):
        rows = _row_data(sheet, area, _below(inner, "rowData", "values"))
        if rows:
            shown["rowData"] = rows
    if fields.selects(inner, "rowMetadata"):
        shown["rowMetadata"] = _sizes(sheet.row_sizes, True, area.top, area.bottom)
    if fields.selects(inner, "columnMetadata"):
        shown["columnMetadata"] = _sizes(sheet.column_sizes, False, area.left, area.right)
    return shown


def _below(mask: Mask | None, *path: str) -> Mask | None:
    node = mask
    for name in path:
        if not node or "*" in node:
            return None
        node = node.get(name)
    return node or None


def _sizes(sizes: dict[int, Json], rows: bool, start: int, end: int) -> list[Json]:
    default = {"pixelSize": DEFAULT_PIXELS[rows]}
    return [{**default, **sizes[index]} if index in sizes else default for index in range(start, end)]


def _row_data(sheet: Sheet, area: Area, mask: Mask | None) -> list[Json]:
    """Rows up to the last that has anything; a row up to its last cell."""
    rows: list[Json] = []
    for index in range(area.top, min(area.bottom, len(sheet.rows))):
        row = sheet.rows[index]
        columns = [column for column in row if area.left <= column < area.right]
        values = [
            cell_data(row.get(column, NO_CELL), mask)
            for column in range(area.left, max(columns, default=area.left - 1) + 1)
        ]
        rows.append({"values": values} if values else {})
    while rows and not rows[-1]:
        rows.pop()
    return rows


def cell_data(cell: Cell, mask: Mask | None) -> Json:
    shown: Json = {}
    if cell.value is not None:
        shown["userEnteredValue"] = extended(cell)
        if fields.selects(mask, "effectiveValue"):
            shown["effectiveValue"] = _effective(cell)
        if fields.selects(mask, "formattedValue"):
            shown["formattedValue"] = rendering.formatted(cell)
    if cell.extra is not None:
        shown.update(cell.extra)
    if fields.selects(mask, "effectiveFormat") and shown:
        entered = (cell.extra or {}).get("userEnteredFormat") or {}
        shown["effectiveFormat"] = {**theme.DEFAULT_FORMAT, **entered}
    return shown


def extended(cell: Cell) -> Json:
    if isinstance(cell.value, Formula):
        return {"formulaValue": cell.value.text}
    return _extended(cell.value)


def _effective(cell: Cell) -> Json:
    value = rendering.effective(cell)
    if isinstance(cell.value, Formula) and isinstance(value, str):
        message = "Function DIVIDE parameter 2 cannot be zero."
        return {"errorValue": {"type": "DIVIDE_BY_ZERO", "message": message}}
    return _extended(value)


def _extended(value: object) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"stringValue": value} if isinstance(value, str) else {"numberValue": value}
