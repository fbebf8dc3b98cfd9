"""One line of the input as an `Operation`: the human edge, where everything unknown or absurd is refused.

1. A line that is refused costs no quota; its sentence says what to do, and never shows a library's own error text.
2. What is accepted has its defaults filled in: id (the line's number), user, input, major dimension.
3. Large numbers become doubles if they keep all their digits; those that would not, NaN and Infinity are refused.

Source: design section 5; limits from reference/sheets.md section 1.4.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from headgate.apis.sheets import a1, merging, raw_requests
from headgate.apis.sheets.decoding import closed, decode, decode_fast, texts_in
from headgate.apis.sheets.limits import DEEPEST, EXACT, INFLATES, LARGEST_CALL, LONGEST_CELL, LONGEST_ID, LONGEST_RANGE
from headgate.errors import InvalidOperation
from headgate.messages.requests import Operation
from headgate.messages.words import NAME_PATTERN

_OPERATIONS = ("append", "update", "clear", "read", "request")
_NAME = re.compile(NAME_PATTERN)
_FORBIDDEN = {
    "append": ("render", "request"),
    "update": ("render", "placement", "request"),
    "clear": ("values", "input", "render", "major_dimension", "placement", "request"),
    "read": ("values", "input", "placement", "request"),
    "request": ("range", "values", "input", "render", "major_dimension", "placement"),
}
_NEEDED = {"append": ("range", "values"), "update": ("range", "values"), "clear": ("range",), "read": ("range",)}

Cell = bool | int | float | str | None
Rows = tuple[tuple[Cell, ...], ...]


def _rows(values: object) -> Rows:
    if not isinstance(values, list) or not values:
        raise ValueError('values must be a list of rows, such as [["o-1", 12.5, true]]')
    rows = []
    for number, row in enumerate(values, 1):
        if not isinstance(row, list):
            raise ValueError(f"values must be a list of rows, and row {number} is not a list; put [ ] around each row")  # noqa: TRY004 pydantic turns ValueError alone into a sentence
        rows.append(tuple([_cell(cell, number) for cell in row]))
    return tuple(rows)


def _cell(cell: object, row: int) -> Cell:
    kind = type(cell)
    if kind is str:
        if len(cell) > LONGEST_CELL:  # type: ignore[arg-type]
            raise ValueError(
                f"a cell in row {row} has more than {LONGEST_CELL:,} characters, the most that Sheets takes"
            )
        return cell  # type: ignore[return-value]
    if cell is None or kind is bool:
        return cell  # type: ignore[return-value]
    if isinstance(cell, int):
        if -EXACT <= cell <= EXACT:
            return cell
        try:
            double = float(cell)
        except OverflowError:
            raise ValueError(f"a number in row {row} is too large for Sheets; write it as text") from None
        if double != cell and Decimal(repr(double)) != cell:  # other programs print a double with its shortest digits
            raise ValueError(f"a number in row {row} has more digits than Sheets keeps; write it as text")
        return double
    if isinstance(cell, float):
        if math.isfinite(cell):
            return cell
        raise ValueError(f"a number in row {row} is too large for Sheets; write it as text")
    raise ValueError(f"a cell in row {row} is a list or an object; cells are texts, numbers, true, false or null")


def _name(what: str) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError(f"{what} must be a text")  # noqa: TRY004 pydantic turns ValueError alone into a sentence
        if not _NAME.fullmatch(value) or value in (".", ".."):
            raise ValueError(f"{what} must be 1 to 128 letters, digits or _ . @ -")
        return value

    return BeforeValidator(check)


def _id(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 10**18 else ""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or not value.isprintable():
        raise ValueError(f"id must be a text of 1 to {LONGEST_ID} printable characters")
    return value


def _range(value: object) -> object:
    if not isinstance(value, str) or len(value) > LONGEST_RANGE:
        raise ValueError("range must be a text such as Orders!A1:C10")
    return a1.canonical(value)


def _request(value: object) -> object:
    if wrong := raw_requests.complaint(value):
        raise ValueError(wrong)
    return value


class Line(BaseModel):
    """What a line may say. Extra fields are refused here, and only here."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[str, BeforeValidator(_id)] = ""
    op: Literal["append", "update", "clear", "read", "request"]
    spreadsheet: Annotated[str, _name("spreadsheet")]
    range: Annotated[str, BeforeValidator(_range)] = ""
    values: Annotated[object, BeforeValidator(_rows)] = ()
    user: Annotated[str, _name("user")] = ""
    input: Literal["RAW", "FORMULAS", "USER_ENTERED"] = "RAW"
    render: Literal["", "FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA"] = ""
    major_dimension: Literal["ROWS", "COLUMNS"] = "ROWS"
    placement: Literal["", "table"] = ""
    request: Annotated[object, BeforeValidator(_request)] = Field(default_factory=dict)


