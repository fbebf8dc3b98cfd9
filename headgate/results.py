"""What becomes of operations and batches, as values: results, counts, and what to do before the next call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headgate.models import Applied, Message, Throttling


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
