"""A write beyond the grid: a dead letter that says what helps, or with `grow` the grid that it needs, in the same call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bad_operations import NOW_NS, CountingEmulator, Line, dead_letters, planned
from headgate.apis.sheets.a1 import column_letters
from headgate.apis.sheets.compose import compose_look_up
from headgate.apis.sheets.replies import Answered
from headgate.apis.sheets.titles import Titles, titles_from
from headgate.messages.requests import BulkRequest
from headgate.outcomes import BatchState
from headgate.planner import Planner

GROW = BulkRequest(id="r", project="p", nonce="n", grow=True)
PLAIN = BulkRequest(id="r", project="p", nonce="n")


def looked_up(emulator: CountingEmulator) -> Titles:
    reply = emulator.ask(compose_look_up("S"))
    assert isinstance(reply, Answered)
    emulator.calls = 0
    return titles_from(reply.body)


def sizes(emulator: CountingEmulator) -> dict[int, tuple[int, int]]:
    return looked_up(emulator).sizes()


def update(place: str, *rows: list[Any]) -> Line:
    return {"op": "update", "range": place, "values": list(rows)}


def raw(kind: str, **body: Any) -> Line:
    return {"op": "request", "request": {kind: body}}


def test_without_it_a_write_beyond_the_grid_says_what_helps() -> None:
    emulator = CountingEmulator()
    state = emulator.run([update("Sheet1!A5000", ["x"]), update("Sheet1!A1", ["y"])], looked_up(emulator), PLAIN)
    assert dead_letters(state) == [0]
    assert state.results[0].reason.endswith("; submit with --grow to make the sheet larger")
    assert sizes(emulator) == {0: (1000, 26)}


def test_rows_and_columns_are_added_in_the_same_call() -> None:
    emulator = CountingEmulator()
    lines = [
        update("Sheet1!A1001", ["a", "b"]),
        update("Sheet1!AB5", ["c"]),
        {"op": "append", "range": "Sheet1!AD:AE", "values": [["d", "e"]]},
        update("Sheet1!B1200", ["f"]),
        {"op": "clear", "range": "Sheet1!A1:A1250"},
    ]
    state = emulator.run(lines, looked_up(emulator), GROW)
    assert dead_letters(state) == []
    assert emulator.calls == 1
    rows, columns = sizes(emulator)[0]
    assert columns == 31
    assert 1250 <= rows <= 1251, "a row that an append may have added is not counted"


def test_it_follows_what_earlier_lines_did_to_the_grid() -> None:
    emulator = CountingEmulator()
    lines = [
        raw("addSheet", properties={"sheetId": 5, "title": "Small", "gridProperties": {"rowCount": 3, "columnCount": 2}}),
        raw("appendDimension", sheetId=5, dimension="ROWS", length=2),
        raw("deleteDimension", range={"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 900}),
        update("Small!A5", ["in"]),
        update("Small!C9", ["beyond"]),
        update("Sheet1!A120", ["beyond"]),
    ]  # fmt: skip
    planner = Planner(GROW)
    for operation in planned(lines).operations:
        planner.add(operation)
    drafts = planner.finish()
    assert [draft.form for draft in drafts] == ["look_up", "fenced"]
    batch = planned(lines).model_copy(update={"operations": drafts[1].operations})
    state = BatchState.fresh(batch, GROW)
    titles = looked_up(emulator)
    while (step := state.next_step(titles, NOW_NS)) is not None:
        state.sending(step, NOW_NS)
        state.learn(step, emulator.ask(step.call), NOW_NS)
    assert [result.reason for result in state.results] == [""] * 6
    assert sizes(emulator) == {0: (120, 26), 5: (9, 3)}
    assert state.grids == sizes(emulator), "what is known afterwards is so"


def test_the_next_batch_knows_what_the_one_before_it_added() -> None:
    emulator = CountingEmulator()
    titles = looked_up(emulator)
    first = emulator.run([update("Sheet1!A2000", ["x"])], titles, GROW)
    titles = titles.model_copy(update={"grown": first.grids})
    emulator.calls = 0
    kept = Titles.model_validate_json(titles.model_dump_json())
    emulator.run([update("Sheet1!A2500", ["y"])], kept, GROW.model_copy(update={"nonce": "m"}))
    assert sizes(emulator) == {0: (2500, 26)}


@settings(max_examples=100, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 40), st.booleans()), min_size=1, max_size=12),
    bad=st.sets(st.integers(0, 11), max_size=2),
)
def test_every_write_finds_room_and_none_is_made_twice(places: list[tuple[int, int, bool]], bad: set[int]) -> None:
    """Also where a neighbour is refused and the rest goes again: the grid is as large as the farthest write, no larger."""
    emulator = CountingEmulator()
    lines: list[Line] = []
    reach = [1000, 26]
    for number, (row, column, appends) in enumerate(places):
        if number in bad:
            lines.append(raw("deleteSheet", sheetId=99))
        elif appends:
            lines.append(
                {
                    "op": "append",
                    "range": f"Sheet1!{column_letters(column)}:{column_letters(column)}",
                    "values": [["x"]],
                }
            )
            reach[1] = max(reach[1], column + 1)
        else:
            lines.append(update(f"Sheet1!{column_letters(column)}{row}", ["x"]))
            reach = [max(reach[0], row), max(reach[1], column + 1)]
    state = emulator.run(lines, looked_up(emulator), GROW)
    assert dead_letters(state) == sorted(number for number in bad if number < len(places))
    rows, columns = sizes(emulator)[0]
    assert columns == reach[1]
    assert reach[0] <= rows <= reach[0] + len(places)


@pytest.mark.parametrize("grow", [True, False])
def test_only_a_request_that_may_grow_looks_up_sizes_for_sheets_that_it_made(grow: bool) -> None:
    planner = Planner(GROW if grow else PLAIN)
    lines = [raw("addSheet", properties={"sheetId": 5, "title": "T"}), update("T!A5", ["in"])]
    for operation in planned(lines).operations:
        planner.add(operation)
    assert [draft.form for draft in planner.finish()] == (["look_up"] if grow else []) + ["fenced"]


def test_a_request_without_grow_composes_as_ever() -> None:
    emulator = CountingEmulator()
    state = BatchState.fresh(planned([update("Sheet1!A5000", ["x"])]), PLAIN)
    step = state.next_step(looked_up(emulator), NOW_NS)
    assert step is not None
    assert [next(iter(one)) for one in json.loads(step.call.body)["requests"]] == [
        "createDeveloperMetadata",
        "updateCells",
    ]
