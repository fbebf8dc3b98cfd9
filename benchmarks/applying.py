"""Operations applied to the emulator's core in this process: planned and composed by headgate, or one at a time as the API would.

`alone` is the reference that merging has to match. It shares no code with the planner: a call of the values methods for each
operation, and for an append the place that headgate promises, below the last row with anything in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from emulator import a1, routes
from emulator.errors import ApiError
from emulator.grid import Sheet
from emulator.library import Library
from emulator.methods import Methods
from emulator.settings import EmulatorSettings
from headgate.apis.sheets.compose import Call
from headgate.apis.sheets.replies import Reply, read_reply
from headgate.apis.sheets.titles import Titles
from headgate.messages.requests import BulkRequest, Operation, PlannedBatch
from headgate.outcomes import BatchState, OperationResult
from headgate.planner import DraftBatch, LaneKey, Planner

SHOWN = "sheets(properties,merges,data.rowData.values(userEnteredValue,userEnteredFormat,note))"


class Core:
    """The emulator without HTTP. `calls` counts the calls by kind of quota."""

    def __init__(self, spreadsheets: Iterable[str], titles: Sequence[str], rows: int = 1000, columns: int = 26) -> None:
        settings = EmulatorSettings()
        self.library = Library(settings)
        self.calls: Counter[str] = Counter()
        self._methods = Methods(self.library, settings)
        for spreadsheet in spreadsheets:
            made = self.library.create(spreadsheet, spreadsheet)
            made.sheets = [Sheet(7 * number, title, rows, columns) for number, title in enumerate(titles)]

    def call(self, method: str, target: str, body: bytes = b"") -> dict[str, Any]:
        """The answer; a refusal is an ApiError."""
        path, _, query = target.partition("?")
        route = routes.parse(method, path)
        assert route is not None, target
        self.calls[route.kind] += 1
        return self._methods.call(route, routes.parse_query(query), body, "p", "u")

    def ask(self, call: Call) -> Reply:
        """What headgate makes of the answer to its call."""
        try:
            answer = self.call(call.method, call.target, call.body)
        except ApiError as refusal:
            return read_reply(refusal.code, {}, json.dumps({"error": {"message": refusal.message}}).encode())
        return read_reply(200, {}, json.dumps(answer).encode())

    def state(self, spreadsheet: str) -> Any:
        """Sheets in order with their grids, values, formats and merges; drawn ids left out."""
        shown = self.call("GET", f"/v4/spreadsheets/{spreadsheet}?includeGridData=true&fields={SHOWN}")
        return _without_ids(shown)


def _without_ids(shown: Any) -> Any:
    if isinstance(shown, list):
        return [_without_ids(entry) for entry in shown]
    if isinstance(shown, dict):
        return {name: _without_ids(entry) for name, entry in shown.items() if name != "sheetId"}
    return shown


# --- as headgate does it


def batches_of(request: BulkRequest, operations: Iterable[Operation]) -> list[DraftBatch[list[Operation]]]:
    """The plan, lane by lane in the order in which their batches were finished."""
    planner = Planner(request)
    drafts = [draft for operation in operations for draft in planner.add(operation)]
    return drafts + planner.finish()


def apply_planned(core: Core, request: BulkRequest, operations: Iterable[Operation]) -> dict[str, OperationResult]:
    """Every batch sent until its operations have outcomes; by id."""
    titles: dict[LaneKey, Titles | None] = {}
    lanes: dict[LaneKey, int] = {}
    results: dict[str, OperationResult] = {}
    for number, draft in enumerate(batches_of(request, operations)):
        lane = lanes.setdefault(draft.lane, len(lanes))
        batch = PlannedBatch(
            number=number,
            lane=lane,
            form=draft.form,
            user=draft.lane.user,
            spreadsheet=draft.lane.spreadsheet,
            operations=draft.operations,
        )
        state = BatchState.fresh(batch, request)
        while (step := state.next_step(titles.get(draft.lane), 10**18)) is not None:
            state.sending(step, 10**18)
            state.learn(step, core.ask(step.call), 10**18)
        titles[draft.lane] = state.titles_after(titles.get(draft.lane))
        results |= {result.id: result for result in state.results}
    return results


# --- as the API would, one at a time


def alone(core: Core, operation: Operation) -> dict[str, Any] | None:
    """One operation by a call of its own; its answer, None if it is refused."""
    root = f"/v4/spreadsheets/{operation.spreadsheet}"
    where = f"{root}/values/{quote(operation.range, safe='')}"
    values = {"values": operation.values, "majorDimension": operation.major_dimension}
    try:
        match operation.op:
            case "request":
                return core.call("POST", f"{root}:batchUpdate", _json({"requests": [operation.request]}))
            case "read":
                render = operation.render or "FORMATTED_VALUE"
                query = f"majorDimension={operation.major_dimension}&valueRenderOption={render}"
                return core.call("GET", f"{where}?{query}")
            case "clear":
                _must_lie_inside(core, operation)
                return core.call("POST", f"{where}:clear", b"{}")
            case "update":
                core.library.get(operation.spreadsheet).locate(operation.range)
                if operation.input == "RAW" and not (values := _without_outer_nulls(operation)):
                    return {}
                return core.call("PUT", f"{where}?valueInputOption={operation.input}", _json(values))
            case "append":
                if operation.placement == "table" or _wants_parsing(operation):
                    query = f"valueInputOption={operation.input}"
                    return core.call("POST", f"{where}:append?{query}", _json(values))
                return _append_below(core, operation)
    except ApiError:
        return None


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


def _wants_parsing(operation: Operation) -> bool:
    """A typed text that is neither a formula nor begins with a letter; the words of these tests are no booleans or dates."""
    texts = [cell for row in operation.values for cell in row if isinstance(cell, str) and cell]
    return operation.input == "USER_ENTERED" and any(not (t[0].isalpha() or t[0] == "=") for t in texts)


def _without_outer_nulls(operation: Operation) -> dict[str, Any]:
    """Nulls at the ends write nothing, so headgate does not mind if they lie beyond the grid; {} where nothing else is left."""
    lines = [list(line) for line in operation.values]
    for line in lines:
        while line and line[-1] is None:
            line.pop()
    while lines and not lines[-1]:
        lines.pop()
    return {"values": lines, "majorDimension": operation.major_dimension} if lines else {}


def _must_lie_inside(core: Core, operation: Operation) -> None:
    """headgate refuses a clear that reaches beyond the grid, as it does every write there; values.clear would cut it off."""
    located = core.library.get(operation.spreadsheet).locate(operation.range)
    located.strict_area  # noqa: B018 - it refuses what lies beyond


def _append_below(core: Core, operation: Operation) -> dict[str, Any]:
    located = core.library.get(operation.spreadsheet).locate(operation.range)
    sheet, left = located.sheet, located.box.left or 0
    rows = [list(row) for row in operation.values]
    if operation.major_dimension == "COLUMNS":
        height = max(map(len, rows))
        rows = [[column[place] if place < len(column) else None for column in rows] for place in range(height)]
    while rows and all(cell in (None, "") for cell in rows[-1]):
        rows.pop()
    if not rows:
        return {}
    top = sheet.last_row_with_value() + 1
    width = left + max(map(len, rows))
    more = {"ROWS": top + len(rows) - sheet.row_count, "COLUMNS": width - sheet.column_count}
    root = f"/v4/spreadsheets/{operation.spreadsheet}"
    for dimension, length in more.items():
        if length > 0:
            grow = {"sheetId": sheet.sheet_id, "dimension": dimension, "length": length}
            core.call("POST", f"{root}:batchUpdate", _json({"requests": [{"appendDimension": grow}]}))
    where = quote(a1.text_of(sheet.title, a1.Area(top, top + 1, left, left + 1)), safe="")
    query = f"valueInputOption={operation.input}"
    return core.call("PUT", f"{root}/values/{where}?{query}", _json({"values": rows}))
