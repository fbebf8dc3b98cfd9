"""What a look-up of a spreadsheet's sheets taught: which id a title has, which sheet is first, how large each is.

Source: reference/sheets.md sections 2 and 4.11.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from headgate.message import Message
from headgate.messages.requests import Operation


class Sheet(Message):
    """One sheet; `rows` and `columns` are its grid (0: not told). A range without a title never means a hidden one."""

    sheet_id: int
    title: str
    index: int = 0
    rows: int = 0
    columns: int = 0
    hidden: bool = False


class Titles(Message):
    """The sheets of one spreadsheet, by rising index, as a look-up saw them; `grown` are sizes that the lane has changed since.

    `doubted`: a request about sheets failed on which planning had counted; `followed`: these are looked up behind such a failure,
    and kept up with what the lane has done since, so that they and not the plan say which sheet an operation means. `missing`
    are titles, folded, that an operation named and a look-up behind its failure has not found either.
    """

    sheets: tuple[Sheet, ...] = ()
    doubted: bool = False
    followed: bool = False
    missing: tuple[str, ...] = ()
    grown: dict[int, tuple[int, int]] = Field(default_factory=dict)

    def sizes(self) -> dict[int, tuple[int, int]]:
        """Rows and columns of the sheets' grids, where they are known."""
        told = {sheet.sheet_id: (sheet.rows, sheet.columns) for sheet in self.sheets if sheet.rows and sheet.columns}
        return told | self.grown

    def sheet_id(self, title: str, gone: tuple[int, ...] = ()) -> int | None:
        """The id of the sheet that has this title, in whatever case ("": the first visible one), passing over those in `gone`."""
        wanted = title.casefold()
        for sheet in self.sheets:
            if sheet.sheet_id not in gone and (sheet.title.casefold() == wanted if title else not sheet.hidden):
                return sheet.sheet_id
        return None


def titles_from(reply: object) -> Titles:
    """The sheets that the look-up's answer lists; what is not a grid sheet's properties is passed over."""
    sheets = []
    listed: Any = reply.get("sheets", []) if isinstance(reply, dict) else []
    for position, entry in enumerate(listed if isinstance(listed, list) else []):
        found = entry.get("properties") if isinstance(entry, dict) else None
        if not isinstance(found, dict) or not isinstance(found.get("title"), str):
            continue
        grid = found.get("gridProperties")
        grid = grid if isinstance(grid, dict) else {}
        sheets.append(
            Sheet(
                sheet_id=_int(found.get("sheetId")),
                title=found["title"],
                index=_int(found.get("index"), position),
                rows=_int(grid.get("rowCount")),
                columns=_int(grid.get("columnCount")),
                hidden=found.get("hidden") is True,
            )
        )
    return Titles(sheets=tuple(sorted(sheets, key=lambda sheet: sheet.index)))


def needs_titles(operation: Operation, form: str) -> bool:
    """The operation cannot be composed without a look-up."""
    return form == "fenced" and operation.op in ("append", "update", "clear") and operation.sheet_id is None


def _int(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) else default
