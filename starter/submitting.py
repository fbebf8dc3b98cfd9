"""`headgate submit`: the input goes to the store as it is read, then a workflow is started that names it by its content."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer

from activities import layout
from activities.notices import keep_address
from activities.store import Store
from activities.submission import StoredInput, store_input, store_scheduled_input
from headgate.csv_input import Destination
from headgate.errors import InvalidRequest
from headgate.message import SECOND_NS
from headgate.messages.requests import LONGEST_AGE_NS, BulkRequest
from headgate.messages.words import NAME_PATTERN, Order, Priority
from headgate.schedules import OccurrenceInput, Timing, check_name
from headgate.summaries import request_summary
from starter.following import exit_code, follow_on
from starter.inputs import (
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
from starter.notifying import Notify, NotifyKey, Receiver, receiver
from starter.render import clock_time, progress_line
from starter.schedules import Scheduled
from starter.service import Service, Submitted
from starter.surroundings import Surroundings, of, waiting_for
from starter.timing import Every, ItsOverlap, StartAt, TimeZone, timing
from starter.users import chosen_user, user_names

_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_OWNER_LIMIT: Final = 128

Project = Annotated[str, typer.Option(help="The Google Cloud project whose quota pays.")]
User = Annotated[str | None, typer.Option(help="The credential for lines that name none.")]
ItsPriority = Annotated[Priority, typer.Option(help="Who goes first.")]
ItsOrder = Annotated[
    Order, typer.Option(help="lane: writes among writes; strict: reads and writes of a spreadsheet together.")
]
PerCall = Annotated[
    int, typer.Option(min=0, help="At most so many operations in one call; 1: a call each; 0: as many as fit.")
]
StopAfter = Annotated[
    int, typer.Option(min=0, metavar="N", help="Pause once so many operations have failed; 0: never.")
]
MayGrow = Annotated[
    bool, typer.Option("--grow", help="A write beyond a sheet's grid makes the grid larger instead of failing.")
]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a caller asked for, before the input was looked at; its names are checked by `checked`."""

    project: str
    user: str | None = None
    owner: str = ""
    priority: Priority = "normal"
    id: str | None = None
    order: Order = "lane"
    operations_per_call: int = 0
    max_age_s: int = 0
    stop_after: int = 0
    grow: bool = False
    fences: bool = True
    notify: Receiver | None = None

    def checked(self) -> Wish:
        """The wish itself, if every name in it can be one."""
        for option, name in (("--id", self.id), ("--project", self.project), ("--user", self.user)):
            if name is not None and not re.fullmatch(NAME_PATTERN, name):
                raise InvalidRequest(f"{option} {name[:140]!r} must be 1 to 128 of A-Z a-z 0-9 _ . @ -")
        if len(self.owner) > _OWNER_LIMIT or not self.owner.isprintable():
            raise InvalidRequest(f"--owner must be at most {_OWNER_LIMIT} printable characters")
        return self


async def submit(
    service: Service,
    store: Store,
    wish: Wish,
    operations: AsyncIterable[bytes] | Iterable[bytes],
    known_users: tuple[str, ...] | None,
    name: str,
) -> Submitted:
    """The request, held durably by Temporal; its input is in the store before it is started."""
    user = chosen_user(wish.user, known_users)
    request_id = wish.id if wish.id is not None else new_id()
    stored = await store_input(store, request_id, operations)
    request = _request(wish, request_id, user, stored)
    if wish.notify is not None:
        await keep_address(store, request, wish.notify.url)
    return await service.submit(request, summary=request_summary(name, stored.lines, wish.project))


async def schedule(
    service: Service,
    store: Store,
    wish: Wish,
    when: Timing,
    operations: AsyncIterable[bytes] | Iterable[bytes],
    known_users: tuple[str, ...] | None,
    name: str,
) -> Scheduled:
    """The schedule of such requests, held durably by Temporal; their input is in the store before it can begin.

    Raises InvalidRequest for a first instant that is past, unless the schedule is there already, and for other content or
    times under an id that is taken.
    """
    user = chosen_user(wish.user, known_users)
    schedule_id = wish.id if wish.id is not None else new_id()
    check_name(schedule_id, when)
    if 0 < when.at_s <= time.time() and await service.schedules.known(schedule_id) is None:
        raise InvalidRequest(f"--start-at is past: {when.in_words}; leave it out to begin now")
    stored = await store_scheduled_input(store, schedule_id, operations)
    start = OccurrenceInput(
        request=_request(wish, schedule_id, user, stored),
        timing=when,
        summary=request_summary(name, stored.lines, wish.project),
    )
    if wish.notify is not None:
        kept_at = layout.scheduled_notify_path(schedule_id, start.request.nonce)
        await store.put(kept_at, wish.notify.url.encode())
    try:
        return await service.schedules.create(start)
    except InvalidRequest:
        kept = await service.schedules.known(schedule_id)
        if kept is None or kept.request.input_sha256 != stored.sha256:
            await store.delete(layout.scheduled_input_path(schedule_id, stored.sha256))
        raise


