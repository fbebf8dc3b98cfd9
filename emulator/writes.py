"""The values methods that write: each takes a draft, and changes it.

Facts (reference: sheets, 2, 8.1): `null` leaves a cell alone, `""` clears it, and only cells that are not null count as updated;
a range text of one cell may be outgrown, a longer one not; an append's reply has no `tableRange` where there was no table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from emulator import a1, entry, tables
from emulator.a1 import Area, Box
from emulator.errors import ApiError, Json, bad_field, invalid
from emulator.grid import NO_CELL, Cell, Dimension, Sheet, Value, check_length
from emulator.rendering import number_format
from emulator.spreadsheet import Located, Spreadsheet
from emulator.values import filtered, one_of, read, rendering_of

INPUT_OPTIONS = ("RAW", "USER_ENTERED")


def check_values(values: Any, field: str) -> list[list[Any]]:
    """The transcoder wants a list of lists of scalars."""
    if values is None:
        return []
    kind = "type.googleapis.com/google.protobuf.ListValue"
    if not isinstance(values, list):
        raise bad_field(field, f"Invalid value at '{field}' ({kind}), {_quoted(values)}")
    for index, row in enumerate(values):
        if not isinstance(row, list):
            where = f"{field}[{index}]"
            raise bad_field(where, f"Invalid value at '{where}' ({kind}), {_quoted(row)}")
        for column, value in enumerate(row):
            if isinstance(value, dict | list):
                name = "struct_value" if isinstance(value, dict) else "list_value"
                text = f"Invalid {field}[{index}][{column}]: {name} {{\n}}\n"
                raise invalid(text)
    return values


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def input_option(asked: Json) -> bool:
    """Whether the values are to be parsed as if typed."""
    option = asked.get("valueInputOption")
    if not option or option == "INPUT_VALUE_OPTION_UNSPECIFIED":
        raise invalid("'valueInputOption' is required but not specified")
    return one_of(asked, "valueInputOption", INPUT_OPTIONS, "RAW") == "USER_ENTERED"


def changed(old: Cell, value: Any, parse: bool, locale: str) -> Cell:
    """The cell after a value was written to it; formats stay, and typing may give a number format."""
    if value == "" and isinstance(value, str):
        return old.with_value(None)
    kept: Value = value
    given: Json | None = None
    if isinstance(value, str):
        check_length(value)
        if parse and (number_format(old) or {}).get("type") != "TEXT":
            kept, given = entry.parse(value, locale)
    if given is None:
        return old.with_value(kept)
    form = {**((old.extra or {}).get("userEnteredFormat") or {}), "numberFormat": given}
    return Cell(kept, {**(old.extra or {}), "userEnteredFormat": form})


class Written(NamedTuple):
    sheet: Sheet
    area: Area
    rows: set[int]
    columns: set[int]
    cells: int

    def reply(self, spreadsheet_id: str) -> Json:
        shown: Json = {
            "spreadsheetId": spreadsheet_id,
            "updatedRange": a1.text_of(self.sheet.title, self.area),
            "updatedRows": len(self.rows),
            "updatedColumns": len(self.columns),
            "updatedCells": self.cells,
        }
        return {name: value for name, value in shown.items() if value != 0}


def lines_of(value_range: Json) -> list[list[Any]]:
    """The values as rows, whatever their major dimension."""
    values: list[list[Any]] = value_range["values"]
    if value_range.get("majorDimension") != "COLUMNS":
        return values
    height = max((len(column) for column in values), default=0)
    return [[column[i] if i < len(column) else None for column in values] for i in range(height)]


def write(draft: Spreadsheet, located: Located, lines: list[list[Any]], parse: bool) -> Written:
    """Writes rows from the top left corner of a range."""
    area = located.strict_area
    width = max((len(line) for line in lines), default=0)
    one_cell = area.height == 1 and area.width == 1
    if not one_cell:
        _check_inside(located, area, len(lines), width)
    written = Area(area.top, area.top + max(1, len(lines)), area.left, area.left + max(1, width))
    Located(located.sheet, Box(*written), located.text).strict_area  # noqa: B018 - it refuses what lies beyond
    sheet = draft.edit(located.sheet.sheet_id)
    return put(sheet, written, lines, parse, draft.properties["locale"])


def put(sheet: Sheet, area: Area, lines: list[list[Any]], parse: bool, locale: str) -> Written:
    rows: set[int] = set()
    columns: set[int] = set()
    count = 0
    for index, line in enumerate(lines, area.top):
        old = sheet.row(index)
        cells = {
            column: changed(old.get(column, NO_CELL), value, parse, locale)
            for column, value in enumerate(line, area.left)
            if value is not None
        }
        if cells:
            sheet.write(index, cells)
            rows.add(index)
            columns.update(cells)
            count += len(cells)
    return Written(sheet, area, rows, columns, count)


def _check_inside(located: Located, area: Area, height: int, width: int) -> None:
    title = a1.text_of(located.sheet.title, area)
    if height > area.height:
        raise invalid(f"Requested writing within range [{title}], but tried writing to row [{area.bottom + 1}]")
    if width > area.width:
        column = a1.column_name(area.right)
        raise invalid(f"Requested writing within range [{title}], but tried writing to column [{column}]")


def update(draft: Spreadsheet, text: str, body: Json, query: Json) -> Json:
    body = {**body, "values": check_values(body.get("values"), "data.values")}
    parse = input_option(query)
    if body.get("range") and draft.locate(body["range"]).box != draft.locate(text).box:
        raise invalid(f"Requested writing within range [{text}], but the body names the range [{body['range']}]")
    written = write(draft, draft.locate(text), lines_of(body), parse)
    reply = written.reply(draft.spreadsheet_id)
    return _with_values(reply, written, query, body)


def _with_values(reply: Json, written: Written, asked: Json, body: Json) -> Json:
    if str(asked.get("includeValuesInResponse", False)).lower() != "true":
        return reply
    how = rendering_of(asked, "response")._replace(columns=body.get("majorDimension") == "COLUMNS")
    located = Located(written.sheet, Box(*written.area), "")
    return {**reply, "updatedData": read(located, how)}


def batch_update(draft: Spreadsheet, body: Json) -> Json:
    parse = input_option(body)
    entries = body.get("data") or []
    writes = []
    for index, value_range in enumerate(entries):
        values = check_values(value_range.get("values"), f"data[{index}].values")
        try:
            located = draft.locate(value_range.get("range") or "")
            written = write(draft, located, lines_of({**value_range, "values": values}), parse)
        except ApiError as refusal:
            raise _at(index, refusal) from None
        writes.append((written, value_range))
    return _totals(draft, writes, body)


def _at(index: int, refusal: ApiError) -> ApiError:
    if refusal.code != 400 or refusal.details or "50000 characters" in refusal.message:
        return refusal
    return invalid(f"Invalid data[{index}]: {refusal.message}")


def _totals(draft: Spreadsheet, writes: list[tuple[Written, Json]], body: Json) -> Json:
    """Rows and columns that several ranges share count once."""
    rows = {(w.sheet.sheet_id, row) for w, _ in writes for row in w.rows}
    columns = {(w.sheet.sheet_id, column) for w, _ in writes for column in w.columns}
    reply: Json = {"spreadsheetId": draft.spreadsheet_id}
    totals = {
        "totalUpdatedRows": len(rows),
        "totalUpdatedColumns": len(columns),
        "totalUpdatedCells": sum(w.cells for w, _ in writes),
        "totalUpdatedSheets": len({w.sheet.sheet_id for w, _ in writes if w.cells}),
    }
    reply.update({name: total for name, total in totals.items() if total})
    if writes:
        reply["responses"] = [_with_values(w.reply(draft.spreadsheet_id), w, body, b) for w, b in writes]
    return reply


def batch_update_by_filter(draft: Spreadsheet, body: Json, project: str) -> Json:
    parse = input_option(body)
    writes: list[tuple[Written, Json]] = []
    responses: list[Json] = []
    for index, entry_ in enumerate(body.get("data") or []):
        values = check_values(entry_.get("values"), f"data[{index}].values")
        for located, _ in filtered(draft, [entry_.get("dataFilter") or {}], project):
            try:
                written = write(draft, located, lines_of({**entry_, "values": values}), parse)
            except ApiError as refusal:
                raise _at(index, refusal) from None
            writes.append((written, entry_))
            responses.append({"dataFilter": entry_.get("dataFilter")})
    reply = _totals(draft, writes, body)
    for response, data_filter in zip(reply.get("responses", []), responses, strict=True):
        response.update(data_filter)
        response.pop("spreadsheetId", None)
    return reply


def append(draft: Spreadsheet, text: str, body: Json, query: Json) -> Json:
    values = check_values(body.get("values"), "data.values")
    parse = input_option(query)
    insert = query.get("insertDataOption") == "INSERT_ROWS"
    located = draft.locate(text)
    # a table may end where the grid does: the range itself may not begin beyond it
    table = tables.find(located.sheet, located.area)
    lines = lines_of({**body, "values": values})
    width = max((len(line) for line in lines), default=0)
    top, left = (table.bottom, table.left) if table else (located.area.top, located.area.left)
    area = Area(top, top + max(1, len(lines)), left, left + max(1, width))
    sheet = draft.edit(located.sheet.sheet_id)
    reply: Json = {"spreadsheetId": draft.spreadsheet_id}
    if table:
        reply["tableRange"] = a1.text_of(sheet.title, table)
    if insert and top < sheet.row_count and lines:
        draft.check_cells(len(lines) * sheet.column_count)
        sheet.insert(Dimension(True, top, top + len(lines)))
    grow(draft, sheet, area.bottom, area.right)
    written = put(sheet, area, lines, parse, draft.properties["locale"])
    if not insert:
        tables.remember(sheet, table, area)
    reply["updates"] = _with_values(written.reply(draft.spreadsheet_id), written, query, body)
    return reply


def grow(draft: Spreadsheet, sheet: Sheet, rows: int, columns: int) -> None:
    """Makes the grid reach so far, within the limit of cells."""
    new_rows, new_columns = max(rows, sheet.row_count), max(columns, sheet.column_count)
    if (new_rows, new_columns) != (sheet.row_count, sheet.column_count):
        draft.check_cells(new_rows * new_columns - sheet.cells)
        sheet.row_count, sheet.column_count = new_rows, new_columns


def clear_range(draft: Spreadsheet, located: Located) -> str:
    area = located.area
    draft.edit(located.sheet.sheet_id).clear_values(area)
    return a1.text_of(located.sheet.title, area)


def clear(draft: Spreadsheet, text: str) -> Json:
    return {
        "spreadsheetId": draft.spreadsheet_id,
        "clearedRange": clear_range(draft, draft.locate(text)),
    }


def batch_clear(draft: Spreadsheet, body: Json) -> Json:
    cleared = [clear_range(draft, draft.locate(text)) for text in body.get("ranges") or []]
    return {"spreadsheetId": draft.spreadsheet_id, **({"clearedRanges": cleared} if cleared else {})}


def batch_clear_by_filter(draft: Spreadsheet, body: Json, project: str) -> Json:
    found = filtered(draft, body.get("dataFilters") or [], project)
    cleared = [clear_range(draft, located) for located, _ in found]
    return {"spreadsheetId": draft.spreadsheet_id, **({"clearedRanges": cleared} if cleared else {})}
