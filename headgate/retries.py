"""How a retry is spoken of: what goes again as which request, and what was left out of it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from headgate.messages.sending import LeftOut, Retry

_SAID: Final = re.compile(
    r"(?P<count>[0-9,]+) operations? go(es)? again as (?P<id>[A-Za-z0-9_.@-]+)(?P<before> already)?"
)


class GoesAgain(NamedTuple):
    """So many operations go again as this request; not `first`: they did before."""

    id: str
    operations: int
    first: bool


def retried(request_id: str) -> str:
    """The request whose failed operations this one takes ("": it is no retry)."""
    parent, _, number = request_id.rpartition(".retry")
    return parent if number.isdigit() else ""


def said(retry: Retry) -> str:
    """What the request answers whose operations go again."""
    count = "1 operation goes" if retry.operations == 1 else f"{retry.operations:,} operations go"
    sentence = f"{count} again as {retry.request.id}" + ("" if retry.first else " already")
    return sentence + (f"; left out: {left_out(retry.left_out)}" if any(dict(retry.left_out).values()) else "")


def heard(sentence: str) -> GoesAgain | None:
    """What `said` says; None for another sentence."""
    found = _SAID.match(sentence)
    if found is None:
        return None
    return GoesAgain(found["id"], int(found["count"].replace(",", "")), found["before"] is None)


def left_out(left: LeftOut) -> str:
    """What was left out, in words, with what would take it in."""
    words = [
        (left.refused, "refused at planning (correct those lines and submit them)"),
        (left.unknown, "of unknown effect (--include-unknown)"),
        (left.unprocessed, "never sent (--include-unprocessed)"),
        (left.retried, "retried before"),
    ]
    return ", ".join(f"{count:,} {why}" for count, why in words if count) or "all of it succeeded"
