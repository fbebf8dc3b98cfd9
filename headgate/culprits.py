"""Which operations a refusal is about, as far as its text tells.

1. A refusal that names a sub-request is about the operations that this one stands for.
2. Some refusals are about more than they name: a sheet that is gone, a spreadsheet that is full. Those that would be
   refused alike are named at once, because asking for each costs a call. What stands before the named one was good.

Source: reference/sheets.md sections 1.4 and 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from headgate.apis.sheets.raw_requests import kind_of
from headgate.apis.sheets.reads import refused_alike
from headgate.apis.sheets.replies import Refused
from headgate.apis.sheets.sheet_names import about_sheets
from headgate.messages.requests import Operation, PlannedBatch
from headgate.parts import Part

_DEAD_SHEET = re.compile(r"No grid with id:? *(\d{1,10})", re.IGNORECASE)
_FULL = re.compile(r"above the limit of \d+ cells", re.IGNORECASE)
#: Raw requests that make a grid larger.
_GROWING = frozenset(
    ["addSheet", "duplicateSheet", "appendCells", "appendDimension", "insertDimension", "insertRange", "pasteData"]
)


@dataclass(frozen=True, slots=True)
class Suspects:
    """Neighbours of a part (positions in the batch) among whom a culprit is; with `each` all of them are."""

    members: tuple[int, ...]
    each: bool = False


def suspects_of(part: Part, batch: PlannedBatch, reply: Refused) -> Suspects | None:
    """Whom the refusal is about: the whole part if it names nobody, None if it is about the sweeping."""
    named = part.members
    if reply.index is not None and reply.index < len(part.owners):
        named = part.owners[reply.index]
        if not named:
            return Suspects(part.members, each=True) if reply.index == 0 else None
    elif reply.range:
        operations = [batch.operations[member] for member in part.members]
        alike = tuple(part.members[place] for place in refused_alike(operations, reply.range, reply.reason))
        if alike:
            return Suspects(alike, each=True)
    alike = tuple(_alike(part, batch, reply.reason, named[0]))
    if alike:
        at_fault = {*alike, *(named if len(named) == 1 else ())}
        return Suspects(tuple(member for member in part.members if member in at_fault), each=True)
    return Suspects(named, each=len(named) == 1)


def gone_by_title(part: Part, batch: PlannedBatch, suspects: Suspects, reply: Refused) -> bool:
    """The refusal is about a sheet that an operation named by its title: the title may have another id by now."""
    dead = _DEAD_SHEET.search(reply.reason)
    return dead is not None and any(
        batch.operations[member].op != "request" and part.sheets.get(member) == int(dead[1])
        for member in suspects.members
    )


def _alike(part: Part, batch: PlannedBatch, reason: str, first: int) -> Iterable[int]:
    """The members from `first` on that would be refused for the same reason alone."""
    dead, full = _DEAD_SHEET.search(reason), _FULL.search(reason)
    for member in part.members[part.members.index(first) :]:
        operation = batch.operations[member]
        if dead and _makes(operation, int(dead[1])):
            return
        if (dead and _writes_to(part, member, operation, int(dead[1]))) or (full and _grows(operation)):
            yield member
            if about_sheets(operation):  # what stands behind it may mean another sheet now
                return


def _writes_to(part: Part, member: int, operation: Operation, sheet: int) -> bool:
    if operation.op == "request":
        return _mentions(operation.request, sheet)
    return part.sheets.get(member) == sheet


def _makes(operation: Operation, sheet: int) -> bool:
    """The request brings the sheet into being: what stands behind it has one to write to."""
    added, copied = operation.request.get("addSheet"), operation.request.get("duplicateSheet")
    made = added.get("properties") if isinstance(added, dict) else copied
    return isinstance(made, dict) and made.get("sheetId" if added else "newSheetId") == sheet


def _mentions(value: object, sheet: int) -> bool:
    if isinstance(value, dict):
        return any(
            (name in ("sheetId", "sourceSheetId") and entry == sheet) or _mentions(entry, sheet)
            for name, entry in value.items()
        )
    return isinstance(value, list) and any(_mentions(entry, sheet) for entry in value)


def _grows(operation: Operation) -> bool:
    return operation.op == "append" or (operation.op == "request" and kind_of(operation.request) in _GROWING)
