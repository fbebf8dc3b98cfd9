"""One line of the input as an `Operation`: the human edge, where everything unknown or absurd is refused.

1. A line that is refused costs no quota; its sentence says what to do, and never shows a library's own error text.
2. What is accepted has its defaults filled in: id (the line's number), user, input, major dimension.
3. Numbers that a double cannot hold exactly become doubles; NaN and Infinity are refused.

Source: design section 5; limits from reference/sheets.md section 1.4.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from headgate.apis.sheets import a1, merging, raw_requests
from headgate.errors import InvalidOperation
from headgate.models import NAME_PATTERN, Operation

LONGEST_LINE = 9_000_000
LONGEST_CELL = 50_000
LARGEST_CALL = 10_000_000
_INFLATES = 300_000
LONGEST_ID = 200
_EXACT = 2**53
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
        if -_EXACT <= cell <= _EXACT:
            return cell
        try:
            return float(cell)
        except OverflowError:
            raise ValueError(f"a number in row {row} is too large for Sheets; write it as text") from None
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
    if not isinstance(value, str) or len(value) > 500:
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


_CHOICES = {
    "op": "append, update, clear, read or request",
    "input": "RAW, FORMULAS or USER_ENTERED",
    "render": "FORMATTED_VALUE, UNFORMATTED_VALUE or FORMULA",
    "major_dimension": "ROWS or COLUMNS",
    "placement": "table, or left out",
}


def parse_line(text: str | bytes, line: int, default_user: str) -> Operation:
    """The operation that a line of JSON describes; `line` counts from 1. Raises InvalidOperation with one sentence."""
    fields = _object(text)
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
    operation = Operation.model_construct(
        line=line,
        id=checked.id or str(line),
        op=checked.op,
        spreadsheet=checked.spreadsheet,
        user=checked.user,
        range=checked.range,
        values=checked.values,  # type: ignore[arg-type]
        input=checked.input,
        render=checked.render,
        major_dimension=checked.major_dimension,
        placement=checked.placement,
        request=checked.request,  # type: ignore[arg-type]
        sheet_id=None,
    )
    _must_fit(operation)
    if len(text) > _INFLATES and merging.weight_of(operation, merging.form_of(operation)).bytes > LARGEST_CALL:
        raise InvalidOperation(f"The operation takes more than one call can carry ({LARGEST_CALL:,} bytes); split it.")
    return operation


def _object(text: str | bytes) -> dict[str, object]:
    if len(text) > LONGEST_LINE:
        raise InvalidOperation(f"The line is longer than {LONGEST_LINE:,} bytes; split it into several operations.")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        fields = _DECODER.decode(text.removeprefix("\ufeff"))
        if "\\u" in text or not text.isascii():
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise InvalidOperation("The line is not valid UTF-8; save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidOperation(f"The line is not JSON: {error.msg} at character {error.pos + 1}; correct it.") from None
    except RecursionError:
        raise InvalidOperation("The line is nested too deeply; make it flatter.") from None
    except ValueError as error:
        raise InvalidOperation(_closed(str(error)) if str(error).startswith("the line") else _TOO_LONG) from None
    if not isinstance(fields, dict):
        raise InvalidOperation('The line must be a JSON object, such as {"op": "read", "spreadsheet": "...", ...}.')
    return fields


_TOO_LONG = "The line holds a number with too many digits; write it as text."


def _no_constant(name: str) -> None:
    raise ValueError(f"the line holds {name}, which is no JSON number; write it as text")


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the line names {name[:40]!r} twice in one object; remove one")
    return fields


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_object_without_repeats)


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "line"
    match first["type"]:
        case "extra_forbidden":
            return f"{field[:40]!r} is not a field of an operation; correct or remove it."
        case "missing":
            return f"{field} is missing; every operation needs it."
        case "value_error":
            return _closed(first["msg"].removeprefix("Value error, "))
    if field in _CHOICES:
        return f"{field} must be {_CHOICES[field]}."
    return f"{field} has the wrong type; correct it."


def _closed(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:] + "." if sentence.startswith("the ") else sentence + "."


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
