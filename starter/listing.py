"""`headgate list` for people: a table that fits a terminal, or columns of whole texts where output is lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from starter.render import COLOURS, duration, plain
from starter.service import RequestRow

HEADS: Final = ("id", "state", "done", "age", "priority", "owner", "project")
_GAP: Final = 2
#: Without these a row would say nothing of a request.
_KEPT: Final = 3
_ID: Final = 16


def requests_table(rows: Sequence[RequestRow], width: int, now: datetime | None = None) -> Table:
    """One row a request in `width` cells: columns go from the right until the rest fits, and an id is folded, never cut."""
    cells = _cells(rows, now)
    shown = len(HEADS)
    while shown > _KEPT and _natural(cells, shown, max(_ID, width * 2 // 5)) > width:
        shown -= 1
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for head in HEADS[:shown]:
        table.add_column(
            head, no_wrap=head != "id", overflow="fold", justify="right" if head in ("done", "age") else "left"
        )
    for row in cells[1:]:
        state = Text(row[1], style=COLOURS.get(row[1], ""))
        table.add_row(Text(row[0]), state, *(Text(cell) for cell in row[2:shown]))
    return table


def requests_lines(rows: Sequence[RequestRow], now: datetime | None = None) -> list[str]:
    """The same in lines of any length: for a pipe, where nothing is cut."""
    cells = _cells(rows, now)
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(HEADS))]
    return [
        (" " * _GAP)
        .join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        .rstrip()
        for row in cells
    ]


def _cells(rows: Sequence[RequestRow], now: datetime | None) -> list[tuple[str, ...]]:
    now = now or datetime.now(UTC)
    body = [
        (
            row.id,
            row.state,
            f"{row.percent}%",
            duration(max(0.0, (now - datetime.fromisoformat(row.started_at)).total_seconds())),
            row.priority,
            plain(row.owner),
            plain(row.project),
        )
        for row in rows
    ]
    return [HEADS, *body]


def _natural(cells: Sequence[Sequence[str]], shown: int, longest_id: int) -> int:
    widths = [max(cell_len(row[column]) for row in cells) for column in range(shown)]
    return min(widths[0], longest_id) + sum(_GAP + width for width in widths[1:])
