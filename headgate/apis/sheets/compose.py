"""Calls: what a batch becomes on the wire. The same input gives the same bytes, in any process.

1. A fenced batch is one `spreadsheets.batchUpdate`: the fence first, the operations in order, removals of old fences last.
2. Adjacent appends to one sheet are one `appendCells`; nothing else changes places.
3. `owners` says for each sub-request which operations it stands for; () for the fence and the removals.
4. An operation that cannot be composed is named with its reason and leaves the others alone.

Source: reference/sheets.md sections 2, 3 and 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import orjson

from headgate.apis.sheets import a1, merging
from headgate.apis.sheets.fences import BURNT, Fence, removal
from headgate.apis.sheets.grids import Grids
from headgate.apis.sheets.raw_requests import FENCE_KEY
from headgate.apis.sheets.reads import plan_reads
from headgate.message import Message
from headgate.messages.requests import Form, Operation
from headgate.messages.words import Kind

LONGEST_QUERY = 2_000
_LOOK_UP_MASK = "sheets.properties(sheetId,title,index,hidden,gridProperties)"


class Call(Message):
    """One HTTP request to the API: `target` (path and encoded query) on the API's origin, and the JSON body (b"" for none)."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    kind: Kind

    @property
    def target(self) -> str:
        """Path and query, ready for the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Composed:
    """A call and what its sub-requests stand for; no call when no operation is left that needs one.

    `refused` are the operations that cannot be composed, with their reasons; `idle` those that have nothing to write.
    """

    call: Call | None
    owners: tuple[tuple[int, ...], ...] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    idle: tuple[int, ...] = ()


def sheet_key(operation: Operation) -> str:
    """The title that has to be known for the operation ("": the first sheet)."""
    return a1.parse(operation.range).title


def compose(
    operations: Sequence[Operation],
    form: Form,
    spreadsheet: str,
    sheets: Mapping[int, int] | None = None,
    fence: Fence | None = None,
    sweep: Sequence[int] = (),
    grids: Grids | None = None,
) -> Composed:
    """The call for a batch. `sheets` gives the sheet id of each operation (by position) that needs one and has none itself.

    With `grids`, which follow what is written, a write beyond the grid makes room first.
    """
    match form:
        case "fenced":
            return _fenced(operations, spreadsheet, sheets or {}, fence, sweep, grids)
        case "values_update":
            return _values_update(operations, spreadsheet)
        case "values_append":
            return Composed(_values_append(operations[0], spreadsheet), ((0,),))
        case "read":
            return _read(operations, spreadsheet)
        case "look_up":
            return Composed(compose_look_up(spreadsheet))


def compose_look_up(spreadsheet: str) -> Call:
    """A read of the sheets' ids, titles, order and sizes."""
    return _call("GET", spreadsheet, "", _query(fields=_LOOK_UP_MASK), None, "read")


def compose_fence_look_up(spreadsheet: str, fence_id: int) -> Call:
    """A read of one fence: its value says whose it is, a 404 that it does not exist."""
    query = _query(fields="metadataId,metadataKey,metadataValue")
    return _call("GET", spreadsheet, f"/developerMetadata/{fence_id}", query, None, "read")


def compose_burn(spreadsheet: str, fence_id: int) -> Call:
    """A write of the fence alone: once accepted, a batch with that fence can no longer apply."""
    return _batch_update(spreadsheet, [Fence(fence_id, BURNT).request()])


def compose_fence_search(spreadsheet: str) -> Call:
    """A read of every fence, by the key that they all have."""
    lookup = {"metadataKey": FENCE_KEY, "locationType": "SPREADSHEET"}
    return compose_search(
        spreadsheet,
        "/developerMetadata:search",
        {"dataFilters": [{"developerMetadataLookup": lookup}]},
        "matchedDeveloperMetadata.developerMetadata(metadataId,metadataValue)",
    )


def compose_search(spreadsheet: str, path: str, body: Mapping[str, object], mask: str = "*") -> Call:
    """One of the reads that are POSTs: `path` behind the spreadsheet's, and what of the answer is wanted."""
    return _call("POST", spreadsheet, path, _query(fields=mask), body, "read")


def compose_requests(spreadsheet: str, requests: Sequence[Mapping[str, object]]) -> Call:
    """One `batchUpdate` of these sub-requests, without a fence: for what is no operation of anybody's."""
    return _batch_update(spreadsheet, requests)


def compose_sweep(spreadsheet: str, fence_ids: Sequence[int]) -> Call:
    """A write that removes old fences and does nothing else."""
    return _batch_update(spreadsheet, [removal(old) for old in fence_ids])


