"""The profile's calls as the emulator understands them: planned, composed, sent, read, and looked at in the cells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.errors import ApiError
from headgate.apis.sheets import merging
from headgate.apis.sheets.compose import Call, compose, compose_burn, compose_sweep
from headgate.apis.sheets.fences import Fence
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.replies import Answered, Reply, read_reply
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.messages.requests import BulkRequest, PlannedBatch
from headgate.outcomes import BatchState, OperationResult
from headgate.parts import Purpose
from headgate.planner import Planner
from tests.unit.emulator_api import Api

REQUEST = BulkRequest(id="r", project="p", nonce="n", order="strict")


def ask(api: Api, call: Call) -> Reply:
    body = json.loads(call.body) if call.body else None
    try:
        answer = api.call(call.method, call.target.removeprefix("/v4/spreadsheets"), body)
    except ApiError as error:
        return read_reply(error.code, {}, json.dumps({"error": {"message": error.message}}).encode())
    return read_reply(200, {}, json.dumps(answer).encode())


def run(api: Api, *lines: dict[str, Any], per_call: int = 0) -> dict[str, OperationResult]:
    request = REQUEST.model_copy(update={"operations_per_call": per_call})
    planner = Planner(request)
    drafts = []
    for number, line in enumerate(lines, 1):
        drafts += planner.add(parse_line(json.dumps({"spreadsheet": "S", "user": "u", **line}), number, ""))
    titles: Titles | None = None
    results: dict[str, OperationResult] = {}
    for number, draft in enumerate([*drafts, *planner.finish()]):
        batch = PlannedBatch(
            number=number, lane=0, form=draft.form, user="u", spreadsheet="S", operations=tuple(draft.operations)
        )
        state = BatchState.fresh(batch, request)
        while (step := state.next_step(titles, 10**18)) is not None:
            state.sending(step, 10**18)
            state.learn(step, ask(api, step.call), 10**18)
        titles = state.titles_after(titles)
        results |= {result.id: result for result in state.results}
    return results


def test_every_write_is_answered_with_the_name_of_its_spreadsheet_and_no_result_repeats_it() -> None:
    """By that name an answer is the API's, were there nothing to say of its parts."""
    api = Api()
    typed = {"range": "Sheet1!A1", "values": [["1"]], "input": "USER_ENTERED"}
    operations = [
        parse_line(json.dumps({"op": op, "spreadsheet": "S", **typed}), 1, "u") for op in ("append", "update")
    ]
    calls = [
        compose(operations[:1], "values_append", "S").call,
        compose(operations[1:], "values_update", "S").call,
        compose(operations[1:], "fenced", "S", {0: 0}, Fence(3, "value")).call,
        compose_burn("S", 5),
        compose_sweep("S", [3, 5]),
    ]
    for call in calls:
        assert call is not None
        reply = ask(api, call)
        assert isinstance(reply, Answered)
        assert reply.body["spreadsheetId"] == "S"
    appended = run(api, {"op": "append", "placement": "table", **typed})["1"].reply
    assert appended is not None
    assert set(appended) <= {"tableRange", "updates"}


def test_appends_updates_and_clears_land_where_they_should() -> None:
    api = Api()
    results = run(
        api,
        {"op": "append", "range": "A:C", "values": [["a", 1, True], ["b"]]},
        {"op": "append", "range": "Sheet1!B:C", "values": [["c", None, "e"]]},
        {"op": "update", "range": "Sheet1!A2", "values": [[None, "x", ""], ["y"]]},
        {"op": "clear", "range": "Sheet1!A1:B1"},
        {"op": "read", "range": "Sheet1!A1:D9", "render": "UNFORMATTED_VALUE"},
        {"op": "read", "range": "Sheet1!A2:B2", "render": "UNFORMATTED_VALUE"},
    )
    assert {result.outcome for result in results.values()} == {"succeeded"}
    assert results["5"].reply is not None
    assert results["5"].reply["values"] == [["", "", True], ["b", "x"], ["y", "c", "", "e"]]
    assert results["6"].reply is not None
    assert results["6"].reply["values"] == [["b", "x"]]


