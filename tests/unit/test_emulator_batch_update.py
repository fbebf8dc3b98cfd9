"""A batch applies as a whole or not at all, and answers as the recordings of real traffic do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator_api import Api

CORNER = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 2, "startColumnIndex": 0, "endColumnIndex": 2}
SHOWN = {name: value for name, value in CORNER.items() if name != "sheetId"}


@pytest.fixture
def api() -> Api:
    return Api()


def text(*values: str) -> dict[str, Any]:
    return {"values": [{"userEnteredValue": {"stringValue": value}} for value in values]}


def appended(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"appendCells": {"sheetId": 0, "fields": "userEnteredValue", "rows": list(rows)}}


def fence(number: int, value: str = "v", **more: Any) -> dict[str, Any]:
    entry = {"metadataId": number, "metadataKey": "k", "metadataValue": value, "visibility": "PROJECT"}
    return {"createDeveloperMetadata": {"developerMetadata": {**entry, "location": {"spreadsheet": True}, **more}}}


def resize(rows: int, columns: int) -> dict[str, Any]:
    wanted = {"sheetId": 0, "gridProperties": {"rowCount": rows, "columnCount": columns}}
    return {"updateSheetProperties": {"properties": wanted, "fields": "gridProperties(rowCount,columnCount)"}}


def test_one_bad_request_undoes_all_of_the_batch(api: Api) -> None:
    api.put("A1", [["old"]])
    refusal = api.refused_batch(
        appended(text("new")),
        {"addSheet": {"properties": {"sheetId": 7, "title": "T"}}},
        fence(1),
        {"addSheet": {"properties": {"sheetId": 7, "title": "U"}}},
    )
    assert refusal.message == "Invalid requests[3].addSheet: Sheet with ID 7 already exists."
    assert api.get("A:A") == [["old"]]
    assert len(api.show("sheets.properties")["sheets"]) == 1
    assert api.refused("GET", "/S/developerMetadata/1").code == 404


def test_a_fence_that_exists_refuses_the_second_sending_of_the_same_bytes(api: Api) -> None:
    batch = [fence(203873855), appended(text("o-1"))]
    api.batch(*batch)
    refusal = api.refused_batch(*batch)
    assert refusal.message == (
        "Invalid requests[0].createDeveloperMetadata: Cannot add developer metadata with ID [203873855] because "
        "developer metadata with that ID already exists."
    )
    assert api.get("A:A") == [["o-1"]]
    assert api.call("GET", "/S/developerMetadata/203873855")["metadataValue"] == "v"


def test_metadata_of_a_project_is_hidden_from_others_but_its_id_is_taken(api: Api) -> None:
    api.batch(fence(5), project="mine")
    path = "/S/developerMetadata:search"
    lookup = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": "k"}}]}
    assert len(api.call("POST", path, lookup, project="mine")["matchedDeveloperMetadata"]) == 1
    assert api.call("POST", path, lookup, project="theirs") == {}
    assert "already exists" in api.refused_batch(fence(5)).message


def test_deleted_metadata_frees_its_id(api: Api) -> None:
    api.batch(fence(5))
    by_id = {"dataFilter": {"developerMetadataLookup": {"metadataId": 5}}}
    [reply] = api.batch({"deleteDeveloperMetadata": by_id})
    assert reply["deleteDeveloperMetadata"]["deletedDeveloperMetadata"][0]["metadataId"] == 5
    assert api.batch({"deleteDeveloperMetadata": by_id}) == [{"deleteDeveloperMetadata": {}}]
    api.batch(fence(5))
    refusing = Api(delete_without_match="error")
    assert refusing.refused_batch({"deleteDeveloperMetadata": by_id}).code == 400


def test_metadata_has_a_budget_of_characters(api: Api) -> None:
    api.batch(fence(1, "x" * 29_000))
    assert "30000 characters" in api.refused_batch(fence(2, "x" * 1_000)).message
    on_sheet = {"location": {"sheetId": 0}}
    api.batch(fence(3, "x" * 1_000, **on_sheet))


def test_row_metadata_moves_and_goes_with_its_row(api: Api) -> None:
    row = {"sheetId": 0, "dimension": "ROWS", "startIndex": 4, "endIndex": 5}
    api.batch(fence(9, location={"dimensionRange": row}))
    api.batch({"insertDimension": {"range": {**row, "startIndex": 0, "endIndex": 2}}})
    shown = api.call("GET", "/S/developerMetadata/9")["location"]["dimensionRange"]
    assert (shown["startIndex"], shown["endIndex"]) == (6, 7)
    api.batch({"deleteDimension": {"range": {**row, "startIndex": 6, "endIndex": 7}}})
    assert api.refused("GET", "/S/developerMetadata/9").code == 404


def test_appended_cells_go_below_the_last_value_and_the_grid_grows(api: Api) -> None:
    api.batch(resize(2, 2))
    api.put("B2", [["x"]])
    assert api.batch(appended(text("a", "b", "c"), {}, text("d"))) == [{}]
    assert api.get("Sheet1") == [[], ["", "x"], ["a", "b", "c"], [], ["d"]]


def test_later_requests_see_what_earlier_ones_did(api: Api) -> None:
    api.batch(
        {"addSheet": {"properties": {"sheetId": 7, "title": "Orders 2026"}}},
        {"appendCells": {"sheetId": 7, "fields": "userEnteredValue", "rows": [text("o-1")]}},
    )
    assert api.get("'Orders 2026'!A1") == [["o-1"]]


def test_a_kind_that_is_known_but_not_emulated_answers_501(api: Api) -> None:
    assert api.refused_batch({"addChart": {"chart": {}}}).code == 501
    unknown = api.refused_batch({"addShet": {}})
    assert unknown.code == 400
    assert 'Unknown name "addShet"' in unknown.message


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"deleteSheet": {"sheetId": 5}}, "deleteSheet: No sheet with id: 5"),
        ({"deleteSheet": {"sheetId": 0}}, "deleteSheet: You can't remove all the sheets in a document."),
        (
            {"addSheet": {"properties": {"title": "Sheet1"}}},
            'addSheet: A sheet with the name "Sheet1" already exists. Please enter another name.',
        ),
        (
            {"updateSheetProperties": {"properties": {"sheetId": 0, "hidden": True}, "fields": "hidden"}},
            "updateSheetProperties: You can't hide all the sheets in a document.",
        ),
        (
            {"repeatCell": {"range": {"sheetId": 4}, "cell": {}, "fields": "note"}},
            "repeatCell: No grid with id: 4",
        ),
        (
            {"addSheet": {"properties": {"gridProperties": {"rowCount": 1_000_000, "columnCount": 10}}}},
            "addSheet: This action would increase the number of cells in the workbook above the limit of "
            "10000000 cells.",
        ),
        (
            {"updateCells": {"range": CORNER, "rows": [], "fields": "colour"}},
            "updateCells: Invalid field: colour",
        ),
    ],
)
def test_a_refusal_names_the_request_that_is_at_fault(api: Api, request_: dict[str, Any], message: str) -> None:
    assert api.refused_batch(request_).message == f"Invalid requests[0].{message}"


def test_a_batch_has_a_most_of_requests(api: Api) -> None:
    refusal = api.refused_batch(*[{"clearBasicFilter": {}}] * 100_001)
    assert refusal.message == "Cannot exceed 100000 requests in a single batch."


def test_named_ranges_are_resolved_and_a_taken_id_is_refused(api: Api) -> None:
    named = {"namedRangeId": "n1", "name": "Area", "range": CORNER}
    [reply] = api.batch({"addNamedRange": {"namedRange": named}})
    assert reply["addNamedRange"]["namedRange"] == {"namedRangeId": "n1", "name": "Area", "range": SHOWN}
    assert api.call("GET", "/S/values/Sheet1!Area")["range"] == "Sheet1!A1:B2"
    again = {"addNamedRange": {"namedRange": {**named, "name": "Other"}}}
    assert "n1" in api.refused_batch(again).message
    api.batch({"deleteNamedRange": {"namedRangeId": "n1"}})
    assert api.show("namedRanges") == {}


def test_merges_keep_the_first_value_and_replace_merges_inside_them(api: Api) -> None:
    api.put("A1:B2", [[42, 43], [43, 44]])
    api.batch({"mergeCells": {"range": CORNER, "mergeType": "MERGE_ROWS"}})
    assert len(api.show("sheets.merges")["sheets"][0]["merges"]) == 2
    api.batch({"mergeCells": {"range": CORNER, "mergeType": "MERGE_ALL"}})
    assert api.show("sheets.merges")["sheets"][0]["merges"] == [SHOWN]
    assert api.get("A1:B2") == [["42"]]
    api.batch({"unmergeCells": {"range": CORNER}})
    assert api.show("sheets.merges") == {"sheets": [{}]}


def test_a_protected_range_answers_without_editors_and_is_shown_with_the_caller(api: Api) -> None:
    wanted = {"range": CORNER, "warningOnly": True, "editors": None}
    [reply] = api.batch({"addProtectedRange": {"protectedRange": wanted}})
    protected = reply["addProtectedRange"]["protectedRange"]
    assert protected["editors"] == {}
    assert protected["requestingUserCanEdit"] is True
    [shown] = api.show("sheets.protectedRanges")["sheets"][0]["protectedRanges"]
    assert shown == {**protected, "editors": {"users": ["u"]}}


def test_a_filter_without_a_range_covers_the_grid(api: Api) -> None:
    api.batch(resize(20, 20), {"setBasicFilter": {"filter": {"range": {"sheetId": 0}}}})
    whole = {"startRowIndex": 0, "endRowIndex": 20, "startColumnIndex": 0, "endColumnIndex": 20}
    assert api.show("sheets.basicFilter") == {"sheets": [{"basicFilter": {"range": whole}}]}


def test_colours_come_back_as_bytes_in_both_forms(api: Api) -> None:
    style = {"rgbColor": {"red": 1, "green": 0, "blue": 0.5}}
    wanted = {"sheetId": 0, "tabColorStyle": style}
    api.batch({"updateSheetProperties": {"properties": wanted, "fields": "tabColorStyle"}})
    shown = api.show("sheets.properties.tabColorStyle")["sheets"][0]["properties"]
    assert shown == {"tabColorStyle": {"rgbColor": {"red": 1, "blue": 0.49803922}}}


def test_a_format_is_masked_and_shown_with_its_style(api: Api) -> None:
    form = {"backgroundColor": {"green": 1}, "textFormat": {"bold": True, "foregroundColor": {"red": 1}}}
    request = {"range": CORNER, "cell": {"userEnteredFormat": form}, "fields": "userEnteredFormat(backgroundColor)"}
    api.batch({"repeatCell": request})
    shown = api.show("sheets.data.rowData.values.userEnteredFormat", "ranges=A1")
    assert shown["sheets"][0]["data"][0]["rowData"][0]["values"][0]["userEnteredFormat"] == {
        "backgroundColor": {"green": 1},
        "backgroundColorStyle": {"rgbColor": {"green": 1}},
    }


def test_notes_are_shown_up_to_the_last_one(api: Api) -> None:
    assert api.show("sheets.data.rowData.values.note", "ranges=Sheet1") == {"sheets": [{"data": [{}]}]}
    note = {"start": {"sheetId": 0, "rowIndex": 2, "columnIndex": 1}, "fields": "note"}
    api.batch({"updateCells": {**note, "rows": [{"values": [{"note": "n"}]}]}})
    rows = [{}, {}, {"values": [{}, {"note": "n"}]}]
    expected = {"sheets": [{"data": [{"rowData": rows}]}]}
    assert api.show("sheets.data.rowData.values.note", "ranges=Sheet1") == expected
    api.batch({"updateCells": {**note, "rows": [{"values": [{"note": ""}]}]}})
    assert api.show("sheets.data.rowData.values.note", "ranges=Sheet1") == {"sheets": [{"data": [{}]}]}


def test_update_cells_clears_what_its_rows_do_not_reach(api: Api) -> None:
    api.put("A1:B2", [[1, 2], [3, 4]])
    api.batch({"updateCells": {"range": CORNER, "rows": [text("x")], "fields": "userEnteredValue"}})
    assert api.get("A1:B2") == [["x"]]


def test_a_sort_puts_numbers_before_text_and_empty_cells_last(api: Api) -> None:
    api.put("A1:B4", [["b", 1], ["", 2], [3, 3], ["A", 4]])
    area = {**CORNER, "endRowIndex": 4}
    order = {"sortSpecs": [{"dimensionIndex": 0, "sortOrder": "ASCENDING"}]}
    api.batch({"sortRange": {"range": area, **order}})
    assert api.get("A1:B4") == [["3", "3"], ["A", "4"], ["b", "1"], ["", "2"]]


def test_copy_and_cut_paste(api: Api) -> None:
    api.put("A1:A2", [["a"], ["b"]])
    column = {**CORNER, "endColumnIndex": 1}
    beside = {**CORNER, "startColumnIndex": 1}
    api.batch({"copyPaste": {"source": column, "destination": beside, "pasteType": "PASTE_NORMAL"}})
    place = {"sheetId": 0, "rowIndex": 0, "columnIndex": 2}
    api.batch({"cutPaste": {"source": column, "destination": place, "pasteType": "PASTE_NORMAL"}})
    assert api.get("A1:C2") == [["", "a", "a"], ["", "b", "b"]]


def test_find_and_replace_counts_what_it_changed(api: Api) -> None:
    api.put("A1:B2", [["cat", "Cat cat"], ["dog", 5]])
    [reply] = api.batch({"findReplace": {"find": "cat", "replacement": "cow", "allSheets": True}})
    assert reply["findReplace"] == {
        "valuesChanged": 2,
        "occurrencesChanged": 3,
        "rowsChanged": 1,
        "sheetsChanged": 1,
    }
    assert api.get("A1:B2") == [["cow", "cow cow"], ["dog", "5"]]


def test_groups_have_depths_and_leave_their_control_behind(api: Api) -> None:
    span = {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 2}
    [reply] = api.batch({"addDimensionGroup": {"range": span}})
    shown = {"dimension": "ROWS", "startIndex": 0, "endIndex": 2}
    assert reply["addDimensionGroup"] == {"dimensionGroups": [{"range": shown, "depth": 1}]}
    assert api.batch({"deleteDimensionGroup": {"range": span}}) == [{"deleteDimensionGroup": {}}]
    grid = api.show("sheets.properties.gridProperties")["sheets"][0]["properties"]["gridProperties"]
    assert grid["rowGroupControlAfter"] is True


def test_a_sheet_is_moved_to_an_index_as_before_the_move(api: Api) -> None:
    api.batch(
        {"addSheet": {"properties": {"sheetId": 1, "title": "B"}}},
        {"addSheet": {"properties": {"sheetId": 2, "title": "C"}}},
        {"updateSheetProperties": {"properties": {"sheetId": 2, "index": 0}, "fields": "index"}},
    )
    sheets = api.show("sheets.properties")["sheets"]
    assert [sheet["properties"]["title"] for sheet in sheets] == ["C", "Sheet1", "B"]
    assert [sheet["properties"]["index"] for sheet in sheets] == [0, 1, 2]


def test_inserted_and_deleted_columns_take_values_and_merges_along(api: Api) -> None:
    api.put("A1:C1", [["a", "b", "c"]])
    pair = {**CORNER, "startColumnIndex": 1, "endColumnIndex": 3, "endRowIndex": 2, "startRowIndex": 1}
    api.batch({"mergeCells": {"range": pair, "mergeType": "MERGE_ALL"}})
    columns = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 1, "endIndex": 2}
    api.batch({"insertDimension": {"range": columns}})
    assert api.get("A1:D1") == [["a", "", "b", "c"]]
    assert api.show("sheets.merges")["sheets"][0]["merges"][0]["startColumnIndex"] == 2
    api.batch({"deleteDimension": {"range": {**columns, "startIndex": 0, "endIndex": 3}}})
    assert api.get("A1:D1") == [["c"]]
    assert api.show("sheets.merges")["sheets"][0]["merges"][0]["endColumnIndex"] == 1


def test_a_new_spreadsheet_is_as_google_makes_them_and_may_bring_its_id(api: Api) -> None:
    made = api.call("POST", "", {"spreadsheetId": "mine", "properties": {"title": "T"}})
    assert made["spreadsheetId"] == "mine"
    assert made["properties"]["locale"] == "en_US"
    [sheet] = made["sheets"]
    assert sheet["properties"] == {
        "sheetId": 0,
        "title": "Sheet1",
        "index": 0,
        "sheetType": "GRID",
        "gridProperties": {"rowCount": 1000, "columnCount": 26},
    }
    assert made["spreadsheetUrl"].endswith("/mine/edit")


def test_a_failed_batch_leaves_a_fork_and_never_the_original() -> None:
    api = Api()
    api.put("A1", [[1]])
    before = api.library.get("S")
    api.refused_batch(appended(text("x")), {"deleteSheet": {"sheetId": 99}})
    assert api.library.get("S") is before
    assert api.library.shown("S") == {"Sheet1": [[1]]}


@pytest.mark.parametrize(
    ("add", "body", "id_name", "delete"),
    [
        ("addFilterView", "filter", "filterViewId", {"deleteFilterView": {"filterId": 9}}),
        ("addBanding", "bandedRange", "bandedRangeId", {"deleteBanding": {"bandedRangeId": 9}}),
    ],
)
def test_views_have_ids_that_are_taken_once(
    api: Api, add: str, body: str, id_name: str, delete: dict[str, Any]
) -> None:
    request = {add: {body: {id_name: 9, "range": CORNER}}}
    [reply] = api.batch(request)
    assert reply[add][body] == {id_name: 9, "range": SHOWN}
    assert "[9]" in api.refused_batch(request).message
    api.batch(delete, request)
    assert "id: 10" in api.refused_batch({"deleteBanding": {"bandedRangeId": 10}}).message


def test_conditional_formats_go_by_index(api: Api) -> None:
    def rule(formula: str) -> dict[str, Any]:
        condition = {"type": "CUSTOM_FORMULA", "values": [{"userEnteredValue": formula}]}
        return {"ranges": [CORNER], "booleanRule": {"condition": condition}}

    for formula in ("=1", "=2"):
        api.batch({"addConditionalFormatRule": {"rule": rule(formula), "index": 0}})
    [reply] = api.batch({"deleteConditionalFormatRule": {"sheetId": 0, "index": 1}})
    assert reply["deleteConditionalFormatRule"]["rule"] == {**rule("=1"), "ranges": [SHOWN]}
    assert len(api.show("sheets.conditionalFormats")["sheets"][0]["conditionalFormats"]) == 1


def test_pasted_text_is_read_as_typed_and_duplicates_go(api: Api) -> None:
    corner = {"sheetId": 0, "rowIndex": 0, "columnIndex": 0}
    api.batch({"pasteData": {"coordinate": corner, "data": "a,1\nA,1\nb,12%\n", "delimiter": ","}})
    [reply] = api.batch({"deleteDuplicates": {"range": {**CORNER, "endRowIndex": 3}}})
    assert reply == {"deleteDuplicates": {"duplicatesRemovedCount": 1}}
    assert api.get("A1:B3") == [["a", "1"], ["b", "12%"]]


def test_borders_are_drawn_outside_and_inside(api: Api) -> None:
    solid = {"style": "SOLID"}
    api.batch({"updateBorders": {"range": CORNER, "top": solid, "innerVertical": {"style": "DASHED"}}})
    shown = api.show("sheets.data.rowData.values.userEnteredFormat.borders", "ranges=A1:B2")
    first, second = shown["sheets"][0]["data"][0]["rowData"]
    assert first["values"][0]["userEnteredFormat"]["borders"] == {"top": solid, "right": {"style": "DASHED"}}
    assert second["values"][1]["userEnteredFormat"]["borders"] == {"left": {"style": "DASHED"}}
