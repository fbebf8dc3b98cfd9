"""A sheet is a sparse grid whose rows are never changed in place, so that a fork of it costs one list.

A write replaces the rows that it touches (copy on write); `Sheet.fork` copies the list of rows, not the rows. A batch that
is refused half way is dropped with its forks (reference: sheets, 2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from emulator.a1 import Area
from emulator.errors import Json, invalid

MAX_CELL_CHARS = 50_000


class Formula(NamedTuple):
    """The text of a formula, with its `=`."""

    text: str


Value = str | bool | int | float | Formula


class Cell:
    """What a user entered, and everything else there is to a cell; never changed once it is in a row."""

    __slots__ = ("extra", "value")

    def __init__(self, value: Value | None = None, extra: Json | None = None) -> None:
        self.value = value
        self.extra = extra or None

    @property
    def empty(self) -> bool:
        return self.value is None and self.extra is None

    def with_value(self, value: Value | None) -> Cell:
        return Cell(value, self.extra)


Row = Mapping[int, Cell]
NO_ROW: Row = {}
NO_CELL = Cell()


class Dimension(NamedTuple):
    """Rows or columns `start` to `end`, half-open."""

    rows: bool
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


def inserted(span: tuple[int, int], at: int, count: int) -> tuple[int, int]:
    start, end = span
    return (start + count if start >= at else start), (end + count if end > at else end)


def deleted(span: tuple[int, int], gone: Dimension) -> tuple[int, int] | None:
    """The span without the rows or columns that are gone; None where nothing of it is left."""

    def left(index: int) -> int:
        return index - max(0, min(index, gone.end) - gone.start)

    start, end = left(span[0]), left(span[1])
    return (start, end) if end > start else None


Shift = Callable[[tuple[int, int]], tuple[int, int] | None]


def shifted(area: Area, rows: bool, shift: Shift) -> Area | None:
    span = shift((area.top, area.bottom) if rows else (area.left, area.right))
    if span is None:
        return None
    return Area(*span, area.left, area.right) if rows else Area(area.top, area.bottom, *span)


class Sheet:
    """One grid with its properties, merges, groups, filters and protected ranges."""

    def __init__(self, sheet_id: int, title: str, row_count: int = 1000, column_count: int = 26) -> None:
        self.sheet_id = sheet_id
        self.title = title
        self.row_count = row_count
        self.column_count = column_count
        self.properties: Json = {}
        self.grid_properties: Json = {}
        self.rows: list[Row] = []
        self.merges: list[Area] = []
        self.protected: dict[int, Json] = {}
        self.basic_filter: Json | None = None
        self.row_sizes: dict[int, Json] = {}
        self.column_sizes: dict[int, Json] = {}
        self.groups: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
        self.opaque: dict[str, list[Json]] = {}
        self.table: Area | None = None

    def fork(self) -> Sheet:
        sheet = Sheet.__new__(Sheet)
        sheet.__dict__.update(self.__dict__)
        sheet.properties = dict(self.properties)
        sheet.grid_properties = dict(self.grid_properties)
        sheet.rows = self.rows.copy()
        sheet.merges = self.merges.copy()
        sheet.protected = dict(self.protected)
        sheet.row_sizes = dict(self.row_sizes)
        sheet.column_sizes = dict(self.column_sizes)
        sheet.groups = {rows: spans.copy() for rows, spans in self.groups.items()}
        sheet.opaque = {kind: entries.copy() for kind, entries in self.opaque.items()}
        return sheet

    @property
    def cells(self) -> int:
        return self.row_count * self.column_count

    @property
    def whole(self) -> Area:
        return Area(0, self.row_count, 0, self.column_count)

    def row(self, index: int) -> Row:
        return self.rows[index] if index < len(self.rows) else NO_ROW

    def cell(self, row: int, column: int) -> Cell:
        return self.row(row).get(column, NO_CELL)

    def write(self, index: int, cells: Mapping[int, Cell]) -> None:
        """Replaces these cells of one row; an empty cell is taken out."""
        self.table = None
        row = {**self.row(index), **cells}
        if any(cell.empty for cell in cells.values()):
            row = {column: cell for column, cell in row.items() if not cell.empty}
        self.put_row(index, row)

    def put_row(self, index: int, row: Row) -> None:
        self.table = None
        if index >= len(self.rows):
            if not row:
                return
            self.rows.extend([NO_ROW] * (index + 1 - len(self.rows)))
        self.rows[index] = row
        self.trim()

    def trim(self) -> None:
        while self.rows and not self.rows[-1]:
            self.rows.pop()

    def change(self, area: Area, change: Callable[[Cell, int, int], Cell]) -> None:
        """Replaces every cell of an area by what `change(cell, row, column)` makes of it."""
        for index in range(area.top, area.bottom):
            row = self.row(index)
            self.write(
                index,
                {column: change(row.get(column, NO_CELL), index, column) for column in range(area.left, area.right)},
            )

    def clear_values(self, area: Area) -> None:
        for index in range(area.top, min(area.bottom, len(self.rows))):
            row = self.rows[index]
            gone = {
                column: cell.with_value(None)
                for column, cell in row.items()
                if cell.value is not None and area.left <= column < area.right
            }
            if gone:
                # trimmed at the end, so that the loop's bounds hold
                kept = {**row, **gone}
                self.rows[index] = {column: cell for column, cell in kept.items() if not cell.empty}
        self.table = None
        self.trim()

    def last_row_with_value(self) -> int:
        """The index of the last row that holds a value, or -1."""
        for index in range(len(self.rows) - 1, -1, -1):
            if any(cell.value is not None for cell in self.rows[index].values()):
                return index
        return -1

    def resize(self, row_count: int, column_count: int) -> None:
        if row_count < 1 or column_count < 1:
            raise invalid("You can't delete all the rows on the sheet.")
        self.table = None
        narrower = column_count < self.column_count
        del self.rows[row_count:]
        if narrower:
            self.rows = [{column: cell for column, cell in row.items() if column < column_count} for row in self.rows]
        self.row_count, self.column_count = row_count, column_count
        clipped = (
            area._replace(bottom=min(area.bottom, row_count), right=min(area.right, column_count))
            for area in self.merges
        )
        self.merges = [area for area in clipped if area.height and area.width]
        self.trim()

    def insert(self, where: Dimension) -> None:
        self.table = None
        if where.rows:
            self.row_count += where.size
            if where.start < len(self.rows):
                self.rows[where.start : where.start] = [NO_ROW] * where.size
        else:
            self.column_count += where.size
            self.rows = [
                {(c + where.size if c >= where.start else c): cell for c, cell in row.items()} for row in self.rows
            ]
        self._shift(where.rows, lambda span: inserted(span, where.start, where.size))

    def delete(self, where: Dimension) -> None:
        self.table = None
        if where.rows:
            self.row_count -= where.size
            del self.rows[where.start : where.end]
        else:
            self.column_count -= where.size
            self.rows = [
                {
                    (c - where.size if c >= where.end else c): cell
                    for c, cell in row.items()
                    if not where.start <= c < where.end
                }
                for row in self.rows
            ]
        self.trim()
        self._shift(where.rows, lambda span: deleted(span, where))

    def move(self, where: Dimension, to: int) -> None:
        """Moves rows or columns; `to` counts as before the move."""
        self.table = None
        if where.rows:
            self.rows.extend([NO_ROW] * (max(where.end, to) - len(self.rows)))
            moved = self.rows[where.start : where.end]
            del self.rows[where.start : where.end]
            at = to - where.size if to > where.start else to
            self.rows[at:at] = moved
            self.trim()
            return
        order = list(range(self.column_count))
        moved_columns = order[where.start : where.end]
        del order[where.start : where.end]
        at = to - where.size if to > where.start else to
        order[at:at] = moved_columns
        place = {old: new for new, old in enumerate(order)}
        self.rows = [{place[c]: cell for c, cell in row.items()} for row in self.rows]

    def _shift(self, rows: bool, shift: Shift) -> None:
        merges = (shifted(area, rows, shift) for area in self.merges)
        self.merges = [area for area in merges if area is not None]
        sizes = self.row_sizes if rows else self.column_sizes
        moved = {}
        for index, size in sizes.items():
            span = shift((index, index + 1))
            if span is not None:
                moved[span[0]] = size
        if rows:
            self.row_sizes = moved
        else:
            self.column_sizes = moved
        spans = ((shift((start, end)), depth) for start, end, depth in self.groups[rows])
        self.groups[rows] = [(*span, depth) for span, depth in spans if span is not None]


def check_length(value: Value | None) -> None:
    text = value.text if isinstance(value, Formula) else value
    if isinstance(text, str) and len(text) > MAX_CELL_CHARS:
        raise invalid(f"Your input contains more than the maximum of {MAX_CELL_CHARS} characters in a single cell.")
