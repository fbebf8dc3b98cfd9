"""Merge rules: in which form an operation travels, what it weighs, and the sub-requests that it becomes.

1. What a fence can carry goes fenced; what Sheets has to parse or place by itself goes as a values call of its own.
2. An append writes below the last row with anything in it, from its range's first column; null and "" leave a cell empty.
3. An update leaves a cell alone where its value is null, and empties it where it is "".
4. FORMULAS says which texts are formulas, those that begin with =, and nothing is left to parse: such an operation is fenced.
5. A weight is never below what the sub-request takes on the wire, so that the caps hold.

Source: reference/sheets.md section 4.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from json.encoder import encode_basestring
from typing import NamedTuple

from headgate.apis.sheets import a1
from headgate.messages.requests import Form, Operation

Cell = bool | int | float | str | None
Rows = tuple[tuple[Cell, ...], ...]
Json = dict[str, object]

MASK = "userEnteredValue"
_PLAIN_TEXT = re.compile(r"[^\W\d_](?:[^\W\d]|[ _.,;:()'\"?!&-])*")
_BOOLEANS = frozenset(
    [
        "true",
        "false",
        "wahr",
        "falsch",
        "vrai",
        "faux",
        "verdadero",
        "falso",
        "vero",
        "verdadeiro",
        "waar",
        "onwaar",
        "sand",
        "falsk",
        "sann",
        "usann",
        "sant",
        "falskt",
        "tosi",
        "epätosi",
        "prawda",
        "fałsz",
        "истина",
        "ложь",
        "doğru",
        "yanlış",
        "pravda",
        "nepravda",
        "igaz",
        "hamis",
        "adevărat",
        "fals",
        "истинна",
    ]
)


class Weight(NamedTuple):
    """What an operation adds to a batch: bytes on the wire (an upper estimate), sub-requests, cells."""

    bytes: int
    requests: int
    cells: int


def form_of(operation: Operation) -> Form:
    """The form in which the operation travels."""
    match operation.op:
        case "read":
            return "read"
        case "append":
            if operation.placement == "table" or not _goes_unparsed(operation):
                return "values_append"
        case "update":
            if operation.input == "USER_ENTERED":
                return "values_update"
    return "fenced"


def _goes_unparsed(operation: Operation) -> bool:
    return operation.input != "USER_ENTERED" or all(needs_no_parsing(cell) for row in operation.values for cell in row)


def needs_no_parsing(cell: Cell) -> bool:
    """Sheets would certainly keep what a person typed: numbers, booleans, formulas, and words that are no number, date or boolean."""
    if not isinstance(cell, str) or not cell:
        return True
    if cell.startswith("="):
        return len(cell) > 1
    return (
        _PLAIN_TEXT.fullmatch(cell) is not None
        and cell.casefold() not in _BOOLEANS
        and "www." not in cell.casefold()
        and cell == cell.rstrip()
    )


def rows_of(operation: Operation) -> Rows:
    """The values as rows, whatever the major dimension; what a column is too short for is null."""
    if operation.major_dimension == "ROWS":
        return operation.values
    return tuple(zip_longest(*operation.values))


def weight_of(operation: Operation, form: Form) -> Weight:
    """What the operation adds to a batch of this form."""
    if operation.op == "request":
        return Weight(len(_dump(operation.request)) + 2, 1, 0)
    cells = sum(map(len, operation.values))
    if form == "read":
        area = a1.parse(operation.range)
        return Weight(len(operation.range) + 40, 1, area.cells if area.cells is not None else 1_000)
    if form != "fenced":
        return Weight(len(_dump(operation.values)) + len(operation.range) + 80, 1, cells)
    if operation.op == "clear":
        return Weight(250, 1, 0)
    written = _written(operation.values)
    if operation.op == "append":
        rows = rows_of(operation)
        pads = 3 * a1.parse(operation.range).left * len(rows)
        return Weight(120 + 16 * len(rows) + pads + written, 1, cells)
    blocks = max(1, sum(1 for _ in runs(rows_of(operation)))) if _has_null(operation.values) else 1
    return Weight(150 * blocks + 16 * (len(operation.values) + blocks) + written, blocks, cells)


def _has_null(values: Rows) -> bool:
    return any(None in row for row in values)


def _written(values: Rows) -> int:
    """The bytes that the cells take as CellData, at most."""
    total = 0
    for row in values:
        for cell in row:
            if type(cell) is str:
                quoted = encode_basestring(cell)
                total += 42 + (len(quoted) if quoted.isascii() else len(quoted.encode())) if cell else 3
            elif cell is None:
                total += 3
            else:
                total += 40 + len(repr(cell))
    return total


_KINDS = {str: "stringValue", int: "numberValue", float: "numberValue", bool: "boolValue"}


def cell(value: Cell, input: str) -> Json:
    """The CellData of a value; null and "" are an empty cell."""
    if value is None or value == "":
        return {}
    if input != "RAW" and isinstance(value, str) and value.startswith("=") and len(value) > 1:
        return {MASK: {"formulaValue": value}}
    return {MASK: {_KINDS[type(value)]: value}}


def append_rows(operation: Operation) -> list[Json]:
    """The rows of an `appendCells`, padded on the left up to the range's first column.

    Empty rows at the end are left out: alone they would leave nothing behind, but merged they would push down what follows.
    """
    pad: list[Json] = [{}] * a1.parse(operation.range).left
    rows = list(rows_of(operation))
    while rows and all(value in (None, "") for value in rows[-1]):
        rows.pop()
    return [{"values": pad + [cell(value, operation.input) for value in row]} for row in rows]


def append_request(sheet_id: int, rows: Sequence[Json]) -> Json:
    """One `appendCells` for the rows of one or more adjacent appends."""
    return {"appendCells": {"sheetId": sheet_id, "fields": MASK, "rows": list(rows)}}


def update_requests(operation: Operation, sheet_id: int) -> list[Json]:
    """The `updateCells` of an update, one for each block that has no null in it; none when all is null."""
    area = a1.parse(operation.range)
    return [
        {
            "updateCells": {
                "start": {"sheetId": sheet_id, "rowIndex": area.top + top, "columnIndex": area.left + left},
                "fields": MASK,
                "rows": [{"values": [cell(value, operation.input) for value in row]} for row in block],
            }
        }
        for top, left, block in runs(rows_of(operation))
    ]


def runs(rows: Rows) -> Iterator[tuple[int, int, list[list[Cell]]]]:
    """Blocks (top, left, rows) that together hold every value that is not null, each once; rows of a block may differ in length."""
    growing: dict[int, tuple[int, list[list[Cell]]]] = {}
    for number, row in enumerate(rows):
        present = dict(_runs_of_row(row))
        for left in [left for left in growing if left not in present]:
            top, block = growing.pop(left)
            yield top, left, block
        for left, values in present.items():
            growing.setdefault(left, (number, []))[1].append(values)
    for left, (top, block) in growing.items():
        yield top, left, block


def _runs_of_row(row: tuple[Cell, ...]) -> Iterator[tuple[int, list[Cell]]]:
    start = 0
    for position, value in enumerate((*row, None)):
        if value is None:
            if position > start:
                yield start, list(row[start:position])
            start = position + 1


def clear_request(operation: Operation, sheet_id: int) -> Json:
    """The `updateCells` that empties a range: a mask and no rows."""
    area = a1.parse(operation.range)
    bounds: Json = {"sheetId": sheet_id}
    if area.top:
        bounds["startRowIndex"] = area.top
    if area.bottom is not None:
        bounds["endRowIndex"] = area.bottom
    if area.left:
        bounds["startColumnIndex"] = area.left
    if area.right is not None:
        bounds["endColumnIndex"] = area.right
    return {"updateCells": {"range": bounds, "fields": MASK}}


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
