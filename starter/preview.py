"""`headgate plan`: what `submit` would do with an input, without sending anything, without a worker, without the store."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from activities.planning import Planning
from headgate.csv_input import Destination
from headgate.errors import HeadgateError, InvalidRequest
from headgate.forecast import Demand, Forecast, forecast, supplies
from headgate.messages.requests import BulkRequest, Page, PlanSummary
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import LimiterView
from starter.inputs import (
    SAY_EVERY_S,
    CsvMode,
    Delimiter,
    Formulas,
    InputFile,
    SheetTitle,
    Spreadsheet,
    Types,
    destination,
    handed_in,
)
from starter.render import duration
from starter.submitting import ItsOrder, ItsPriority, PerCall, Project, User, Wish
from starter.surroundings import Surroundings, of, waiting_for
from starter.users import chosen_user, user_names

PROBLEMS_SHOWN: Final = 20
USERS_NAMED: Final = 10
#: A limiter that does not answer by then is done without.
ASK_WITHIN_S: Final = 4.0


@dataclass(frozen=True)
class Preview:
    """A plan for a person to read; `basis` says whose quotas the duration stands on."""

    name: str
    summary: PlanSummary
    demand: Demand
    problems: list[dict[str, Any]]
    expected: Forecast
    basis: str

    @property
    def accepted(self) -> int:
        """Operations that would be sent."""
        return self.summary.operations - self.summary.dead_letters

    @property
    def merge_factor(self) -> float:
        """Operations a call."""
        return round(self.accepted / self.summary.calls, 1) if self.summary.calls else 0.0


def plan_command(
    context: typer.Context,
    file: InputFile,
    project: Project,
    user: User = None,
    owner: Annotated[str, typer.Option(help="On whose behalf: a team or a tenant.")] = "",
    priority: ItsPriority = "normal",
    order: ItsOrder = "lane",
    operations_per_call: PerCall = 0,
    spreadsheet: Spreadsheet = None,
    sheet: SheetTitle = None,
    mode: CsvMode = None,
    types: Types = None,
    delimiter: Delimiter = None,
    formulas: Formulas = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON on the standard output.")] = False,
) -> None:
    """What a file would become: calls, how long they take, and the lines that would be refused; nothing is sent.

    Example: headgate plan orders.jsonl --project demo --user alice
    """
    surroundings = of(context)
    wish = Wish(
        project=project,
        user=user,
        owner=owner,
        priority=priority,
        order=order,
        operations_per_call=operations_per_call,
    ).checked()
    table = destination(spreadsheet, sheet, mode, types, delimiter, formulas)
    preview = waiting_for(_preview(surroundings, file, table, wish))
    if as_json:
        surroundings.answer(_document(preview))
    else:
        for line in _lines(preview):
            surroundings.text(line)
    raise typer.Exit(1 if preview.summary.dead_letters else 0)


async def _preview(surroundings: Surroundings, file: str, table: Destination | None, wish: Wish) -> Preview:
    known_users = user_names(surroundings.settings.credentials)
    request = BulkRequest(
        id="plan",
        project=wish.project,
        user=chosen_user(wish.user, known_users),
        owner=wish.owner,
        priority=wish.priority,
        order=wish.order,
        operations_per_call=wish.operations_per_call,
        nonce="plan",
    )
    asking = asyncio.create_task(_limiter(surroundings, wish.project))
    with tempfile.TemporaryDirectory(prefix="headgate-plan-", ignore_cleanup_errors=True) as folder:
        planning = Planning(request, Path(folder), frozenset(known_users) if known_users is not None else None)
        try:
            with handed_in(surroundings, file, table) as source:
                working = asyncio.create_task(asyncio.to_thread(_taken, planning, source.operations))
                while not (await asyncio.wait({working}, timeout=SAY_EVERY_S))[0]:
                    surroundings.say(f"{source.name}: {planning.lines:,} lines planned")
                summary = await working
            demand, problems = await asyncio.to_thread(_read_back, planning)
        finally:
            planning.stop()
    if not summary.operations:
        raise InvalidRequest(f"{source.name} is empty: give a file with one operation a line, as JSON")
    view = await asking
    settings = view.settings if view is not None else LimiterSettings()
    supply = supplies(settings, view, wish.priority, wish.owner)
    return Preview(
        source.name, summary, demand, problems, forecast(demand, supply, settings), _basis(view, wish.project)
    )


async def _limiter(surroundings: Surroundings, project: str) -> LimiterView | None:
    """What the project's limiter says of itself, if anybody answers soon."""
    with suppress(HeadgateError, TimeoutError):
        async with asyncio.timeout(ASK_WITHIN_S):
            return await (await surroundings.service()).limiter_show(project)
    return None


