"""`headgate verify-google`: what headgate believes of the API and nobody promises, looked at in a throwaway spreadsheet.

Each check says what is expected, what was found and, where headgate relies on it, what to do if it is otherwise. The list is
that of reference/sheets.md section 11, as far as a client can look; the rest is named as not checked.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

import typer
from rich.markup import escape
from rich.table import Table

from activities.http import Answer
from headgate.apis.sheets.compose import Call, compose_fence_look_up, compose_requests, compose_search, compose_sweep
from headgate.apis.sheets.fences import removal
from headgate.apis.sheets.replies import Answered, Refused, Reply, read_reply
from headgate.errors import HeadgateError, InvalidRequest
from starter.calling import Caller, calling
from starter.limiting import checked
from starter.looking import Json
from starter.surroundings import Surroundings, of, waiting_for

Verdict = Literal["as expected", "differs", "noted", "not checked"]
Request = Mapping[str, object]
KEY: Final = "headgate-verify"
TITLE: Final = "headgate verify-google"
_WITHOUT_FENCES: Final = "set HEADGATE_FENCES=off where requests are submitted"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its number in the list, what was expected, what was found, and what to do if they differ."""

    number: str
    expectation: str
    finding: str
    verdict: Verdict
    otherwise: str = ""


@dataclass(slots=True)
class Laboratory:
    """A sheet and ids of its own in the spreadsheet; everything is removed at the end."""

    caller: Caller
    sheet_id: int
    first_id: int
    drawn: int = 0

    def draw(self) -> int:
        """An id of metadata that nobody uses."""
        self.drawn += 1
        return self.first_id + self.drawn

    async def ask(self, call: Call, user: str = "") -> Reply:
        """What the API answers."""
        return _read(await self.caller.make(call, user))

    async def batch(self, *requests: Request, user: str = "") -> Reply:
        """One `batchUpdate`."""
        return await self.ask(compose_requests(self.caller.spreadsheet, requests), user)

    async def cells(self, text: str) -> list[list[Any]]:
        """The values of a range of the sheet."""
        body = {"dataFilters": [{"a1Range": f"'{TITLE}'!{text}"}], "valueRenderOption": "UNFORMATTED_VALUE"}
        reply = await self.ask(compose_search(self.caller.spreadsheet, "/values:batchGetByDataFilter", body))
        if not isinstance(reply, Answered):
            raise HeadgateError(f"the sheet cannot be read: {_said(reply)}")
        ranges = reply.body.get("valueRanges") or [{}]
        return list((ranges[0].get("valueRange") or {}).get("values") or [])

    def mark(self, number: int, value: str = "v", visibility: str = "DOCUMENT") -> Request:
        """The sub-request that makes a mark like a fence."""
        metadata = {"metadataId": number, "metadataKey": KEY, "metadataValue": value, "visibility": visibility}
        return {"createDeveloperMetadata": {"developerMetadata": {**metadata, "location": {"spreadsheet": True}}}}

    def write(self, row: int, *values: object, column: int = 0) -> Request:
        """The sub-request that writes texts into one row; None is a cell without a value."""
        cells = [{} if value is None else {"userEnteredValue": {"stringValue": value}} for value in values]
        start = {"sheetId": self.sheet_id, "rowIndex": row, "columnIndex": column}
        return {"updateCells": {"start": start, "fields": "userEnteredValue", "rows": [{"values": cells}]}}

    def append(self, value: str) -> Request:
        """The sub-request that appends one cell."""
        row = {"values": [{"userEnteredValue": {"stringValue": value}}]}
        return {"appendCells": {"sheetId": self.sheet_id, "fields": "userEnteredValue", "rows": [row]}}


Check = Callable[[Laboratory, str], Awaitable[Finding]]


async def _duplicate(lab: Laboratory, _: str) -> Finding:
    expectation = "a second creation of a metadata id is refused with 400, and the whole batch with it"
    number = lab.draw()
    first = await lab.batch(lab.mark(number))
    second = await lab.batch(lab.mark(number), lab.write(0, "doubled"))
    written = await lab.cells("A1")
    held = isinstance(first, Answered) and isinstance(second, Refused) and second.status == 400
    held = held and isinstance(second, Refused) and second.fence_refused and not written
    finding = f"{_said(second)}; the rest of the batch {'was' if written else 'was not'} applied"
    return _judged("1", expectation, finding, held, _WITHOUT_FENCES)


async def _first_error(lab: Laboratory, _: str) -> Finding:
    expectation = "of two invalid sub-requests the first one is named; a fence that exists comes before both"
    number = lab.draw()
    await lab.batch(lab.mark(number))
    bad: Request = {"deleteSheet": {"sheetId": lab.sheet_id + 1}}
    both = await lab.batch(lab.write(5_000_000, "beyond"), bad)
    behind = await lab.batch(lab.mark(number), bad)
    held = isinstance(both, Refused) and both.index == 0 and isinstance(behind, Refused) and behind.fence_refused
    otherwise = "nothing: a refusal after an unknown outcome is settled by burning the fence, at two calls more"
    return _judged("2", expectation, f"{_said(both)}; {_said(behind)}", held, otherwise)


