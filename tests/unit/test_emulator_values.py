"""Values are read and written as the recordings of real traffic show it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator_api import Api


@pytest.fixture
def api() -> Api:
    return Api()


def test_trailing_empties_are_not_shown_and_empty_rows_inside_are(api: Api) -> None:
    reply = api.put("A1", [["a", "b", "", "d"], ["", "e", "", ""], ["", "", "", ""], ["f", "", "", "g"]])
    assert reply["updatedRange"] == "Sheet1!A1:D4"
    assert reply["updatedCells"] == 16
    assert api.get("A1:D4") == [["a", "b", "", "d"], ["", "e"], [], ["f", "", "", "g"]]
    assert api.get("A:B", "majorDimension=COLUMNS") == [["a", "", "", "f"], ["b", "e"]]


def test_values_is_absent_where_nothing_is_left(api: Api) -> None:
    assert api.call("GET", "/S/values/A1:B2") == {"range": "Sheet1!A1:B2", "majorDimension": "ROWS"}


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [
        ("Sheet1", "Sheet1!A1:Z1000"),
        ("A1:C", "Sheet1!A1:C1000"),
        ("A2:2", "Sheet1!A2:Z2"),
        ("D4:A1", "Sheet1!A1:D4"),
        ("'Sheet1'!B2", "Sheet1!B2"),
        ("sheet1!B2:B2", "Sheet1!B2"),
        ("%27Sheet1%27%21A1%3AB5000", "Sheet1!A1:B1000"),
    ],
)
def test_a_range_is_echoed_bounded_by_its_grid(api: Api, asked: str, echoed: str) -> None:
    assert api.call("GET", f"/S/values/{asked}")["range"] == echoed


def test_a_title_that_reads_like_a_cell_is_quoted(api: Api) -> None:
    wanted = {"sheetId": 0, "title": "D3"}
    api.batch({"updateSheetProperties": {"properties": wanted, "fields": "title"}})
    assert api.call("GET", "/S/values/'D3'!A1:D1")["range"] == "'D3'!A1:D1"
    assert api.call("GET", "/S/values/D3")["range"] == "'D3'!D3"


def test_null_leaves_a_cell_alone_and_an_empty_text_clears_it(api: Api) -> None:
    api.put("A1:C1", [["a", "b", "c"]])
    reply = api.put("A1:C2", [[None, "", "z"], [None, None, None]])
    assert (reply["updatedRange"], reply["updatedRows"], reply["updatedColumns"]) == ("Sheet1!A1:C2", 1, 2)
    assert reply["updatedCells"] == 2
    assert api.get("A1:C1") == [["a", "", "z"]]


def test_totals_count_shared_rows_and_columns_once(api: Api) -> None:
    entries = [{"range": "A1:D1", "values": [[1, 2, "", 4]]}, {"range": "A4:D4", "values": [[1, 2, "", 4]]}]
    body = {"valueInputOption": "RAW", "data": entries}
    reply = api.call("POST", "/S/values:batchUpdate", body)
    totals = {name: value for name, value in reply.items() if name.startswith("total")}
    assert totals == {
        "totalUpdatedRows": 2,
        "totalUpdatedColumns": 4,
        "totalUpdatedCells": 8,
        "totalUpdatedSheets": 1,
    }


def test_a_bad_range_is_named_and_nothing_of_the_batch_is_written(api: Api) -> None:
    entries = [{"range": "A1", "values": [[1]]}, {"range": "Nope!A1", "values": [[1]]}]
    refusal = api.refused("POST", "/S/values:batchUpdate", {"valueInputOption": "RAW", "data": entries})
    assert refusal.message == "Invalid data[1]: Unable to parse range: Nope!A1"
    assert api.get("A1") is None


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("A1001", [[1]], "Range (Sheet1!A1001) exceeds grid limits. Max rows: 1000, max columns: 26"),
        ("Z1", [[1, 2]], "Range (Sheet1!Z1:AA1) exceeds grid limits. Max rows: 1000, max columns: 26"),
        ("A1:B1", [[1, 2, 3]], "Requested writing within range [Sheet1!A1:B1], but tried writing to column [C]"),
        ("A1:B1", [[1], [2]], "Requested writing within range [Sheet1!A1:B1], but tried writing to row [2]"),
        (
            "A1",
            "X",
            "Invalid value at 'data.values' (type.googleapis.com/google.protobuf.ListValue), \"X\"",
        ),
        (
            "A1",
            [["x" * 50_001]],
            "Your input contains more than the maximum of 50000 characters in a single cell.",
        ),
        ("What!A1", [[1]], "Unable to parse range: What!A1"),
    ],
)
def test_a_write_that_does_not_fit_is_refused_in_the_words_of_the_api(
    api: Api, path: str, values: Any, message: str
) -> None:
    refusal = api.refused("PUT", f"/S/values/{path}?valueInputOption=RAW", {"values": values})
    assert (refusal.code, refusal.message) == (400, message)


def test_an_append_goes_below_the_table_of_the_last_value(api: Api) -> None:
    first = api.append("Sheet1", [["a", "", "c"]])
    assert "tableRange" not in first
    assert first["updates"]["updatedRange"] == "Sheet1!A1:C1"
    whole = api.append("Sheet1", [["d", "", "f"]])
    assert (whole["tableRange"], whole["updates"]["updatedRange"]) == ("Sheet1!C1", "Sheet1!C2:E2")
    at_a1 = api.append("Sheet1!A1", [["g"]])
    assert (at_a1["tableRange"], at_a1["updates"]["updatedRange"]) == ("Sheet1!A1", "Sheet1!A2")


def test_appends_in_a_row_find_the_same_table_as_a_fresh_look(api: Api) -> None:
    for number in range(5):
        reply = api.append("A:C", [[number, "x", "y"], [number, "", ""]])
    assert reply["tableRange"] == "Sheet1!A1:C8"
    api.put("D3", [["beside"]])
    assert api.append("A:C", [[9]])["tableRange"] == "Sheet1!A1:D10"


def test_an_append_makes_the_grid_grow(api: Api) -> None:
    grid = {"rowCount": 1, "columnCount": 1}
    wanted = {"sheetId": 0, "gridProperties": grid}
    api.batch({"updateSheetProperties": {"properties": wanted, "fields": "gridProperties"}})
    api.append("A1", [[1, 2], [3, 4]])
    shown = api.show("sheets.properties.gridProperties")
    assert shown["sheets"][0]["properties"]["gridProperties"] == {"rowCount": 2, "columnCount": 2}


def test_insert_rows_moves_what_is_below_the_table(api: Api) -> None:
    api.put("A1", [["a"], [""], ["z"]])
    api.append("A1", [["b"], ["c"]], "insertDataOption=INSERT_ROWS")
    assert api.get("A:A") == [["a"], ["b"], ["c"], [], ["z"]]


@pytest.mark.parametrize(
    ("typed", "plain", "shown"),
    [
        ("0042", 42, "42"),
        ("-1.50", -1.5, "-1.5"),
        ("2,000,000.01", 2000000.01, "2,000,000.01"),
        ("12%", 0.12, "12%"),
        ("$1,234.5", 1234.5, "$1,234.50"),
        ("true", True, "TRUE"),
        ("2020-01-01", 43831, "2020-01-01"),
        ("= 1 / 1024", 0.0009765625, "0.0009765625"),
        ("=3/2", 1.5, "1.5"),
        ("=4/2", 2, "2"),
        ("'0042", "0042", "0042"),
        ("3_1_0", "3_1_0", "3_1_0"),
        ("two words", "two words", "two words"),
        ("Артур", "Артур", "Артур"),
    ],
)
def test_typed_text_becomes_what_it_is_known_to_become(api: Api, typed: str, plain: Any, shown: str) -> None:
    api.put("A1", [[typed]], "USER_ENTERED")
    assert api.get("A1", "valueRenderOption=UNFORMATTED_VALUE") == [[plain]]
    assert api.get("A1") == [[shown]]


def test_a_date_is_a_number_with_a_format(api: Api) -> None:
    api.put("A1:B1", [["1999-01-02", "=1+1"]], "USER_ENTERED")
    both = "valueRenderOption=UNFORMATTED_VALUE&dateTimeRenderOption=FORMATTED_STRING"
    assert api.get("A1:B1", both) == [["1999-01-02", 2]]
    assert api.get("A1:B1", "valueRenderOption=FORMULA") == [[36162, "=1+1"]]


def test_raw_text_is_never_parsed(api: Api) -> None:
    api.put("A1", [["=1+1", "12", True, 1.45]])
    assert api.get("A1:D1", "valueRenderOption=UNFORMATTED_VALUE") == [["=1+1", "12", True, 1.45]]


@pytest.mark.parametrize("typed", ["1/2/2020", "10:30", "Jan 5", "€5", "+A1", "(12)", "5 pm", "1.2.2020"])
def test_what_sheets_may_parse_in_an_unknown_way_is_refused_loudly(api: Api, typed: str) -> None:
    refusal = api.refused("PUT", "/S/values/A1?valueInputOption=USER_ENTERED", {"values": [[typed]]})
    assert refusal.code == 501


def test_a_formula_with_references_is_kept_and_its_value_is_refused(api: Api) -> None:
    api.put("A1", [["=SUM(B1:B3)"]], "USER_ENTERED")
    assert api.get("A1", "valueRenderOption=FORMULA") == [["=SUM(B1:B3)"]]
    assert api.refused("GET", "/S/values/A1").code == 501


def test_clears_leave_formats_and_echo_their_ranges(api: Api) -> None:
    api.put("A1:B2", [["2020-01-01", 2], [3, 4]], "USER_ENTERED")
    reply = api.call("POST", "/S/values:batchClear", {"ranges": ["A1:A1", "Sheet1!B2:C2"]})
    assert reply["clearedRanges"] == ["Sheet1!A1", "Sheet1!B2:C2"]
    assert api.get("A1:B2") == [["", "2"], ["3"]]
    api.put("A1", [[43832]])
    assert api.get("A1") == [["2020-01-02"]]


def test_data_filters_say_which_of_them_found_a_range(api: Api) -> None:
    api.put("A1:B1", [[1, 2]])
    filters = [{"a1Range": "A1:B1"}, {"gridRange": {"sheetId": 0, "endRowIndex": 1, "endColumnIndex": 2}}]
    reply = api.call("POST", "/S/values:batchGetByDataFilter", {"dataFilters": filters[:1]})
    [found] = reply["valueRanges"]
    assert found["valueRange"]["values"] == [["1", "2"]]
    assert found["dataFilters"] == filters[:1]


def test_what_a_response_shall_include_is_rendered_by_its_own_options(api: Api) -> None:
    path = "/S/values/A1?valueInputOption=RAW&includeValuesInResponse=true&responseValueRenderOption=UNFORMATTED_VALUE"
    reply = api.call("PUT", path, {"values": [[1.5]]})
    assert reply["updatedData"]["values"] == [[1.5]]


def test_an_unknown_spreadsheet_is_a_404_unless_missing_ones_are_created() -> None:
    assert Api().refused("GET", "/other").message == "Requested entity was not found."
    assert Api(create_missing=True).call("GET", "/other")["spreadsheetId"] == "other"
