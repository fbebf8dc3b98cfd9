"""A1 notation as a value: parse, format, contain, overlap.

1. Rows and columns count from 0; starts are inclusive, ends exclusive, and an end of None is open.
2. A text without `!` that reads as cells means the first sheet (title ""); any other text is a title (or a named range).
3. A cell written without a colon is an anchor: values written there may reach beyond it.

Source: reference/sheets.md section 4; limits from section 1.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

LAST_COLUMN = 18_278
LAST_ROW = 10_000_000
MOST_CELLS = 10_000_000

_CELL = re.compile(r"\$?([A-Za-z]+)\$?([0-9]+)")
_COLUMN = re.compile(r"\$?([A-Za-z]+)")
_ROW = re.compile(r"\$?([0-9]+)")
_PLAIN_TITLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIKE_A_CELL = re.compile(r"[A-Za-z]{1,3}[0-9]+|[Rr][0-9]*[Cc][0-9]*|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class GridRange:
    """A rectangle of one sheet; `whole` when the text named no cells at all (a title, or perhaps a named range)."""

    title: str = ""
    top: int = 0
    left: int = 0
    bottom: int | None = None
    right: int | None = None
    anchor: bool = False
    whole: bool = False

    @property
    def height(self) -> int | None:
        """Rows; None when open-ended."""
        return None if self.bottom is None else self.bottom - self.top

    @property
    def width(self) -> int | None:
        """Columns; None when open-ended."""
        return None if self.right is None else self.right - self.left

    @property
    def cells(self) -> int | None:
        """Cells; None when open-ended."""
        return None if self.height is None or self.width is None else self.height * self.width

    def contains(self, other: GridRange) -> bool:
        """Every cell of `other` is one of these; never said of a `whole` other, which may be a named range."""
        if self.title != other.title and self.title.casefold() != other.title.casefold():
            return False
        if other.whole or self.whole:
            return self == other
        return (
            self.top <= other.top
            and self.left <= other.left
            and _reaches(self.bottom, other.bottom)
            and _reaches(self.right, other.right)
        )

    def overlaps(self, other: GridRange) -> bool:
        """Some cell may be in both: the same sheet is certain for equal titles, and possible when only one has a title."""
        if self.title and other.title and self.title.casefold() != other.title.casefold():
            return self.whole or other.whole
        return (
            _before(self.top, other.bottom)
            and _before(other.top, self.bottom)
            and _before(self.left, other.right)
            and _before(other.left, self.right)
        )


def _reaches(end: int | None, other: int | None) -> bool:
    return end is None or (other is not None and other <= end)


def _before(start: int, end: int | None) -> bool:
    return end is None or start < end


@lru_cache(maxsize=8_192)
def parse(text: str) -> GridRange:
    """The range that the text names. Raises ValueError with one sentence that says what is wrong with it."""
    stripped = text.strip()
    if not stripped:
        raise ValueError("the range is empty; write one such as Orders!A1:C10")
    if _CONTROL.search(stripped):
        raise ValueError("the range holds a control character; write one such as Orders!A1:C10")
    title, cells = _split(stripped)
    if cells is not None:
        return _cells(title, cells, text)
    if title == stripped and (_reads_as_cells(title) or ":" in title):
        return _cells("", title, text)
    return GridRange(title, whole=True)


def _split(text: str) -> tuple[str, str | None]:
    """The title, unquoted, and what stands behind the `!` (None without one)."""
    if text.startswith("'"):
        end = 1
        while True:
            end = text.find("'", end)
            if end < 0:
                raise ValueError(f"the range {_shown(text)} opens a quote that it does not close")
            if text[end + 1 : end + 2] != "'":
                break
            end += 2
        title, rest = text[1:end].replace("''", "'"), text[end + 1 :]
        if not title:
            raise ValueError(f"the range {_shown(text)} names an empty sheet title; name the sheet")
        if not rest:
            return title, None
        if not rest.startswith("!"):
            raise ValueError(f"the range {_shown(text)} needs a ! between the sheet's title and the cells")
        return title, rest[1:]
    title, found, rest = text.rpartition("!")
    if not found:
        return text, None
    if not title or "!" in title:
        raise ValueError(f"the range {_shown(text)} cannot be read; quote the sheet's title: 'Title'!A1:C10")
    return title, rest


def _reads_as_cells(text: str) -> bool:
    found = _CELL.fullmatch(text)
    return found is not None and len(found[1]) <= 3


def _cells(title: str, cells: str, text: str) -> GridRange:
    first, colon, second = cells.partition(":")
    start, end = _corner(first, text), _corner(second if colon else first, text)
    if not colon and None in start:
        raise ValueError(f"the range {_shown(text)} cannot be read as A1 notation; write one such as Orders!A1:C10")
    top, bottom = _span(start[1], end[1], LAST_ROW)
    left, right = _span(start[0], end[0], LAST_COLUMN)
    if bottom is None and right is None:
        raise ValueError(f"the range {_shown(text)} is open both ways; name the sheet alone, or close one side")
    area = GridRange(title, top, left, bottom, right, anchor=not colon)
    if area.cells is not None and area.cells > MOST_CELLS:
        raise ValueError(f"the range {_shown(text)} has {area.cells:,} cells, more than a spreadsheet's {MOST_CELLS:,}")
    return area


def _span(one: int | None, other: int | None, last: int) -> tuple[int, int | None]:
    """From where to where (exclusive) along one axis; what one side leaves out is open at the end."""
    if one is None or other is None:
        return (one if one is not None else other if other is not None else 1) - 1, None
    return min(one, other) - 1, max(one, other)


def _corner(text: str, whole: str) -> tuple[int | None, int | None]:
    """Column and row, counted from 1; None for what the corner leaves out."""
    column: int | None = None
    row: int | None = None
    if found := _CELL.fullmatch(text):
        column, row = _column_number(found[1]), _row_number(found[2])
    elif found := _COLUMN.fullmatch(text):
        column = _column_number(found[1])
    elif found := _ROW.fullmatch(text):
        row = _row_number(found[1])
    else:
        raise ValueError(f"the range {_shown(whole)} cannot be read as A1 notation; write one such as Orders!A1:C10")
    if column is not None and column > LAST_COLUMN:
        raise ValueError(f"the range {_shown(whole)} reaches beyond the last column, ZZZ")
    if row == 0:
        raise ValueError(f"the range {_shown(whole)} names row 0; rows count from 1")
    if row is not None and row > LAST_ROW:
        raise ValueError(f"the range {_shown(whole)} reaches beyond row {LAST_ROW:,}")
    return column, row


def _row_number(digits: str) -> int:
    return int(digits[:12]) if len(digits) > 12 else int(digits)


def _column_number(letters: str) -> int:
    if len(letters) > 3:
        return LAST_COLUMN + 1
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number


def column_letters(column: int) -> str:
    """The letters of a column counted from 0: 0 is A, 25 is Z, 26 is AA."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def format_title(title: str) -> str:
    """The title as a range names it: quoted unless it is a plain word that no reader can take for cells."""
    if _PLAIN_TITLE.fullmatch(title) and not _LIKE_A_CELL.fullmatch(title):
        return title
    return "'" + title.replace("'", "''") + "'"


def format_range(area: GridRange) -> str:
    """The canonical text: `parse(format_range(r)) == r` for everything that `parse` returns."""
    if area.whole:
        return format_title(area.title)
    front = f"{format_title(area.title)}!" if area.title else ""
    left = column_letters(area.left)
    top = str(area.top + 1)
    if area.anchor:
        return f"{front}{left}{top}"
    if area.bottom is None:
        right = column_letters((area.right or LAST_COLUMN) - 1)
        return f"{front}{left}:{right}" if area.top == 0 else f"{front}{left}{top}:{right}"
    if area.right is None:
        return f"{front}{top}:{area.bottom}" if area.left == 0 else f"{front}{left}{top}:{area.bottom}"
    return f"{front}{left}{top}:{column_letters(area.right - 1)}{area.bottom}"


@lru_cache(maxsize=8_192)
def canonical(text: str) -> str:
    """The one text for everything that means the same range. Raises ValueError as `parse` does."""
    return format_range(parse(text))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