async def _no_match(lab: Laboratory, _: str) -> Finding:
    reply = await lab.batch(removal(lab.draw()))
    known = isinstance(reply, Answered) or (isinstance(reply, Refused) and reply.index == 0)
    expectation = "deleteDeveloperMetadata without a match does nothing, or is refused by its index"
    otherwise = "tell the developers: a fence that somebody removed by hand could cost a batch"
    return _judged("3", expectation, _said(reply), known, otherwise)


async def _budget(lab: Laboratory, _: str) -> Finding:
    expectation = "metadata beyond 30,000 characters is refused with 400, in words that are taken for a lack of room"
    reply: Reply = Answered({})
    made = []
    for _number in range(6):
        number = lab.draw()
        reply = await lab.batch(lab.mark(number, "x" * 7_000))
        if not isinstance(reply, Answered):
            break
        made.append(number)
    if made:
        await lab.ask(compose_sweep(lab.caller.spreadsheet, made))
    held = isinstance(reply, Refused) and reply.crowded and len(made) == 4
    otherwise = (
        "keep few writes to one spreadsheet in 15 minutes (2,500 marks fill 30,000 characters), and tell the developers"
    )
    return _judged("4", expectation, f"after {7 * len(made)},000 characters: {_said(reply)}", held, otherwise)


async def _pasting(lab: Laboratory, _: str) -> Finding:
    where = {"sheetId": lab.sheet_id, "rowIndex": 20, "columnIndex": 0}
    paste = {"coordinate": where, "data": "12.5", "type": "PASTE_NORMAL", "delimiter": "|"}
    reply = await lab.batch({"pasteData": paste})
    if not isinstance(reply, Answered):
        return Finding("7", "pasteData parses as typing does", _said(reply), "noted")
    values = await lab.cells("A21")
    parsed = bool(values and values[0][0] == 12.5)
    return Finding("7", "pasteData parses as typing does", "parsed" if parsed else f"not parsed: {values}", "noted")


async def _foreign(lab: Laboratory, other: str) -> Finding:
    expectation = "an id that another project's hidden metadata has is refused like any other"
    if not other:
        return Finding("9", expectation, "name a user of another project with --other-user", "not checked")
    number = lab.draw()
    hidden = await lab.batch(lab.mark(number, visibility="PROJECT"), user=other)
    ours = await lab.batch(lab.mark(number))
    await lab.batch(removal(number), user=other)
    held = isinstance(hidden, Answered) and isinstance(ours, Refused) and ours.fence_refused
    return _judged(
        "9", expectation, f"{_said(hidden)}; {_said(ours)}", held, "nothing: such an id then clashes with nobody"
    )


async def _reuse(lab: Laboratory, _: str) -> Finding:
    number = lab.draw()
    await lab.batch(lab.mark(number))
    await lab.batch(removal(number))
    reply = await lab.batch(lab.mark(number, "again"))
    return Finding("10", "the id of a removed mark can be taken again at once", _said(reply), "noted")


async def _read_your_writes(lab: Laboratory, _: str) -> Finding:
    number = lab.draw()
    await lab.batch(lab.mark(number, "fresh"))
    reply = await lab.ask(compose_fence_look_up(lab.caller.spreadsheet, number))
    held = isinstance(reply, Answered) and reply.body.get("metadataValue") == "fresh"
    missing = await lab.ask(compose_fence_look_up(lab.caller.spreadsheet, lab.draw()))
    held = held and isinstance(missing, Refused) and missing.status == 404
    expectation = "a mark can be read by its id right after it was made, and one that is not there answers 404"
    otherwise = "nothing: a mark that cannot be read is burnt, which settles it"
    return _judged("11", expectation, f"{_said(reply)}; {_said(missing)}", held, otherwise)


async def _all_or_nothing(lab: Laboratory, _: str) -> Finding:
    reply = await lab.batch(lab.write(1, "half"), lab.write(5_000_000, "beyond"))
    written = await lab.cells("A2")
    held = isinstance(reply, Refused) and (reply.index, reply.kind) == (1, "updateCells") and not written
    expectation = "a batch with an invalid sub-request is refused by its index and kind, and nothing of it is applied"
    return _judged("2.2", expectation, _said(reply), held, "do not use headgate before this has been looked into")


async def _appending(lab: Laboratory, _: str) -> Finding:
    await lab.batch(lab.write(3, None, None, "corner"), lab.append("below"))
    values = await lab.cells("A5")
    expectation = "appendCells writes below the last row with a value in any column, from the first column on"
    return _judged(
        "4.3", expectation, f"found {values} in A5", values == [["below"]], 'give appends "placement": "table"'
    )


