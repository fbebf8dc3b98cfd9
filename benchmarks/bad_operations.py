"""One bad operation among a thousand: how many calls it takes until it alone is a dead letter.

The decisions against the emulator's methods, without a server between them: calls are counted where they arrive, and the
cells say whether the other rows stand, once and in order. Some refusals no emulator has a reason for; those are put before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Final

from emulator import routes
from emulator.errors import ApiError
from emulator.library import Library
from emulator.methods import Methods
from emulator.settings import EmulatorSettings
from headgate.apis.sheets.compose import Call
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.replies import Reply, read_reply
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.messages.requests import BulkRequest, PlannedBatch
from headgate.outcomes import BatchState

REQUEST: Final = BulkRequest(id="r", project="p", nonce="n")
TITLES: Final = Titles(sheets=(Sheet(sheet_id=0, title="Sheet1"),))
NOW_NS: Final = 10**18
MOST_CALLS: Final = 1000
Line = dict[str, Any]
Refusal = Callable[[list[dict[str, Any]]], str]


def update(number: int) -> Line:
    """A row of its own in the grid."""
    return {"op": "update", "range": f"Sheet1!A{number + 1}", "values": [[number]]}


def beyond(number: int) -> Line:
    """The same, outside the grid."""
    return {"op": "update", "range": f"Sheet1!A{number + 20_000}", "values": [[number]]}


def append(number: int) -> Line:
    """A row below the last one; a thousand of them are one `appendCells`."""
    return {"op": "append", "range": "Sheet1!A:A", "values": [[number]]}


def too_long(number: int) -> Line:
    """A cell of 60,000 characters, which no check before Sheets' own finds in a raw request."""
    cell = {"userEnteredValue": {"stringValue": "x" * 60_000}}
    body = {"start": {"sheetId": 0, "rowIndex": number}, "fields": "userEnteredValue", "rows": [{"values": [cell]}]}
    return {"op": "request", "request": {"updateCells": body}}


def planned(lines: list[Line]) -> PlannedBatch:
    """The lines as one batch."""
    operations = [
        parse_line(json.dumps({"spreadsheet": "S", "user": "u", **line}), number, "")
        for number, line in enumerate(lines, 1)
    ]
    return PlannedBatch(number=4, lane=2, form="fenced", user="u", spreadsheet="S", operations=tuple(operations))


def in_rows(bad: Collection[int], *, named: bool) -> Refusal:
    """Refuses a sub-request that holds a bad number among its values, in the words of an API that names it or does not."""

    def refuse(requests: list[dict[str, Any]]) -> str:
        for place, request in enumerate(requests):
            kind, body = next(iter(request.items()))
            for row in body.get("rows", ()):
                if any(cell.get("userEnteredValue", {}).get("numberValue") in bad for cell in row["values"]):
                    return f"Invalid requests[{place}].{kind}: not possible" if named else "not possible"
        return ""

    return refuse


class CountingEmulator:
    """The emulator's methods and a count of the calls that arrive; `refusal` is asked before each write."""

    def __init__(self, refusal: Refusal | None = None) -> None:
        settings = EmulatorSettings(spreadsheets=("S",))
        self.methods = Methods(Library(settings), settings)
        self.refusal = refusal
        self.calls = 0

    def ask(self, call: Call) -> Reply:
        """What the API answers."""
        self.calls += 1
        if self.refusal and call.body and (refused := self.refusal(json.loads(call.body)["requests"])):
            return read_reply(400, {}, json.dumps({"error": {"message": refused}}).encode())
        route = routes.parse(call.method, call.path)
        assert route is not None
        try:
            answer = self.methods.call(route, routes.parse_query(call.query), call.body, "p", "u")
        except ApiError as error:
            return read_reply(error.code, {}, json.dumps({"error": {"message": error.message}}).encode())
        return read_reply(200, {}, json.dumps(answer).encode())

    def run(self, lines: list[Line], titles: Titles = TITLES, request: BulkRequest = REQUEST) -> BatchState:
        """The lines as one batch, brought to its end."""
        state = BatchState.fresh(planned(lines), request)
        while (step := state.next_step(titles, NOW_NS)) is not None:
            assert self.calls < MOST_CALLS, "it does not end"
            state.sending(step, NOW_NS)
            state.learn(step, self.ask(step.call), NOW_NS)
        assert self.calls == state.calls
        return state

    def column(self) -> list[Any]:
        """What stands in the first column."""
        path = f"{routes.PREFIX}/S/values/Sheet1!A:A"
        route = routes.parse("GET", path)
        assert route is not None
        shown = self.methods.call(route, routes.parse_query("valueRenderOption=UNFORMATTED_VALUE"), b"", "p", "u")
        return [row[0] for row in shown.get("values", ()) if row]


def dead_letters(state: BatchState) -> list[int]:
    """The places of the operations that failed."""
    return [place for place, result in enumerate(state.results) if result.outcome == "failed"]


def measure(
    size: int,
    good: Callable[[int], Line],
    bad: Collection[int],
    bad_line: Callable[[int], Line] | None = None,
    *,
    named: bool = True,
) -> dict[str, Any]:
    """The calls beyond the one that was planned, and whether the emulator's cells are those of the good lines."""
    emulator = CountingEmulator(None if bad_line else in_rows(bad, named=named))
    lines = [bad_line(number) if bad_line and number in bad else good(number) for number in range(size)]
    state = emulator.run(lines)
    whole = emulator.column() == [number for number in range(size) if number not in bad]
    return {
        "calls": emulator.calls,
        "extra_calls": emulator.calls - 1,
        "dead_letters": len(dead_letters(state)),
        "others_written_once_in_order": whole,
    }


def worst(size: int, *arguments: Any, **options: Any) -> dict[str, Any]:
    """The place of the one bad operation that costs most; every place is tried that halving can tell apart."""
    places = sorted({size * part // 16 for part in range(16)} | {1, size - 2, size - 1})
    tried = [{"place": place, **measure(size, arguments[0], {place}, *arguments[1:], **options)} for place in places]
    assert all(one["others_written_once_in_order"] and one["dead_letters"] == 1 for one in tried)
    return max(tried, key=lambda one: int(one["calls"]))


async def main(size: int = 1000) -> dict[str, Any]:
    """Each case of one batch of so many operations."""
    everything = range(size)
    return {
        "operations": size,
        "named_by_index": worst(size, update, beyond),
        "row_of_a_named_merged_append": worst(size, append, named=True),
        "row_of_a_merged_append_that_nothing_names": worst(size, append, named=False),
        "cell_too_long_that_nothing_names": worst(size, update, too_long),
        "two_at_either_end": measure(size, append, {0, size - 1}, named=False),
        "all_named": measure(size, update, everything, beyond),
        "all_in_one_named_request": measure(size, append, everything, named=True),
        "all_and_nothing_named": measure(size, append, everything, named=False),
        "every_second_and_nothing_named": measure(size, append, range(0, size, 2), named=False),
    }
