"""Which operations a refusal is about, as far as its text tells.

1. A refusal that names a sub-request is about the operations that this one stands for.
2. Some refusals are about more than they name: a sheet that is gone, a spreadsheet that is full. Those that would be
   refused alike are named at once, because asking for each costs a call.

Source: reference/sheets.md sections 1.4 and 2.2.
"""

from __future__ import annotations

import re

from headgate.apis.sheets.reads import refused_alike
from headgate.apis.sheets.replies import Refused
from headgate.models import Form, PlannedBatch
from headgate.parts import Part

_DEAD_SHEET = re.compile(r"No grid with id", re.IGNORECASE)
_FULL = re.compile(r"above the limit of \d+ cells", re.IGNORECASE)


def culprits_of(part: Part, batch: PlannedBatch, reply: Refused) -> tuple[int, ...] | None:
    """The operations (positions in the batch) that the refusal is about; () if it names none, None if it is about the sweeping."""
    if reply.index is not None and reply.index < len(part.owners):
        owner = part.owners[reply.index]
        if owner:
            return _with_all_like_it(part, owner, reply)
        return part.members if reply.index == 0 else None
    if reply.range:
        operations = [batch.operations[member] for member in part.members]
        return tuple(part.members[place] for place in refused_alike(operations, reply.range, reply.reason))
    if _FULL.search(reply.reason):
        return tuple(member for member in part.members if batch.operations[member].op == "append")
    return ()


def all_alike(reply: Refused, form: Form) -> bool:
    """All the culprits would be refused alone as well; without this only one of them may be at fault."""
    about_more = reply.range or _DEAD_SHEET.search(reply.reason) or _FULL.search(reply.reason)
    return bool(about_more) or (form == "fenced" and reply.index == 0)


def _with_all_like_it(part: Part, owner: tuple[int, ...], reply: Refused) -> tuple[int, ...]:
    sheet = part.sheets.get(owner[0])
    if sheet is None or not _DEAD_SHEET.search(reply.reason):
        return owner
    return tuple(member for member in part.members if part.sheets.get(member) == sheet)