def test_what_is_typed_is_parsed_and_formulas_are_kept() -> None:
    api = Api()
    results = run(
        api,
        {"op": "append", "range": "Sheet1!A:A", "values": [["=A1", "word"]], "input": "USER_ENTERED"},
        {"op": "append", "range": "Sheet1!A:A", "values": [["12"]], "input": "USER_ENTERED"},
        {"op": "update", "range": "Sheet1!E1", "values": [["12"]], "input": "USER_ENTERED"},
        {"op": "read", "range": "Sheet1!A1:E2", "render": "FORMULA"},
    )
    assert {result.outcome for result in results.values()} == {"succeeded"}
    assert results["4"].reply is not None
    assert results["4"].reply["values"] == [["=A1", "word", "", "", 12], [12]]


def test_formulas_are_kept_and_nothing_else_is_parsed() -> None:
    """Both an append and an update, fenced: what looks like a number, a date or a sign stays the text that it is."""
    api = Api()
    row = ["=A1", "007", "+1", "2030-01-31", "=", 5, True]
    one = parse_line(
        json.dumps({"op": "append", "spreadsheet": "S", "range": "A:G", "values": [row], "input": "FORMULAS"}), 1, "u"
    )
    assert merging.form_of(one) == "fenced"
    results = run(
        api,
        {"op": "append", "range": "Sheet1!A:G", "values": [row], "input": "FORMULAS"},
        {"op": "update", "range": "Sheet1!A2:G2", "values": [row], "input": "FORMULAS"},
        {"op": "append", "range": "Sheet1!A:G", "values": [row]},
        {"op": "read", "range": "Sheet1!A1:G3", "render": "FORMULA"},
    )
    assert {result.outcome for result in results.values()} == {"succeeded"}
    assert results["4"].reply is not None
    assert results["4"].reply["values"] == [row, row, row]
    kinds = [type(api.library.spreadsheets["S"].sheets[0].cell(place, 0).value).__name__ for place in range(3)]
    assert kinds == ["Formula", "Formula", "str"]


def test_a_sheet_that_is_added_on_the_way_can_be_written_to() -> None:
    api = Api()
    results = run(
        api,
        {"op": "request", "request": {"addSheet": {"properties": {"title": "New one"}}}},
        {"op": "append", "range": "'New one'!A:A", "values": [["x"]]},
        {"op": "read", "range": "'New one'!A:A"},
        {"op": "append", "range": "Nowhere!A:A", "values": [["x"]]},
    )
    assert [result.outcome for result in results.values()] == ["succeeded"] * 3 + ["failed"]
    assert results["3"].reply is not None
    assert results["3"].reply["values"] == [["x"]]
    assert results["4"].reason == "no sheet named 'Nowhere' in the spreadsheet"


def test_one_bad_operation_leaves_its_neighbours_alone() -> None:
    api = Api()
    results = run(
        api,
        {"op": "append", "range": "Sheet1!A:A", "values": [["x"]]},
        {"op": "request", "request": {"deleteSheet": {"sheetId": 4711}}},
        {"op": "append", "range": "Sheet1!A:A", "values": [["y"]]},
        {"op": "read", "range": "Sheet1!A:A"},
        {"op": "read", "range": "Nope!A:A"},
    )
    assert [result.outcome for result in results.values()] == [
        "succeeded",
        "failed",
        "succeeded",
        "succeeded",
        "failed",
    ]
    assert results["4"].reply is not None
    assert results["4"].reply["values"] == [["x"], ["y"]]


def test_the_same_bytes_twice_apply_once() -> None:
    api = Api()
    line = parse_line('{"op":"append","spreadsheet":"S","range":"A:A","values":[["x"]]}', 1, "u")
    batch = PlannedBatch(number=1, lane=0, form="fenced", user="u", spreadsheet="S", operations=(line,))
    titles = Titles.model_validate({"sheets": [{"sheet_id": 0, "title": "Sheet1"}]})
    first = BatchState.fresh(batch, REQUEST)
    step = first.next_step(titles, 0)
    assert step is not None
    first.sending(step, 0)
    ask(api, step.call)
    again = BatchState.resumed(batch, REQUEST, first.frozen())
    purposes = []
    while (step := again.next_step(None, 0)) is not None:
        purposes.append(step.purpose)
        again.sending(step, 0)
        again.learn(step, ask(api, step.call), 0)
    assert purposes == ["send", "fence_look_up"]
    assert [(result.outcome, result.applied) for result in again.results] == [("succeeded", "yes")]
    assert api.get("A1:A9") == [["x"]]


