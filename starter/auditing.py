"""`headgate history`: who did what and when, from the request's own history, also when it is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final

import typer
from rich.text import Text

from headgate.errors import InvalidRequest
from headgate.facts import ENTRY_KINDS, Entry, EntryKind
from headgate.message import SECOND_NS
from starter.looking import Json, RequestId
from starter.surroundings import Surroundings, of, waiting_for

_COLOURS: Final[dict[EntryKind, str]] = {
    "submitted": "cyan",
    "planned": "cyan",
    "command": "bold yellow",
    "paused_itself": "bold yellow",
    "retry": "yellow",
    "dead_letters": "red",
    "trouble": "bold red",
    "gap": "bold red",
    "ended": "bold green",
}
#: Entries after which a reader wants to know how far the request was, which their sentence does not say.
_SO_FAR: Final = frozenset[EntryKind](["state", "command", "paused_itself", "continued"])
_KIND_WIDTH: Final = 13
_BY_WIDTH: Final = 12


def history_command(
    context: typer.Context,
    id_: RequestId,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help=f"Only entries of this kind, or of these: {', '.join(ENTRY_KINDS)}."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Stay, and say what comes, until the request is over.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Who did what and when: commands, changes of state, retries, dead letters, trouble; with --json one object a line.

    It is read from the request's own history, so a request that is over can be asked about until the server's retention ends.

    Example: headgate history orders-7 --json > orders-7.audit.jsonl
    """
    wrong = [given for given in kind or () if given not in ENTRY_KINDS]
    if wrong:
        raise InvalidRequest(f"--kind {wrong[0][:40]!r} must be one of {', '.join(ENTRY_KINDS)}")
    waiting_for(_history(of(context), id_, frozenset(kind or ()), follow=follow, as_json=as_json))


async def _history(
    surroundings: Surroundings, request_id: str, kinds: frozenset[str], *, follow: bool, as_json: bool
) -> None:
    service = await surroundings.service()
    entries: AsyncIterator[Entry] = service.history(request_id, follow=follow)
    async for entry in entries:
        if entry.kind == "gap" and kinds and "gap" not in kinds:
            surroundings.say(entry.says)
        if kinds and entry.kind not in kinds:
            continue
        if as_json:
            surroundings.answer(entry.document())
        else:
            surroundings.out.print(entry_line(entry), soft_wrap=True)
            surroundings.out.file.flush()


def entry_line(entry: Entry) -> Text:
    """The entry in one line, in the reader's own time."""
    at = datetime.fromtimestamp(entry.at_ns // SECOND_NS).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    by = entry.by or str(entry.particulars.get("sender") or "") or "-"
    line = Text.assemble(
        (at, "dim"),
        "  ",
        (f"{entry.kind.replace('_', ' '):<{_KIND_WIDTH}}", _COLOURS.get(entry.kind, "")),
        f" {by:<{_BY_WIDTH}} ",
        entry.says,
    )
    if entry.kind in _SO_FAR:
        counts = f"{entry.succeeded:,} succeeded, {entry.failed:,} failed, {entry.calls:,} calls"
        line.append(f"  ({counts} so far)", "dim")
    return line
