"""`headgate limiter show | set | pause | resume`: the quotas of a project, and what its limiter makes of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import typer

from headgate.errors import InvalidRequest
from headgate.messages.views import Control
from headgate.messages.words import NAME_PATTERN
from starter.looking import Json
from starter.render import limiter_lines, plain, settings_lines
from starter.surroundings import Surroundings, of, waiting_for

limiter = typer.Typer(no_args_is_help=True, help="The token dispenser of a project: its quotas, and how it stands.")

Project = Annotated[str, typer.Option(help="The Google Cloud project.")]
Quota = Annotated[int | None, typer.Option(min=1, help="Calls in one window.")]
Floor = Annotated[
    float | None,
    typer.Option(min=0, max=100, metavar="PERCENT", help="The part of the quota that the class is sure of."),
]
By = Annotated[str | None, typer.Option(help="Who says so; default: $USER.")]
_LONGEST_S: Final = 86_400.0


@limiter.command("show")
def show_command(context: typer.Context, project: Project, as_json: Json = False) -> None:
    """How the limiter of a project stands.

    Example: headgate limiter show --project demo --json
    """
    waiting_for(_show(of(context), project, as_json=as_json))


async def _show(surroundings: Surroundings, project: str, *, as_json: bool) -> None:
    view = await (await surroundings.service()).limiter_show(checked(project))
    if as_json:
        surroundings.answer(view.model_dump(mode="json"))
        return
    for line in limiter_lines(view):
        surroundings.text(plain(line))


@limiter.command("set")
def set_command(
    context: typer.Context,
    project: Project,
    read_per_project: Quota = None,
    read_per_user: Quota = None,
    write_per_project: Quota = None,
    write_per_user: Quota = None,
    window: Annotated[float | None, typer.Option(metavar="SECONDS", help="The window that they count in.")] = None,
    spreadsheet_spacing: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Between two writes to one spreadsheet.")
    ] = None,
    token_valid_for: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How late a token may still be used.")
    ] = None,
    network_spread: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long a call may take to arrive.")
    ] = None,
    floor_urgent: Floor = None,
    floor_normal: Floor = None,
    floor_low: Floor = None,
    age_after: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="So long without a call raises a request by one class.")
    ] = None,
    urgent_budget: Annotated[
        int | None,
        typer.Option(min=0, help="Urgent calls of an owner in 10 minutes; beyond it is served as normal. 0: any."),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="Set --read-per-user and --write-per-user for this user alone; neither: as everybody."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Set the quotas of a project; what is not named stays as it is, at first as Google has it. Needs no worker.

    Acts at once, also on what waits. Calls that were granted before are counted.

    Example: headgate limiter set --project demo --write-per-project 300 --write-per-user 60 --window 60
    Example: headgate limiter set --project demo --user billing-bot --write-per-user 120
    """
    quotas: dict[str, object] = {
        "read_per_project": read_per_project,
        "read_per_user": read_per_user,
        "write_per_project": write_per_project,
        "write_per_user": write_per_user,
        "window_ns": _nanoseconds("--window", window),
        "spreadsheet_spacing_ns": _nanoseconds("--spreadsheet-spacing", spreadsheet_spacing),
        "token_valid_for_ns": _nanoseconds("--token-valid-for", token_valid_for),
        "network_spread_ns": _nanoseconds("--network-spread", network_spread),
        "floor_urgent": None if floor_urgent is None else floor_urgent / 100,
        "floor_normal": None if floor_normal is None else floor_normal / 100,
        "floor_low": None if floor_low is None else floor_low / 100,
        "age_after_ns": _nanoseconds("--age-after", age_after),
        "urgent_budget": urgent_budget,
    }
    if user is not None:
        limits = {"read": quotas.pop("read_per_user"), "write": quotas.pop("write_per_user")}
        quotas["users"] = {user: {kind: limit for kind, limit in limits.items() if limit is not None}}
    changes = {name: value for name, value in quotas.items() if value is not None}
    waiting_for(_set(of(context), project, changes, as_json=as_json))


async def _set(surroundings: Surroundings, project: str, changes: Mapping[str, object], *, as_json: bool) -> None:
    settings = await (await surroundings.service()).limiter_set(checked(project), changes)
    if as_json:
        surroundings.answer({"project": project, "settings": settings.model_dump(mode="json")})
        return
    surroundings.text(f"limiter of project {project}")
    for line in settings_lines(settings):
        surroundings.text(line)


@limiter.command("pause")
def pause_command(context: typer.Context, project: Project, by: By = None, as_json: Json = False) -> None:
    """Stop a whole project: no call is made for it until `limiter resume`. Acts within 2 s; nothing is lost.

    Example: headgate limiter pause --project demo
    """
    waiting_for(_control(of(context), project, "pause", by, as_json=as_json))


@limiter.command("resume")
def resume_command(context: typer.Context, project: Project, by: By = None, as_json: Json = False) -> None:
    """Let a project that was paused go on.

    Example: headgate limiter resume --project demo
    """
    waiting_for(_control(of(context), project, "resume", by, as_json=as_json))


async def _control(
    surroundings: Surroundings, project: str, action: Literal["pause", "resume"], by: str | None, *, as_json: bool
) -> None:
    control = Control(by=by or surroundings.person)
    await (await surroundings.service()).limiter_control(checked(project), action, control)
    if as_json:
        surroundings.answer({"project": project, "action": action})
        return
    surroundings.text(f"limiter of project {project}: {action}d")


def checked(project: str) -> str:
    """The project, if its name can be one."""
    if not re.fullmatch(NAME_PATTERN, project):
        raise InvalidRequest(f"--project {project[:140]!r} must be 1 to 128 of A-Z a-z 0-9 _ . @ -")
    return project


def _nanoseconds(option: str, span_s: float | None) -> int | None:
    if span_s is None:
        return None
    if not 0.001 <= span_s <= _LONGEST_S:
        raise InvalidRequest(f"{option} {span_s:g} must lie between 0.001 and {_LONGEST_S:g} seconds")
    return round(span_s * 1_000_000_000)
