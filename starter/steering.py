"""`headgate pause`, `resume`, `cancel`, `reprioritise`, `retry-failed`: requests by name, or all that a selection finds."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

import typer

from headgate.messages.words import Priority
from starter.client import BulkRequests
from starter.commands import Answered
from starter.completing import request_ids
from starter.looking import Json
from starter.many import MOST, Meant, Said, meant, steer
from starter.retrying import Retried
from starter.selection import InState, OfOwner, OfPriority, OfProject, OlderThan, Selection, selection
from starter.surroundings import waiting_for

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Their ids, as submit printed them.", autocompletion=request_ids),
]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so; you, if missing.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show which requests are meant.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def pause_command(
    context: typer.Context,
    ids: Ids = None,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send nothing more until it is resumed; calls under way end.

    Example: headgate pause orders-7
    Example: headgate pause --owner reports --priority low
    """
    selected = _open(owner, state, priority, project, older_than)
    they = meant(context, "pause", ids, selected, by, dry_run, yes, as_json)
    raise typer.Exit(waiting_for(steer(they, lambda bulk, id_: _told(they, bulk.pause(id_, by=they.by)))))


def resume_command(
    context: typer.Context,
    ids: Ids = None,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Go on after a pause.

    Example: headgate resume orders-7
    Example: headgate resume --state paused --owner reports
    """
    selected = _open(owner, state, priority, project, older_than)
    they = meant(context, "resume", ids, selected, by, dry_run, yes, as_json)
    raise typer.Exit(waiting_for(steer(they, lambda bulk, id_: _told(they, bulk.resume(id_, by=they.by)))))


def cancel_command(
    context: typer.Context,
    ids: Ids = None,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send nothing more, for good; what was not sent counts as unprocessed.

    Example: headgate cancel orders-7
    Example: headgate cancel --state paused --older-than 7d --dry-run
    """
    selected = _open(owner, state, priority, project, older_than)
    they = meant(context, "cancel", ids, selected, by, dry_run, yes, as_json)
    raise typer.Exit(waiting_for(steer(they, lambda bulk, id_: _told(they, bulk.cancel(id_, by=they.by)))))


def reprioritise_command(
    context: typer.Context,
    to: Annotated[Priority, typer.Option(help="The new priority.")],
    ids: Ids = None,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Change who goes first, while it runs.

    Example: headgate reprioritise orders-7 --to urgent
    Example: headgate reprioritise --owner reports --priority urgent --to low
    """
    selected = _open(owner, state, priority, project, older_than)
    they = meant(context, "reprioritise", ids, selected, by, dry_run, yes, as_json)
    raise typer.Exit(waiting_for(steer(they, lambda bulk, id_: _told(they, bulk.reprioritise(id_, to, by=they.by)))))


def retry_failed_command(
    context: typer.Context,
    ids: Ids = None,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
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
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the retries are over; exit 1 if anything failed.")
    ] = False,
    by: By = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Hand in again what failed, with the same ids and settings, as ID.retry1; of one that runs, what has failed so far.

    Example: headgate retry-failed orders-7 --wait
    """
    selected = selection(
        owner=owner, state=state, priority=priority, project=project, older_than=older_than, limit=MOST
    )
    they = meant(context, "retry_failed", ids, selected, by, dry_run, yes, as_json)

    async def ask(bulk: BulkRequests, request_id: str) -> Said:
        retried = await bulk.retry_failed(
            request_id, include_unknown=include_unknown, include_unprocessed=include_unprocessed, by=they.by
        )
        return _retried(request_id, retried)

    raise typer.Exit(waiting_for(steer(they, ask, wait=wait)))


def _open(
    owner: str | None, state: Any, priority: Priority | None, project: str | None, older_than: str | None
) -> Selection:
    """Those that are not over: the others take no command."""
    return selection(
        owner=owner,
        state=state,
        priority=priority,
        project=project,
        older_than=older_than,
        is_open=True,
        limit=MOST,
    )


async def _told(they: Meant, telling: Awaitable[Answered]) -> Said:
    answered = await telling
    document = {
        "id": answered.id,
        "workflow_id": answered.workflow_id,
        "asked": they.command,
        "answer": answered.sentence,
        "recorded": not answered.heard,
    }
    return Said(f"{answered.id}: {answered.sentence}", document)


def _retried(request_id: str, retried: Retried) -> Said:
    submitted = retried.submitted
    document = {
        "id": submitted.id,
        "workflow_id": submitted.workflow_id,
        "operations": retried.operations,
        "left_out": retried.left_out.model_dump(),
        "of": request_id,
    }
    return Said(f"{request_id}: {retried.sentence}", document, follow=submitted.id)
