"""The values methods that read show cells as Sheets does.

Facts (reference: sheets, 2, 8.1): empty rows and cells at the end are not shown, and `values` is absent where nothing is left; a date
is a number with a format, and is shown by its format or as its serial number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from emulator import a1, rendering
from emulator.a1 import Area, Box
from emulator.errors import Json, bad_field
from emulator.grid import Cell, Sheet
from emulator.metadata import location_box, matching
from emulator.rendering import Scalar
from emulator.spreadsheet import Located, Spreadsheet

RENDER_OPTIONS = ("FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA")
DATE_OPTIONS = ("SERIAL_NUMBER", "FORMATTED_STRING")


class Rendering(NamedTuple):
    option: str = "FORMATTED_VALUE"
    dates_as_text: bool = False
    columns: bool = False


def rendering_of(asked: Json, prefix: str = "") -> Rendering:
    """The options of a read; with `prefix` those of the values in a write's response."""

    def name(option: str) -> str:
        return prefix + option[0].upper() + option[1:] if prefix else option

    option = one_of(asked, name("valueRenderOption"), RENDER_OPTIONS, "FORMATTED_VALUE")
    dates = one_of(asked, name("dateTimeRenderOption"), DATE_OPTIONS, "SERIAL_NUMBER")
    major = one_of(asked, "majorDimension", ("DIMENSION_UNSPECIFIED", "ROWS", "COLUMNS"), "ROWS")
    return Rendering(option, dates == "FORMATTED_STRING", major == "COLUMNS")


def one_of(asked: Json, name: str, known: Iterable[str], default: str) -> str:
    value = asked.get(name) or default
    if value not in known:
        kind = f"type.googleapis.com/google.apps.sheets.v4.{name[0].upper()}{name[1:]}"
        raise bad_field(name, f"Invalid value at '{name}' ({kind}), \"{value}\"")
    return str(value)


def read(located: Located, how: Rendering) -> Json:
    """A ValueRange."""
    area = located.area
    shown: Json = {
        "range": a1.text_of(located.sheet.title, area),
        "majorDimension": "COLUMNS" if how.columns else "ROWS",
    }
    values = _columns(located.sheet, area, how) if how.columns else _rows(located.sheet, area, how)
    if values:
        shown["values"] = values
    return shown


def _shown(cell: Cell, how: Rendering) -> Scalar:
    if how.option == "FORMATTED_VALUE":
        return rendering.formatted(cell)
    if how.option == "FORMULA":
        return rendering.entered(cell, how.dates_as_text)
    return rendering.unformatted(cell, how.dates_as_text)


def _rows(sheet: Sheet, area: Area, how: Rendering) -> list[list[Scalar]]:
    values: list[list[Scalar]] = []
    for index in range(area.top, min(area.bottom, len(sheet.rows))):
        row = sheet.rows[index]
        columns = [c for c, cell in row.items() if cell.value is not None and area.left <= c < area.right]
        line: list[Scalar] = [""] * (max(columns) + 1 - area.left) if columns else []
        for column in columns:
            line[column - area.left] = _shown(row[column], how)
        while line and line[-1] == "":
            line.pop()
        values.append(line)
    while values and not values[-1]:
        values.pop()
    return values


def _columns(sheet: Sheet, area: Area, how: Rendering) -> list[list[Scalar]]:
    lines: list[list[Scalar]] = []
    for number, row in enumerate(_rows(sheet, area, how)):
        for place, value in enumerate(row):
            if value == "":
                continue
            lines.extend([] for _ in range(place + 1 - len(lines)))
            lines[place].extend([""] * (number - len(lines[place])))
            lines[place].append(value)
    return lines


def get(spreadsheet: Spreadsheet, text: str, query: Json) -> Json:
    return read(spreadsheet.locate(text), rendering_of(query))


def batch_get(spreadsheet: Spreadsheet, ranges: list[str], query: Json) -> Json:
    how = rendering_of(query)
    shown: Json = {"spreadsheetId": spreadsheet.spreadsheet_id}
    if ranges:
        shown["valueRanges"] = [read(spreadsheet.locate(text), how) for text in ranges]
    return shown


def batch_get_by_filter(spreadsheet: Spreadsheet, body: Json, project: str) -> Json:
    how = rendering_of(body)
    found = [
        {"valueRange": read(located, how), "dataFilters": filters}
        for located, filters in filtered(spreadsheet, body.get("dataFilters") or [], project)
    ]
    return {"spreadsheetId": spreadsheet.spreadsheet_id, **({"valueRanges": found} if found else {})}


def filtered(spreadsheet: Spreadsheet, filters: list[Json], project: str) -> list[tuple[Located, list[Json]]]:
    """The ranges that data filters select, each with the filters that did; OR across filters."""
    found: dict[tuple[int, Box], tuple[Located, list[Json]]] = {}
    for data_filter in filters:
        for located in _selected(spreadsheet, data_filter, project):
            key = (located.sheet.sheet_id, located.box)
            found.setdefault(key, (located, []))[1].append(data_filter)
    return list(found.values())


def _selected(spreadsheet: Spreadsheet, data_filter: Json, project: str) -> list[Located]:
    if "a1Range" in data_filter:
        return [spreadsheet.locate(data_filter["a1Range"])]
    if "gridRange" in data_filter:
        return [spreadsheet.locate_grid_range(data_filter["gridRange"])]
    entries = matching(spreadsheet, data_filter.get("developerMetadataLookup") or {}, project)
    boxes = [location_box(entry["location"]) for entry in entries]
    return [Located(spreadsheet.sheet(sheet_id), box, "") for sheet_id, box in filter(None, boxes)]
