"""The words that messages choose from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Kind = Literal["read", "write"]
Priority = Literal["urgent", "normal", "low"]
Order = Literal["lane", "strict"]
Applied = Literal["yes", "no", "unknown"]
State = Literal["planning", "running", "waiting", "paused", "completed", "cancelled", "failed"]

NAME_PATTERN = r"^[A-Za-z0-9_.@-]{1,128}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]

#: Why nothing is sent, for programs: at a quota, or at what others left of it; one call at a time on a spreadsheet; others go
#: first; after a 429; a circuit is open; retries are at their tenth; quiet after a lost limiter; a person paused the request,
#: or the project; planning; no worker takes its work.
Cause = Literal[
    "", "quota", "used_by_others", "spacing", "behind", "throttled", "circuit", "retries", "quiet", "paused", "project_paused",
    "planning", "no_worker",
]  # fmt: skip