def test_many_reads_go_in_the_body_and_come_back_to_their_operations() -> None:
    api = Api()
    api.put("Sheet1!A1", [["first"], ["second"]])
    results = run(api, *({"op": "read", "range": f"Sheet1!A{row}:A{row}"} for row in range(1, 300)))
    assert {result.outcome for result in results.values()} == {"succeeded"}
    assert results["2"].reply is not None
    assert results["2"].reply["values"] == [["second"]]
    assert results["9"].reply is not None
    assert "values" not in results["9"].reply


def column_of(api: Api, title: str) -> list[Any]:
    return [row[0] for row in api.get(f"{title}!A1:A9") or []]


def outcomes_of(results: dict[str, OperationResult]) -> list[str]:
    return [results[str(number)].outcome for number in range(1, len(results) + 1)]


ADD: dict[str, Any] = {"op": "request", "request": {"addSheet": {"properties": {"title": "Log"}}}}


def logged(text: str) -> dict[str, Any]:
    return {"op": "append", "range": "Log!A:A", "values": [[text]]}


@pytest.mark.parametrize("per_call", [0, 1, 2])
def test_a_sheet_that_exists_already_is_written_to_although_its_adding_fails(per_call: int) -> None:
    api = Api()
    api.batch(ADD["request"])
    results = run(api, logged("a"), ADD, logged("b"), ADD, logged("c"), per_call=per_call)
    assert outcomes_of(results) == ["succeeded", "failed", "succeeded", "failed", "succeeded"]
    assert column_of(api, "Log") == ["a", "b", "c"]


@pytest.mark.parametrize("per_call", [0, 1, 2])
def test_no_look_up_was_planned_and_the_sheet_exists_already(per_call: int) -> None:
    api = Api()
    api.batch(ADD["request"])
    results = run(api, ADD, logged("a"), logged("b"), per_call=per_call)
    assert outcomes_of(results) == ["failed", "succeeded", "succeeded"]
    assert column_of(api, "Log") == ["a", "b"]


@pytest.mark.parametrize("per_call", [0, 1, 2])
def test_a_renaming_that_is_refused_leaves_both_titles_where_they_are(per_call: int) -> None:
    api = Api()
    api.batch(ADD["request"])
    rename = {"updateSheetProperties": {"properties": {"sheetId": 0, "title": "Log"}, "fields": "title"}}
    results = run(
        api,
        {"op": "request", "request": rename},
        logged("a"),
        {"op": "append", "range": "Sheet1!A:A", "values": [["b"]]},
        {"op": "append", "range": "A:A", "values": [["c"]]},
        per_call=per_call,
    )
    assert outcomes_of(results) == ["failed", "succeeded", "succeeded", "succeeded"]
    assert (column_of(api, "Log"), column_of(api, "Sheet1")) == (["a"], ["b", "c"])


@pytest.mark.parametrize("per_call", [0, 1, 2])
def test_what_succeeds_behind_a_failure_is_followed(per_call: int) -> None:
    """Adding fails, then the sheet is renamed, moved to the front, and one of its old name is added."""
    api = Api()
    api.batch({"addSheet": {"properties": {"title": "Log", "sheetId": 5}}})
    move = {"properties": {"sheetId": 5, "title": "Old", "index": 0}, "fields": "title,index"}
    results = run(
        api,
        ADD,
        logged("a"),
        {"op": "request", "request": {"updateSheetProperties": move}},
        logged("nowhere"),
        ADD,
        logged("b"),
        {"op": "append", "range": "A:A", "values": [["c"]]},
        per_call=per_call,
    )
    assert outcomes_of(results) == ["failed", "succeeded", "succeeded", "failed", "succeeded", "succeeded", "succeeded"]
    assert (column_of(api, "Old"), column_of(api, "Log")) == (["a", "c"], ["b"])


