"""What has failed so far in a request that runs goes again, as a request of its own that outlives it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from temporalio import workflow
from temporalio.common import TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from headgate.errors import InvalidRequest
    from headgate.messages.carried import BulkInput
    from headgate.messages.requests import BulkRequest
    from headgate.messages.sending import Retry
    from headgate.retries import said
    from headgate.steering import NotDone, Refused
    from workflows import names, policies
    from workflows.starting import start_options

#: Somebody may take the id that was free a moment ago.
TRIES: Final = 3


async def retry_failed(request: BulkRequest, *, indexed: bool) -> str:
    """The sentence that says which request takes what has failed so far; it has been started.

    Raises `Refused` where there is nothing to retry, and `NotDone` where the store or the planning worker is away for long.
    """
    for _ in range(TRIES):
        try:
            retry = await workflow.execute_activity(
                "retry_failed", request, result_type=Retry, summary="find what has failed so far", **policies.RETRY
            )
        except ActivityError as error:
            cause = error.cause
            why = cause.message if isinstance(cause, ApplicationError) else str(cause or error)
            if isinstance(cause, ApplicationError) and cause.type == InvalidRequest.__name__:
                raise Refused(why) from error
            raise NotDone(f"what has failed could not be read: {why}") from error
        if not retry.first or await _started(retry, indexed=indexed):
            return said(retry)
    raise NotDone(f"somebody else takes the ids of retries of {request.id}: try again")


async def _started(retry: Retry, *, indexed: bool) -> bool:
    """True if the request was started by this call, False if there is another one of its id."""
    options = start_options(retry.request, summary=retry.summary, indexed=indexed)
    try:
        child: asyncio.Task[Any] = await workflow.start_child_workflow(
            names.BULK_REQUEST_TYPE,
            BulkInput(request=retry.request, indexed=indexed, release=names.RELEASE),
            parent_close_policy=ParentClosePolicy.ABANDON,
            **{**options, "search_attributes": _registered(options["search_attributes"])},
        )
    except WorkflowAlreadyStartedError:
        return False
    child.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # how it ends is its own matter
    return True


def _registered(wanted: TypedSearchAttributes | None) -> TypedSearchAttributes | None:
    """Those that this request has itself: one that the namespace does not know would fail the workflow task for ever."""
    known = {pair.key.name for pair in workflow.info().typed_search_attributes}
    kept = [pair for pair in wanted or () if pair.key.name in known]
    return TypedSearchAttributes(kept) if kept else None
