"""A new request made from what failed in another one, that is over or still runs, with its ids and its settings.

1. Its id is `ID.retryN`, with the next number that is free.
2. An operation is retried by one of them only: asked again the answer is the request that has it already.
3. Its input is in the store before anybody starts it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.leftovers import Leftovers, leftovers
from activities.manifest import find_plan
from activities.notices import address_of, keep_address
from activities.store import Store
from activities.submission import store_input
from headgate.errors import InvalidRequest
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import Retry
from headgate.messages.words import NAME_PATTERN, State
from headgate.retries import left_out
from headgate.summaries import request_summary

#: Beyond so many retries of one request something else is wrong.
MOST_RETRIES: Final = 1_000
BEAT_S: Final = 1.0

Known = Callable[[str], Awaitable[BulkRequest | None]]
"""What was submitted under an id, as the Temporal server remembers it; None if nothing."""


async def retry_of(
    store: Store,
    known: Known,
    request: BulkRequest,
    state: State | None,
    *,
    include_unknown: bool = False,
    include_unprocessed: bool = False,
) -> Retry:
    """What takes what failed in the request, which ended in this state (None: it runs).

    Raises InvalidRequest where there is nothing to retry.
    """
    left = await leftovers(
        store, request, state, include_unknown=include_unknown, include_unprocessed=include_unprocessed
    )
    last: tuple[BulkRequest, int] | None = None
    for number in range(1, MOST_RETRIES):
        new_id = f"{request.id}.retry{number}"
        if not re.fullmatch(NAME_PATTERN, new_id):
            raise InvalidRequest(f"the id {new_id!r} would be too long: submit what failed under another id")
        earlier = await known(new_id) or await _planned(store, new_id, request)
        if earlier is None:
            break
        if found := await left.without(earlier):
            last = earlier, found
    if left.taken:
        return await _made(store, request, new_id, left)
    if last is None:
        raise InvalidRequest(f"nothing of request {request.id!r} is to be retried: {left_out(left.left_out)}")
    others = left.left_out.model_copy(update={"retried": left.retried - last[1]})
    return Retry(request=last[0], operations=last[1], left_out=others, first=False)


async def _planned(store: Store, request_id: str, like: BulkRequest) -> BulkRequest | None:
    """The request of this id, as the store knows it where the server has forgotten it."""
    plan = await find_plan(store, request_id)
    return None if plan is None else like.model_copy(update={"id": request_id, "input_sha256": plan.input_sha256})


async def _made(store: Store, request: BulkRequest, new_id: str, left: Leftovers) -> Retry:
    stored = await store_input(store, new_id, left.lines())
    url = await address_of(store, request.id, request.nonce) if request.notify else None
    again = request.model_copy(
        update={
            "id": new_id,
            "input_sha256": stored.sha256,
            "input_bytes": stored.size,
            "submitted_at_ns": time.time_ns(),
            "nonce": secrets.token_hex(8),
            "notify": request.notify if url is not None else "",
        }
    )
    if url is not None:
        await keep_address(store, again, url)
    summary = request_summary(f"retry of {request.id}", stored.lines, request.project)
    return Retry(request=again, operations=left.taken, left_out=left.left_out, summary=summary)


@dataclass(frozen=True)
class RetryActivities:
    """What a request that runs, or whoever retries one that is over, needs for it; `known` asks the server."""

    store: Store
    known: Known

    @activity.defn
    async def retry_failed(self, request: BulkRequest, state: State | None = None) -> Retry:
        """What takes what has failed in the request, which ended in this state (None: it runs; repeated, it may take more).

        A mistake is an answer to whoever asked, and nothing is wrong with the worker.
        """
        # A request that runs gives one argument, and arguments are read by their types only where all have come.
        request = BulkRequest.model_validate(request)
        working = asyncio.ensure_future(retry_of(self.store, self.known, request, state))
        try:
            while not (await asyncio.wait({working}, timeout=BEAT_S))[0]:
                activity.heartbeat()
            return working.result()
        except InvalidRequest as error:
            raise ApplicationError(
                str(error),
                type=InvalidRequest.__name__,
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            ) from error
        finally:
            working.cancel()
