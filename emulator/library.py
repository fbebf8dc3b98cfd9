"""The spreadsheets that exist; a write replaces one as a whole when it held."""

from __future__ import annotations

import hashlib
import time

from emulator.errors import Json, forbidden, not_found
from emulator.rendering import entered_text
from emulator.settings import EmulatorSettings
from emulator.spreadsheet import Spreadsheet


class Library:
    """Spreadsheets by id. A new id is drawn from the seed; a caller may bring its own."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self._seed = settings.seed
        self._create_missing = settings.create_missing
        self._initial = tuple(settings.spreadsheets)
        self.reset()

    def reset(self) -> None:
        self.spreadsheets: dict[str, Spreadsheet] = {}
        self._created = 0
        for spreadsheet_id in self._initial:
            self.create(spreadsheet_id, spreadsheet_id)

    def create(self, spreadsheet_id: str | None, title: str) -> Spreadsheet:
        self._created += 1
        if not spreadsheet_id:
            spreadsheet_id = hashlib.sha256(f"{self._seed}/{self._created}".encode()).hexdigest()[:44]
        spreadsheet = Spreadsheet(spreadsheet_id, title, time.time(), self._seed)
        self.spreadsheets[spreadsheet_id] = spreadsheet
        return spreadsheet

    def get(self, spreadsheet_id: str) -> Spreadsheet:
        """The spreadsheet; an unknown id is Google's 404, or is created on first touch where settings say so."""
        spreadsheet = self.spreadsheets.get(spreadsheet_id)
        if spreadsheet is None:
            if not self._create_missing:
                raise not_found()
            return self.create(spreadsheet_id, spreadsheet_id)
        if spreadsheet.private:
            raise forbidden()
        return spreadsheet

    def put(self, spreadsheet: Spreadsheet) -> None:
        spreadsheet.modified_at = time.time()
        self.spreadsheets[spreadsheet.spreadsheet_id] = spreadsheet

    def delete(self, spreadsheet_id: str) -> None:
        if self.spreadsheets.pop(spreadsheet_id, None) is None:
            raise not_found()

    def shown(self, spreadsheet_id: str) -> Json:
        """Every cell as it was entered: title -> rows."""
        spreadsheet = self.spreadsheets.get(spreadsheet_id)
        if spreadsheet is None:
            raise not_found()
        return {
            sheet.title: [
                [
                    entered_text(row[column].value) if column in row else None
                    for column in range(max(row, default=-1) + 1)
                ]
                for row in sheet.rows
            ]
            for sheet in spreadsheet.sheets
        }
