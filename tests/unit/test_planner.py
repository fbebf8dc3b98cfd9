"""Planning: which form, which lane, which batch; order kept, caps kept, titles followed, memory bounded."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate import planner as planning
from headgate.apis.sheets import merging
from headgate.apis.sheets.compose import compose
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.titles import needs_titles
from headgate.messages.requests import BulkRequest, LaneEntry, Operation
from headgate.messages.words import Order
from headgate.planner import DraftBatch, LaneKey, Planner, order_lanes

Fields = dict[str, Any]
APPEND: Fields = {"op": "append", "range": "Orders!A:C", "values": [["o", 1]]}
ENTERED: Fields = {"op": "append", "range": "Orders!A:C", "values": [["1/2/2026"]], "input": "USER_ENTERED"}
UPDATE: Fields = {"op": "update", "range": "Orders!A1", "values": [[1]]}
TYPED: Fields = {**UPDATE, "input": "USER_ENTERED"}
CLEAR: Fields = {"op": "clear", "range": "Orders!A5:C"}
READ: Fields = {"op": "read", "range": "Orders!A1:C9"}
RAW: Fields = {"op": "request", "request": {"deleteSheet": {"sheetId": 77}}}


def operations(*lines: Fields) -> list[Operation]:
    return [
        parse_line(json.dumps({"spreadsheet": "S", "user": "u", **fields}), number, "")
        for number, fields in enumerate(lines, 1)
    ]


Draft = DraftBatch[list[Operation]]
ListPlanner = Planner[list[Operation]]


def plan(
    lines: list[Operation], order: Order = "lane", per_call: int = 0, nonce: str = "n"
) -> tuple[list[Draft], ListPlanner]:
    planner = Planner(BulkRequest(id="r", project="p", order=order, operations_per_call=per_call, nonce=nonce))
    batches = [batch for operation in lines for batch in planner.add(operation)]
    return batches + planner.finish(), planner


def shape(batches: list[Draft]) -> list[tuple[str, list[int]]]:
    return [(batch.form, [operation.line for operation in batch.operations]) for batch in batches]


CASES: dict[str, tuple[list[Fields], list[tuple[str, list[int]]]]] = {
    "writes of every kind share one fenced batch": (
        [APPEND, UPDATE, CLEAR, RAW, APPEND],
        [("look_up", []), ("fenced", [1, 2, 3, 4, 5])],
    ),
    "raw requests alone need no look-up": ([RAW, RAW], [("fenced", [1, 2])]),
    "what Sheets must parse goes alone": (
        [ENTERED, ENTERED, {**APPEND, "placement": "table"}],
        [("values_append", [1]), ("values_append", [2]), ("values_append", [3])],
    ),
    "typed words and numbers need no parsing": (
        [{**ENTERED, "values": [["Ann", 3, None, "=A1"]]}],
        [("look_up", []), ("fenced", [1])],
    ),
    "typed updates share a call unless they touch the same cell": (
        [TYPED, {**TYPED, "range": "Orders!B1"}, {**TYPED, "range": "Orders!A1:B1"}],
        [("values_update", [1, 2]), ("values_update", [3])],
    ),
    "typed updates of several sheets do not share a call": (
        [TYPED, {**TYPED, "range": "B1"}],
        [("values_update", [1]), ("values_update", [2])],
    ),
    "a bare name may be any range": (
        [{**TYPED, "range": "Sales"}, {**TYPED, "range": "Sales"}],
        [("values_update", [1]), ("values_update", [2])],
    ),
    "a change of form closes a batch": (
        [APPEND, TYPED, APPEND],
        [("look_up", []), ("fenced", [1]), ("values_update", [2]), ("fenced", [3])],
    ),
    "a look-up stands first even if it is needed late": (
        [TYPED, ENTERED, APPEND],
        [("look_up", []), ("values_update", [1]), ("values_append", [2]), ("fenced", [3])],
    ),
    "reads are told apart by how they are shown": (
        [READ, {**READ, "render": "FORMULA"}, READ],
        [("read", [1, 3]), ("read", [2])],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_batches(name: str) -> None:
    lines, expected = CASES[name]
    assert shape(plan(operations(*lines))[0]) == expected


def test_reads_and_writes_are_lanes_of_their_own() -> None:
    batches, planner = plan(operations(READ, APPEND, READ))
    assert list(planner.lanes) == [LaneKey("S", "u", "read"), LaneKey("S", "u", "write")]
    assert shape(batches) == [("read", [1, 3]), ("look_up", []), ("fenced", [2])]


def test_strict_order_keeps_them_in_one_lane_and_counts_the_runs() -> None:
    batches, planner = plan(operations(READ, APPEND, READ, READ, TYPED, APPEND), order="strict")
    assert shape(batches) == [
        ("look_up", []),
        ("read", [1]),
        ("fenced", [2]),
        ("read", [3, 4]),
        ("values_update", [5]),
        ("fenced", [6]),
    ]
    (lane,) = planner.lanes.values()
    assert (lane.key.kind, lane.look_up, lane.batches, lane.runs) == ("write", True, 6, [0, 1, 1, 1, 2])


def test_operations_per_call_is_a_cap() -> None:
    batches, _ = plan(operations(*[APPEND] * 5), per_call=2)
    assert [len(batch.operations) for batch in batches] == [0, 2, 2, 1]


def test_a_sheet_that_a_line_adds_is_known_to_the_lines_behind_it() -> None:
    added: Fields = {"op": "request", "request": {"addSheet": {"properties": {"title": "New"}}}}
    into: Fields = {**APPEND, "range": "New!A:C"}
    batches, planner = plan(operations(added, into))
    assert shape(batches) == [("fenced", [1, 2])]
    assert not any(lane.look_up for lane in planner.lanes.values())
    first, second = batches[0].operations
    chosen = first.request["addSheet"]["properties"]["sheetId"]  # type: ignore[index]
    assert second.sheet_id == chosen
    again, _ = plan(operations(added, into))
    assert again == batches
    other, _ = plan(operations(added, into), nonce="m")
    assert other[0].operations[1].sheet_id != chosen


def test_renamed_copied_and_deleted_sheets_are_followed() -> None:
    lines = operations(
        {
            "op": "request",
            "request": {"updateSheetProperties": {"properties": {"sheetId": 5, "title": "Now"}, "fields": "title"}},
        },
        {**APPEND, "range": "Now!A:A"},
        {**APPEND, "range": "Before!A:A"},
        {
            "op": "request",
            "request": {"duplicateSheet": {"sourceSheetId": 5, "newSheetName": "Copy", "insertSheetIndex": 3}},
        },
        {**APPEND, "range": "Copy!A:A"},
        {"op": "request", "request": {"deleteSheet": {"sheetId": 5}}},
        {**APPEND, "range": "Now!A:A"},
        {**APPEND, "range": "A:A"},
    )
    batches, _ = plan(lines)
    made = {operation.line: operation for batch in batches for operation in batch.operations}
    assert made[2].sheet_id == 5
    assert (made[3].sheet_id, made[3].gone_sheets) == (None, (5,))
    assert made[5].sheet_id == made[4].request["duplicateSheet"]["newSheetId"]  # type: ignore[index]
    assert (made[7].sheet_id, made[7].gone_sheets) == (None, (5,))
    assert made[8].gone_sheets == (5,)


def test_a_copy_without_an_index_comes_first() -> None:
    copy = {"op": "request", "request": {"duplicateSheet": {"sourceSheetId": 5, "newSheetName": "Copy"}}}
    batches, _ = plan(operations(copy, {**APPEND, "range": "A:A"}))
    made = {operation.line: operation for batch in batches for operation in batch.operations}
    assert made[2].sheet_id == made[1].request["duplicateSheet"]["newSheetId"]  # type: ignore[index]


def test_the_first_lanes_cover_as_many_users_as_possible() -> None:
    lanes = [
        LaneEntry(lane=0, kind=kind, user=user, spreadsheet=sheet, first_batch=0, batches=1, operations=1)
        for user, sheet, kind in [
            ("a", "1", "write"),
            ("a", "1", "read"),
            ("a", "2", "write"),
            ("b", "1", "write"),
            ("c", "9", "read"),
        ]
    ]
    order = [(lane.user, lane.spreadsheet, lane.kind) for lane in order_lanes(lanes)]
    assert order == [
        ("a", "1", "write"),
        ("b", "1", "write"),
        ("c", "9", "read"),
        ("a", "2", "write"),
        ("a", "1", "read"),
    ]


texts = st.text(max_size=6)
cell = st.none() | st.booleans() | st.integers(-99, 99) | texts
values = st.lists(st.lists(cell, min_size=1, max_size=3), min_size=1, max_size=3)
cells = st.sampled_from(["Orders!A1", "Orders!B2", "New!A1", "A1"])
entered = st.sampled_from(["RAW", "USER_ENTERED"])
line = st.one_of(
    st.builds(lambda r, v, i: {"op": "append", "range": r, "values": v, "input": i}, cells, values, entered),
    st.builds(lambda r, v, i: {"op": "update", "range": r, "values": v, "input": i}, cells, values, entered),
    st.builds(lambda r: {"op": "clear", "range": r}, cells),
    st.builds(lambda r, s: {"op": "read", "range": r, "render": s}, cells, st.sampled_from(["", "FORMULA"])),
    st.just({"op": "request", "request": {"addSheet": {"properties": {"title": "New"}}}}),
)
files = st.lists(
    st.builds(
        lambda fields, s, u: {**fields, "spreadsheet": s, "user": u}, line, st.sampled_from("ST"), st.sampled_from("uv")
    ),
    max_size=40,
)


@given(files, st.sampled_from(["lane", "strict"]), st.integers(0, 3), st.booleans())
def test_every_operation_is_in_one_batch_in_order_and_within_the_caps(
    lines: list[Fields], order: Order, per_call: int, little_memory: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "MOST_BYTES", 1_500)
        patch.setattr(planning, "MOST_CELLS", 12)
        patch.setattr(planning, "MOST_HELD", 3)
        if little_memory:
            patch.setattr(planning, "MOST_REMEMBERED", 3)
            patch.setattr(planning, "MOST_HELD_TOGETHER", 4)
        given_ = operations(*lines)
        batches, planner = plan(given_, order, per_call)
        assert batches == plan(given_, order, per_call)[0]
    by_lane: dict[LaneKey, list[Draft]] = defaultdict(list)
    for batch in batches:
        by_lane[batch.lane].append(batch)
    assert sorted(operation.line for batch in batches for operation in batch.operations) == list(
        range(1, len(lines) + 1)
    )
    assert by_lane.keys() == planner.lanes.keys()
    for key, of_lane in by_lane.items():
        judge_lane(key, of_lane, planner, order, per_call)


def judge_lane(key: LaneKey, batches: list[Draft], planner: ListPlanner, order: Order, per_call: int) -> None:
    lane = planner.lanes[key]
    assert lane.batches == len(batches)
    assert lane.look_up == (batches[0].form == "look_up")
    assert all(batch.form != "look_up" for batch in batches[1:])
    assert lane.operations == sum(len(batch.operations) for batch in batches)
    in_order = [operation.line for batch in batches for operation in batch.operations]
    if key.kind == "write" and order == "lane":
        assert in_order == sorted(in_order)
    kinds = [batch.kind for batch in batches if batch.form != "look_up"]
    if order == "strict":
        turns = [
            kind
            for count, kind in zip(lane.runs, ["write", "read"] * len(lane.runs), strict=False)
            for _ in range(count)
        ]
        assert turns == kinds
        writes = [o.line for batch in batches if batch.kind == "write" for o in batch.operations]
        assert writes == sorted(writes)
    for batch in batches:
        judge_batch(batch, lane.look_up, per_call)


def judge_batch(batch: Draft, look_up: bool, per_call: int) -> None:
    assert not per_call or len(batch.operations) <= per_call
    assert all((operation.spreadsheet, operation.user) == batch.lane[:2] for operation in batch.operations)
    assert look_up or not any(needs_titles(operation, batch.form) for operation in batch.operations)
    assert batch.form != "values_append" or len(batch.operations) == 1
    if batch.form != "look_up" and len(batch.operations) > 1:
        weight = sum(merging.weight_of(operation, batch.form).bytes for operation in batch.operations)
        assert batch.form == "read" or weight + 400 <= 1_500
        sheets = dict.fromkeys(range(len(batch.operations)), 1)
        call = compose(batch.operations, batch.form, "S", sheets).call
        assert call is None or len(call.body) <= 1_500


@given(files)
def test_strict_reads_stay_between_the_writes_around_them(lines: list[Fields]) -> None:
    batches, planner = plan(operations(*lines), "strict")
    for key in planner.lanes:
        last_write = 0
        seen_reads: list[int] = []
        for batch in batches:
            if batch.lane != key or batch.form == "look_up":
                continue
            numbers = [operation.line for operation in batch.operations]
            if batch.kind == "write":
                assert all(read < numbers[0] for read in seen_reads)
                last_write = numbers[-1]
            else:
                seen_reads += numbers
                assert min(numbers) > last_write