def _request(wish: Wish, request_id: str, user: str, stored: StoredInput) -> BulkRequest:
    return BulkRequest(
        id=request_id,
        project=wish.project,
        user=user,
        owner=wish.owner,
        priority=wish.priority,
        order=wish.order,
        operations_per_call=wish.operations_per_call,
        max_age_ns=wish.max_age_s * SECOND_NS,
        input_sha256=stored.sha256,
        input_bytes=stored.size,
        submitted_at_ns=time.time_ns(),
        nonce=secrets.token_hex(8),
        stop_after=wish.stop_after,
        grow=wish.grow,
        fences=wish.fences,
        notify=wish.notify.key if wish.notify is not None else "",
    )


def new_id(now: float | None = None) -> str:
    """An id that sorts by its time and can be read aloud."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{''.join(secrets.choice(_ALPHABET) for _ in range(4))}"


def submit_command(
    context: typer.Context,
    file: InputFile,
    project: Project,
    user: User = None,
    owner: Annotated[str, typer.Option(help="On whose behalf: a team or a tenant.")] = "",
    priority: ItsPriority = "normal",
    id_: Annotated[
        str | None, typer.Option("--id", help="The request's id; drawn if missing. The same twice is one.")
    ] = None,
    order: ItsOrder = "lane",
    operations_per_call: PerCall = 0,
    max_age: Annotated[
        int,
        typer.Option(
            "--max-age",
            metavar="SECONDS",
            min=0,
            max=LONGEST_AGE_NS // SECOND_NS,
            help="Reads may be served from answers of this age, without a call; 0: never.",
        ),
    ] = 0,
    stop_after: StopAfter = 0,
    grow: MayGrow = False,
    notify: Notify = "",
    notify_key: NotifyKey = "",
    spreadsheet: Spreadsheet = None,
    sheet: SheetTitle = None,
    mode: CsvMode = None,
    types: Types = None,
    delimiter: Delimiter = None,
    formulas: Formulas = False,
    start_at: StartAt = None,
    every: Every = None,
    overlap: ItsOverlap = None,
    time_zone: TimeZone = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it is over; exit 1 if anything failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help='Print {"id", "workflow_id"}.')] = False,
) -> None:
    """Hand over a file of operations, or of rows; now, later, or again and again.

    Example: headgate submit orders.jsonl --project demo --user alice --wait

    Example: headgate submit orders.jsonl --project demo --user alice --id nightly --every "0 6 * * 1-5" --time-zone Europe/Zurich
    """
    surroundings = of(context)
    wish = Wish(
        project=project,
        user=user,
        owner=owner,
        priority=priority,
        id=id_,
        order=order,
        operations_per_call=operations_per_call,
        max_age_s=max_age,
        stop_after=stop_after,
        grow=grow,
        fences=surroundings.settings.fences,
        notify=receiver(notify, notify_key, surroundings.settings.notify),
    ).checked()
    table = destination(spreadsheet, sheet, mode, types, delimiter, formulas)
    when = timing(start_at, every, overlap, time_zone)
    if when is not None:
        if wait:
            raise InvalidRequest("--wait is for a request that begins now: leave it out with --start-at and --every")
        waiting_for(_schedule(surroundings, file, table, wish, when, as_json=as_json))
        return
    code = waiting_for(_submit(surroundings, file, table, wish, wait=wait, as_json=as_json))
    raise typer.Exit(code)


async def _submit(
    surroundings: Surroundings, file: str, table: Destination | None, wish: Wish, *, wait: bool, as_json: bool
) -> int:
    known_users = user_names(surroundings.settings.credentials)
    chosen_user(wish.user, known_users)
    with handed_in(surroundings, file, table) as source:
        service = await surroundings.service()
        store = Store.open(surroundings.settings.store)
        submitted = await submit(service, store, wish, source.operations, known_users, source.name)
    if as_json:
        surroundings.answer({"id": submitted.id, "workflow_id": submitted.workflow_id})
    else:
        surroundings.text(
            f"{'submitted' if submitted.first else 'already there:'} {submitted.id} ({submitted.workflow_id})"
        )
    if not wait:
        if not as_json:
            surroundings.say(f"watch it with: headgate watch {submitted.id}")
        return 0
    view = await follow_on(surroundings.err, service, submitted.id)
    if not as_json:
        surroundings.text(progress_line(view))
    return exit_code(view)


async def _schedule(
    surroundings: Surroundings, file: str, table: Destination | None, wish: Wish, when: Timing, *, as_json: bool
) -> None:
    known_users = user_names(surroundings.settings.credentials)
    chosen_user(wish.user, known_users)
    with handed_in(surroundings, file, table) as source:
        service = await surroundings.service()
        store = Store.open(surroundings.settings.store)
        made = await schedule(service, store, wish, when, source.operations, known_users, source.name)
    if as_json:
        surroundings.answer(asdict(made))
        return
    verb = "scheduled" if made.first else "already there:"
    following = f", next {clock_time(made.next_at)}" if made.next_at else ""
    surroundings.text(f"{verb} {made.id} ({made.schedule_id}): {when.in_words}{following}")
    surroundings.say(f"look at it with: headgate schedules show {made.id}")
