"""USER_ENTERED strings become what they are known to become; what Sheets may parse otherwise is refused.

Known (reference: sheets, 8.1): numbers (`0042` is 42), thousands (`2,000,000.01` is a number shown with commas),
percent and dollars, booleans, ISO dates (a serial number with a date format), `=` a formula, `'` forces text. Everything that
looks like another date, time or money in some locale answers 501, so that no test passes by accident.
"""

from __future__ import annotations

import datetime as dt
import re

from emulator.arithmetic import plain
from emulator.errors import Json, not_emulated
from emulator.grid import Formula, Value

_NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
_GROUPED = re.compile(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
_PERCENT = re.compile(r"^[+-]?\d+(\.\d+)?%$")
_DOLLARS = re.compile(r"^-?\$\d{1,3}(,?\d{3})*(\.\d+)?$")
_ISO_DATE = re.compile(r"^(\d{4})-(\d{1,2})-(\d{1,2})$")
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)"
_LONG_MONTH = r"(january|february|march|april|june|july|august|september|october|november|december)"
_DOUBTFUL = re.compile(
    r"^[+-]?\d+[/.:-]\d+"  # 1/2, 1.2.3, 10:30, 1-2
    r"|^[+-]\D"  # +A1 reads as a formula
    r"|^[€£¥₹₽]\s*\d|^\d[\d.,]*\s*[€£¥₹₽]"
    r"|^\(\s*\$?\d[\d.,]*\s*\)$"
    r"|^\d[\d.,\s]*%$|^\d{1,3}(,\d+)+$|^\$\s*\d|^\d[\d.,]*e[+-]?\d+$"
    r"|^\d{1,2}\s*(am|pm)$"
    rf"|^({_MONTH}|{_LONG_MONTH})\.?[\s-]+\d|^\d{{1,2}}(st|nd|rd|th)?[\s-]*({_MONTH}|{_LONG_MONTH})\b",
    re.IGNORECASE,
)
_EPOCH = dt.date(1899, 12, 30)

DATE_FORMAT: Json = {"type": "DATE", "pattern": "yyyy-mm-dd"}


def parse(text: str, locale: str = "en_US") -> tuple[Value, Json | None]:
    """The value of what a user typed, and the number format that typing it gives the cell."""
    if text[:1] == "=" and len(text) > 1:
        return Formula(text), None
    if text[:1] == "'":
        return text[1:], None
    stripped = text.strip()
    if not stripped or stripped[0].isalpha():
        return _word(text, stripped)
    if not locale.startswith("en") and (stripped[0].isdigit() or stripped[0] in "+-.,$"):
        if stripped.isdigit():
            return int(stripped), None
        raise not_emulated(f"USER_ENTERED {text[:40]!r} in locale {locale}")
    if _NUMBER.match(stripped):
        return plain(float(stripped)) if not stripped.isdigit() else int(stripped), None
    if _GROUPED.match(stripped):
        pattern = "#,##0.00" if "." in stripped else "#,##0"
        return plain(float(stripped.replace(",", ""))), {"type": "NUMBER", "pattern": pattern}
    if _PERCENT.match(stripped):
        pattern = "0.00%" if "." in stripped else "0%"
        return plain(float(stripped[:-1]) / 100), {"type": "PERCENT", "pattern": pattern}
    if _DOLLARS.match(stripped):
        pattern = '"$"#,##0.00' if "." in stripped else '"$"#,##0'
        amount = float(stripped.replace("$", "").replace(",", ""))
        return plain(amount), {"type": "CURRENCY", "pattern": pattern}
    iso = _ISO_DATE.match(stripped)
    if iso is not None:
        try:
            day = dt.date(int(iso[1]), int(iso[2]), int(iso[3]))
        except ValueError:
            return text, None
        return (day - _EPOCH).days, DATE_FORMAT
    return _text(text, stripped)


def _word(text: str, stripped: str) -> tuple[Value, Json | None]:
    upper = stripped.upper()
    if upper in ("TRUE", "FALSE"):
        return upper == "TRUE", None
    return _text(text, stripped)


def _text(text: str, stripped: str) -> tuple[Value, Json | None]:
    if _DOUBTFUL.match(stripped):
        raise not_emulated(f"USER_ENTERED {text[:40]!r}: Sheets may parse it")
    return text, None
