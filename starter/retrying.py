"""A new request of what failed in another one: made here where that one is over, by itself where it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from activities.retrying import retry_of
from activities.store import Store
from headgate.errors import HeadgateError, InvalidRequest
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LeftOut
from headgate.messages.views import Control
from headgate.messages.words import State
from headgate.retries import heard, said
from starter.commands import CommandRefused
from starter.service import NoWorker, Service, Submitted, UnknownRequest
from workflows import names


@dataclass(frozen=True)
class Retried:
    """The request that retries, in words and by its id: how many operations it has, and what was left out, by reason."""

    sentence: str
    submitted: Submitted
    operations: int
    left_out: LeftOut = field(default_factory=LeftOut)


async def retry_failed(
    service: Service,
    store: Store,
    request_id: str,
    *,
    include_unknown: bool = False,
    include_unprocessed: bool = False,
    control: Control | None = None,
) -> Retried:
    """What failed in the request goes again, under `ID.retry1` or the next number that is free.

    An operation is retried by one of them only: asked again the answer is the request that has it already. Where the request
    runs, that is what has failed so far; `left_out` is not told then, but in the sentence. Raises InvalidRequest where there
    is nothing to retry, and `NoWorker` where the request could not be asked: what was said to it is recorded.
    """
    state = await service.over(request_id)
    if state is None:
        if include_unknown or include_unprocessed:
            raise InvalidRequest(
                f"request {request_id!r} is not over yet: what is of unknown effect or never sent is retried when it is"
            )
        try:
            return await _while_it_runs(service, request_id, control or Control())
        except CommandRefused:
            state = await service.over(request_id)
            if state is None:
                raise
    return await _when_over(
        service, store, request_id, state, include_unknown=include_unknown, include_unprocessed=include_unprocessed
    )


async def _while_it_runs(service: Service, request_id: str, control: Control) -> Retried:
    answered = await service.control(request_id, "retry_failed", control)
    if not answered.heard:
        raise NoWorker(f"{answered.sentence}; ask again then for the id of the request that retries")
    again = heard(answered.sentence)
    if again is None:
        raise HeadgateError(f"the request answered: {answered.sentence}")
    submitted = Submitted(again.id, names.bulk_request_id(again.id), first=again.first)
    return Retried(answered.sentence, submitted, again.operations)


async def _when_over(
    service: Service,
    store: Store,
    request_id: str,
    state: State,
    *,
    include_unknown: bool,
    include_unprocessed: bool,
) -> Retried:
    async def known(name: str) -> BulkRequest | None:
        try:
            return await service.request(name)
        except UnknownRequest:
            return None

    request = await service.request(request_id)
    retry = await retry_of(
        store, known, request, state, include_unknown=include_unknown, include_unprocessed=include_unprocessed
    )
    submitted = Submitted(retry.request.id, names.bulk_request_id(retry.request.id), first=False)
    if retry.first:
        submitted = await service.submit(retry.request, summary=retry.summary)
    return Retried(said(retry), submitted, retry.operations, retry.left_out)
