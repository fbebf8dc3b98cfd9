"""`headgate purge`: what the store keeps of requests that are over, removed by id or by age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from activities.layout import schedule_root
from activities.purging import Kept, all_kept, all_scheduled, kept, purge
from activities.store import Store
from headgate.errors import InvalidRequest
from starter.completing import request_ids
from starter.looking import Json
from starter.selection import age_s
from starter.service import Service, UnknownRequest
from starter.surroundings import Surroundings, of, waiting_for

_REMAINS: Final = (
    "what remains: the history on the Temporal server until the namespace's retention ends, "
    "and what was written to the spreadsheets"
)


async def purgeable(service: Service, store: Store, request_id: str) -> Kept:
    """What would go of a request that is over, or that the server has forgotten; InvalidRequest while it runs or is starting."""
    unknown: UnknownRequest | None = None
    try:
        if await service.over(request_id) is None:
            raise InvalidRequest(f"request {request_id!r} is not over: cancel it first, or wait")
    except UnknownRequest as error:
        unknown = error
        if request_id in (await service.schedules.under_way()).starting:
            raise InvalidRequest(f"request {request_id!r} is about to start") from None
    found = await kept(store, request_id)
    if not found.objects:
        raise unknown or InvalidRequest(f"nothing of request {request_id!r} is in the store {store.location}")
    return found


async def aged(service: Service, store: Store, before_s: float) -> tuple[list[Kept], int]:
    """What was last written before an instant and belongs to no running request; and how many of that age still run.

    One that a schedule is starting has its input already, and the server does not know it yet.
    """
    old, running = [], 0
    starting = (await service.schedules.under_way()).starting
    async for found in all_kept(store):
        if not found.objects or found.modified_s >= before_s:
            continue
        try:
            if await service.over(found.request_id) is None:
                running += 1
                continue
        except UnknownRequest:  # the server's retention is over
            if found.request_id in starting:
                running += 1
                continue
        old.append(found)
    return old, running


async def forgotten(service: Service, store: Store, before_s: float) -> list[Kept]:
    """Inputs last written before an instant that nothing needs: the server knows their schedules no more, and none is starting."""
    old = [found async for found in all_scheduled(store) if found.objects and found.modified_s < before_s]
    return [found for found in old if await _needed_by_none(service, found.request_id)]


async def _needed_by_none(service: Service, schedule_id: str) -> bool:
    known = await service.schedules.known(schedule_id)
    return known is None and not (await service.schedules.under_way(schedule_id)).starting


def purge_command(
    context: typer.Context,
    id_: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The request's id.", autocompletion=request_ids)
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Every request of which nothing was written for so long, and inputs of schedules that are no more: 12h, 30d, 8w."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove input, plan, journals and results of requests that are over; it cannot be undone.

    Example: headgate purge --older-than 30d --yes
    """
    if (id_ is None) == (older_than is None):
        raise InvalidRequest("name one request, or an age with --older-than")
    waiting_for(_purge(of(context), id_, None if older_than is None else age_s(older_than), yes=yes, as_json=as_json))


async def _purge(
    surroundings: Surroundings, request_id: str | None, age: int | None, *, yes: bool, as_json: bool
) -> None:
    service = await surroundings.service()
    store = Store.open(surroundings.settings.store)
    running = 0
    schedules: list[Kept] = []
    if request_id is not None:
        chosen = [await purgeable(service, store, request_id)]
    else:
        before_s = time.time() - (age or 0)
        chosen, running = await aged(service, store, before_s)
        schedules = await forgotten(service, store, before_s)
    if (chosen or schedules) and not yes:
        await _confirmed(surroundings, chosen, schedules)
    for one in chosen:
        await purge(store, one.request_id)
    schedules = [
        one for one in schedules if await _needed_by_none(service, one.request_id)
    ]  # also after a long question
    for one in schedules:
        await store.delete_folder(schedule_root(one.request_id))
    everything = [*chosen, *schedules]
    if as_json:
        surroundings.answer(
            {
                "purged": [one.request_id for one in chosen],
                "schedules": [one.request_id for one in schedules],
                "objects": sum(one.objects for one in everything),
                "bytes": sum(one.size for one in everything),
                "still_running": running,
            }
        )
        return
    surroundings.text(f"removed {_sum(chosen, schedules)}" if everything else "nothing to remove")
    if running:
        surroundings.text(f"{running:,} requests of that age are not over and were kept")
    if everything:
        surroundings.text(_REMAINS)


async def _confirmed(surroundings: Surroundings, chosen: Sequence[Kept], schedules: Sequence[Kept]) -> None:
    surroundings.say(f"Remove {_sum(chosen, schedules)}? It cannot be undone. [y/N]")
    answer = await asyncio.to_thread(surroundings.stdin.readline)
    if answer.strip().lower() not in (b"y", b"yes"):
        raise InvalidRequest("not confirmed, so nothing was removed; --yes confirms")


def _sum(chosen: Sequence[Kept], schedules: Sequence[Kept]) -> str:
    said = []
    if chosen:
        which = f"request {chosen[0].request_id}" if len(chosen) == 1 else f"{len(chosen):,} requests"
        said.append(f"input, plan, journals and results of {which}")
    if schedules:
        said.append(f"the input of {len(schedules):,} schedules that are no more")
    everything = [*chosen, *schedules]
    objects, size = sum(one.objects for one in everything), sum(one.size for one in everything)
    return f"{' and '.join(said)} ({objects:,} objects, {size / 1_000_000:,.1f} MB)"
