"""`headgate submit`: the input goes to the store as it is read, then a workflow is started that names it by its content."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from activities.store import Store
from activities.submission import store_input
from headgate.errors import InvalidRequest
from headgate.models import NAME_PATTERN, BulkRequest, Order, Priority
from starter.client import Service, Submitted
from starter.following import exit_code, follow_on
from starter.render import progress_line
from starter.surroundings import Surroundings, of, waiting_for
from starter.users import chosen_user, user_names

BLOCK_BYTES: Final = 256 * 1024
SAY_EVERY_S: Final = 2.0
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_OWNER_LIMIT: Final = 128


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

    def checked(self) -> Wish:
        """The wish itself, if every name in it can be one."""
        for option, name in (("--id", self.id), ("--project", self.project), ("--user", self.user)):
            if name is not None and not re.fullmatch(NAME_PATTERN, name):
                raise InvalidRequest(f"{option} {name[:140]!r} must be 1 to 128 of A-Z a-z 0-9 _ . @ -")
        if len(self.owner) > _OWNER_LIMIT or not self.owner.isprintable():
            raise InvalidRequest(f"--owner must be at most {_OWNER_LIMIT} printable characters")
        return self


def blocks(stream: BinaryIO, name: str, tell: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """The stream in blocks; `tell` hears how many bytes there were so far."""
    size = 0
    while True:
        try:
            block = stream.read(BLOCK_BYTES)
        except OSError as error:
            raise InvalidRequest(f"{name} cannot be read: {error.strerror}") from error
        if not block:
            return
        size += len(block)
        tell(size)
        yield block


async def submit(
    service: Service,
    store: Store,
    wish: Wish,
    operations: Iterable[bytes],
    known_users: tuple[str, ...] | None,
    name: str,
) -> Submitted:
    """The request, held durably by Temporal; its input is in the store before it is started."""
    user = chosen_user(wish.user, known_users)
    request_id = wish.id if wish.id is not None else new_id()
    stored = await store_input(store, request_id, operations)
    request = BulkRequest(
        id=request_id,
        project=wish.project,
        user=user,
        owner=wish.owner,
        priority=wish.priority,
        order=wish.order,
        operations_per_call=wish.operations_per_call,
        input_sha256=stored.sha256,
        input_bytes=stored.size,
        submitted_at_ns=time.time_ns(),
        nonce=secrets.token_hex(8),
    )
    summary = f"{name} · {stored.lines:,} lines · project {wish.project}"
    return await service.submit(request, summary=summary)


def new_id(now: float | None = None) -> str:
    """An id that sorts by its time and can be read aloud."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}-{''.join(secrets.choice(_ALPHABET) for _ in range(4))}"


@contextmanager
def opened(file: str, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """The bytes of FILE, `-` being the standard input; one that is not there or cannot be read is the caller's mistake."""
    if file == "-":
        yield stdin
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - what goes wrong inside the block is not a matter of opening it
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}") from error
    with stream:
        yield stream


def reading(surroundings: Surroundings, name: str) -> Callable[[int], None]:
    """Says how far the input has been read, every two seconds."""
    said_at = time.monotonic()

    def tell(size: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_EVERY_S:
            said_at = time.monotonic()
            surroundings.say(f"{name}: {size / 1_000_000:,.0f} MB read")

    return tell


def submit_command(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="JSON Lines, one operation a line; - is the standard input.")],
    project: Annotated[str, typer.Option(help="The Google Cloud project whose quota pays.")],
    user: Annotated[str | None, typer.Option(help="The credential for lines that name none.")] = None,
    owner: Annotated[str, typer.Option(help="On whose behalf: a team or a tenant.")] = "",
    priority: Annotated[Priority, typer.Option(help="Who goes first.")] = "normal",
    id_: Annotated[
        str | None, typer.Option("--id", help="The request's id; drawn if missing. The same twice is one.")
    ] = None,
    order: Annotated[
        Order, typer.Option(help="lane: writes among writes; strict: reads and writes of a spreadsheet together.")
    ] = "lane",
    operations_per_call: Annotated[
        int, typer.Option(min=0, help="At most so many operations in one call; 1: a call each; 0: as many as fit.")
    ] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until it is over; exit 1 if anything failed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help='Print {"id", "workflow_id"}.')] = False,
) -> None:
    """Hand over a file of operations.

    Example: headgate submit orders.jsonl --project demo --user alice --wait
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
    ).checked()
    code = waiting_for(_submit(surroundings, file, wish, wait=wait, as_json=as_json))
    raise typer.Exit(code)


async def _submit(surroundings: Surroundings, file: str, wish: Wish, *, wait: bool, as_json: bool) -> int:
    known_users = user_names(surroundings.settings.credentials)
    chosen_user(wish.user, known_users)
    with opened(file, surroundings.stdin) as stream:
        service = await surroundings.service()
        name = "standard input" if file == "-" else Path(file).name
        store = Store.open(surroundings.settings.store)
        operations = blocks(stream, name, reading(surroundings, name))
        submitted = await submit(service, store, wish, operations, known_users, name)
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
