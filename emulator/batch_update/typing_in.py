"""Requests that act as a hand at the keyboard would: paste text, draw borders, drop duplicates.

Whether pasted text is parsed as typed text is not known [U] (reference: sheets, 11.7): here it is.
"""

from __future__ import annotations

import csv
import io

from emulator import rendering, theme
from emulator.a1 import Area
from emulator.batch_update.cells import area_of
from emulator.batch_update.kinds import Draft, kind
from emulator.errors import Json, invalid, not_emulated
from emulator.grid import NO_CELL, Cell
from emulator.writes import grow, put

_SIDES = ("top", "bottom", "left", "right")


@kind("pasteData")
def paste_data(draft: Draft, request: Json) -> Json:
    if request.get("html"):
        raise not_emulated("pasteData of HTML")
    delimiter = request.get("delimiter")
    if not delimiter:
        raise invalid("Must specify a delimiter.")
    corner = request.get("coordinate") or {}
    sheet = draft.spreadsheet.edit(corner.get("sheetId"))
    lines = list(csv.reader(io.StringIO(str(request.get("data") or "")), delimiter=str(delimiter)[0]))
    top, left = int(corner.get("rowIndex") or 0), int(corner.get("columnIndex") or 0)
    area = Area(top, top + len(lines), left, left + max((len(line) for line in lines), default=0))
    grow(draft.spreadsheet, sheet, area.bottom, area.right)
    put(sheet, area, lines, True, draft.spreadsheet.properties["locale"])
    return {}


@kind("updateBorders")
def update_borders(draft: Draft, request: Json) -> Json:
    """Outer sides at the edge of the range, inner ones between its cells; a border is kept by the cell it belongs to."""
    sheet, area = area_of(draft, request.get("range"))
    given = {
        name: theme.paired(request[name]) for name in (*_SIDES, "innerHorizontal", "innerVertical") if request.get(name)
    }

    def bordered(old: Cell, row: int, column: int) -> Cell:
        names = {
            "top": "top" if row == area.top else "innerHorizontal",
            "bottom": "bottom" if row == area.bottom - 1 else "innerHorizontal",
            "left": "left" if column == area.left else "innerVertical",
            "right": "right" if column == area.right - 1 else "innerVertical",
        }
        form = (old.extra or {}).get("userEnteredFormat") or {}
        borders = dict(form.get("borders") or {})
        for side, name in names.items():
            if name in given:
                borders[side] = given[name]
                if given[name].get("style") == "NONE":
                    del borders[side]
        kept = {name: value for name, value in form.items() if name != "borders"}
        new = {**kept, **({"borders": borders} if borders else {})}
        extra = {name: value for name, value in (old.extra or {}).items() if name != "userEnteredFormat"}
        return Cell(old.value, {**extra, "userEnteredFormat": new} if new else extra)

    sheet.change(area, bordered)
    return {}


@kind("deleteDuplicates")
def delete_duplicates(draft: Draft, request: Json) -> Json:
    """The first of equal rows stays, text compared without case; the rows below move up inside the range."""
    sheet, area = area_of(draft, request.get("range"))
    spans = request.get("comparisonColumns") or []
    columns = [
        column
        for span in spans or [{"startIndex": area.left, "endIndex": area.right}]
        for column in range(int(span.get("startIndex") or 0), int(span.get("endIndex") or area.right))
    ]
    seen: set[tuple[str, ...]] = set()
    kept = []
    for row in range(area.top, area.bottom):
        key = tuple(rendering.formatted(sheet.cell(row, column)).casefold() for column in columns)
        if key not in seen or not any(key):
            kept.append([sheet.cell(row, column) for column in range(area.left, area.right)])
            seen.add(key)
    gone = area.height - len(kept)
    kept += [[NO_CELL] * area.width] * gone
    for row, line in enumerate(kept, area.top):
        sheet.write(row, dict(enumerate(line, area.left)))
    return {"deleteDuplicates": {"duplicatesRemovedCount": gone} if gone else {}}
