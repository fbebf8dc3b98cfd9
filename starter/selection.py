r"""Which requests a person means, and the visibility query that finds them. No clock: `now` comes in.

1. What a person typed is text. No query finds a value with `"` or `\` on SQLite (the server hands its escapes on to a
   database that knows none), so the query leaves such a value out, and `fits` decides for each request that was found.
2. How Temporal ended a run beats what the run last said of itself: what was terminated or timed out has failed.
3. `waiting` comes and goes too often to be indexed: such a request is found as `running`, and has to be asked.
4. A request is as old as its submission, however often it has continued as new since.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

from headgate.errors import InvalidRequest
from headgate.messages.words import Priority, State
from workflows.names import BULK_REQUEST_TYPE, bulk_request_id

_AGE: Final = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d|w)")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_OPEN: Final = 'ExecutionStatus = "Running"'
#: Statuses of runs whose own word on their state counts: those that go on, and those that completed.
_SAID: Final = 'ExecutionStatus IN ("Running", "Completed")'

OfOwner = Annotated[str | None, typer.Option("--owner", help="Only requests of this owner.")]
InState = Annotated[
    State | None, typer.Option("--state", help="Only requests in this state; running ones may be waiting.")
]
OfPriority = Annotated[Priority | None, typer.Option("--priority", help="Only requests of this priority.")]
OfProject = Annotated[str | None, typer.Option("--project", help="Only requests of this project.")]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="AGE", help="Only requests submitted longer ago: 90s, 30m, 2h, 7d, 4w."),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Requests that have everything that is named here; None, 0 and "" name nothing. `is_open`: only those that are not over.

    `begins`: how the request's id begins, of the signs that an id may have.
    """

    owner: str | None = None
    state: State | None = None
    priority: Priority | None = None
    project: str | None = None
    older_than_s: int = 0
    is_open: bool = False
    begins: str = ""
    limit: int = 100

    @property
    def narrows(self) -> bool:
        """Whether a person named anything, so that not simply every request is meant."""
        return any((self.owner is not None, self.state, self.priority, self.project is not None, self.older_than_s))

    def fits(self, owner: str, project: str) -> bool:
        """Whether a request that the query found has the owner and the project that are named."""
        return self.owner in (None, owner) and self.project in (None, project)

    def query(self, now: datetime) -> str:
        """The query in Temporal's list filters; it may find more than is meant: see `fits`, and `waiting` above."""
        clauses = [f'WorkflowType = "{BULK_REQUEST_TYPE}"', 'ExecutionStatus != "ContinuedAsNew"']
        named = {"HeadgateOwner": self.owner, "HeadgateProject": self.project, "HeadgatePriority": self.priority}
        clauses += [f'{name} = "{value}"' for name, value in named.items() if value is not None and _is_plain(value)]
        clauses += [f'WorkflowId STARTS_WITH "{bulk_request_id(self.begins)}"'] if self.begins else []
        clauses += [_OPEN] if self.is_open else []
        clauses += [_in_state(self.state)] if self.state else []
        clauses += [_submitted_before(now - timedelta(seconds=self.older_than_s))] if self.older_than_s else []
        return " AND ".join(clauses)


def selection(
    *,
    owner: str | None = None,
    state: State | None = None,
    priority: Priority | None = None,
    project: str | None = None,
    older_than: str | None = None,
    is_open: bool = False,
    limit: int = 100,
) -> Selection:
    """What the options of a command line select. Raises InvalidRequest for an age that is none."""
    return Selection(
        owner=owner,
        state=state,
        priority=priority,
        project=project,
        older_than_s=0 if older_than is None else age_s(older_than),
        is_open=is_open,
        limit=limit,
    )


def age_s(said: str) -> int:
    """Seconds of an age such as 90s, 30m, 12h, 30d or 8w."""
    found = _AGE.fullmatch(said.strip())
    if found is None:
        raise InvalidRequest(f"--older-than {said[:20]!r} must be a number with s, m, h, d or w, such as 2h or 30d")
    return int(found[1]) * _UNIT_S[found[2]]


def _is_plain(value: str) -> bool:
    return value.isprintable() and not set(value) & set('"\\')


def _in_state(state: State) -> str:
    indexed = "running" if state == "waiting" else state
    if state in ("planning", "running", "waiting", "paused"):
        return f'(HeadgateState = "{indexed}" AND {_OPEN})'
    said = f'(HeadgateState = "{state}" AND {_SAID})'
    if state == "cancelled":  # said from the moment it is asked for, while calls under way still end
        return f'({said} OR ExecutionStatus = "Canceled")'
    if state == "failed":
        return f'({said} OR ExecutionStatus IN ("Failed", "Terminated", "TimedOut"))'
    return said


def _submitted_before(instant: datetime) -> str:
    at = instant.isoformat(timespec="seconds")
    unsaid = f'(HeadgateSubmittedAt IS NULL AND StartTime < "{at}")'  # submitted before there was the attribute
    return f'(HeadgateSubmittedAt < "{at}" OR {unsaid})'
