"""Lanes that wait before a spreadsheet that others want, too, until it may take their call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from headgate.coming import Coming
from headgate.gates import Sheet
from headgate.messages.words import Kind
from headgate.quota import Spacing
from headgate.waiting import Lane


def free_at(lane: Lane, spacing: Spacing, t: int) -> int:
    """When from t on the spreadsheet takes the lane's next call; beside others the two kinds have their turns."""
    if len(spacing.wanted_by) == 1:
        return spacing.earliest(t, lane.who, lane.latency_p95_ns)
    return spacing.in_turn(t, lane.kind, lane.latency_p95_ns)


@dataclass(slots=True)
class Parking:
    """The spreadsheets before which lanes of one kind of call are parked; `other` are those of the other kind."""

    kind: Kind
    coming: Coming
    sheets: dict[str, Sheet] = field(default_factory=dict)
    other: Parking | None = None

    def park(self, lane: Lane, until: int, t: int) -> None:
        """The lane cannot call before `until`, as was found at t."""
        sheet = self.sheets.get(lane.spreadsheet)
        if sheet is None:
            sheet = self.sheets[lane.spreadsheet] = Sheet(lane.spreadsheet, self.coming.number())
            self.coming.sheets[sheet.number] = sheet
        lane.where = "parked"
        sheet.parked.append((lane.place, lane.version))
        self.coming.closed.append((t, sheet.number))
        if sheet.due_ns < 0 or until < sheet.due_ns:
            self.coming.look(sheet, until)

    def unpark(self, sheet: Sheet) -> Iterator[Lane]:
        """Every lane that is still parked before a spreadsheet; some of them are parked again meanwhile."""
        parked, sheet.parked = sheet.parked, []
        for place, version in parked:
            lane = self.coming.lanes.get(place)
            if lane is not None and lane.version == version and lane.where == "parked":
                lane.where = ""
                yield lane
        if not sheet.parked and sheet.due_ns < 0:
            del self.sheets[sheet.name], self.coming.sheets[sheet.number]

    def leave(self, lane: Lane) -> None:
        """The lane wants no more calls on its spreadsheet: others may come sooner than they thought, of either kind."""
        assert lane.spacing is not None
        freed = lane.spacing.leave(lane.who, self.kind)
        lane.spacing = None
        if freed:
            for parking in (self, self.other):
                if parking is not None and (sheet := parking.sheets.get(lane.spreadsheet)) is not None:
                    parking.coming.look(sheet, 0)

    def recheck(self, spreadsheet: str) -> None:
        """The spreadsheet may take a call earlier than was thought."""
        sheet = self.sheets.get(spreadsheet)
        if sheet is not None and sheet.parked:
            self.coming.look(sheet, 0)

    def recheck_all(self) -> None:
        """Every spreadsheet may take a call earlier than was thought."""
        for sheet in self.sheets.values():
            self.coming.look(sheet, 0)

    def clear(self) -> None:
        """Nobody is parked anywhere."""
        self.sheets = {}
