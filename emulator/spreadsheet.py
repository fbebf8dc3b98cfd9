"""A spreadsheet is forked for every write and replaced when the write holds: all of a call applies, or nothing.

Facts (reference: sheets, 2.2, 3, 8.1): ids of sheets and named ranges are chosen by the client or drawn here, and a taken one is
refused; the first sheet is `Sheet1` with id 0 and 1000 x 26 cells; ten million cells are the most a spreadsheet holds.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from emulator import a1
from emulator.a1 import Area, Box
from emulator.errors import Json, invalid
from emulator.grid import Sheet

MAX_CELLS = 10_000_000


class NamedRange(NamedTuple):
    named_range_id: str
    name: str
    sheet_id: int
    box: Box


class Located(NamedTuple):
    """Where a range text points: a sheet, and a box of it."""

    sheet: Sheet
    box: Box
    text: str

    @property
    def area(self) -> Area:
        """The box inside the grid; a box that starts beyond it is refused."""
        sheet = self.sheet
        area = self.box.bounded(sheet.row_count, sheet.column_count)
        if area.top >= sheet.row_count or area.left >= sheet.column_count:
            raise self.beyond()
        return area

    @property
    def strict_area(self) -> Area:
        """As `area`, for a write: no part of the box may lie beyond the grid."""
        sheet, box = self.sheet, self.box
        if (box.bottom or 0) > sheet.row_count or (box.right or 0) > sheet.column_count:
            raise self.beyond()
        return self.area

    def beyond(self) -> Exception:
        sheet, box = self.sheet, self.box
        whole = Area(box.top or 0, box.bottom or sheet.row_count, box.left or 0, box.right or sheet.column_count)
        return invalid(
            f"Range ({a1.text_of(sheet.title, whole)}) exceeds grid limits. "
            f"Max rows: {sheet.row_count}, max columns: {sheet.column_count}"
        )


def metadata_size(entry: Json) -> int:
    """What an entry counts against the budget."""
    return len(entry["metadataKey"]) + len(entry.get("metadataValue", ""))


class Spreadsheet:
    """Sheets in order, named ranges, developer metadata."""

    def __init__(self, spreadsheet_id: str, title: str, created_at: float, seed: int = 0) -> None:
        self.spreadsheet_id = spreadsheet_id
        self.properties: Json = {
            "title": title,
            "locale": "en_US",
            "autoRecalc": "ON_CHANGE",
            "timeZone": "Etc/GMT",
        }
        self.sheets: list[Sheet] = [Sheet(0, "Sheet1")]
        self.named_ranges: dict[str, NamedRange] = {}
        self.metadata: dict[int, Json] = {}
        self.metadata_chars = 0
        self.private = False
        self.created_at = created_at
        self.modified_at = created_at
        self._random = random.Random(f"{seed}/{spreadsheet_id}")
        self._own: set[int] = set()

    def fork(self) -> Spreadsheet:
        draft = Spreadsheet.__new__(Spreadsheet)
        draft.__dict__.update(self.__dict__)
        draft.properties = dict(self.properties)
        draft.sheets = self.sheets.copy()
        draft.named_ranges = dict(self.named_ranges)
        draft.metadata = dict(self.metadata)
        draft._own = set()
        return draft

    def sheet(self, sheet_id: int | None) -> Sheet:
        wanted = int(sheet_id or 0)
        for sheet in self.sheets:
            if sheet.sheet_id == wanted:
                return sheet
        raise invalid(f"No grid with id: {wanted}")

    def edit(self, sheet_id: int | None) -> Sheet:
        """The draft's own copy of a sheet; only a draft may be edited."""
        sheet = self.sheet(sheet_id)
        if sheet.sheet_id in self._own:
            return sheet
        own = sheet.fork()
        self.sheets[self.sheets.index(sheet)] = own
        self._own.add(own.sheet_id)
        return own

    def add(self, sheet: Sheet, index: int | None) -> None:
        if any(other.sheet_id == sheet.sheet_id for other in self.sheets):
            raise invalid(f"Sheet with ID {sheet.sheet_id} already exists.")
        self.check_title(sheet.title)
        self.check_cells(sheet.cells)
        self._own.add(sheet.sheet_id)
        self.sheets.insert(len(self.sheets) if index is None else index, sheet)

    def remove(self, sheet_id: int) -> None:
        sheet = self.sheet(sheet_id)
        if not any(other is not sheet and not other.properties.get("hidden") for other in self.sheets):
            raise invalid("You can't remove all the sheets in a document.")
        self.sheets.remove(sheet)
        self.named_ranges = {i: n for i, n in self.named_ranges.items() if n.sheet_id != sheet_id}

    def check_title(self, title: str, but: Sheet | None = None) -> None:
        if any(s.title.casefold() == title.casefold() and s is not but for s in self.sheets):
            raise invalid(f'A sheet with the name "{title}" already exists. Please enter another name.')

    def check_cells(self, more: int) -> None:
        if sum(sheet.cells for sheet in self.sheets) + more > MAX_CELLS:
            raise invalid(
                f"This action would increase the number of cells in the workbook above the limit of {MAX_CELLS} cells."
            )

    def put_metadata(self, entry: Json) -> None:
        """Adds or replaces an entry of developer metadata, and keeps count of all their characters."""
        self.drop_metadata(entry["metadataId"])
        self.metadata[entry["metadataId"]] = entry
        self.metadata_chars += metadata_size(entry)

    def drop_metadata(self, metadata_id: int) -> None:
        entry = self.metadata.pop(metadata_id, None)
        if entry is not None:
            self.metadata_chars -= metadata_size(entry)

    def draw_id(self) -> int:
        return self._random.randrange(1, 2**31 - 1)

    def locate(self, text: str) -> Located:
        """What a range text means: `Title!A1:B2`, `'Title'`, `A1:B2` on the first visible sheet, a named range."""
        title, cells, is_title = a1.split(text)
        if title is not None:
            sheet = self._titled(title)
            if sheet is None:
                raise invalid(f"Unable to parse range: {text}")
            if cells is None:
                return Located(sheet, Box(), text)
            box = a1.parse_cells(cells)
            if box is not None:
                return Located(sheet, box, text)
            named = self._named(cells)
            if named is not None and named.sheet_id == sheet.sheet_id:
                return Located(sheet, named.box, text)
            raise invalid(f"Unable to parse range: {text}")
        assert cells is not None
        box = None if is_title else a1.parse_cells(cells)
        if box is not None:
            visible = (sheet for sheet in self.sheets if not sheet.properties.get("hidden"))
            return Located(next(visible), box, text)
        titled = self._titled(cells)
        if titled is not None:
            return Located(titled, Box(), text)
        named = self._named(cells)
        if named is None:
            raise invalid(f"Unable to parse range: {text}")
        return Located(self.sheet(named.sheet_id), named.box, text)

    def locate_grid_range(self, grid_range: Json) -> Located:
        sheet = self.sheet(grid_range.get("sheetId"))
        return Located(sheet, a1.from_grid_range(grid_range), sheet.title)

    def _titled(self, title: str) -> Sheet | None:
        for sheet in self.sheets:
            if sheet.title == title:
                return sheet
        folded = title.casefold()
        return next((sheet for sheet in self.sheets if sheet.title.casefold() == folded), None)

    def _named(self, name: str) -> NamedRange | None:
        return next((named for named in self.named_ranges.values() if named.name == name), None)
