"""Whatever is merged with whatever: cells, formats and outcomes are those of one operation at a time, in the order of the lines."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.applying import Core, alone, apply_planned
from benchmarks.mixed import SPREADSHEETS, measure
from headgate.apis.sheets.operations import parse_line
from headgate.messages.requests import BulkRequest, Operation

Fields = dict[str, Any]
TITLES = ("Sheet1", "Two words", "It's", "beta")
ROWS, COLUMNS = 9, 6

titles = st.sampled_from(("", *TITLES, "sheet1"))
rows = st.integers(1, ROWS)
columns = st.sampled_from("ABCDEF")
raw_cells = st.sampled_from([None, None, "", "", "x", "word", "=A1", "12", "'q", 1, 2.5, -3, True, False])
typed_cells = st.sampled_from([None, "", "word", "two words", "=1+1", 7, 0.5, True])
parsed_cells = st.sampled_from([None, "", "12", "1,234", "50%", "2026-01-31", "'q", "word", 7])
sheet_ids = st.sampled_from([0, 7, 7, 99])


def in_sheet(title: str, cells: str) -> str:
    return f"'{title.replace(chr(39), chr(39) * 2)}'!{cells}" if title else cells


def grids(cells: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    return st.lists(st.lists(cells, max_size=4), min_size=1, max_size=3)


anchors = st.builds(lambda c, r: f"{c}{r}", columns, rows)
boxes = st.builds(lambda c, r, d, s: f"{c}{r}:{d}{s}", columns, rows, columns, rows)
open_ended = st.one_of(
    st.builds(lambda c, d: f"{c}:{d}", columns, columns),
    st.builds(lambda c, r, d: f"{c}{r}:{d}", columns, rows, columns),
    st.builds(lambda r, s: f"{r}:{s}", rows, rows),
)
written = st.one_of(
    st.tuples(grids(raw_cells), st.just("RAW")),
    st.tuples(grids(raw_cells), st.just("RAW")),
    st.tuples(grids(typed_cells), st.just("USER_ENTERED")),
    st.tuples(grids(parsed_cells), st.just("USER_ENTERED")),
)
majors = st.sampled_from(["ROWS", "ROWS", "COLUMNS"])
appends = st.builds(
    lambda title, first, values, major: {
        "op": "append",
        "range": in_sheet(title, f"{first}:F"),
        "values": values[0],
        "input": values[1],
        "major_dimension": major,
    },
    titles,
    st.sampled_from("ABC"),
    written,
    majors,
)
updates = st.builds(
    lambda title, cell, values, major: {
        "op": "update",
        "range": in_sheet(title, cell),
        "values": values[0],
        "input": values[1],
        "major_dimension": major,
    },
    titles,
    anchors,
    written,
    majors,
)
clears = st.builds(
    lambda title, cells: {"op": "clear", "range": in_sheet(title, cells)}, titles, st.one_of(anchors, boxes, open_ended)
)
reads = st.builds(
    lambda title, cells, render, major: {
        "op": "read",
        "range": in_sheet(title, cells),
        "render": render,
        "major_dimension": major,
    },
    titles,
    st.one_of(anchors, boxes, open_ended),
    st.sampled_from(["", "FORMULA", "UNFORMATTED_VALUE"]),
    majors,
)


def grid_range(sheet: int, top: int, left: int, height: int, width: int) -> Fields:
    return {
        "sheetId": sheet,
        "startRowIndex": top,
        "endRowIndex": top + height,
        "startColumnIndex": left,
        "endColumnIndex": left + width,
    }


areas = st.builds(grid_range, sheet_ids, st.integers(0, 4), st.integers(0, 2), st.integers(1, 3), st.integers(1, 3))
dimensions = st.builds(
    lambda sheet, dimension, start, size: {
        "sheetId": sheet,
        "dimension": dimension,
        "startIndex": start,
        "endIndex": start + size,
    },
    sheet_ids,
    st.sampled_from(["ROWS", "COLUMNS"]),
    st.integers(0, 3),
    st.integers(1, 2),
)
colours = st.builds(lambda red: {"red": red}, st.sampled_from([0.25, 0.5, 1]))
grid_properties = {"rowCount": ROWS, "columnCount": COLUMNS}
raw_requests = st.one_of(
    st.builds(
        lambda area, colour: {
            "repeatCell": {
                "range": area,
                "cell": {"userEnteredFormat": {"backgroundColor": colour}},
                "fields": "userEnteredFormat.backgroundColor",
            }
        },
        areas,
        colours,
    ),
    st.builds(
        lambda area: {
            "repeatCell": {
                "range": area,
                "cell": {"userEnteredFormat": {"textFormat": {"bold": True}}, "note": "n"},
                "fields": "userEnteredFormat.textFormat.bold,note",
            }
        },
        areas,
    ),
    st.builds(lambda area: {"mergeCells": {"range": area, "mergeType": "MERGE_ALL"}}, areas),
    st.builds(lambda where: {"insertDimension": {"range": where}}, dimensions),
    st.builds(lambda where: {"deleteDimension": {"range": where}}, dimensions),
    st.builds(
        lambda area: {"sortRange": {"range": area, "sortSpecs": [{"dimensionIndex": 0, "sortOrder": "ASCENDING"}]}},
        areas,
    ),
    st.builds(
        lambda title: {"addSheet": {"properties": {"title": title, "gridProperties": grid_properties}}},
        st.sampled_from(TITLES),
    ),
    st.builds(
        lambda title: {"addSheet": {"properties": {"title": title, "sheetId": 99, "index": 0}}},
        st.sampled_from(TITLES),
    ),
    st.builds(lambda sheet: {"deleteSheet": {"sheetId": sheet}}, sheet_ids),
    st.builds(
        lambda sheet, title: {
            "updateSheetProperties": {"properties": {"sheetId": sheet, "title": title}, "fields": "title"}
        },
        sheet_ids,
        st.sampled_from(TITLES),
    ),
    st.builds(
        lambda sheet: {"updateSheetProperties": {"properties": {"sheetId": sheet, "hidden": True}, "fields": "hidden"}},
        sheet_ids,
    ),
    st.builds(
        lambda sheet, title: {"duplicateSheet": {"sourceSheetId": sheet, "newSheetName": title, "newSheetId": 50}},
        sheet_ids,
        st.sampled_from(TITLES),
    ),
)
requests = st.builds(lambda request: {"op": "request", "request": request}, raw_requests)
lines = st.lists(st.one_of(appends, appends, updates, updates, clears, requests, reads), min_size=1, max_size=14)
#: Which sheet comes first behind these only a look-up tells: planning follows neither a move nor what is shown again.
moves = st.builds(
    lambda sheet, changed: {
        "op": "request",
        "request": {
            "updateSheetProperties": {"properties": {"sheetId": sheet, **changed}, "fields": ",".join(changed)},
        },
    },
    sheet_ids,
    st.one_of(
        st.builds(lambda index: {"index": index}, st.integers(0, 3)),
        st.builds(lambda hidden: {"hidden": hidden}, st.booleans()),
    ),
)
moved_lines = st.lists(
    st.one_of(appends, updates, updates, clears, requests, moves, moves, reads), min_size=1, max_size=14
)
#: A request about sheets that fails, and an operation that counted on it: from here on the lane goes by a look-up.
FAILED_FIRST: list[Fields] = [
    {"op": "request", "request": {"addSheet": {"properties": {"title": "Sheet1"}}}},
    {"op": "update", "range": "Sheet1!A1", "values": [["x"]]},
]


def parsed(given: list[Fields]) -> list[Operation]:
    return [
        parse_line(json.dumps({"spreadsheet": "S", "user": "u", **fields}), number, "")
        for number, fields in enumerate(given, 1)
    ]


def book() -> Core:
    return Core(["S"], ["Sheet1", "Two words"], ROWS, COLUMNS)


calls_of = st.sampled_from([0, 0, 1, 2, 3])


@settings(max_examples=300, deadline=None)
@given(lines, calls_of)
def test_merged_is_what_one_at_a_time_is(given: list[Fields], operations_per_call: int) -> None:
    must_agree(given, operations_per_call)


@settings(max_examples=300, deadline=None)
@given(moved_lines, calls_of)
def test_behind_a_failure_sheets_may_move_and_be_shown_again(given: list[Fields], operations_per_call: int) -> None:
    must_agree(FAILED_FIRST + given, operations_per_call)


def must_agree(given: list[Fields], operations_per_call: int) -> None:
    operations = parsed(given)
    one, many = book(), book()
    answers = {operation.id: alone(one, operation) for operation in operations}
    request = BulkRequest(id="r", project="p", nonce="n", order="strict", operations_per_call=operations_per_call)
    results = apply_planned(many, request, operations)
    outcomes = {name: "failed" if answer is None else "succeeded" for name, answer in answers.items()}
    assert {name: result.outcome for name, result in results.items()} == outcomes
    assert many.state("S") == one.state("S")
    for operation in operations:
        if operation.op == "read" and outcomes[operation.id] == "succeeded":
            assert results[operation.id].reply == answers[operation.id]


def test_small_operations_over_forty_spreadsheets_take_few_calls() -> None:
    """The benchmark's mix in small: a look-up and a write a spreadsheet, and the cells of one call each."""
    figures = measure(3000, parsed=False)
    assert figures["calls"] <= 2 * SPREADSHEETS
    assert figures["same_cells_and_formats"]
    assert figures["outcomes"] == {"succeeded": 3000}
    assert figures["refused_one_at_a_time"] == 0
