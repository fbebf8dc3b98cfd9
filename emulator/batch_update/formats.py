"""Requests that move cells or change what is on them: copy, cut, sort, find, validate."""

from __future__ import annotations

import re
from typing import Any

from emulator import entry, rendering
from emulator.a1 import Area
from emulator.batch_update.cells import area_of, check_portable
from emulator.batch_update.kinds import Draft, kind
from emulator.errors import Json, invalid, not_emulated
from emulator.grid import NO_CELL, Cell, Formula, Sheet

_PASTED_VALUES = ("PASTE_NORMAL", "PASTE_VALUES", "PASTE_NO_BORDERS", "PASTE_FORMULA")
_PASTE_TYPES = (*_PASTED_VALUES, "PASTE_FORMAT", "PASTE_DATA_VALIDATION")


def _taken(sheet: Sheet, area: Area) -> list[list[Cell]]:
    return [
        [sheet.cell(row, column) for column in range(area.left, area.right)] for row in range(area.top, area.bottom)
    ]


def _pasted(source: Cell, old: Cell, paste: str) -> Cell:
    extra = dict(old.extra or {})
    if paste in ("PASTE_NORMAL", "PASTE_NO_BORDERS"):
        return source
    if paste == "PASTE_VALUES":
        value = rendering.effective(source)
        return Cell(value, extra)
    if paste == "PASTE_FORMULA":
        return Cell(source.value, extra)
    name = "userEnteredFormat" if paste == "PASTE_FORMAT" else "dataValidation"
    extra.pop(name, None)
    if source.extra and name in source.extra:
        extra[name] = source.extra[name]
    return Cell(old.value, extra)


def _paste(sheet: Sheet, area: Area, cells: list[list[Cell]], paste: str) -> None:
    for offset in range(area.height):
        row = sheet.row(area.top + offset)
        line = cells[offset % len(cells)]
        sheet.write(
            area.top + offset,
            {
                column: _pasted(line[(column - area.left) % len(line)], row.get(column, NO_CELL), paste)
                for column in range(area.left, area.right)
            },
        )


def _paste_type(request: Json) -> str:
    paste = str(request.get("pasteType") or "PASTE_NORMAL")
    if paste not in _PASTE_TYPES:
        raise not_emulated(f"pasteType {paste}")
    return paste


@kind("copyPaste")
def copy_paste(draft: Draft, request: Json) -> Json:
    """The source is repeated while the destination is larger, and reaches past it while it is smaller."""
    paste = _paste_type(request)
    source_sheet, source = area_of(draft, request.get("source"), "source")
    cells = _taken(source_sheet, source)
    if paste != "PASTE_VALUES":
        for cell in (cell for line in cells for cell in line):
            if isinstance(cell.value, Formula):
                check_portable(cell.value)
    if request.get("pasteOrientation") == "TRANSPOSE":
        cells = [list(line) for line in zip(*cells, strict=True)]
    sheet, area = area_of(draft, request.get("destination"), "destination")
    height = area.height - area.height % len(cells) or len(cells)
    width = area.width - area.width % len(cells[0]) or len(cells[0])
    _paste(sheet, _checked(sheet, area.top, height, area.left, width), cells, paste)
    return {}


def _checked(sheet: Sheet, top: int, height: int, left: int, width: int) -> Area:
    if top + height > sheet.row_count or left + width > sheet.column_count:
        raise invalid("The destination reaches beyond the grid.")
    return Area(top, top + height, left, left + width)


@kind("cutPaste")
def cut_paste(draft: Draft, request: Json) -> Json:
    paste = _paste_type(request)
    source_sheet, source = area_of(draft, request.get("source"), "source")
    cells = _taken(source_sheet, source)
    source_sheet.change(source, lambda old, _row, _column: NO_CELL)
    corner = request.get("destination") or {}
    sheet = draft.spreadsheet.edit(corner.get("sheetId"))
    top, left = int(corner.get("rowIndex") or 0), int(corner.get("columnIndex") or 0)
    _paste(sheet, _checked(sheet, top, source.height, left, source.width), cells, paste)
    return {}


@kind("sortRange")
def sort_range(draft: Draft, request: Json) -> Json:
    """Numbers before text before booleans, text without case, empty cells last in either order."""
    sheet, area = area_of(draft, request.get("range"))
    lines = _taken(sheet, area)
    for spec in reversed(request.get("sortSpecs") or []):
        place = int(spec.get("dimensionIndex") or 0) - area.left
        if not 0 <= place < area.width:
            raise invalid("The sort column is outside of the range.")
        full = [line for line in lines if line[place].value is not None]
        empty = [line for line in lines if line[place].value is None]
        descending = spec.get("sortOrder") == "DESCENDING"
        full.sort(key=lambda line: _rank(line[place]), reverse=descending)
        lines = full + empty
    for index, line in enumerate(lines, area.top):
        sheet.write(index, dict(enumerate(line, area.left)))
    return {}


