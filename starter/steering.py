"""`headgate pause`, `resume`, `cancel`, `reprioritise`: recorded in the request's history, whatever its size, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from headgate.models import Control, Priority
from starter.looking import Json, RequestId
from starter.service import Action
from starter.surroundings import Surroundings, of, waiting_for


def pause_command(context: typer.Context, id_: RequestId, as_json: Json = False) -> None:
    """Send nothing more until it is resumed; calls under way end.

    Example: headgate pause orders-7
    """
    waiting_for(_steer(of(context), id_, "pause", as_json=as_json))


def resume_command(context: typer.Context, id_: RequestId, as_json: Json = False) -> None:
    """Go on after a pause.

    Example: headgate resume orders-7
    """
    waiting_for(_steer(of(context), id_, "resume", as_json=as_json))


def cancel_command(context: typer.Context, id_: RequestId, as_json: Json = False) -> None:
    """Send nothing more, for good; what was not sent counts as unprocessed.

    Example: headgate cancel orders-7
    """
    waiting_for(_steer(of(context), id_, "cancel", as_json=as_json))


def reprioritise_command(
    context: typer.Context,
    id_: RequestId,
    to: Annotated[Priority, typer.Option(help="The new priority.")],
    as_json: Json = False,
) -> None:
    """Change who goes first, while it runs.

    Example: headgate reprioritise orders-7 --to urgent
    """
    waiting_for(_steer(of(context), id_, "reprioritise", to=to, as_json=as_json))


async def _steer(
    surroundings: Surroundings, request_id: str, action: Action, *, to: Priority | None = None, as_json: bool
) -> None:
    service = await surroundings.service()
    workflow_id = await service.control(request_id, action, Control(to=to, by=surroundings.person))
    if as_json:
        surroundings.answer({"id": request_id, "workflow_id": workflow_id, "asked": action})
    else:
        surroundings.text(f"asked to {action}: {request_id}" + (f" to {to}" if to else ""))
