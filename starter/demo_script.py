"""What the demo asks for, and what the spreadsheets must hold afterwards if every operation took effect exactly once.

1. Every cell that is written holds its operation's id, so that the spreadsheets themselves can be counted.
2. An append leaves one row in `Log`; an update leaves one cell of `Table`, which its own lane clears again where it says so.
3. Two lines are bad on purpose: they, and nothing else, end as dead letters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

USERS: Final = ("alice", "bob", "carol", "dave", "erin", "frank")
SPREADSHEETS: Final = ("north", "south", "east", "west", "harbour", "airport", "station", "market")
TITLES: Final = ("Log", "Table")
BAD_LINES: Final = (
    '{"id": "bad-json", "op": "append", "spreadsheet": "north", ',
    '{"id": "bad-op", "op": "upsert", "spreadsheet": "north", "range": "Log!A:B", "values": [["never"]], "user": "alice"}',
)
OPERATIONS_PER_CALL: Final = 14
_COLUMNS: Final = "ABCDEF"
Cells = Mapping[str, list[list[object]]]


@dataclass
class Script:
    """The lines of the demo's request; `appended` and `cells` are what `found_in` compares spreadsheets with."""

    write_calls_a_lane: int = 3
    read_calls_a_lane: int = 2
    lines: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)
    appended: dict[str, list[str]] = field(default_factory=dict)
    cells: dict[str, dict[tuple[int, int], str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        writes = self.write_calls_a_lane * OPERATIONS_PER_CALL
        reads = self.read_calls_a_lane * OPERATIONS_PER_CALL
        for step in range(max(writes, reads)):
            for spreadsheet in SPREADSHEETS:
                for column, user in enumerate(USERS):
                    if step < writes:
                        self._write(spreadsheet, column, user, step)
                    if step < reads:
                        self._add(
                            f"{spreadsheet}-{user}-r{step}",
                            "read",
                            spreadsheet,
                            user,
                            range=f"Log!A{step + 1}:B{step + 9}",
                        )
        self.lines[len(self.lines) // 3 : len(self.lines) // 3] = BAD_LINES[:1]
        self.lines.append(BAD_LINES[1])

    @property
    def body(self) -> Iterator[bytes]:
        """The file that a person would have written."""
        yield from (line.encode() + b"\n" for line in self.lines)

    def _write(self, spreadsheet: str, column: int, user: str, step: int) -> None:
        name = f"{spreadsheet}-{user}-w{step}"
        row = step + 1
        cells = self.cells.setdefault(spreadsheet, {})
        match step % 7:
            case 0 | 1 | 2 | 4:
                self._add(name, "append", spreadsheet, user, range="Log!A:B", values=[[name, step]])
                self.appended.setdefault(spreadsheet, []).append(name)
            case 3 | 5:
                self._add(name, "update", spreadsheet, user, range=f"Table!{_COLUMNS[column]}{row}", values=[[name]])
                cells[row, column] = name
            case _ if step == 6:
                title = {
                    "updateSpreadsheetProperties": {"properties": {"title": f"Demo {spreadsheet}"}, "fields": "title"}
                }
                self._add(name, "request", spreadsheet, user, request=title)
            case _:
                self._add(name, "clear", spreadsheet, user, range=f"Table!{_COLUMNS[column]}{row - 1}")
                cells[row - 1, column] = None

    def _add(self, name: str, op: str, spreadsheet: str, user: str, **fields: object) -> None:
        self.lines.append(json.dumps({"id": name, "op": op, "spreadsheet": spreadsheet, **fields, "user": user}))
        self.good.append(name)

    def found_in(self, spreadsheets: Mapping[str, Cells]) -> Count:
        """How often each write is found, counted cell by cell."""
        count = Count()
        for spreadsheet in SPREADSHEETS:
            sheets = spreadsheets.get(spreadsheet, {})
            rows = [str(row[0]) for row in sheets.get("Log", []) if row and row[0] is not None]
            expected = self.appended.get(spreadsheet, [])
            count.right += len(set(rows) & set(expected))
            count.lost += len(set(expected) - set(rows))
            count.doubled += len(rows) - len(set(rows))
            count.strange += len(set(rows) - set(expected))
            for (row, column), name in self.cells.get(spreadsheet, {}).items():
                right = _cell(sheets.get("Table", []), row - 1, column) == name
                count.right += right
                count.lost += not right
        return count


@dataclass
class Count:
    """Writes found once, not at all, more than once; and rows that nobody asked for."""

    right: int = 0
    lost: int = 0
    doubled: int = 0
    strange: int = 0

    @property
    def exact(self) -> bool:
        return not (self.lost or self.doubled or self.strange)


def _cell(rows: list[list[object]], row: int, column: int) -> object:
    """The cell's value; None where it is empty or beyond what is filled."""
    value = rows[row][column] if row < len(rows) and column < len(rows[row]) else None
    return None if value == "" else value
