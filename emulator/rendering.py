"""A value is shown as its number format says, for the formats that are known; an unknown pattern is refused.

Known: `0`, `#,##0`, decimals, percent, a dollar sign, ISO and US dates. Without a format a number has at most ten digits
(reference: sheets, 8.1: `= 1 / 1024` is shown as 0.0009765625).
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import ROUND_HALF_UP, Decimal

from emulator.arithmetic import Number, plain, value_of
from emulator.errors import Json, not_emulated
from emulator.grid import Cell, Formula, Value

_PATTERN = re.compile(r'^(?:"?(\$)"?)?(#,##)?0(?:\.(0+))?(%)?$')
_DATE_TYPES = ("DATE", "TIME", "DATE_TIME")
_DEFAULTS = {
    "PERCENT": "0.00%",
    "CURRENCY": '"$"#,##0.00',
    "NUMBER": "#,##0.00",
    "DATE": "m/d/yyyy",
    "SCIENTIFIC": "0.00E+00",
}
_TOKENS = re.compile(r"yyyy|yy|mm|m|dd|d|hh|h|ss|s")
_EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - a serial number has no zone

Scalar = str | bool | int | float


def entered_text(value: Value | None) -> Scalar | None:
    """How an admin sees a cell: formulas as their text."""
    return value.text if isinstance(value, Formula) else value


def number_format(cell: Cell) -> Json | None:
    if cell.extra is None:
        return None
    form = cell.extra.get("userEnteredFormat")
    return form.get("numberFormat") if form else None


def effective(cell: Cell) -> Scalar | None:
    """The value behind the cell: a formula's result, else what was entered."""
    value = cell.value
    return value_of(value.text) if isinstance(value, Formula) else value


def formatted(cell: Cell) -> str:
    """FORMATTED_VALUE."""
    value = effective(cell)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    form = number_format(cell)
    return general(value) if form is None else by_format(value, form)


def unformatted(cell: Cell, dates_as_text: bool) -> Scalar:
    """UNFORMATTED_VALUE: numbers as numbers; dates as serial numbers, or as they are shown."""
    value = effective(cell)
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return value
    if dates_as_text:
        form = number_format(cell)
        if form is not None and form.get("type") in _DATE_TYPES:
            return by_format(value, form)
    return plain(value)


def entered(cell: Cell, dates_as_text: bool) -> Scalar:
    """FORMULA: what was entered."""
    if isinstance(cell.value, Formula):
        return cell.value.text
    return unformatted(cell, dates_as_text)


def general(value: Number) -> str:
    if isinstance(value, int) and abs(value) < 10**15:
        return str(value)
    text = f"{value:.10g}"
    if "e" not in text:
        return text
    if abs(value) < 1e15 and abs(value) >= 1e-5:
        return f"{Decimal(text):f}"
    mantissa, exponent = text.split("e")
    sign = exponent[0]
    return f"{mantissa}E{sign}{exponent[1:].lstrip('0').zfill(2)}"


def by_format(value: Number, form: Json) -> str:
    kind = form.get("type", "NUMBER_FORMAT_TYPE_UNSPECIFIED")
    pattern = form.get("pattern") or _DEFAULTS.get(kind, "")
    if kind == "TEXT" or pattern in ("", "@", "General"):
        return general(value)
    if kind in _DATE_TYPES:
        return _date(value, pattern)
    match = _PATTERN.match(pattern)
    if match is None:
        raise not_emulated(f"the number format {pattern!r}")
    dollar, grouped, decimals, percent = match.groups()
    scaled = Decimal(repr(value)) * (100 if percent else 1)
    places = Decimal(1).scaleb(-len(decimals or ""))
    rounded = scaled.quantize(places, rounding=ROUND_HALF_UP)
    text = f"{abs(rounded):,f}" if grouped else f"{abs(rounded):f}"
    sign = "-" if rounded < 0 else ""
    return f"{sign}{dollar or ''}{text}{percent or ''}"


def _date(value: Number, pattern: str) -> str:
    if re.sub(_TOKENS, "", pattern.lower()).strip("-/:. ,T"):
        raise not_emulated(f"the date format {pattern!r}")
    moment = _EPOCH + dt.timedelta(days=float(value))
    previous = ""

    def shown(match: re.Match[str]) -> str:
        nonlocal previous
        token = match[0]
        minutes = token in ("m", "mm") and previous in ("h", "hh")
        previous = token
        number = {
            "y": moment.year if token == "yyyy" else moment.year % 100,
            "m": moment.minute if minutes else moment.month,
            "d": moment.day,
            "h": moment.hour,
            "s": moment.second,
        }[token[0]]
        return str(number).zfill(2) if len(token) > 1 else str(number)

    return _TOKENS.sub(shown, pattern.lower())
