"""The wire vocabulary of headgate: task queues, ids, search attributes; each has one home, here."""

from __future__ import annotations

from datetime import datetime
from typing import Final

WORKFLOW_QUEUE: Final = "headgate"
SEND_QUEUE: Final = "headgate-send"
PLAN_QUEUE: Final = "headgate-plan"

BULK_REQUEST_TYPE: Final = "BulkRequestWorkflow"
RATE_LIMITER_TYPE: Final = "RateLimiterWorkflow"
NOTICE_TYPE: Final = "NoticeWorkflow"
OCCURRENCE_TYPE: Final = "OccurrenceWorkflow"
PROJECTION_TYPE: Final = "ProjectionWorkflow"
RETRY_TYPE: Final = "RetryWorkflow"

#: What a run does that those of earlier releases did not, and their histories would not replay: whoever starts one says it.
#: 1: a request indexes a new priority at once; a limiter tells holders what their retries wait for.
#: 2: a request says its last word to the limiter once what it said before has arrived.
#: 3: a limiter raises who has waited past a class that has no floor.
RELEASE: Final = 3

#: name -> type, as `temporal server start-dev --search-attribute` and the operator service spell it.
SEARCH_ATTRIBUTES: Final[dict[str, str]] = {
    "HeadgateState": "Keyword",
    "HeadgatePriority": "Keyword",
    "HeadgateOwner": "Keyword",
    "HeadgateProject": "Keyword",
    "HeadgatePercent": "Int",
    "HeadgateSubmittedAt": "Datetime",
}


def bulk_request_id(request_id: str) -> str:
    """The workflow id of a bulk request."""
    return f"bulk/{request_id}"


def rate_limiter_id(project: str, api: str = "sheets") -> str:
    """The workflow id of the limiter of one API and project."""
    return f"limiter/{api}/{project}"


def notice_id(request_id: str, sequence: int, event: str) -> str:
    """The workflow id of what tells a request's receiver of its end; the request's run that was reset has another end."""
    return f"notice/{request_id}/{sequence}-{event}"


def projection_id(request_id: str, version: int) -> str:
    """The workflow id of what shows a request's end in the read model; the request's run that was reset has another end."""
    return f"projection/{request_id}/{version}"


def retry_id(request_id: str, command_id: str) -> str:
    """The workflow id of what finds out, for one command, what failed in a request that is over."""
    return f"retry/{request_id}/{command_id}"


def schedule_id(name: str) -> str:
    """The Temporal id of a schedule."""
    return f"schedule/{name}"


def occurrence_id(name: str) -> str:
    """The workflow id of a schedule's occurrences, to which Temporal adds a hyphen and the instant."""
    return f"occurrence/{name}"


def occurrence_at(workflow_id: str) -> datetime:
    """The instant that Temporal added to an occurrence's id, such as 2030-11-24T12:00:00Z; raises ValueError where there is none."""
    return datetime.fromisoformat(workflow_id[-20:])
