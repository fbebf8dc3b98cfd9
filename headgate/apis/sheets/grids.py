"""How large each sheet's grid is at least, followed in the order of the lines, so that a write beyond it can make room first.

1. A size is what the look-up said, changed by what the lane itself has done since: what others add is not seen, and does no harm.
2. Rows that an append adds are not counted, since it may have filled empty ones: a grid may become larger than it had to.
3. A sheet of unknown size is left alone: the API says whether a write fits.

Source: reference/sheets.md section 2.1; a new sheet has 1000 x 26 cells (section 8.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headgate.apis.sheets import a1, merging
from headgate.apis.sheets.raw_requests import kind_of
from headgate.messages.requests import Operation

NEW_SHEET = (1_000, 26)
Size = tuple[int, int]
Json = dict[str, object]


@dataclass(slots=True)
class Grids:
    """Rows and columns of each sheet, by its id."""

    sizes: dict[int, Size] = field(default_factory=dict)

    def room_for(self, operation: Operation, sheet_id: int) -> list[Json]:
        """The sub-requests that make the grid reach as far as the operation writes; none where it does already."""
        known = self.sizes.get(sheet_id)
        if known is None:
            return []
        needed = _reach(operation)
        self.sizes[sheet_id] = (max(known[0], needed[0]), max(known[1], needed[1]))
        return [
            {"appendDimension": {"sheetId": sheet_id, "dimension": dimension, "length": wanted - there}}
            for dimension, wanted, there in zip(("ROWS", "COLUMNS"), needed, known, strict=True)
            if wanted > there
        ]

    def follow(self, request: Mapping[str, Any]) -> None:
        """A raw request changes what is known."""
        kind = kind_of(dict(request))
        body: dict[str, Any] = request[kind]
        match kind:
            case "addSheet":
                properties = body.get("properties") or {}
                grid = properties.get("gridProperties") or {}
                size = (_whole(grid.get("rowCount")) or NEW_SHEET[0], _whole(grid.get("columnCount")) or NEW_SHEET[1])
                self.sizes[_whole(properties.get("sheetId"))] = size
            case "duplicateSheet":
                copied = self.sizes.get(_whole(body.get("sourceSheetId")))
                if copied is not None:
                    self.sizes[_whole(body.get("newSheetId"))] = copied
            case "deleteSheet":
                self.sizes.pop(_whole(body.get("sheetId")), None)
            case "updateSheetProperties":
                self._updated(body)
            case "appendDimension":
                self._changed(_whole(body.get("sheetId")), body.get("dimension"), _whole(body.get("length")))
            case "insertDimension" | "deleteDimension":
                span = body.get("range") or {}
                length = _whole(span.get("endIndex")) - _whole(span.get("startIndex"))
                sign = 1 if kind == "insertDimension" else -1
                self._changed(_whole(span.get("sheetId")), span.get("dimension"), sign * length)

    def _updated(self, body: dict[str, Any]) -> None:
        properties = body.get("properties") or {}
        sheet_id = _whole(properties.get("sheetId"))
        grid = properties.get("gridProperties") or {}
        known = self.sizes.get(sheet_id)
        if known is not None and ("gridProperties" in str(body.get("fields")) or body.get("fields") == "*"):
            self.sizes[sheet_id] = (
                _whole(grid.get("rowCount")) or known[0],
                _whole(grid.get("columnCount")) or known[1],
            )

    def _changed(self, sheet_id: int, dimension: object, by: int) -> None:
        known = self.sizes.get(sheet_id)
        if known is not None:
            rows, columns = known
            self.sizes[sheet_id] = (rows, columns + by) if dimension == "COLUMNS" else (rows + by, columns)


def _reach(operation: Operation) -> Size:
    """How many rows and columns the grid needs for the operation (0: it does not say)."""
    area = a1.parse(operation.range)
    if operation.op == "clear":
        return area.bottom or 0, area.right or 0
    width = area.left + max(_widths(operation), default=0)
    if operation.op == "append":
        return 0, width
    return area.top + len(merging.rows_of(operation)), width


def _widths(operation: Operation) -> Iterator[int]:
    return (len(row) for row in merging.rows_of(operation))


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float | str) and value not in ("", True, False) else 0
