"""`headgate status`, `list`, `results`: looking changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from activities.results import Outcome, read_results
from activities.store import Store
from headgate import csv_output
from headgate.errors import InvalidRequest
from headgate.messages.words import State
from starter.completing import request_ids
from starter.listing import requests_lines, requests_table
from starter.panel import progress_panel
from starter.render import plain, progress_line
from starter.selection import InState, Limit, OfOwner, OfPriority, OfProject, OlderThan, Selection, selection
from starter.service import UnknownRequest
from starter.surroundings import Surroundings, of, waiting_for

RequestId = Annotated[
    str, typer.Argument(metavar="ID", help="The request's id, as submit printed it.", autocompletion=request_ids)
]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON on the standard output.")]


def status_command(context: typer.Context, id_: RequestId, as_json: Json = False) -> None:
    """Where a request stands.

    Example: headgate status orders-7 --json
    """
    waiting_for(_status(of(context), id_, as_json=as_json))


async def _status(surroundings: Surroundings, request_id: str, *, as_json: bool) -> None:
    view = await (await surroundings.service()).progress(request_id)
    if as_json:
        surroundings.answer(view.model_dump(mode="json"))
    elif surroundings.out.is_terminal:
        surroundings.out.print(progress_panel(view))
    else:
        surroundings.text(progress_line(view))


def list_command(
    context: typer.Context,
    owner: OfOwner = None,
    state: InState = None,
    priority: OfPriority = None,
    project: OfProject = None,
    older_than: OlderThan = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Requests, the youngest first; with --json one object a line.

    Beyond --limit those that ended longest ago are left out. With --state waiting each running request is asked.

    Example: headgate list --state running --project demo --older-than 2h
    """
    chosen = selection(owner=owner, state=state, priority=priority, project=project, older_than=older_than, limit=limit)
    waiting_for(_list(of(context), chosen, as_json=as_json))


async def _list(surroundings: Surroundings, chosen: Selection, *, as_json: bool) -> None:
    service = await surroundings.service()
    rows = [row async for row in service.requests(chosen)]
    rows.sort(key=lambda row: row.started_at, reverse=True)
    if as_json:
        for row in rows:
            surroundings.answer(asdict(row))
    elif rows and surroundings.out.is_terminal:
        surroundings.out.print(requests_table(rows, surroundings.out.width))
    elif rows:
        for line in requests_lines(rows):
            surroundings.text(line)
    else:
        surroundings.say("no requests like that" if chosen.narrows else "no requests")


def results_command(
    context: typer.Context,
    id_: RequestId,
    outcome: Annotated[Outcome | None, typer.Option(help="Only operations with this outcome.")] = None,
    as_csv: Annotated[
        bool,
        typer.Option(
            "--csv",
            help="CSV for a spreadsheet program: what could begin a formula gets an apostrophe in front. "
            "What was read is in --json only.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """What became of every operation, streamed; with --json one object a line, what was read in its reply.

    Example: headgate results orders-7 --outcome failed --json > failed.jsonl
    """
    if as_csv and as_json:
        raise InvalidRequest("--csv and --json cannot both be had: choose one")
    shown = _as_json if as_json else csv_output.row if as_csv else _in_words
    waiting_for(_results(of(context), id_, outcome, shown, csv_output.header() if as_csv else ""))


async def _results(
    surroundings: Surroundings,
    request_id: str,
    outcome: Outcome | None,
    shown: Callable[[Mapping[str, Any]], str],
    header: str,
) -> None:
    store = Store.open(surroundings.settings.store)
    unknown: UnknownRequest | None = None
    state: State | None = None
    try:
        state = await (await surroundings.service()).over(request_id)
    except UnknownRequest as error:  # the store remembers longer than the server
        unknown = error
    found = False
    async for result in read_results(store, request_id, outcome, closed=state in ("cancelled", "failed")):
        if header and not found:
            surroundings.text(header)
        found = True
        surroundings.text(shown(result))
    if unknown is not None and not found:
        raise unknown
    if header and not found:
        surroundings.text(header)


def _as_json(result: Mapping[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False)


def _in_words(result: Mapping[str, Any]) -> str:
    applied = "" if result["applied"] == "yes" else f", applied: {result['applied']}"
    reason = f": {result['reason']}" if result.get("reason") else ""
    return plain(f"line {result['line']} ({result['id']}) {result['outcome']}{applied}{reason}")