def _rank(cell: Cell) -> tuple[int, float, str]:
    value = rendering.effective(cell)
    if isinstance(value, bool):
        return 2, float(value), ""
    if isinstance(value, int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value).casefold()


@kind("setDataValidation")
def set_data_validation(draft: Draft, request: Json) -> Json:
    sheet, area = area_of(draft, request.get("range"))
    rule = request.get("rule")
    kept = {name: value for name, value in (rule or {}).items() if value not in (None, False)}

    def ruled(old: Cell, _row: int, _column: int) -> Cell:
        extra = {name: value for name, value in (old.extra or {}).items() if name != "dataValidation"}
        return Cell(old.value, {**extra, "dataValidation": kept} if kept else extra)

    sheet.change(area, ruled)
    return {}


@kind("trimWhitespace")
def trim_whitespace(draft: Draft, request: Json) -> Json:
    sheet, area = area_of(draft, request.get("range"))
    count = 0

    def trimmed(old: Cell, _row: int, _column: int) -> Cell:
        nonlocal count
        if not isinstance(old.value, str):
            return old
        text = re.sub(r"\s+", " ", old.value).strip()
        count += text != old.value
        return old.with_value(text or None)

    sheet.change(area, trimmed)
    return {"trimWhitespace": {"cellsChangedCount": count} if count else {}}


@kind("findReplace")
def find_replace(draft: Draft, request: Json) -> Json:
    find = request.get("find")
    if not find:
        raise invalid("Find must be non-empty.")
    pattern = _find_pattern(request, find)
    replacement = str(request.get("replacement") or "")
    if not request.get("searchByRegex"):
        replacement = replacement.replace("\\", "\\\\")
    else:
        replacement = re.sub(r"\$(\d)", r"\\\1", replacement)
    counts = {"valuesChanged": 0, "formulasChanged": 0, "occurrencesChanged": 0}
    rows: set[tuple[int, int]] = set()
    for sheet, area in _search_areas(draft, request):
        _replace_in(draft, sheet, area, pattern, replacement, bool(request.get("includeFormulas")), counts, rows)
    totals = {**counts, "rowsChanged": len(rows), "sheetsChanged": len({sheet for sheet, _ in rows})}
    return {"findReplace": {name: total for name, total in totals.items() if total}}


def _find_pattern(request: Json, find: str) -> re.Pattern[str]:
    text = find if request.get("searchByRegex") else re.escape(find)
    if request.get("matchEntireCell"):
        text = rf"\A(?:{text})\Z"
    try:
        return re.compile(text, 0 if request.get("matchCase") else re.IGNORECASE)
    except re.error as reason:
        raise invalid(f"Invalid regular expression: {reason}") from None


def _search_areas(draft: Draft, request: Json) -> list[tuple[Sheet, Area]]:
    if request.get("allSheets"):
        sheets = [draft.spreadsheet.edit(sheet.sheet_id) for sheet in list(draft.spreadsheet.sheets)]
        return [(sheet, sheet.whole) for sheet in sheets]
    if request.get("range") is not None:
        return [area_of(draft, request["range"])]
    if request.get("sheetId") is None:
        raise invalid("Must specify a range, a sheetId or allSheets.")
    sheet = draft.spreadsheet.edit(request["sheetId"])
    return [(sheet, sheet.whole)]


def _replace_in(
    draft: Draft,
    sheet: Sheet,
    area: Area,
    pattern: re.Pattern[str],
    replacement: str,
    formulas: bool,
    counts: dict[str, int],
    rows: set[tuple[int, int]],
) -> None:
    for index in range(area.top, min(area.bottom, len(sheet.rows))):
        changed: dict[int, Cell] = {}
        for column, cell in sheet.rows[index].items():
            if not area.left <= column < area.right or cell.value is None:
                continue
            is_formula = isinstance(cell.value, Formula)
            if is_formula and not formulas:
                continue
            old: Any = cell.value.text if isinstance(cell.value, Formula) else rendering.formatted(cell)
            new, times = pattern.subn(replacement, old)
            if not times:
                continue
            counts["occurrencesChanged"] += times
            counts["formulasChanged" if is_formula else "valuesChanged"] += 1
            value, _ = entry.parse(new, draft.spreadsheet.properties["locale"]) if new else (None, None)
            changed[column] = cell.with_value(value)
        if changed:
            rows.add((sheet.sheet_id, index))
            sheet.write(index, changed)
