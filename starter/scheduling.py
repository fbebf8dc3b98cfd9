"""`headgate schedules list | show | pause | resume | remove`: requests that begin later, or again and again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from activities.layout import schedule_root
from activities.store import Store
from headgate.errors import InvalidRequest
from starter.looking import Json
from starter.render import clock_time
from starter.schedules import ScheduleRow, Schedules, UnknownSchedule
from starter.surroundings import Surroundings, of, waiting_for

schedules = typer.Typer(no_args_is_help=True, help="Requests that begin later, or again and again.")

ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id, as submit printed it.")]


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of a schedule that was removed, and of its stored input, which stays while a request is `starting` from it."""

    id: str
    running: tuple[str, ...]
    starting: tuple[str, ...]
    input_removed: bool


async def remove(schedules: Schedules, store: Store, schedule_id: str) -> Removal:
    """The schedule starts nothing any more, and its input is no longer in the store; what it has started goes on.

    One that was cut off can be repeated. Raises `UnknownSchedule` where neither the server nor the store has any of it.
    """
    root = schedule_root(schedule_id)
    try:
        left = await schedules.remove(schedule_id)
    except UnknownSchedule:
        if not [entry async for entry in store.contents(root)]:
            raise
        left = await schedules.under_way(schedule_id)
    if not left.starting:
        await store.delete_folder(root)
    return Removal(schedule_id, left.running, left.starting, input_removed=not left.starting)


@schedules.command("list")
def list_command(context: typer.Context, as_json: Json = False) -> None:
    """Every schedule with its next instant and its last three requests; with --json one object a line.

    Example: headgate schedules list --json
    """
    waiting_for(_list(of(context), as_json=as_json))


async def _list(surroundings: Surroundings, *, as_json: bool) -> None:
    found = (await surroundings.service()).schedules
    rows = [row async for row in found.all()]
    if as_json:
        for row in rows:
            surroundings.answer(asdict(row))
        return
    for row in rows:
        for line in _in_list(row):
            surroundings.text(line)
    if not rows:
        surroundings.say("no schedules")


@schedules.command("show")
def show_command(context: typer.Context, id_: ScheduleId, as_json: Json = False) -> None:
    """One schedule: when it runs, what was left out, and its last ten requests.

    Example: headgate schedules show nightly
    """
    waiting_for(_show(of(context), id_, as_json=as_json))


async def _show(surroundings: Surroundings, schedule_id: str, *, as_json: bool) -> None:
    row = await (await surroundings.service()).schedules.show(_checked(schedule_id))
    if as_json:
        surroundings.answer(asdict(row))
        return
    for line in _lines(row):
        surroundings.text(line)


@schedules.command("pause")
def pause_command(context: typer.Context, id_: ScheduleId, as_json: Json = False) -> None:
    """Start nothing until it is resumed; what falls into the pause is not made up for. A running request goes on.

    Example: headgate schedules pause nightly
    """
    waiting_for(_pause(of(context), id_, as_json=as_json))


async def _pause(surroundings: Surroundings, schedule_id: str, *, as_json: bool) -> None:
    found = (await surroundings.service()).schedules
    await found.pause(_checked(schedule_id), f"paused by {surroundings.person or 'someone'}")
    if as_json:
        surroundings.answer({"id": schedule_id, "state": "paused"})
    else:
        surroundings.text(f"paused schedule {schedule_id}: what is due from now on does not run; what runs goes on")


@schedules.command("resume")
def resume_command(context: typer.Context, id_: ScheduleId, as_json: Json = False) -> None:
    """Go on after a pause, with the next instant.

    Example: headgate schedules resume nightly
    """
    waiting_for(_resume(of(context), id_, as_json=as_json))


async def _resume(surroundings: Surroundings, schedule_id: str, *, as_json: bool) -> None:
    found = (await surroundings.service()).schedules
    row = await found.resume(_checked(schedule_id), f"resumed by {surroundings.person or 'someone'}")
    if as_json:
        surroundings.answer({"id": schedule_id, "state": row.state, "next_at": row.next_at})
    elif row.next_at is not None:
        surroundings.text(f"resumed schedule {schedule_id}: next {clock_time(row.next_at)}")
    else:
        surroundings.text(f"resumed schedule {schedule_id}, which has nothing more to run ({row.state}): {row.when}")


@schedules.command("remove")
def remove_command(context: typer.Context, id_: ScheduleId, as_json: Json = False) -> None:
    """Start nothing any more, and remove the stored input. A running request goes on; `headgate cancel` ends one.

    Example: headgate schedules remove nightly
    """
    waiting_for(_remove(of(context), id_, as_json=as_json))


async def _remove(surroundings: Surroundings, schedule_id: str, *, as_json: bool) -> None:
    service = await surroundings.service()
    store = Store.open(surroundings.settings.store)
    removal = await remove(service.schedules, store, _checked(schedule_id))
    if as_json:
        surroundings.answer(asdict(removal))
        return
    surroundings.text(f"removed schedule {schedule_id}" + (" and its stored input" if removal.input_removed else ""))
    if removal.running:
        surroundings.text(f"still running: {', '.join(removal.running)}; `headgate cancel ID` would end it")
    if removal.starting:
        surroundings.text(
            f"about to start: {', '.join(removal.starting)}, from the stored input, which therefore stays: "
            f"`headgate schedules remove {schedule_id}` again removes it later"
        )


def _checked(schedule_id: str) -> str:
    """The id, if a schedule can have it; a mistyped one is unknown, not a defect."""
    try:
        schedule_root(schedule_id)
    except InvalidRequest:
        raise UnknownSchedule(f"there is no schedule {schedule_id[:140]!r}") from None
    return schedule_id


def _in_list(row: ScheduleRow) -> list[str]:
    """A schedule in one line, and its last requests below it."""
    next_at = f", next {clock_time(row.next_at)}" if row.next_at else ""
    head = f"{row.id}: {row.state}, {row.when}{next_at}, overlap {row.overlap}"
    return [head, *(f"    {one.request} {one.state}" for one in row.requests)]


def _lines(row: ScheduleRow) -> list[str]:
    """A schedule in a few lines."""
    lines = [f"schedule {row.id}: {row.state}" + (f" ({row.note})" if row.note else "")]
    lines.append(f"when     {row.when}" + (f", next {clock_time(row.next_at)}" if row.next_at else ""))
    lines.append(f"overlap  {row.overlap}")
    lines.append(f"request  {row.summary}, priority {row.priority}" + (f", owner {row.owner}" if row.owner else ""))
    counts = f"{row.started:,} started"
    counts += f", {row.skipped:,} left out while one ran" if row.skipped else ""
    counts += f", {row.missed:,} missed while the server was away" if row.missed else ""
    lines.append(f"so far   {counts}")
    lines += [f"         {one.request} {one.state}" for one in row.requests]
    return lines
