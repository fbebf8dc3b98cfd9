"""What may be sent again, and how much a call should carry: rules for writes that no fence protects, and for slow answers.

1. Reads may always be repeated. An unfenced write may if it leaves the same cells twice: updates and clears, absolute requests.
2. An answer after `SLOW_NS`, or none in time, halves what later calls of the lane carry; an answer within `QUICK_NS` doubles it.

Source: reference/sheets.md sections 1.3, 2.1 and 4.9.
"""

from __future__ import annotations

from collections.abc import Iterable

from headgate.apis.sheets.raw_requests import REPEATABLE_KINDS, kind_of
from headgate.message import SECOND_NS
from headgate.messages.requests import Form, Operation

SLOW_NS = 60 * SECOND_NS
QUICK_NS = 15 * SECOND_NS


def repeatable(form: Form, operations: Iterable[Operation]) -> bool:
    """Sent twice without a fence, these leave the same as sent once."""
    if form in ("read", "look_up", "values_update"):
        return True
    return form == "fenced" and all(
        kind_of(operation.request) in REPEATABLE_KINDS if operation.op == "request" else operation.op != "append"
        for operation in operations
    )


def in_steps(members: range, most: int) -> list[tuple[int, ...]]:
    """The members in groups of at most `most` (0: in one)."""
    step = most or max(1, len(members))
    return [tuple(members[first : first + step]) for first in range(0, len(members), step)]


def most_after(most: int, sent: int, took_ns: int, planned: int) -> int:
    """How many operations later calls should carry, after one with `sent` of them took so long (0: as many as planned)."""
    if took_ns >= SLOW_NS:
        return halved(most, planned)
    if took_ns < QUICK_NS and most and sent >= most:
        return 2 * most if 2 * most < planned else 0
    return most


def halved(most: int, planned: int) -> int:
    """Half of what calls carry so far, whatever the slow one carried: a small one may be slow for another reason."""
    return max(1, (most or planned) // 2)
