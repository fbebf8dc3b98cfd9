"""What people are told of a request that is over in Temporal and could not say so itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from headgate.messages.views import OperationCounts, ProgressView
from headgate.messages.words import State

OVER: Final = frozenset({"completed", "cancelled", "failed"})
#: Temporal's word for how a run ended -> what its people are told.
_ENDED: Final[Mapping[str, str]] = {
    "TERMINATED": "it was terminated by an operator: what was sent stays, the results say what is known",
    "TIMED_OUT": "it ran longer than it may: what was sent stays, the results say what is known",
    "FAILED": "it failed by a defect: what was sent stays, the results say what is known",
    "CANCELED": "it was cancelled from outside: what was sent stays, the results say what is known",
}
UNKNOWN: Final = "Temporal knows nothing of it: it was never started there, or ended longer ago than is kept"
UNTOLD: Final = "how it ended was told late: Temporal says it, the results say what became of each operation"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a request ended that could not say so itself, and what it counted last, where that is known."""

    status: State
    why: str
    counts: OperationCounts | None = None


def ended(status: str | None, last_word: ProgressView | None = None) -> Ended | None:
    """What is recorded of a request by Temporal's status of it (None: it knows none); None where the request runs."""
    if status is None:
        return Ended("failed", UNKNOWN)
    if status == "COMPLETED" and last_word is not None:
        return Ended(last_word.state if last_word.state in OVER else "failed", UNTOLD, last_word.operations)
    if status in _ENDED:
        return Ended("cancelled" if status == "CANCELED" else "failed", _ENDED[status])
    return None
