"""The wire vocabulary of headgate: task queues, ids, search attributes; each has one home, here."""

from __future__ import annotations

from typing import Final

WORKFLOW_QUEUE: Final = "headgate"
SEND_QUEUE: Final = "headgate-send"
PLAN_QUEUE: Final = "headgate-plan"

BULK_REQUEST_TYPE: Final = "BulkRequestWorkflow"
RATE_LIMITER_TYPE: Final = "RateLimiterWorkflow"
NOTICE_TYPE: Final = "NoticeWorkflow"

#: What a run does that those of earlier releases did not, and their histories would not replay: whoever starts one says it.
#: 1: a request indexes a new priority at once; a limiter tells holders what their retries wait for.
RELEASE: Final = 1

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
