"""Results as CSV that no spreadsheet program executes.

1. A cell that could begin a formula (`=`, `+`, `-`, `@`, also in their full width, or a tab, CR or LF before anything) gets an
   apostrophe in front; what is not executed stays as it is.
2. So does such a beginning behind a character that another program may take for the end of a cell, a quote or a line:
   a semicolon or tab, a comma, a line end, a quote.
3. Every cell is quoted, and quotes inside are doubled.

Source: OWASP, CSV injection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

COLUMNS: Final = ("line", "id", "outcome", "applied", "reason")
#: What begins a formula, behind blanks and characters that do not show, at the start of a cell or of what may become one.
_BEGINNING: Final = re.compile(
    r"""(\A|[,;|"'\t\r\n])([\s\x00-\x1f\x7f\u00a0\u200b-\u200f\ufeff"']*)(?=[=+\-@＝＋－＠])"""
)
_SUSPECT: Final = re.compile(r"[=+\-@＝＋－＠\t\r\n]")
_STARTS_BLANK: Final = re.compile(r"\A[\t\r\n]")


def header() -> str:
    """The first line, without its ending."""
    return _line(COLUMNS)


def row(result: Mapping[str, Any]) -> str:
    """One result (of `headgate results --json`) as a line without its ending."""
    return _line(harmless(str(result.get(column, ""))) for column in COLUMNS)


def harmless(text: str) -> str:
    """The text, so that a spreadsheet program shows it and does not run it."""
    if not _SUSPECT.search(text):
        return text
    guarded = _BEGINNING.sub(r"\1\2'", text)
    return f"'{guarded}" if _STARTS_BLANK.match(guarded) else guarded


def _line(cells: Iterable[str]) -> str:
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)
