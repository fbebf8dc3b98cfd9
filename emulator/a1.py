"""A1 notation and grid boxes agree both ways.

Facts (reference: sheets, 2 and 8.1): a range is echoed bounded by its grid (`A1:C` -> `A1:C1000`), corners in order;
a title that is no plain word, or that reads like a cell, is quoted (`'D3'!A1`, but `Sheet1!A1`: six letters are no column).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

_CELL = re.compile(r"^\$?([A-Za-z]{1,3})?\$?([1-9][0-9]*)?$")
_PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_LIKE_CELL = re.compile(r"^([A-Za-z]{1,3}[0-9]+|[Rr][0-9]*([Cc][0-9]*)?|[Cc][0-9]*)$")


class Box(NamedTuple):
    """Half-open rows and columns; None is open-ended."""

    top: int | None = None
    bottom: int | None = None
    left: int | None = None
    right: int | None = None

    def bounded(self, rows: int, columns: int) -> Area:
        bottom = rows if self.bottom is None else min(self.bottom, rows)
        right = columns if self.right is None else min(self.right, columns)
        return Area(self.top or 0, bottom, self.left or 0, right)


class Area(NamedTuple):
    """Half-open rows and columns of a known grid."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return max(0, self.bottom - self.top)

    @property
    def width(self) -> int:
        return max(0, self.right - self.left)

    def overlaps(self, other: Area) -> bool:
        rows = self.top < other.bottom and other.top < self.bottom
        return rows and self.left < other.right and other.left < self.right

    def covers(self, other: Area) -> bool:
        rows = self.top <= other.top and other.bottom <= self.bottom
        return rows and self.left <= other.left and other.right <= self.right


def column_name(index: int) -> str:
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(65 + rest) + name
    return name


def column_index(name: str) -> int:
    index = 0
    for letter in name.upper():
        index = index * 26 + ord(letter) - 64
    return index - 1


def quoted(title: str) -> str:
    if _PLAIN.match(title) and not _LIKE_CELL.match(title):
        return title
    return "'" + title.replace("'", "''") + "'"


def text_of(title: str, area: Area) -> str:
    first = f"{column_name(area.left)}{area.top + 1}"
    if area.height == 1 and area.width == 1:
        return f"{quoted(title)}!{first}"
    return f"{quoted(title)}!{first}:{column_name(area.right - 1)}{area.bottom}"


def split(text: str) -> tuple[str | None, str | None, bool]:
    """(title, cells, whether the title was quoted); a text without `!` may be either, and is returned as cells."""
    if text.startswith("'"):
        match = re.match(r"^'((?:[^']|'')*)'(?:!(.*))?$", text, re.DOTALL)
        if match is None:
            return None, text, False
        return match[1].replace("''", "'"), match[2], True
    title, mark, cells = text.rpartition("!")
    return (title, cells, False) if mark else (None, text, False)


def parse_cells(text: str) -> Box | None:
    """`B2:D`, `3:4`, `A:A`, `C5`: a box; anything else: None."""
    first, colon, last = text.partition(":")
    one = _corner(first)
    if one is None:
        return None
    if not colon:
        if None in one:
            return None
        row, column = one
        assert row is not None
        assert column is not None
        return Box(row, row + 1, column, column + 1)
    two = _corner(last)
    if two is None:
        return None
    top, bottom = _span(one[0], two[0])
    left, right = _span(one[1], two[1])
    return Box(top, bottom, left, right)


def _corner(text: str) -> tuple[int | None, int | None] | None:
    match = _CELL.match(text.strip())
    if match is None or not (match[1] or match[2]):
        return None
    row = int(match[2]) - 1 if match[2] else None
    column = column_index(match[1]) if match[1] else None
    return row, column


def _span(one: int | None, two: int | None) -> tuple[int | None, int | None]:
    """`A1:C` is open below, `A5:A` starts at row 5, `D4:A1` is put in order."""
    if one is None and two is None:
        return None, None
    if one is None or two is None:
        return (one if one is not None else two), None
    return min(one, two), max(one, two) + 1


def from_grid_range(grid_range: dict[str, Any]) -> Box:
    def index(name: str) -> int | None:
        value = grid_range.get(name)
        return None if value is None else int(value)

    return Box(index("startRowIndex"), index("endRowIndex"), index("startColumnIndex"), index("endColumnIndex"))


def to_grid_range(sheet_id: int, box: Box | Area) -> dict[str, int]:
    """Without `sheetId` where it is 0, as Google's replies are (reference: sheets, 8.1)."""
    names = ("startRowIndex", "endRowIndex", "startColumnIndex", "endColumnIndex")
    given = {name: value for name, value in zip(names, box, strict=True) if value is not None}
    return {"sheetId": sheet_id, **given} if sheet_id else given
