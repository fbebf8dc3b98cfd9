"""`headgate fences list | clean`: the marks that make writes safe to repeat, in the spreadsheets where they still are.

Cleaning removes what nobody can need any more:

1. fences that are known and have outlived their use;
2. fences that no record tells of, fifteen minutes after they were first seen, and only if no request was under way then:
   one of those might still be a request's proof that it has written already.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from activities.fences import FENCE_LIVES_NS, Fences
from activities.store import Store
from headgate.apis.sheets.compose import compose_fence_search, compose_sweep
from headgate.apis.sheets.replies import Answered, Refused, read_reply
from headgate.errors import HeadgateError, InvalidRequest
from headgate.progress import instant
from starter.calling import Caller, calling
from starter.limiting import checked
from starter.looking import Json
from starter.selection import Selection
from starter.surroundings import Surroundings, of, waiting_for
from starter.users import chosen_user, user_names

fences = typer.Typer(no_args_is_help=True, help="The marks in spreadsheets that make writes safe to repeat.")

REMOVED_AT_ONCE: Final = 1_000
Spreadsheet = Annotated[str | None, typer.Option(help="Only this one; without it all that have marks.")]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of a spreadsheet's fences: removed now, known but too young, seen for the first time, left to requests."""

    spreadsheet: str
    removed: int
    young: int
    adopted: int
    left: int
    again_at: str | None


@fences.command("list")
def list_command(context: typer.Context, spreadsheet: Spreadsheet = None, as_json: Json = False) -> None:
    """The marks that the store knows of, by spreadsheet; makes no call.

    Example: headgate fences list --json
    """
    waiting_for(_list(of(context), spreadsheet, as_json=as_json))


async def _list(surroundings: Surroundings, spreadsheet: str | None, *, as_json: bool) -> None:
    known = Fences(Store.open(surroundings.settings.store))
    found = False
    for name in await _wanted(known, spreadsheet):
        alive = await known.alive(name)
        if not alive:
            continue
        found = True
        expired = sum(fence.expires_ns <= time.time_ns() for fence in alive)
        if as_json:
            oldest = instant(alive[0].at_ns)
            surroundings.answer({"spreadsheet": name, "alive": len(alive), "expired": expired, "oldest_at": oldest})
        else:
            surroundings.text(f"{name}: {len(alive)} marks, {expired} of them expired")
    if not found and not as_json:
        surroundings.say("no marks are known")


@fences.command("clean")
def clean_command(
    context: typer.Context,
    project: Annotated[str, typer.Option(help="The Google Cloud project whose quota pays.")],
    user: Annotated[str | None, typer.Option(help="The credential to call with.")] = None,
    spreadsheet: Spreadsheet = None,
    as_json: Json = False,
) -> None:
    """Remove the marks that nobody needs any more; every call waits for its token like any other.

    Example: headgate fences clean --project demo --user alice --spreadsheet 1AbC
    """
    waiting_for(_clean(of(context), checked(project), user, spreadsheet, as_json=as_json))


async def _clean(
    surroundings: Surroundings, project: str, user: str | None, spreadsheet: str | None, *, as_json: bool
) -> None:
    caller_name = chosen_user(user, user_names(surroundings.settings.credentials))
    known = Fences(Store.open(surroundings.settings.store))
    service = await surroundings.service()
    failure: HeadgateError | None = None

    async def idle() -> bool:
        return not [row async for row in service.requests(Selection(is_open=True, limit=1))]

    for name in await _wanted(known, spreadsheet):
        try:
            async with calling(surroundings.settings, caller_name, name, project) as caller:
                cleaned = await clean(known, caller, name, idle)
        except HeadgateError as error:
            surroundings.say(f"{name}: {error}")
            failure = error
            continue
        if as_json:
            surroundings.answer(asdict(cleaned))
        else:
            surroundings.text(_in_words(cleaned))
    if failure is not None:
        raise failure


async def clean(known: Fences, caller: Caller, spreadsheet: str, idle: Callable[[], Awaitable[bool]]) -> Cleaned:
    """Remove the fences of one spreadsheet that nobody needs any more. `idle` says whether no request is under way."""
    adopts = await idle()
    alive = {fence.id: fence for fence in await known.alive(spreadsheet)}
    existing = await _existing(caller, spreadsheet)
    adopts = adopts and await idle()
    now = max(caller.clock.now_ns(), 0)
    expired = {number for number, fence in alive.items() if fence.expires_ns <= now}
    by = f"clean/{now}"
    for number in expired:  # what a lost worker had claimed and not removed is anybody's after another life
        if alive[number].expires_ns + FENCE_LIVES_NS <= now:
            await known.give_up(spreadsheet, [number])
    known.forget(spreadsheet)
    claimed = await known.claim(spreadsheet, by, now, len(alive))
    there = [number for number in claimed if number in existing]
    try:
        for first in range(0, len(there), REMOVED_AT_ONCE):
            await _remove(caller, spreadsheet, there[first : first + REMOVED_AT_ONCE])
    except HeadgateError:
        await known.give_up(spreadsheet, claimed)
        raise
    await known.removed(spreadsheet, claimed)
    strange = sorted(existing - alive.keys())
    if adopts:
        await known.put_down(spreadsheet, strange, now, by)
    young = [fence.expires_ns for number, fence in alive.items() if number not in expired and number in existing]
    again = max([*young, *([now + FENCE_LIVES_NS] if adopts and strange else [])], default=0)
    return Cleaned(
        spreadsheet,
        removed=len(there),
        young=len(young),
        adopted=len(strange) if adopts else 0,
        left=0 if adopts else len(strange),
        again_at=instant(again) if again else None,
    )


async def _wanted(known: Fences, spreadsheet: str | None) -> list[str]:
    return [spreadsheet] if spreadsheet is not None else [name async for name in known.spreadsheets()]


async def _existing(caller: Caller, spreadsheet: str) -> set[int]:
    answer = await caller.make(compose_fence_search(spreadsheet))
    reply = read_reply(answer.status, answer.headers, answer.body)
    if not isinstance(reply, Answered):
        raise _failure(reply)
    found = reply.body.get("matchedDeveloperMetadata")
    entries = [entry.get("developerMetadata") for entry in found if isinstance(entry, dict)] if found else []
    return {entry["metadataId"] for entry in entries if isinstance(entry, dict)}


async def _remove(caller: Caller, spreadsheet: str, ids: Sequence[int]) -> None:
    answer = await caller.make(compose_sweep(spreadsheet, ids))
    reply = read_reply(answer.status, answer.headers, answer.body)
    if not isinstance(reply, Answered):
        raise _failure(reply)


def _failure(reply: object) -> HeadgateError:
    if isinstance(reply, Refused):
        return InvalidRequest(f"the API refuses: {reply.reason}")
    return HeadgateError("the API did not answer as it should: try again in a minute")


def _in_words(cleaned: Cleaned) -> str:
    said = [f"{cleaned.removed} marks removed"]
    if cleaned.young or cleaned.adopted:
        said.append(f"{cleaned.young + cleaned.adopted} can go after {cleaned.again_at}")
    if cleaned.left:
        said.append(f"{cleaned.left} unknown ones stay while requests are under way")
    return f"{cleaned.spreadsheet}: {', '.join(said)}"