_DEFAULT_WORDS = ("RAW", "", "ROWS")
#: The words that a common line may say, as `_DEFAULT_WORDS` has them in order. A placement has rules of its own.
_WORDS = tuple(get_args(Line.model_fields[name].annotation) for name in ("input", "render", "major_dimension"))
_CHOICES = {
    "op": "append, update, clear, read or request",
    "input": "RAW, FORMULAS or USER_ENTERED",
    "render": "FORMATTED_VALUE, UNFORMATTED_VALUE or FORMULA",
    "major_dimension": "ROWS or COLUMNS",
    "placement": "table, or left out",
}


#: What a common line may name, by op.
_PLAIN = {op: frozenset(Line.model_fields) - {*_FORBIDDEN[op], "placement"} for op in _OPERATIONS}


def parse_line(text: str | bytes, line: int, default_user: str) -> Operation:
    """The operation that a line of JSON describes; `line` counts from 1. Raises InvalidOperation with one sentence."""
    operation = parse_plain(text, line, default_user)
    return operation if operation is not None else parse_closely(text, line, default_user)


def parse_plain(text: str | bytes, line: int, default_user: str) -> Operation | None:
    """What `parse_closely` returns, at a fraction of its cost; None for a line that it refuses, or that is not common."""
    if len(text) > INFLATES:
        return None
    fields: Any = decode_fast(text)
    if fields is None:
        return None
    take = fields.get
    op, name = take("op"), take("id", "")
    if type(op) is not str or op not in _PLAIN or not fields.keys() <= _PLAIN[op]:
        return None
    texts = 2 * len(fields)
    if type(name) is int and -(10**18) < name < 10**18:
        name = str(name)
        texts -= 1
    elif type(name) is not str or len(name) > LONGEST_ID or not name.isprintable() or (not name and "id" in fields):
        return None
    spreadsheet, user, area = take("spreadsheet"), take("user", default_user), take("range", "")
    if type(spreadsheet) is not str or type(user) is not str or not (_is_name(spreadsheet) and _is_name(user)):
        return None
    if op == "request":
        request = take("request")
        inside = _texts_inside(request)
        if inside is None or raw_requests.complaint(request):
            return None
        texts += inside - 1
    else:
        request = {}
        if type(area) is not str or not area or len(area) > LONGEST_RANGE:
            return None
        try:
            area = a1.canonical(area)
        except ValueError:
            return None
    rows: Rows = ()
    if op in ("append", "update"):
        values = take("values")
        inside = _texts_in_rows(values)
        if inside is None:
            return None
        texts += inside - 1
        rows = tuple([tuple(row) for row in values])
    words = (take("input", "RAW"), take("render", ""), take("major_dimension", "ROWS"))
    if words != _DEFAULT_WORDS and not all(word in known for word, known in zip(words, _WORDS, strict=True)):
        return None
    if texts != texts_in(text):
        return None
    operation = _operation(line, name, op, spreadsheet, user, area, rows, (*words, ""), request)
    if op == "update":
        try:
            _must_fit(operation)
        except InvalidOperation:
            return None
    return operation


