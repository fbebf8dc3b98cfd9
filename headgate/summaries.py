"""What an activity of a bulk request is for, in a line of the Web UI's timeline, which cuts it after some 120 characters.

A server refuses a summary of more than 400 bytes, and the decision with it, for ever: whatever an id or a reason holds, these
are shorter.
"""

from __future__ import annotations

from typing import Final

from headgate.models import AbandonLane, LaneSending, ResendBatch
from headgate.wording import cause, counted, words

LONGEST: Final = 90


def sending(lanes: tuple[LaneSending, ...]) -> str:
    """So many calls; for which spreadsheet and user, where it is one lane."""
    calls = sum(len(lane.batches) for lane in lanes)
    if len(lanes) == 1:
        return _clipped(f"{counted(calls, 'call')}: {lanes[0].user} to {lanes[0].spreadsheet}")
    return f"{counted(calls, 'call')} in {len(lanes)} lanes"


def sending_again(order: ResendBatch) -> str:
    """Which batch, for which spreadsheet and user."""
    return _clipped(f"batch {order.batch} again: {order.lane.user} to {order.lane.spreadsheet}")


def giving_up(order: AbandonLane) -> str:
    """Which lane, and why: as a kind of reason, since what the API said may quote a cell."""
    return _clipped(f"fail lane {order.lane.lane} from batch {order.batch} on: {cause(order.reason)}")


def _clipped(text: str) -> str:
    text = words(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
