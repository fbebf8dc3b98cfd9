"""An append finds the table that the last value of its range belongs to, and goes below it.

Facts (reference: sheets, 4.3 and 8.1): on the range `Sheet1`, with values in A1 and C1 alone, the table is C1 and the row goes to
C2:E2; on the range `Sheet1!A1` it is A1. Where the range holds no value there is no table, and the row goes to its first cell.
"""

from __future__ import annotations

from emulator.a1 import Area
from emulator.grid import Row, Sheet


def find(sheet: Sheet, within: Area) -> Area | None:
    """The block of touching values around the last value inside `within`, or None."""
    seed = _last_value(sheet, within)
    if seed is None:
        return None
    known = sheet.table
    if known is not None and seed[0] == known.bottom - 1 and known.left <= seed[1] < known.right:
        return known
    return _grown(sheet, Area(seed[0], seed[0] + 1, seed[1], seed[1] + 1))


def remember(sheet: Sheet, table: Area | None, written: Area) -> None:
    """Keeps a table that an append made longer, so that the next append need not scan it again.

    Only where its last row is full: from there a fresh look finds the same table, from a row with gaps it may find less.
    """
    if table is None or written.top != table.bottom or len(sheet.rows) > written.bottom:
        return
    grown = table._replace(bottom=written.bottom)
    narrow = grown.left <= written.left and written.right <= grown.right
    joined = all(_has(sheet.row(index), grown.left, grown.right) for index in range(written.top, written.bottom))
    last = sheet.row(written.bottom - 1)
    full = all(_has(last, column, column + 1) for column in range(grown.left, grown.right))
    if narrow and joined and full and _closed(sheet, grown, written.top):
        sheet.table = grown


def _closed(sheet: Sheet, table: Area, first_row: int) -> bool:
    """Whether nothing touches the table beside its rows from `first_row` on."""
    top = max(0, first_row - 1 if first_row > table.top else first_row)
    return not any(
        _has(sheet.row(index), table.left - 1, table.left) or _has(sheet.row(index), table.right, table.right + 1)
        for index in range(top, table.bottom + 1)
    )


def _last_value(sheet: Sheet, within: Area) -> tuple[int, int] | None:
    for index in range(min(within.bottom, len(sheet.rows)) - 1, within.top - 1, -1):
        columns = [
            column
            for column, cell in sheet.rows[index].items()
            if within.left <= column < within.right and cell.value is not None
        ]
        if columns:
            return index, max(columns)
    return None


def _grown(sheet: Sheet, table: Area) -> Area:
    top, bottom, left, right = table
    while True:
        before = (top, bottom, left, right)
        while top > 0 and _has(sheet.row(top - 1), left - 1, right + 1):
            top -= 1
        while bottom < len(sheet.rows) and _has(sheet.row(bottom), left - 1, right + 1):
            bottom += 1
        first, last = max(0, top - 1), bottom + 1
        while left > 0 and any(_has(sheet.row(i), left - 1, left) for i in range(first, last)):
            left -= 1
        while any(_has(sheet.row(i), right, right + 1) for i in range(first, last)):
            right += 1
        if before == (top, bottom, left, right):
            return Area(*before)


def _has(row: Row, left: int, right: int) -> bool:
    if len(row) <= right - left:
        return any(left <= column < right and cell.value is not None for column, cell in row.items())
    cells = (row.get(column) for column in range(left, right))
    return any(cell is not None and cell.value is not None for cell in cells)