def _taken(planning: Planning, operations: Iterable[bytes]) -> PlanSummary:
    for block in operations:
        planning.take(block)
    return planning.finish()


def _read_back(planning: Planning) -> tuple[Demand, list[dict[str, Any]]]:
    """The plan's lanes in numbers, and the first lines that it refuses."""
    demand = Demand()
    with planning.pages.open("rb") as pages:
        for page in pages:
            for lane in Page.model_validate_json(page).lanes:
                demand.add(lane)
    with planning.refused.open("rb") as refused:
        failed = (result for result in map(json.loads, refused) if result["outcome"] == "failed")
        first = list(islice(failed, PROBLEMS_SHOWN))
    return demand, [{name: result[name] for name in ("line", "id", "reason")} for result in first]


def _basis(view: LimiterView | None, project: str) -> str:
    if view is None:
        return f"at Google's default quotas, since no limiter of project {project} answers"
    paused = f"; the project is paused by {view.paused_by}, and waits until it is resumed" if view.paused_by else ""
    return f"at the share of project {project} that its limiter has for it now{paused}"


def _document(preview: Preview) -> dict[str, Any]:
    summary, demand = preview.summary, preview.demand
    return {
        "operations": summary.operations,
        "refused": summary.dead_letters,
        "calls": {"total": summary.calls, **demand.calls, "look_ups": demand.look_ups},
        "merge_factor": preview.merge_factor,
        "lanes": demand.lanes,
        "spreadsheets": demand.spreadsheets,
        "users": demand.users,
        "expected": {
            "seconds": round(preview.expected.seconds, 1),
            "because": preview.expected.because,
            "basis": preview.basis,
        },
        "problems": preview.problems,
        "reasons": summary.reasons,
    }


def _lines(preview: Preview) -> list[str]:
    summary, demand = preview.summary, preview.demand
    reads = demand.calls["read"] - demand.look_ups
    users = ", ".join(demand.users[:USERS_NAMED]) + (", …" if len(demand.users) > USERS_NAMED else "")
    lines = [
        f"{preview.name}: {preview.accepted:,} operations in {summary.calls:,} calls, "
        f"{preview.merge_factor:,} operations a call; {summary.dead_letters:,} lines refused",
    ]
    if summary.calls:
        lines += [
            f"calls     {demand.calls['write']:,} writes, {reads:,} reads, {demand.look_ups:,} look-ups of sheets (reads)",
            f"lanes     {demand.lanes:,}, over {demand.spreadsheets:,} spreadsheets and {len(demand.users):,} users ({users})",
            f"expected  about {duration(preview.expected.seconds)} {preview.basis}",
            f"          what takes longest: {preview.expected.because}",
        ]
    lines += [f"refused   line {one['line']} ({one['id']}): {one['reason']}" for one in preview.problems]
    if summary.dead_letters > len(preview.problems):
        lines.append(f"          and {summary.dead_letters - len(preview.problems):,} lines more")
    if summary.dead_letters > 1:
        lines += [f"reason    {count:,} × {reason}" for reason, count in sorted(summary.reasons.items())]
    return [*lines, "nothing was sent"]
