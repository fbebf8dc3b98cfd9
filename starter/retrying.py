"""A new request of what failed in another one: made by that one itself where it runs; where it is over, found here
(`retry_failed`), or by a planning worker for who cannot read results for minutes (`retry_by_workers`)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.retrying import retry_of
from activities.store import Store
from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LeftOut, Retry, RetryOf
from headgate.messages.views import Control
from headgate.messages.words import State
from headgate.retries import heard, said
from headgate.steering import NotDone, Refused
from starter import connection
from starter.commands import CommandRefused
from starter.service import NoWorker, Service, Submitted, UnknownRequest
from workflows import names, policies


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


async def retry_by_workers(
    client: Client, request: BulkRequest, state: State, command_id: str, within_s: float
) -> Retry:
    """The request that takes what failed in one that is over, found by a planning worker; it is still to be started.

    Asked again under the same id the answer is the same. Raises Unreachable where it takes longer than `within_s`: it goes on
    meanwhile; `Refused` where there is nothing to retry, `NotDone` where it was tried often enough.
    """
    workflow_id = names.retry_id(request.id, command_id)
    with connection.rpc_errors(client):
        try:
            handle: WorkflowHandle[object, Retry] = await client.start_workflow(
                names.RETRY_TYPE,
                RetryOf(request=request, state=state),
                id=workflow_id,
                task_queue=names.WORKFLOW_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                execution_timeout=policies.RETRY_OVER_WITHIN,
                static_summary=f"find what failed in {request.id}",
                result_type=Retry,
                rpc_timeout=connection.RPC_TIMEOUT,
            )
        except (WorkflowAlreadyStartedError, RPCError) as error:
            if isinstance(error, RPCError) and error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
            handle = client.get_workflow_handle(workflow_id, result_type=Retry)
        try:
            async with asyncio.timeout(within_s):
                return await handle.result()
        except TimeoutError:
            raise Unreachable(f"what failed in {request.id} is being read by a worker") from None
        except WorkflowFailureError as failed:
            why = failed.cause.__cause__ or failed.cause
            if isinstance(why, ApplicationError) and why.type == InvalidRequest.__name__:
                raise Refused(why.message) from None
            raise NotDone(f"what failed could not be read: {getattr(why, 'message', why)}; say it again") from None
