"""What a bulk request and its activities are for, in a line of the Web UI, whose timeline cuts it after some 120 characters.

A server refuses a summary of more than 400 bytes, and the decision with it, for ever: whatever an id or a reason holds, these
are shorter. Temporal Cloud takes 200 (reference/temporal.md 1.3).
"""

from __future__ import annotations

from typing import Final

from headgate.messages.sending import AbandonLane, LaneSending, ResendBatch
from headgate.wording import cause, counted, words

LONGEST: Final = 90
#: What a project's name of 128 and a number of lines leave of 200 bytes.
LONGEST_NAME_BYTES: Final = 36


def request_summary(name: str, lines: int, project: str) -> str:
    """A request: `orders.jsonl · 1,200 lines · project shop`; of a long name the end, which tells most."""
    return f"{_ending(name)} · {lines:,} lines · project {project}"


def uploaded_summary(name: str, size: int, project: str) -> str:
    """The same of a request whose lines nobody has counted yet: its size in bytes instead."""
    return f"{_ending(name)} · {size:,} bytes · project {project}"


def _ending(name: str) -> str:
    shown = name
    while len(shown.encode("utf-8", "surrogatepass")) > LONGEST_NAME_BYTES:
        shown = "…" + shown.lstrip("…")[1:]
    return shown


def sending(lanes: tuple[LaneSending, ...]) -> str:
    """So many calls; for which spreadsheet and user, where it is one."""
    calls = sum(len(lane.batches) for lane in lanes)
    if len(lanes) == 1:
        return _clipped(f"{counted(calls, 'call')}: {lanes[0].user} to {lanes[0].spreadsheet}")
    spreadsheets = {lane.spreadsheet for lane in lanes}
    where = next(iter(spreadsheets)) if len(spreadsheets) == 1 else f"{len(spreadsheets):,} spreadsheets"
    return _clipped(f"{counted(calls, 'call')} to {where}")


def sending_again(order: ResendBatch) -> str:
    """Which batch, for which spreadsheet and user."""
    return _clipped(f"batch {order.batch} again: {order.lane.user} to {order.lane.spreadsheet}")


def giving_up(order: AbandonLane) -> str:
    """Which lane, and why: as a kind of reason, since what the API said may quote a cell."""
    return _clipped(f"fail lane {order.lane.lane} from batch {order.batch} on: {cause(order.reason)}")


def _clipped(text: str) -> str:
    text = words(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
