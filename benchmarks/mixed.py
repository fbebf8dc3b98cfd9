"""Small operations mixed by hand: how many calls they become, and whether the cells are those of one call each."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

from benchmarks.applying import Core, alone, apply_planned, batches_of
from headgate.apis.sheets.operations import parse_line
from headgate.messages.requests import BulkRequest, Operation

SPREADSHEETS = 40
TITLES = ("Orders", "Prices")
#: How often each kind stands in the mix; `typed` are USER_ENTERED appends whose values need no parsing.
MIX = {"append": 8, "typed": 2, "update": 6, "holes": 1, "clear": 2, "format": 1}
#: One update in so many is USER_ENTERED with a date, which Sheets has to parse: a call of its own form.
PARSED_ONE_IN = 50


def lines(count: int, *, parsed: bool, seed: int = 5) -> list[dict[str, Any]]:
    """The operations, shuffled over the spreadsheets."""
    drawn = random.Random(seed)
    kinds = drawn.choices(list(MIX), weights=list(MIX.values()), k=count)
    made = []
    for number, kind in enumerate(kinds):
        title = drawn.choice(TITLES)
        row, column = drawn.randrange(1, 400), drawn.choice("ABCDEFGH")
        fields: dict[str, Any] = {"op": "update", "range": f"{title}!{column}{row}"}
        match kind:
            case "append":
                fields = {"op": "append", "range": f"{title}!A:C", "values": [[f"o-{number}", number, True]]}
            case "typed":
                values = [[f"order {chr(97 + number % 26)}", number, "=1+1"]]
                fields = {"op": "append", "range": f"{title}!B:D", "values": values, "input": "USER_ENTERED"}
            case "update":
                fields["values"] = [[number, ""], ["x", 0.5]]
            case "holes":
                fields["values"] = [[None, number], [number, None, "y"]]
            case "clear":
                fields = {"op": "clear", "range": f"{title}!{column}{row}:{column}{row + 3}"}
            case "format":
                area = {"sheetId": 7 * TITLES.index(title), "startRowIndex": row, "endRowIndex": row + 2}
                cell = {"userEnteredFormat": {"textFormat": {"bold": number % 2 == 0}}}
                body = {"range": {**area, "startColumnIndex": 0, "endColumnIndex": 3}, "cell": cell}
                fields = {
                    "op": "request",
                    "request": {"repeatCell": {**body, "fields": "userEnteredFormat.textFormat"}},
                }
        if parsed and kind == "update" and number % PARSED_ONE_IN == 0:
            fields |= {"values": [["2026-01-31"]], "input": "USER_ENTERED"}
        made.append({"spreadsheet": f"book-{drawn.randrange(SPREADSHEETS)}", "user": "u", **fields})
    return made


def measure(count: int, *, parsed: bool) -> dict[str, Any]:
    """Planned, applied, and compared with one call each."""
    books = [f"book-{number}" for number in range(SPREADSHEETS)]
    operations = [
        parse_line(json.dumps(line), number, "") for number, line in enumerate(lines(count, parsed=parsed), 1)
    ]
    request = BulkRequest(id="mixed", project="p", nonce="n")
    forms = Counter(draft.form for draft in batches_of(request, operations))
    merged, single = Core(books, TITLES), Core(books, TITLES)
    began = time.perf_counter()
    results = apply_planned(merged, request, operations)
    took = time.perf_counter() - began
    calls = merged.calls.total()
    refused = sum(alone(single, operation) is None for operation in operations)
    return {
        "operations": count,
        "by_kind": dict(Counter(_kind(operation) for operation in operations)),
        "calls": calls,
        "calls_by_form": dict(forms),
        "operations_a_call": count / calls,
        "outcomes": dict(Counter(result.outcome for result in results.values())),
        "refused_one_at_a_time": refused,
        "same_cells_and_formats": all(merged.state(book) == single.state(book) for book in books),
        "seconds_to_plan_compose_and_apply": took,
    }


def _kind(operation: Operation) -> str:
    return next(iter(operation.request), "") or f"{operation.op} {operation.input}"


async def main(size: int = 20_000) -> dict[str, Any]:
    """The mix that fences can carry, and the same with some updates that Sheets has to parse."""
    return {"raw": measure(size, parsed=False), "one update in 50 to be parsed": measure(size, parsed=True)}
