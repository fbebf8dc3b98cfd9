"""What becomes of operations and batches, as values: results, counts, and what to do before the next call."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from headgate.message import Message
from headgate.messages.tokens import Throttling
from headgate.messages.words import Applied


class OperationResult(Message):
    """What became of one operation: one line of `headgate results`."""

    id: str
    line: int
    outcome: Literal["succeeded", "failed", "unprocessed"]
    applied: Applied
    reason: str = ""
    reply: dict[str, object] | None = None


class Advice(Message):
    """What to do before the next step: wait at most `wait_ns` (the ceiling of a full jitter) and why; `benign`: no failure.

    With a finished state, `wait_ns` is how long its lane has to rest, because an unfenced write may still land.
    """

    wait_ns: int = 0
    why: str = ""
    throttled: Throttling | None = None
    benign: bool = False


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """A batch's operations by outcome, and how often each kind of reason occurred."""

    succeeded: int = 0
    failed: int = 0
    unprocessed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


MOST_KINDS = 8
#: What tells two reasons of one kind apart: quoted and bracketed text, and numbers. An apostrophe in a word is no quote; a text in
#: double quotes may hold others behind a backslash; what was clipped has no closing quote. UTF-8 is a name.
_PARTICULAR = re.compile(
    r"""(?<!\w)'(?:.*?'(?!\w)|.*$)|"(?:\\.|[^"\\])*(?:"|\\?$)|\[[^\]]*\]|(?<!UTF-)\d[\d,]*""", re.DOTALL
)


def kind_of_reason(reason: str, most: int = 80) -> str:
    """The reason without its particulars, so that those of one kind can be counted together."""
    return _PARTICULAR.sub("…", reason)[:most]


def counted(results: Iterable[OperationResult]) -> BatchCounts:
    """The outcomes in numbers; at most `MOST_KINDS` kinds of reasons, the rest as "other"."""
    listed = list(results)
    outcomes = Counter(result.outcome for result in listed)
    kinds = Counter(kind_of_reason(result.reason) for result in listed if result.reason)
    reasons = dict(sorted(kinds.most_common(MOST_KINDS)))
    if rest := sum(kinds.values()) - sum(reasons.values()):
        reasons["other"] = rest
    return BatchCounts(outcomes["succeeded"], outcomes["failed"], outcomes["unprocessed"], reasons)
