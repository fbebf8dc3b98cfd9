"""How a bulk request is started, the same whoever starts it: a person through the service, a retry, a schedule's occurrence."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy

from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.request_details import introduction
from workflows import names

STATE: Final = SearchAttributeKey.for_keyword("HeadgateState")
PRIORITY: Final = SearchAttributeKey.for_keyword("HeadgatePriority")
OWNER: Final = SearchAttributeKey.for_keyword("HeadgateOwner")
PROJECT: Final = SearchAttributeKey.for_keyword("HeadgateProject")
PERCENT: Final = SearchAttributeKey.for_int("HeadgatePercent")
SUBMITTED_AT: Final = SearchAttributeKey.for_datetime("HeadgateSubmittedAt")


def fingerprint(request: BulkRequest) -> str:
    """What makes two requests of one id *the same*: input, project, user, order and cap, and nothing else."""
    same = [request.input_sha256, request.project, request.user, request.order, request.operations_per_call]
    return hashlib.sha256(json.dumps(same).encode()).hexdigest()


def start_options(request: BulkRequest, *, summary: str, indexed: bool) -> dict[str, Any]:
    """The options of the request's workflow: an id that is used once, and what people and visibility see of it."""
    return {
        "id": names.bulk_request_id(request.id),
        "task_queue": names.WORKFLOW_QUEUE,
        "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
        "memo": {"fingerprint": fingerprint(request), "summary": summary},
        "search_attributes": _search_attributes(request) if indexed else None,
        "static_summary": summary,
        "static_details": introduction(request),
    }


def _search_attributes(request: BulkRequest) -> TypedSearchAttributes:
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(STATE, "planning"),
        SearchAttributePair(PRIORITY, request.priority),
        SearchAttributePair(OWNER, request.owner),
        SearchAttributePair(PROJECT, request.project),
        SearchAttributePair(PERCENT, 0),
    ]
    if request.submitted_at_ns:
        at = datetime.fromtimestamp(request.submitted_at_ns / SECOND_NS, UTC)
        pairs.append(SearchAttributePair(SUBMITTED_AT, at))
    return TypedSearchAttributes(pairs)
