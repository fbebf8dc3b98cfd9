"""`headgate retry-failed`: a new request made from what failed in one that is over, with its ids and its settings."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from activities.leftovers import Leftovers, leftovers
from activities.manifest import find_plan
from activities.store import Store
from activities.submission import store_input
from headgate.errors import InvalidRequest
from headgate.models import NAME_PATTERN, BulkRequest
from starter.following import exit_code, follow_on
from starter.looking import Json, RequestId
from starter.render import progress_line
from starter.service import Service, Submitted, UnknownRequest
from starter.surroundings import Surroundings, of, waiting_for
from workflows import names

#: Beyond so many retries of one request something else is wrong.
MOST_RETRIES: Final = 1_000


@dataclass(frozen=True)
class Retried:
    """The request that retries: how many operations it has, and how many were left out, by reason."""

    submitted: Submitted
    operations: int
    refused: int
    unknown: int
    unprocessed: int
    retried: int

    @property
    def left_out(self) -> dict[str, int]:
        """What is not in it, by reason."""
        return {
            "refused": self.refused,
            "unknown": self.unknown,
            "unprocessed": self.unprocessed,
            "retried": self.retried,
        }


async def retry_failed(
    service: Service,
    store: Store,
    request_id: str,
    *,
    include_unknown: bool = False,
    include_unprocessed: bool = False,
) -> Retried:
    """What failed in the request is handed in again, under `ID.retry1` or the next number that is free.

    An operation is retried by one of them only: asked again the answer is the request that has them already.
    Raises InvalidRequest while the request runs, and where there is nothing to retry.
    """
    state = await service.over(request_id)
    if state is None:
        raise InvalidRequest(f"request {request_id!r} is not over yet: retry when it is, or cancel it")
    request = await service.request(request_id)
    left = await leftovers(
        store, request, state, include_unknown=include_unknown, include_unprocessed=include_unprocessed
    )
    last: tuple[str, int] | None = None
    for number in range(1, MOST_RETRIES):
        new_id = f"{request_id}.retry{number}"
        if not re.fullmatch(NAME_PATTERN, new_id):
            raise InvalidRequest(f"the id {new_id!r} would be too long: submit what failed under another id")
        earlier = await _known(service, store, new_id, request)
        if earlier is None:
            break
        if found := await left.without(earlier):
            last = new_id, found
    if left.taken:
        submitted = await _submit(service, store, request, new_id, left)
        return Retried(submitted, left.taken, left.refused, left.unknown, left.unprocessed, left.retried)
    if last is None:
        raise InvalidRequest(f"nothing of request {request_id!r} is to be retried: {_left_out(left)}")
    submitted = Submitted(last[0], names.bulk_request_id(last[0]), first=False)
    return Retried(submitted, last[1], left.refused, left.unknown, left.unprocessed, left.retried - last[1])


async def _known(service: Service, store: Store, request_id: str, like: BulkRequest) -> BulkRequest | None:
    """The request of this id, as the server knows it, or as the store does where the server has forgotten it."""
    try:
        return await service.request(request_id)
    except UnknownRequest:
        plan = await find_plan(store, request_id)
        return None if plan is None else like.model_copy(update={"id": request_id, "input_sha256": plan.input_sha256})


async def _submit(service: Service, store: Store, request: BulkRequest, new_id: str, left: Leftovers) -> Submitted:
    stored = await store_input(store, new_id, left.lines())
    again = request.model_copy(
        update={
            "id": new_id,
            "input_sha256": stored.sha256,
            "input_bytes": stored.size,
            "submitted_at_ns": time.time_ns(),
            "nonce": secrets.token_hex(8),
        }
    )
    return await service.submit(
        again, summary=f"retry of {request.id} · {stored.lines:,} lines · project {request.project}"
    )


def _left_out(left: Leftovers | Retried) -> str:
    """What was left out, in words, with what would take it in."""
    said = [
        (left.refused, "refused at planning (correct those lines and submit them)"),
        (left.unknown, "of unknown effect (--include-unknown)"),
        (left.unprocessed, "never sent (--include-unprocessed)"),
        (left.retried, "retried before"),
    ]
    return ", ".join(f"{count:,} {why}" for count, why in said if count) or "all of it succeeded"


def retry_failed_command(
    context: typer.Context,
    id_: RequestId,
    include_unknown: Annotated[
        bool,
        typer.Option(
            "--include-unknown",
            help="Also operations that may have taken effect: look into the spreadsheet first, they may be written twice.",
        ),
    ] = False,
    include_unprocessed: Annotated[
        bool,
        typer.Option(
            "--include-unprocessed", help="Also what was never sent, because the request was cancelled or failed."
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it is over; exit 1 if anything failed.")] = False,
    as_json: Json = False,
) -> None:
    """Hand in again what failed in a request that is over, with the same ids and settings, as ID.retry1.

    Example: headgate retry-failed orders-7 --wait
    """
    surroundings = of(context)
    raise typer.Exit(
        waiting_for(
            _retry(
                surroundings,
                id_,
                include_unknown=include_unknown,
                include_unprocessed=include_unprocessed,
                wait=wait,
                as_json=as_json,
            )
        )
    )


async def _retry(
    surroundings: Surroundings,
    request_id: str,
    *,
    include_unknown: bool,
    include_unprocessed: bool,
    wait: bool,
    as_json: bool,
) -> int:
    service = await surroundings.service()
    store = Store.open(surroundings.settings.store)
    retried = await retry_failed(
        service, store, request_id, include_unknown=include_unknown, include_unprocessed=include_unprocessed
    )
    submitted = retried.submitted
    if as_json:
        surroundings.answer(
            {
                "id": submitted.id,
                "workflow_id": submitted.workflow_id,
                "operations": retried.operations,
                "left_out": retried.left_out,
            }
        )
    else:
        verb = "submitted" if submitted.first else "already there:"
        surroundings.text(f"{verb} {submitted.id} ({submitted.workflow_id}): {retried.operations:,} operations")
        if any(retried.left_out.values()):
            surroundings.text(f"left out: {_left_out(retried)}")
    if not wait:
        if not submitted.first and not as_json:
            surroundings.say(f"what fails in that one: headgate retry-failed {submitted.id}")
        return 0
    view = await follow_on(surroundings.err, service, submitted.id)
    if not as_json:
        surroundings.text(progress_line(view))
    return exit_code(view)