def parse_closely(text: str | bytes, line: int, default_user: str) -> Operation:
    """As `parse_line`, for any line."""
    fields = decode(text)
    op = fields.get("op")
    if isinstance(op, str) and op in _OPERATIONS:
        for field in _FORBIDDEN[op]:
            if field in fields and fields[field] is not None:
                raise InvalidOperation(f"{field} does not belong to op {op}; remove it.")
        for field in _NEEDED.get(op, ("request",)):
            if fields.get(field) is None:
                raise InvalidOperation(f"{field} is missing; op {op} needs it.")
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields.get("placement") == "table" and fields.get("input") == "FORMULAS":
        raise InvalidOperation("placement table takes the input RAW or USER_ENTERED, not FORMULAS.")
    if "user" not in fields:
        if not default_user:
            raise InvalidOperation("user is missing; name one in the line or give the whole request one.")
        fields["user"] = default_user
    try:
        checked = Line.model_validate(fields)
    except ValidationError as error:
        raise InvalidOperation(_sentence(error)) from None
    words = (checked.input, checked.render, checked.major_dimension, checked.placement)
    operation = _operation(
        line,
        checked.id,
        checked.op,
        checked.spreadsheet,
        checked.user,
        checked.range,
        checked.values,  # type: ignore[arg-type]
        words,
        checked.request,
    )
    _must_fit(operation)
    if len(text) > INFLATES and merging.weight_of(operation, merging.form_of(operation)).bytes > LARGEST_CALL:
        raise InvalidOperation(f"The operation takes more than one call can carry ({LARGEST_CALL:,} bytes); split it.")
    return operation


def _operation(
    line: int,
    name: str,
    op: str,
    spreadsheet: str,
    user: str,
    area: str,
    rows: Rows,
    words: tuple[Any, Any, Any, Any],
    request: Any,
) -> Operation:
    fields = {
        "line": line,
        "id": name or str(line),
        "op": op,
        "spreadsheet": spreadsheet,
        "user": user,
        "range": area,
        "values": rows,
        "input": words[0],
        "render": words[1],
        "major_dimension": words[2],
        "placement": words[3],
        "request": request,
        "sheet_id": None,
        "gone_sheets": (),
    }
    return Operation.trusted(fields)


@lru_cache(maxsize=8_192)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and text not in (".", "..")


def _texts_in_rows(values: Any) -> int | None:
    """How many texts the rows hold; None where they are no rows, or hold what has to be looked at."""
    if type(values) is not list or not values:
        return None
    texts = 0
    for row in values:
        if type(row) is not list:
            return None
        for cell in row:
            kind = type(cell)
            if kind is str:
                if len(cell) > LONGEST_CELL:
                    return None
                texts += 1
            elif kind is int or kind is float:
                if not -EXACT <= cell <= EXACT:
                    return None
            elif cell is not None and kind is not bool:
                return None
    return texts


def _texts_inside(value: Any, depth: int = 0) -> int | None:
    """How many texts a value holds, keys among them; None where it has to be looked at."""
    kind = type(value)
    if kind is str:
        return 1
    if kind is dict or kind is list:
        texts = len(value) if kind is dict else 0
        for one in value.values() if kind is dict else value:
            inside = _texts_inside(one, depth + 1) if depth < DEEPEST else None
            if inside is None:
                return None
            texts += inside
        return texts
    return 0 if value is None or kind is bool or -EXACT <= value <= EXACT else None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "line"
    match first["type"]:
        case "extra_forbidden":
            return f"{field[:40]!r} is not a field of an operation; correct or remove it."
        case "missing":
            return f"{field} is missing; every operation needs it."
        case "value_error":
            return closed(first["msg"].removeprefix("Value error, "))
    if field in _CHOICES:
        return f"{field} must be {_CHOICES[field]}."
    return f"{field} has the wrong type; correct it."


def _must_fit(operation: Operation) -> None:
    """Refuses values that are more than the range holds, before Sheets does."""
    if operation.op != "update":
        return
    area = a1.parse(operation.range)
    if area.anchor:
        rows_left, columns_left = a1.LAST_ROW - area.top, a1.LAST_COLUMN - area.left
    else:
        rows_left, columns_left = area.height or a1.LAST_ROW - area.top, area.width or a1.LAST_COLUMN - area.left
    rows, columns = len(operation.values), max(map(len, operation.values))
    if operation.major_dimension == "COLUMNS":
        rows, columns = columns, rows
    if rows > rows_left:
        raise InvalidOperation(f"values have {rows:,} rows and the range holds {rows_left:,}; widen the range.")
    if columns > columns_left:
        raise InvalidOperation(
            f"values have {columns:,} columns and the range holds {columns_left:,}; widen the range."
        )