def _fenced(
    operations: Sequence[Operation],
    spreadsheet: str,
    sheets: Mapping[int, int],
    fence: Fence | None,
    sweep: Sequence[int],
    grids: Grids | None,
) -> Composed:
    requests: list[merging.Json] = []
    owners: list[tuple[int, ...]] = []
    refused: dict[int, str] = {}
    idle: list[int] = []
    appending: tuple[int, list[merging.Json], list[int]] | None = None

    def close() -> None:
        nonlocal appending
        if appending is not None:
            requests.append(merging.append_request(appending[0], appending[1]))
            owners.append(tuple(appending[2]))
            appending = None

    if fence is not None:
        requests.append(fence.request())
        owners.append(())
    for position, operation in enumerate(operations):
        sheet_id = operation.sheet_id if operation.sheet_id is not None else sheets.get(position)
        if operation.op == "request":
            made: list[merging.Json] = [operation.request]
            if grids is not None:
                grids.follow(operation.request)
        else:
            if sheet_id is None:
                refused[position] = _no_such_sheet(operation)
                continue
            if operation.op == "append":
                rows = merging.append_rows(operation)
                if not rows:
                    idle.append(position)
                    continue
                room = grids.room_for(operation, sheet_id) if grids is not None else []
                if room:
                    close()
                    requests.extend(room)
                    owners.extend([(position,)] * len(room))
                if appending is None or appending[0] != sheet_id:
                    close()
                    appending = (sheet_id, [], [])
                appending[1].extend(rows)
                appending[2].append(position)
                continue
            if operation.op == "update":
                made = merging.update_requests(operation, sheet_id)
            else:
                made = [merging.clear_request(operation, sheet_id)]
        if not made:
            idle.append(position)
            continue
        if grids is not None and operation.op != "request" and sheet_id is not None:
            made = [*grids.room_for(operation, sheet_id), *made]
        close()
        requests.extend(made)
        owners.extend([(position,)] * len(made))
    close()
    if not any(owners):
        return Composed(None, refused=refused, idle=tuple(idle))
    requests.extend(removal(old) for old in sweep)
    owners.extend([()] * len(sweep))
    return Composed(_batch_update(spreadsheet, requests), tuple(owners), refused, tuple(idle))


def _no_such_sheet(operation: Operation) -> str:
    title = sheet_key(operation)
    return f"no sheet named {title!r} in the spreadsheet" if title else "the spreadsheet has no sheet to write to"


def _batch_update(spreadsheet: str, requests: Sequence[object]) -> Call:
    return _call(
        "POST", spreadsheet, ":batchUpdate", _query(fields="spreadsheetId,replies"), {"requests": requests}, "write"
    )


def _values_update(operations: Sequence[Operation], spreadsheet: str) -> Composed:
    written = [
        {"range": operation.range, "majorDimension": operation.major_dimension, "values": operation.values}
        for operation in operations
    ]
    query = _query(fields="spreadsheetId,responses(updatedRange,updatedRows,updatedColumns,updatedCells)")
    body = {"valueInputOption": operations[0].input, "data": written}
    call = _call("POST", spreadsheet, "/values:batchUpdate", query, body, "write")
    return Composed(call, tuple((position,) for position in range(len(operations))))


def _values_append(operation: Operation, spreadsheet: str) -> Call:
    query = _query(valueInputOption=operation.input, fields="spreadsheetId,tableRange,updates")
    body = {"majorDimension": operation.major_dimension, "values": operation.values}
    return _call("POST", spreadsheet, f"/values/{quote(operation.range, safe='')}:append", query, body, "write")


def _read(operations: Sequence[Operation], spreadsheet: str) -> Composed:
    plan = plan_reads(operations)
    owners: list[list[int]] = [[] for _ in plan.ranges]
    for position, place in enumerate(plan.served):
        owners[place].append(position)
    options: dict[str, str] = {"majorDimension": operations[0].major_dimension}
    if operations[0].render:
        options["valueRenderOption"] = operations[0].render
    mask = "range,majorDimension,values"
    query = _query(ranges=list(plan.ranges), **options, fields=f"valueRanges({mask})")
    if len(query) <= LONGEST_QUERY:
        call = _call("GET", spreadsheet, "/values:batchGet", query, None, "read")
    else:
        query = _query(fields=f"valueRanges(valueRange({mask}),dataFilters)")
        body = {"dataFilters": [{"a1Range": text} for text in plan.ranges], **options}
        call = _call("POST", spreadsheet, "/values:batchGetByDataFilter", query, body, "read")
    return Composed(call, tuple(map(tuple, owners)))


def _query(**fields: str | list[str]) -> str:
    return urlencode(fields, doseq=True, quote_via=quote)


def _encoded(body: object) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # a whole number of more than 64 bits in a raw request
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _call(method: str, spreadsheet: str, path: str, query: str, body: object, kind: Kind) -> Call:
    encoded = b""
    if body is not None:
        encoded = _encoded(body)
    path = f"/v4/spreadsheets/{quote(spreadsheet, safe='')}{path}"
    return Call(method=method, path=path, query=query, body=encoded, kind=kind)