async def _masked(lab: Laboratory, _: str) -> Finding:
    await lab.batch(lab.write(6, "kept", "reset"))
    await lab.batch(lab.write(6, "kept", None))
    values = await lab.cells("A7:B7")
    expectation = "a cell that the mask names and the body lacks is emptied"
    return _judged(
        "4.10", expectation, f"found {values}", values == [["kept"]], "tell the developers: clears may do nothing"
    )


async def _too_long(lab: Laboratory, _: str) -> Finding:
    reply = await lab.batch(lab.write(8, "x" * 50_001))
    named = "names the sub-request" if isinstance(reply, Refused) and reply.index is not None else "names nothing"
    expectation = "a cell of more than 50,000 characters is refused with 400"
    held = isinstance(reply, Refused) and reply.status == 400
    return _judged(
        "1.4", expectation, f"{_said(reply)} ({named})", held, "nothing: such cells are refused before they are sent"
    )


#: In this order: where an append goes is looked at while the sheet is empty.
CHECKS: Final[tuple[Check, ...]] = (
    _appending,
    _duplicate,
    _first_error,
    _no_match,
    _budget,
    _pasting,
    _foreign,
    _reuse,
    _read_your_writes,
    _all_or_nothing,
    _masked,
    _too_long,
)
NOT_CHECKED: Final = (
    Finding("5", "status and body at 180 s, and whether the call applies after that", "would need a huge file", "not checked"),
    Finding("6", "the window slides, and 429s cost no quota", "would use up the quota of everybody", "not checked"),
    Finding("8", "whose quota a delegated or quotaUser call spends", "only the Cloud console shows it", "not checked"),
)  # fmt: skip


async def verify(caller: Caller, other_user: str = "") -> list[Finding]:
    """Every finding, in the order of the list. Raises `InvalidRequest` where the spreadsheet cannot be written to."""
    lab = Laboratory(caller, 1 + secrets.randbelow(2**30), 1 + secrets.randbelow(2**30))
    made = await lab.batch({"addSheet": {"properties": {"sheetId": lab.sheet_id, "title": TITLE}}})
    if not isinstance(made, Answered):
        raise InvalidRequest(f"the spreadsheet {caller.spreadsheet} cannot be used: {_said(made)}")
    try:
        findings = [await check(lab, other_user) for check in CHECKS]
    finally:
        everything = {"dataFilter": {"developerMetadataLookup": {"metadataKey": KEY}}}
        await lab.batch({"deleteDeveloperMetadata": everything}, {"deleteSheet": {"sheetId": lab.sheet_id}})
    return sorted(
        [*findings, *NOT_CHECKED], key=lambda one: tuple(int(part) for part in f"{one.number}.0".split(".")[:2])
    )


def verify_google_command(
    context: typer.Context,
    spreadsheet: Annotated[str, typer.Option(help="A throwaway spreadsheet: it is written to.")],
    user: Annotated[str, typer.Option(help="The credential to call with.")],
    other_user: Annotated[
        str, typer.Option(help="A credential of another Cloud project, to look at what it hides.")
    ] = "",
    project: Annotated[
        str | None, typer.Option(help="Take tokens from this project's limiter; without it a call a second.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look whether the API behaves as headgate believes, in some thirty calls; exit 1 if something differs.

    Example: headgate verify-google --spreadsheet 1AbC --user billing-bot
    """
    raise typer.Exit(waiting_for(_verify(of(context), spreadsheet, user, other_user, project, as_json=as_json)))


async def _verify(
    surroundings: Surroundings, spreadsheet: str, user: str, other_user: str, project: str | None, *, as_json: bool
) -> int:
    named = None if project is None else checked(project)
    async with calling(surroundings.settings, user, spreadsheet, named) as caller:
        findings = await verify(caller, other_user)
    differs = sum(finding.verdict == "differs" for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        surroundings.answer({"spreadsheet": spreadsheet, "differs": differs, "checks": checks})
    else:
        surroundings.out.print(_table(findings))
        for finding in findings:
            if finding.verdict == "differs":
                surroundings.text(f"{finding.number}: {finding.otherwise}")
    return 1 if differs else 0


def _table(findings: list[Finding]) -> Table:
    table = Table("", "expected", "found", "verdict")
    for one in findings:
        table.add_row(one.number, one.expectation, escape(one.finding), one.verdict)
    return table


def _read(answer: Answer) -> Reply:
    return read_reply(answer.status, answer.headers, answer.body)


def _said(reply: Reply) -> str:
    if isinstance(reply, Answered):
        return "200"
    if isinstance(reply, Refused):
        return f"{reply.status} {reply.reason[:200]}"
    return json.dumps({type(reply).__name__: {name: value for name, value in asdict(reply).items() if value}})[:200]


def _judged(number: str, expectation: str, finding: str, held: bool, otherwise: str) -> Finding:
    return Finding(number, expectation, finding, "as expected" if held else "differs", otherwise)
