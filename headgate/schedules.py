"""When a request begins later, or again and again: what a caller may say, what it means, how each occurrence is named.

1. What is repeated falls on instants that anybody can compute: a span counts from 1970 in UTC, or from the first instant
   where one is named; a cron expression is read in one time zone.
2. An occurrence is named by its instant: two that are due in the same second are one.
3. A schedule that runs once gives its request its own id, so that a later look asks for the name that was chosen.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, Literal

from headgate.errors import InvalidRequest
from headgate.message import Message
from headgate.messages.requests import BulkRequest
from headgate.messages.words import NAME_PATTERN, State

#: What becomes of an occurrence that is due while the one before it still runs: left out, kept until that one is over (one
#: at most), or run beside it.
Overlap = Literal["skip", "buffer-one", "allow-all"]

LONGEST_S: Final = 366 * 86_400
#: Temporal's calendars end here.
LAST_YEAR: Final = 2099

_UNIT_S: Final = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SPAN: Final = re.compile(r"(?:\d{1,9}\s*(?:s|min|m|h|d|w)\s*)+")
_PART: Final = re.compile(r"(\d+)\s*(s|min|m|h|d|w)")
_NAMED: Final = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_FIELD: Final = re.compile(r"[0-9A-Za-z*/,?-]+")
_INSTANT: Final = "%Y%m%dT%H%M%SZ"


class Timing(Message):
    """When a schedule's requests begin: once at `at_s`, or every `every_s` or as `cron` says, not before `at_s`.

    `at_s` is in seconds since 1970, 0 if not named; `zone` is the time zone of `cron`, an IANA name.
    """

    at_s: int = 0
    every_s: int = 0
    cron: str = ""
    zone: str = "UTC"
    overlap: Overlap = "skip"

    @property
    def once(self) -> bool:
        """Whether it runs a single time."""
        return not (self.every_s or self.cron)

    @property
    def in_words(self) -> str:
        """The timing as a person would say it."""
        if self.once:
            return f"once, at {iso(self.at_s)}"
        often = f"every {span_in_words(self.every_s)}" if self.every_s else f"cron {self.cron} ({self.zone})"
        return f"{often}, from {iso(self.at_s)}" if self.at_s else often


class OccurrenceInput(Message):
    """What every occurrence of a schedule starts from: its request is `request` under the occurrence's own id and nonce.

    `request.id` is the schedule's. `summary` is the request's for people. Not `indexed`: see `BulkInput`.
    """

    request: BulkRequest
    timing: Timing
    summary: str = ""
    indexed: bool = True


class TakeInput(Message):
    """The schedule's stored input becomes that of one request, and with a `nonce` its receiver's address, kept under `kept`."""

    schedule: str
    request_id: str
    sha256: str
    kept: str = ""
    nonce: str = ""


class OccurrenceView(Message):
    """What became of an occurrence: its request, and how that ended."""

    request: str
    state: State
    succeeded: int = 0
    failed: int = 0
    unprocessed: int = 0


def repetition(said: str) -> tuple[int, str]:
    """Seconds of a span such as 30min or 1h30min, or a cron expression as it is; the other one is 0 or empty.

    Raises InvalidRequest for what is neither. Which values a cron expression may have is for Temporal to judge, who reads it.
    """
    said = " ".join(said.split())
    if _SPAN.fullmatch(said):
        span_s = sum(int(count) * _UNIT_S[unit] for count, unit in _PART.findall(said))
        if not 1 <= span_s <= LONGEST_S:
            raise InvalidRequest(f"--every {said!r} must be between 1s and 366d")
        return span_s, ""
    fields = said.split(" ")
    if said in _NAMED or (5 <= len(fields) <= 7 and all(map(_FIELD.fullmatch, fields))):
        return 0, said
    raise InvalidRequest(
        f"--every {said[:80]!r} is neither a span, such as 30min or 1d, nor a cron expression of five fields, such as '0 6 * * 1-5'"
    )


def check_name(schedule_id: str, timing: Timing) -> None:
    """Raises InvalidRequest where an occurrence's id, which ends in its instant, would be too long."""
    if not re.fullmatch(NAME_PATTERN, occurrence_request(schedule_id, timing, datetime.fromtimestamp(0, UTC))):
        raise InvalidRequest(f"the id {schedule_id!r} is too long: each of its requests has its instant after it")


def occurrence_request(schedule_id: str, timing: Timing, at: datetime) -> str:
    """The id of the request that a schedule starts at an instant."""
    return schedule_id if timing.once else f"{schedule_id}-{at.astimezone(UTC).strftime(_INSTANT)}"


def iso(at_s: int) -> str:
    """Seconds since 1970 in ISO 8601, UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span_in_words(span_s: int) -> str:
    """A span in as few units as can say it exactly."""
    parts = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, span_s = divmod(span_s, length)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts)
