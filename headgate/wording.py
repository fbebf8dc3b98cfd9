"""What of a history may be told, and in which words.

1. Causes are told as kinds: an error of the API may quote a cell, so what stands in quotes or brackets, every number and every
   address (a webhook's may be a secret) are left out. The whole reason is in `headgate results`, whose reader may read the store.
2. What people typed is told as one line of printable text: no line breaks, and nothing that a terminal would obey.
3. Of a request's options those are told that are named here; a new one is secret until somebody names it.
"""

from __future__ import annotations

import re
from typing import Final

from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.results import kind_of_reason

LONGEST_WORDS: Final = 200
LONGEST_CAUSE: Final = 160
LONGEST_READ: Final = 2_000
_ADDRESS: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def cause(text: str) -> str:
    """The kind of cause that a text of the API, of Temporal or of headgate names."""
    kind = kind_of_reason(_ADDRESS.sub("…", text[:LONGEST_READ]), LONGEST_CAUSE + 1)
    return words(kind if len(kind) <= LONGEST_CAUSE else kind[: LONGEST_CAUSE - 1] + "…")


def words(text: str) -> str:
    """What a person or a computer called itself or said, in one line."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_WORDS]).split())
    return line if len(line) <= LONGEST_WORDS else line[: LONGEST_WORDS - 1] + "…"


def counted(count: int, noun: str) -> str:
    """So many of them, where one has no s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def span(ns: int) -> str:
    """So long, in seconds."""
    return f"{max(ns, 0) / SECOND_NS:.3g} s" if ns < 1000 * SECOND_NS else f"{ns // SECOND_NS:,} s"


def options(request: BulkRequest) -> dict[str, object]:
    """What was asked for, without what is secret."""
    return {
        "request": request.id,
        "project": request.project,
        "user": request.user,
        "owner": words(request.owner),
        "priority": request.priority,
        "weight": request.weight,
        "order": request.order,
        "operations_per_call": request.operations_per_call,
        "max_attempts": request.max_attempts,
        "max_age_s": request.max_age_ns // SECOND_NS,
        "stop_after": request.stop_after,
        "fences": request.fences,
        "grow": request.grow,
        "input_sha256": request.input_sha256,
        "input_bytes": request.input_bytes,
    }