def test_what_has_no_grid_does_not_speak_for_what_stands_behind_its_adding() -> None:
    api = Api()
    colour = {"repeatCell": {"range": {"sheetId": 5}, "cell": {"note": "n"}, "fields": "note"}}
    results = run(
        api,
        {"op": "request", "request": colour},
        {"op": "request", "request": {"addSheet": {"properties": {"title": "Log", "sheetId": 5}}}},
        logged("a"),
    )
    assert outcomes_of(results) == ["failed", "succeeded", "succeeded"]


NEW = {"addSheet": {"properties": {"title": "New", "sheetId": 9}}}


def apart(api: Api, titles: Titles, *lines: dict[str, Any]) -> tuple[list[OperationResult], list[Purpose], BatchState]:
    """One fenced batch by titles that another program has made wrong; with the purposes of its calls."""
    operations = tuple(
        parse_line(json.dumps({"spreadsheet": "S", "user": "u", **line}), number, "")
        for number, line in enumerate(lines, 1)
    )
    batch = PlannedBatch(number=1, lane=0, form="fenced", user="u", spreadsheet="S", operations=operations)
    state = BatchState.fresh(batch, REQUEST)
    purposes: list[Purpose] = []
    while (step := state.next_step(titles, 10**18, (77,))) is not None:
        purposes.append(step.purpose)
        state.sending(step, 10**18)
        state = BatchState.resumed(batch, REQUEST, state.frozen()) if step.call.kind == "read" else state
        if step.call.kind == "read":
            step = state.next_step(titles, 10**18)
            assert step is not None
            state.sending(step, 10**18)
        state.learn(step, ask(api, step.call), 10**18)
    return state.results, purposes, state


ONE_SHEET = Titles.model_validate({"sheets": [{"sheet_id": 0, "title": "Sheet1"}]})


def into(title: str) -> dict[str, Any]:
    return {"op": "append", "range": f"{title}!A:A", "values": [[title]]}


def test_a_sheet_that_another_program_has_added_since_is_found_by_one_more_look_up() -> None:
    api = Api()
    api.batch(NEW)
    results, purposes, state = apart(api, ONE_SHEET, into("Sheet1"), into("New"), into("Never"))
    assert [result.outcome for result in results] == ["succeeded", "succeeded", "failed"]
    assert results[2].reason == "no sheet named 'Never' in the spreadsheet"
    assert purposes[0] == "title_look_up"
    assert purposes.count("title_look_up") == 1
    assert (column_of(api, "Sheet1"), column_of(api, "New")) == (["Sheet1"], ["New"])
    _, purposes, _ = apart(api, state.titles_after(ONE_SHEET) or ONE_SHEET, into("never"), into("New"))
    assert "title_look_up" not in purposes, "that there is none is known by now"
    _, purposes, _ = apart(api, state.titles_after(ONE_SHEET) or ONE_SHEET, into("Another"))
    assert purposes == ["title_look_up"]


def test_a_sheet_that_another_program_has_put_in_anothers_place_is_found() -> None:
    """The id that the title had is gone: "No grid with id"."""
    api = Api()
    api.batch(NEW)
    api.batch({"deleteSheet": {"sheetId": 0}}, {"addSheet": {"properties": {"title": "Sheet1", "sheetId": 4}}})
    titles = ONE_SHEET.model_copy(update={"sheets": (*ONE_SHEET.sheets, Sheet(sheet_id=9, title="New"))})
    results, purposes, _ = apart(api, titles, into("New"), into("Sheet1"), into("New"), into("Sheet1"))
    assert {result.outcome for result in results} == {"succeeded"}
    assert purposes[:2] == ["send", "title_look_up"]
    assert purposes.count("title_look_up") == 1
    assert (column_of(api, "Sheet1"), column_of(api, "New")) == (["Sheet1"] * 2, ["New"] * 2)


def test_a_sheet_that_is_gone_for_good_is_looked_up_once() -> None:
    api = Api()
    api.batch(NEW)
    api.batch({"deleteSheet": {"sheetId": 0}})
    results, purposes, _ = apart(api, ONE_SHEET, into("Sheet1"), into("Sheet1"))
    assert [result.reason for result in results] == ["no sheet named 'Sheet1' in the spreadsheet"] * 2
    assert purposes == ["send", "title_look_up"]
