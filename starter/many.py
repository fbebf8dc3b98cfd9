"""One command to many requests: which are meant, whether a person wants that, and what each of them answers.

1. Each request answers for itself, on a line of its own; one that refuses stops no other. The exit code is 2 if one refused.
2. What is selected is counted first. A person at a terminal is asked, unless `--yes`; where nobody can be asked, a cancel of
   what was selected needs `--yes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import typer

from headgate.errors import HeadgateError, InvalidRequest
from headgate.steering import Command
from starter.client import BulkRequests
from starter.following import exit_code, follow_all_on
from starter.render import plain, progress_line
from starter.selection import Selection
from starter.surroundings import Surroundings, of

TOGETHER: Final = 10
MOST: Final = 10_000
SHOWN: Final = 10


@dataclass(frozen=True)
class Meant:
    """Which requests a command line means, how it goes about them, and who says so."""

    surroundings: Surroundings
    command: Command
    ids: list[str]
    selected: Selection
    by: str
    dry_run: bool
    yes: bool
    as_json: bool


@dataclass(frozen=True)
class Said:
    """What came of the command with one request: a line for people, a document for programs, what it counts as."""

    line: str
    document: dict[str, Any]
    code: int = 0
    follow: str = ""


Ask = Callable[[BulkRequests, str], Awaitable[Said]]


def meant(
    context: typer.Context,
    command: Command,
    ids: list[str] | None,
    selected: Selection,
    by: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> Meant:
    """Raises InvalidRequest where nothing is named, or both ids and a selection."""
    surroundings = of(context)
    if ids and selected.narrows:
        raise InvalidRequest("name requests, or select them by --owner, --state and the like: not both")
    if not ids and not selected.narrows:
        raise InvalidRequest("name a request, or select by --owner, --state, --priority, --project or --older-than")
    who = surroundings.person if by is None else by
    return Meant(surroundings, command, list(dict.fromkeys(ids or ())), selected, who, dry_run, yes, as_json)


async def steer(they: Meant, ask: Ask, *, wait: bool = False) -> int:
    """The exit code, once each of them has answered; with `wait` once the requests that they named to follow are over."""
    surroundings = they.surroundings
    service = await surroundings.service()
    bulk = BulkRequests(service, surroundings.settings.store)
    ids = they.ids or [row.id async for row in bulk.list(they.selected)]
    if they.dry_run or not they.ids:
        surroundings.say(f"{_count(ids)} {'is' if len(ids) == 1 else 'are'} meant")
    if they.dry_run:
        for request_id in ids:
            _show(they, Said(request_id, {"id": request_id, "would": they.command}))
        return 0
    if not they.ids and ids and not they.yes:
        await _confirmed(they, ids)
    all_said = await _told(they, ask, bulk, ids)
    codes = {said.code for said in all_said}
    code = 2 if 2 in codes else max(codes, default=0)  # that one refused is said before that one could not be reached
    follow = [said.follow for said in all_said if said.follow]
    if not wait or not follow:
        return code
    views = await follow_all_on(surroundings.err, service, follow)
    if not they.as_json:
        for view in views:
            surroundings.text(progress_line(view))
    return code or exit_code(views)


async def _told(they: Meant, ask: Ask, bulk: BulkRequests, ids: list[str]) -> list[Said]:
    """What each said, in their order, shown as soon as it is known; a few are asked at a time."""
    places = asyncio.Semaphore(TOGETHER)

    async def one(request_id: str) -> Said:
        async with places:
            return await _answered(they, ask, bulk, request_id)

    asking = [asyncio.create_task(one(request_id)) for request_id in ids]
    all_said = []
    try:
        for each in asking:
            all_said.append(await each)
            _show(they, all_said[-1])
    finally:
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return all_said


async def _answered(they: Meant, ask: Ask, bulk: BulkRequests, request_id: str) -> Said:
    try:
        return await ask(bulk, request_id)
    except HeadgateError as error:
        refused = isinstance(error, InvalidRequest)
        why = " ".join(str(error).split())
        document = {"id": request_id, "asked": they.command, "refused" if refused else "failed": why}
        return Said(why if repr(request_id) in why else f"{request_id}: {why}", document, 2 if refused else 3)


def _show(they: Meant, said: Said) -> None:
    if they.as_json:
        they.surroundings.answer(said.document)
        return
    if said.code:
        they.surroundings.say(f"headgate: {said.line}")
    else:
        they.surroundings.text(plain(said.line))


async def _confirmed(they: Meant, ids: list[str]) -> None:
    """Returns if a person at the terminal agrees, or nobody is there and nothing is lost by it."""
    surroundings = they.surroundings
    if not surroundings.stdin.isatty():
        if they.command == "cancel":
            raise InvalidRequest("nobody is there to be asked: --yes cancels what was selected, --dry-run shows it")
        return
    shown = ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else "")
    spoken = they.command.replace("_", "-")
    surroundings.say(f"{spoken} {_count(ids)}: {shown}? [y/N]")
    answer = await asyncio.to_thread(surroundings.stdin.readline)
    if answer.strip().lower() not in (b"y", b"yes"):
        raise InvalidRequest("not confirmed, so nothing was changed; --yes confirms")


def _count(ids: list[str]) -> str:
    if len(ids) >= MOST:
        return f"the first {len(ids):,} requests"
    return f"{len(ids):,} request{'' if len(ids) == 1 else 's'}"
