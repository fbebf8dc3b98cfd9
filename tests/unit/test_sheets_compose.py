"""Calls on the wire: order, fences, masks, merged appends, nulls, reads served once; and replies of every dress."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.apis.sheets import merging
from headgate.apis.sheets.compose import compose, compose_burn, compose_fence_look_up, compose_look_up
from headgate.apis.sheets.fences import Fence
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.reads import deal_out, plan_reads
from headgate.apis.sheets.titles import Titles, titles_from
from headgate.messages.requests import Operation

FENCE = Fence.of("nonce", "S", 7, 41, "0")


def operation(op: str, line: int = 1, **fields: Any) -> Operation:
    return parse_line(json.dumps({"op": op, "spreadsheet": "S", **fields}), line, "u")


def requests_of(operations: list[Operation], sheets: dict[int, int], sweep: tuple[int, ...] = ()) -> list[Any]:
    composed = compose(operations, "fenced", "S", sheets, FENCE, sweep)
    assert composed.call is not None
    sent: list[Any] = json.loads(composed.call.body)["requests"]
    assert len(sent) == len(composed.owners)
    return sent


def test_a_fence_is_stable_positive_and_its_own() -> None:
    assert Fence.of("nonce", "S", 7, 41, "0") == FENCE
    assert 0 < FENCE.id < 2**31
    assert 0 < len(FENCE.value) <= 10
    others = {Fence.of("nonce", "S", 7, 41, "1"), Fence.of("nonce", "S", 7, 41, "0", 1), Fence.of("n", "S", 7, 41, "0")}
    assert len({FENCE.id, *(other.id for other in others)}) == 4


def test_the_fence_goes_first_and_the_removals_last() -> None:
    sent = requests_of([operation("request", request={"deleteSheet": {"sheetId": 3}})], {}, (11, 12))
    assert [next(iter(one)) for one in sent] == [
        "createDeveloperMetadata",
        "deleteSheet",
        "deleteDeveloperMetadata",
        "deleteDeveloperMetadata",
    ]
    assert sent[0]["createDeveloperMetadata"]["developerMetadata"]["metadataId"] == FENCE.id
    assert sent[2]["deleteDeveloperMetadata"]["dataFilter"]["developerMetadataLookup"] == {"metadataId": 11}


def test_adjacent_appends_to_one_sheet_are_one_request() -> None:
    appends = [operation("append", range=f"Orders!{column}:D", values=[[n]]) for n, column in enumerate("ACB")]
    composed = compose(appends, "fenced", "S", {0: 7, 1: 7, 2: 8}, FENCE)
    assert composed.owners == ((), (0, 1), (2,))
    assert composed.call is not None
    rows = json.loads(composed.call.body)["requests"][1]["appendCells"]["rows"]
    assert rows[1]["values"] == [{}, {}, {"userEnteredValue": {"numberValue": 1}}]


def test_a_null_is_left_alone_and_an_empty_text_empties() -> None:
    update = operation("update", range="Orders!B2", values=[["a", None, ""], [1, None, True]])
    sent = requests_of([update], {0: 7})[1:]
    assert len(sent) == 2
    assert sent[0]["updateCells"]["start"] == {"sheetId": 7, "rowIndex": 1, "columnIndex": 1}
    assert sent[1]["updateCells"]["start"] == {"sheetId": 7, "rowIndex": 1, "columnIndex": 3}
    assert sent[1]["updateCells"]["rows"] == [
        {"values": [{}]},
        {"values": [{"userEnteredValue": {"boolValue": True}}]},
    ]


def test_columns_are_turned_into_rows() -> None:
    update = operation("update", range="A1:B3", values=[[1, 2], [3]], major_dimension="COLUMNS")
    assert merging.rows_of(update) == ((1, 3), (2, None))


def test_a_clear_has_a_range_a_mask_and_no_rows() -> None:
    sent = requests_of([operation("clear", range="Orders!B2:C")], {0: 7})
    assert sent[1] == {
        "updateCells": {
            "range": {"sheetId": 7, "startRowIndex": 1, "startColumnIndex": 1, "endColumnIndex": 3},
            "fields": "userEnteredValue",
        }
    }


def test_what_cannot_be_composed_leaves_the_others_alone() -> None:
    batch = [operation("clear", range="Nope!A1"), operation("clear", range="A1"), operation("clear", range="B1")]
    composed = compose(batch, "fenced", "S", {2: 0}, FENCE)
    assert composed.refused == {
        0: "no sheet named 'Nope' in the spreadsheet",
        1: "the spreadsheet has no sheet to write to",
    }
    assert composed.owners == ((), (2,))


def test_nothing_to_write_is_no_call() -> None:
    composed = compose([operation("update", range="A1", values=[[None]])], "fenced", "S", {0: 1}, FENCE, (5,))
    assert (composed.call, composed.idle) == (None, (0,))


def test_values_calls_keep_what_was_written() -> None:
    update = operation("update", range="'It''s'!A1", values=[["1/2/2026"]], input="USER_ENTERED")
    call = compose([update, update], "values_update", "S").call
    assert call is not None
    assert call.path == "/v4/spreadsheets/S/values:batchUpdate"
    assert json.loads(call.body)["data"][1] == {
        "range": "'It''s'!A1",
        "majorDimension": "ROWS",
        "values": [["1/2/2026"]],
    }
    append = operation("append", range="Größe!A:C", values=[["1/2/2026"]], input="USER_ENTERED")
    call = compose([append], "values_append", "S").call
    assert call is not None
    assert unquote(call.path) == "/v4/spreadsheets/S/values/'Größe'!A:C:append"
    assert call.target.isascii()
    assert parse_qs(call.query)["valueInputOption"] == ["USER_ENTERED"]


def test_look_ups_are_reads_and_a_burn_is_a_write() -> None:
    assert compose_look_up("S").kind == "read"
    assert compose_fence_look_up("S", 5).path == "/v4/spreadsheets/S/developerMetadata/5"
    burn = compose_burn("S", 5)
    assert burn.kind == "write"
    created = json.loads(burn.body)["requests"]
    assert len(created) == 1
    assert created[0]["createDeveloperMetadata"]["developerMetadata"]["metadataValue"] == "burnt"


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        (None, True),
        ("", True),
        (1.5, True),
        (False, True),
        ("=SUM(A1:A2)", True),
        ("Widget", True),
        ("Ann Miller, Berlin", True),
        ("=", False),
        ("12", False),
        ("1e5", False),
        ("12%", False),
        ("$5", False),
        ("USD 5", False),
        ("May 5", False),
        ("2026-01-01", False),
        ("5 pm", False),
        ("TRUE", False),
        ("wahr", False),
        ("+A1", False),
        ("-x", False),
        ("'text", False),
        (" text", False),
        ("text ", False),
        ("a@b.c", False),
        ("www.x.y", False),
        ("http://x", False),
        ("line\nbreak", False),
        ("٣", False),
    ],
)
def test_a_text_needs_no_parsing_only_if_that_is_certain(cell: merging.Cell, safe: bool) -> None:
    assert merging.needs_no_parsing(cell) is safe


def test_a_short_list_of_ranges_goes_in_the_address_and_a_long_one_in_the_body() -> None:
    few = compose([operation("read", range="Orders!A1:B2"), operation("read", range="Orders!C1")], "read", "S").call
    assert few is not None
    assert (few.method, few.kind) == ("GET", "read")
    assert parse_qs(few.query)["ranges"] == ["Orders!A1:B2", "Orders!C1"]
    many = compose([operation("read", range=f"Orders!A{n + 1}") for n in range(400)], "read", "S").call
    assert many is not None
    assert (many.method, many.kind) == ("POST", "read")
    assert len(many.target) < 2_100
    assert len(json.loads(many.body)["dataFilters"]) == 400


def test_duplicates_and_covered_ranges_are_asked_for_once() -> None:
    reads = [operation("read", range=text) for text in ("x!B2:C3", "x!A1:D9", "x!A1:D9", "y!B2", "x!A:A", "x")]
    assert plan_reads(reads).ranges == ("x!A1:D9", "y!B2", "x!A:A", "x")
    assert plan_reads(reads).served == (0, 0, 0, 1, 2, 3)


def test_a_covered_range_reads_as_if_it_had_been_asked_for() -> None:
    reads = [operation("read", range=text) for text in ("A1:D9", "B2:C3", "D4:D9", "B2:B")]
    answer = {
        "valueRanges": [
            {"range": "Orders!A1:D9", "majorDimension": "ROWS", "values": [["a", "b"], ["c", "d", ""], ["", "", "e"]]},
            {"range": "Orders!B2:B1000", "majorDimension": "ROWS", "values": [["d"]]},
        ]
    }
    served = deal_out(reads, answer)
    assert served is not None
    assert served[1] == {"range": "Orders!B2:C3", "majorDimension": "ROWS", "values": [["d"], ["", "e"]]}
    assert served[2] == {"range": "Orders!D4:D9", "majorDimension": "ROWS"}
    assert served[3] == answer["valueRanges"][1]


def test_answers_by_filter_are_told_apart_by_their_ranges() -> None:
    reads = [operation("read", range="A1"), operation("read", range="B1")]
    answer = {
        "valueRanges": [
            {"valueRange": {"range": "x!B1", "values": [[2]]}, "dataFilters": [{"a1Range": "B1"}]},
            {"valueRange": {"range": "x!A1", "values": [[1]]}, "dataFilters": [{"a1Range": "A1"}]},
        ]
    }
    served = deal_out(reads, answer)
    assert served is not None
    assert [one["values"] for one in served if isinstance(one, dict)] == [[[1]], [[2]]]
    assert deal_out(reads, {"valueRanges": []}) is None
    assert deal_out(reads, {}) is None


def test_titles_know_the_first_sheet_and_pass_over_what_is_gone() -> None:
    titles = titles_from(
        {
            "sheets": [
                {"properties": {"sheetId": 9, "title": "B", "index": 1, "gridProperties": {"rowCount": 5}}},
                {"properties": {"sheetId": 0, "title": "A", "index": 0}},
                "nonsense",
            ]
        }
    )
    assert titles.sheet_id("") == 0
    assert titles.sheet_id("B") == 9
    assert titles.sheet_id("C") is None
    assert titles.sheet_id("b") == 9
    assert titles.sheet_id("B", (9,)) is None
    assert titles.sheet_id("", (0,)) == 9
    assert Titles.model_validate_json(titles.model_dump_json()) == titles
    assert titles_from("x") == titles_from({"sheets": 3}) == Titles()


cells = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["=", "=A1"])
)
INPUTS = ("RAW", "FORMULAS", "USER_ENTERED")
grids = st.lists(st.lists(cells, max_size=5), min_size=1, max_size=6)


@given(grids)
def test_blocks_hold_every_value_once_and_no_null(grid: list[list[merging.Cell]]) -> None:
    found: dict[tuple[int, int], merging.Cell] = {}
    for top, left, block in merging.runs(tuple(map(tuple, grid))):
        for row, values in enumerate(block):
            for column, value in enumerate(values):
                assert value is not None
                assert (top + row, left + column) not in found
                found[top + row, left + column] = value
    wanted = {(r, c): v for r, row in enumerate(grid) for c, v in enumerate(row) if v is not None}
    assert repr(sorted(found.items())) == repr(sorted(wanted.items()))


@given(grids, st.sampled_from(["append", "update"]), st.sampled_from(["ROWS", "COLUMNS"]), st.sampled_from(INPUTS))
def test_a_weight_is_never_below_the_wire(grid: list[list[merging.Cell]], op: str, major: str, input: str) -> None:
    one = operation(op, range="Orders!C3", values=grid, major_dimension=major, input=input)
    form = merging.form_of(one)
    composed = compose([one], form, "S", {0: 2**31 - 1}, None)
    if composed.call is not None:
        assert len(composed.call.body) <= 400 + merging.weight_of(one, form).bytes
        assert composed.call == compose([one], form, "S", {0: 2**31 - 1}, None).call
