"""`headgate watch`: one request or many, until the last one is over. Watching changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from headgate.errors import InvalidRequest
from starter.completing import request_ids
from starter.following import LINE_LOOK_EVERY_S, exit_code, follow_all, follow_all_on
from starter.looking import Json
from starter.selection import (
    InState,
    Limit,
    OfOwner,
    OfPriority,
    OfProject,
    OlderThan,
    Selection,
    selection,
)
from starter.service import Service
from starter.showing import Documents
from starter.surroundings import Surroundings, of, waiting_for


def watch_command(
    context: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="Ids, as submit printed them; none: all that are open.", autocompletion=request_ids
        ),
    ] = None,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Stay with requests until they are over; exit 1 if anything failed.

    Without ids: with those that are open now, of an owner, a project and so on. Up to four are asked once a second, more of
    them less often, so that it is four questions a second together; half of that where the output is no terminal.
    With --json one object for each change of a request.

    Example: headgate watch --project demo --priority urgent
    """
    chosen = selection(
        owner=owner,
        state=state,
        priority=priority,
        project=project,
        older_than=older_than,
        is_open=True,
        limit=limit,
    )
    if ids and chosen.narrows:
        raise InvalidRequest("name requests by their ids, or by what they have in common, not by both")
    raise typer.Exit(waiting_for(_watch(of(context), list(dict.fromkeys(ids or ())), chosen, as_json=as_json)))


async def _watch(surroundings: Surroundings, ids: list[str], chosen: Selection, *, as_json: bool) -> int:
    service = await surroundings.service()
    ids = ids or await _found(surroundings, service, chosen)
    if not ids:
        surroundings.say("no open requests like that" if chosen.narrows else "no open requests")
        return 0
    if not as_json:
        return exit_code(await follow_all_on(surroundings.out, service, ids))
    documents = Documents(surroundings.answer, surroundings.say)
    return exit_code(await follow_all(service, ids, documents, every_s=LINE_LOOK_EVERY_S))


async def _found(surroundings: Surroundings, service: Service, chosen: Selection) -> list[str]:
    """The open requests that are meant, the oldest first; more than the limit are told of."""
    rows = [row async for row in service.requests(replace(chosen, limit=chosen.limit + 1))]
    if len(rows) > chosen.limit:
        surroundings.say(f"more than {chosen.limit} are open: watching that many (--limit)")
    return [row.id for row in sorted(rows[: chosen.limit], key=lambda row: row.started_at)]
