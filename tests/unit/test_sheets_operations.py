"""The human edge: what a line of the input becomes, and the sentence for every line that is refused."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import ApiError
from headgate.apis.sheets import raw_requests
from headgate.apis.sheets.fences import Fence
from headgate.apis.sheets.operations import parse_closely, parse_line, parse_plain
from headgate.errors import InvalidOperation
from headgate.messages.requests import Operation
from tests.unit.emulator_api import Api

GOOD: dict[str, object] = {
    "op": "append",
    "spreadsheet": "S",
    "range": "Orders!A:C",
    "values": [["o-1", 12.5, True, None]],
}


def line(**changes: object) -> str:
    return json.dumps({**GOOD, **changes})


def raw(request: object) -> str:
    return json.dumps({"op": "request", "spreadsheet": "S", "request": request})


def test_a_line_gets_its_defaults() -> None:
    operation = parse_line(line(), 7, "bot")
    assert (operation.id, operation.line, operation.user, operation.input) == ("7", 7, "bot", "RAW")
    assert operation.values == (("o-1", 12.5, True, None),)
    assert Operation.model_validate_json(operation.model_dump_json()) == operation


def test_bytes_a_byte_order_mark_and_nulls_are_taken() -> None:
    assert parse_line("\ufeff".encode() + line(user=None, render=None).encode(), 1, "bot").user == "bot"


def test_a_huge_number_becomes_a_double() -> None:
    assert parse_line(line(values=[[10**30, 2**53]]), 1, "u").values == ((1e30, 2**53),)
    assert parse_line(line(values=[[12345678901234567000, -(2**60)]]), 1, "u").values == (
        (12345678901234567e3, -(2.0**60)),
    )


REFUSALS: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "The line is not JSON"),
    "no object": ("[1]", "The line must be a JSON object"),
    "too deep": ("[" * 100_000, "nested too deeply"),
    "no UTF-8": (b'{"id": "\xff"}', "not valid UTF-8"),
    "half a surrogate": (
        line(values=[["\ud800"]]),
        "half a character (an escape such as \\ud83d alone), which is not valid UTF-8",
    ),
    "a field twice": ('{"op": "read", "op": "read"}', "names 'op' twice"),
    "NaN": ('{"op": "append", "values": [[NaN]]}', "holds NaN"),
    "infinity": ('{"op":"append","spreadsheet":"S","range":"A:A","values":[[1e999]]}', "too large for Sheets"),
    "an id that a double cannot hold": (
        line(values=[["x"], [2**53 + 1]]),
        "in row 2 has more digits than Sheets keeps",
    ),
    "a negative one": (line(values=[[-12345678901234567890]]), "in row 1 has more digits than Sheets keeps"),
    "too many digits": ('{"values": [[' + "1" * 5000 + "]]}", "too many digits"),
    "no op": ('{"spreadsheet": "S"}', "op is missing"),
    "an unknown op": (line(op="delete"), "op must be append, update"),
    "an unknown field": (line(sheet="x"), "'sheet' is not a field"),
    "a path for a spreadsheet": (line(spreadsheet="../x"), "spreadsheet must be 1 to 128"),
    "dots for a spreadsheet": (line(spreadsheet=".."), "spreadsheet must be 1 to 128"),
    "a newline behind a spreadsheet": (line(spreadsheet="S\n"), "spreadsheet must be 1 to 128"),
    "a number for a user": (line(user=3), "user must be a text"),
    "no values": ('{"op":"append","spreadsheet":"S","range":"A:A"}', "values is missing"),
    "empty values": (line(values=[]), "values must be a list of rows"),
    "values that are no rows": (line(values=[1]), "row 1 is not a list"),
    "a cell that is a list": (line(values=[[[1]]]), "a list or an object"),
    "a cell that is too long": (line(values=[["x" * 50_001]]), "more than 50,000 characters"),
    "a bad range": (line(range="Orders!A0"), "row 0"),
    "a range that is no text": (line(range=5), "range must be a text"),
    "values for a clear": (line(op="clear"), "values does not belong to op clear"),
    "a render for an append": (line(render="FORMULA"), "render does not belong to op append"),
    "a wrong input": (line(input="CSV"), "input must be RAW, FORMULAS or USER_ENTERED"),
    "formulas placed by table": (
        line(placement="table", input="FORMULAS"),
        "placement table takes the input RAW or USER_ENTERED",
    ),
    "an empty id": (line(id=""), "id must be a text"),
    "too many rows": (line(op="update", range="A1:B1", values=[[1], [2]]), "2 rows and the range holds 1"),
    "too many columns": (line(op="update", range="A:B", values=[[1, 2, 3]]), "3 columns and the range holds 2"),
    "too many columns, by columns": (
        line(op="update", range="A1:B9", values=[[1], [2], [3]], major_dimension="COLUMNS"),
        "3 columns and the range holds 2",
    ),
    "no kind": (raw({}), "exactly one key"),
    "two kinds": (raw({"addSheet": {}, "deleteSheet": {}}), "exactly one key"),
    "an unknown kind": (raw({"explode": {}}), "'explode' is not one that Sheets knows"),
    "a kind that runs on": (raw({"refreshDataSource": {}}), "runs on after its call"),
    "an unknown field inside": (raw({"addSheet": {"properties": {"name": "x"}}}), "has no field 'name'"),
    "a wrong type inside": (raw({"addSheet": {"properties": {"title": 1}}}), "title must be a text"),
    "a wrong word inside": (raw({"mergeCells": {"mergeType": "ALL"}}), "must be one of MERGE_ALL"),
    "a list that is none": (raw({"appendCells": {"rows": {}}}), "rows must be a list"),
    "a number beyond int32": (raw({"deleteSheet": {"sheetId": 2**31}}), "must be a whole number"),
    "our own fences": (
        raw({"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"visibility": "DOCUMENT"}}}}),
        "headgate's own marks",
    ),
    "a range for a request": (
        '{"op":"request","spreadsheet":"S","range":"A1","request":{"addSheet":{}}}',
        "range does not belong to op request",
    ),
    "a line of many megabytes": (" " * 9_000_001, "longer than"),
    "a line that inflates": (
        line(values=[[1] * 1000] * 300),
        "more than one call can carry",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_line_is_refused_in_one_sentence(name: str) -> None:
    text, says = REFUSALS[name]
    with pytest.raises(InvalidOperation) as refusal:
        parse_line(text, 1, "u")
    sentence = str(refusal.value)
    assert says in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 300
    assert "pydantic" not in sentence.lower()


def test_a_cell_without_a_colon_is_where_the_values_begin() -> None:
    assert parse_line(line(op="update", range="A1"), 1, "u").range == "A1"
    with pytest.raises(InvalidOperation):
        parse_line(line(op="update", range="A1:A1"), 1, "u")


def test_no_user_at_all_is_refused() -> None:
    with pytest.raises(InvalidOperation, match="user is missing"):
        parse_line(line(), 1, "")


GOOD_REQUESTS = [
    {"addSheet": {"properties": {"title": "x", "sheetId": 5, "gridProperties": {"rowCount": "10"}}}},
    {"addSheet": {}},
    {
        "repeatCell": {
            "range": {"sheetId": 0},
            "cell": {"userEnteredFormat": {"textFormat": {"bold": True}}},
            "fields": "*",
        }
    },
    {"updateCells": {"rows": [{"values": [{"userEnteredValue": {"numberValue": 1}}]}], "fields": "userEnteredValue"}},
    {"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"metadataId": 5, "metadataKey": "k"}}}},
    {"setBasicFilter": {"filter": {"criteria": {"0": {"hiddenValues": ["x"]}}}}},
    {"updateCells": {"fields": "userEnteredFormat(textFormat/bold, backgroundColor),note"}},
]


@pytest.mark.parametrize("request_", GOOD_REQUESTS, ids=lambda request_: next(iter(request_)))
def test_a_good_request_is_taken_as_it_is(request_: dict[str, object]) -> None:
    assert parse_line(raw(request_), 1, "u").request == request_


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"updateCells": {"fields": "a..b"}}, "fields mask"),
        ({"updateCells": {"fields": " "}}, "fields mask"),
        ({"updateCells": {"fields": "a(b"}}, "fields mask"),
        ({"deleteSheet": {"sheetId": "1_0"}}, "whole number"),
        ({"deleteSheet": {"sheetId": " 7 "}}, "whole number"),
        ({"deleteSheet": {"sheetId": "٣"}}, "whole number"),
        ({"addSheet": {"properties": {"tabColor": {"red": 1e39}}}}, "a number"),
        ({"addSheet": {"properties": {"tabColor": {"red": "Infinity"}}}}, "a number"),
        ({"setBasicFilter": {"filter": {"criteria": {"0": {"hidden": True}}}}}, "no field 'hidden'"),
        ({"addCommentReply": {"post": {"createTime": "yesterday"}}}, "an instant"),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
def test_what_the_transcoder_would_refuse_is_refused_here(request_: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidOperation, match=says):
        parse_line(raw(request_), 1, "u")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
FIELDS = ["id", "op", "spreadsheet", "range", "values", "user", "input", "render", "major_dimension", "request", "x"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.booleans())
def test_whatever_is_written_is_taken_or_refused(fields: dict[str, object], mostly_good: bool) -> None:
    text = json.dumps({**GOOD, **fields} if mostly_good else fields)
    try:
        operation = parse_line(text, 1, "u")
    except InvalidOperation:
        pass
    else:
        assert Operation.model_validate_json(operation.model_dump_json()) == operation


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused(text: bytes) -> None:
    with pytest.raises(InvalidOperation):
        parse_line(text, 1, "u")


LOOKUPS = st.fixed_dictionaries(
    {},
    optional={
        "metadataId": st.sampled_from([77, 5, 0]),
        "metadataKey": st.sampled_from([raw_requests.FENCE_KEY, "k", ""]),
        "metadataValue": st.sampled_from(["v", "w"]),
        "visibility": st.sampled_from(["DOCUMENT", "PROJECT"]),
        "locationType": st.sampled_from(["SPREADSHEET", "SHEET"]),
        "metadataLocation": st.just({"spreadsheet": True}),
    },
)


@given(lookup=LOOKUPS, deletes=st.booleans(), key=st.sampled_from([raw_requests.FENCE_KEY, "k"]))
def test_no_request_that_is_taken_touches_a_fence(lookup: dict[str, object], deletes: bool, key: str) -> None:
    """The emulator's own matching is the judge."""
    api = Api()
    fence = Fence(77, "v").request()
    api.batch(fence)
    data_filter = {"developerMetadataLookup": lookup}
    request: dict[str, object] = {"deleteDeveloperMetadata": {"dataFilter": data_filter}}
    if not deletes:
        changed = {"metadataKey": key, "metadataValue": "mine"}
        body = {"dataFilters": [data_filter], "developerMetadata": changed, "fields": "metadataKey,metadataValue"}
        request = {"updateDeveloperMetadata": body}
    if raw_requests.complaint(request):
        return
    with suppress(ApiError):
        api.batch(request)
    assert api.call("GET", "/S/developerMetadata/77")["metadataValue"] == "v"


COMMON: list[dict[str, object]] = [
    GOOD,
    {**GOOD, "id": 7, "values": [['naïve \\ "quoted"', -0.0, 2**53, False, None, ""], []]},
    {**GOOD, "op": "update", "range": "'A b'!$b$2:C9", "input": "USER_ENTERED", "major_dimension": "COLUMNS"},
    {"op": "append", "spreadsheet": "S", "range": "A:A", "values": [["=A1"]], "input": "FORMULAS", "user": "ada"},
    {"op": "clear", "spreadsheet": "S", "range": "Orders!A5:C", "id": "c"},
    {"op": "read", "spreadsheet": "S", "range": "A1", "render": "FORMULA"},
    {"op": "request", "spreadsheet": "S", "request": {"addSheet": {"properties": {"title": "ä", "sheetId": 5}}}},
    {"op": "request", "spreadsheet": "S", "request": {"findReplace": {"find": "a", "allSheets": True}}},
]


@pytest.mark.parametrize("common", COMMON, ids=[str(n) for n in range(len(COMMON))])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_common_lines_need_no_closer_look(common: dict[str, object], ascii_only: bool) -> None:
    text = json.dumps(common, ensure_ascii=ascii_only).encode()
    assert parse_plain(text, 3, "u") == parse_closely(text, 3, "u")
    assert repr(parse_plain(text, 3, "u")) == repr(parse_closely(text, 3, "u"))


spaces = st.sampled_from(["", "", "", " ", "\t", "\r", "\n "])
plain_texts = st.text(alphabet=st.sampled_from('ab1 "\\:,{}[]/é\u2028\U0001f600\x7f\n'), max_size=6)
written_texts = st.one_of(
    st.builds(lambda text, a: json.dumps(text, ensure_ascii=a), plain_texts, st.booleans()),
    st.builds(lambda text: json.dumps(text).replace("a", "\\u0061"), plain_texts),
    st.sampled_from(['"\\ud800"', '"\\ud83d\\ude00"', '"\\ude00\\ud83d"', '"\\/"', '"\t"', '"\\x"', "'a'", '"a']),
)
written_numbers = st.one_of(
    st.from_regex(r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "01", "1.", ".5", "+1", "NaN", "-Infinity", "1e400", "9" * 400, "9007199254740993"]),
)
written_scalars = written_texts | written_numbers | st.sampled_from(["null", "true", "false"])


def written_object(pairs: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(f"{space}{key}{space}:{space}{value}" for key, value, space in pairs) + "}"


def written_list(entries: list[str]) -> str:
    return "[" + ",".join(entries) + "]"


written_values = st.recursive(
    written_scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(written_list)
        | st.lists(st.tuples(written_texts, inner, spaces), max_size=3).map(written_object)
    ),
    max_leaves=6,
)
written_rows = st.lists(st.lists(written_scalars, max_size=3).map(written_list), max_size=3).map(written_list)
written_keys = st.sampled_from([f'"{field}"' for field in [*FIELDS, "placement"]]) | st.just('"\\u0069d"')


@st.composite
def written_lines(draw: st.DrawFn) -> str:
    """A common line with fields put in, often twice, in every spelling that JSON allows and in some that it does not."""
    common = draw(st.sampled_from(COMMON))
    pairs = [(json.dumps(key), json.dumps(value), draw(spaces)) for key, value in common.items()]
    changes = st.tuples(written_keys, written_values | written_rows, spaces)
    named_well = st.sampled_from(
        [(json.dumps(key), json.dumps(value), " ") for one in COMMON for key, value in one.items()]
    )
    placed = st.just(('"placement"', '"table"', ""))
    pairs += draw(st.lists(changes | named_well | placed, max_size=2))
    if draw(st.booleans()):
        kept = {key: (key, value, space) for key, value, space in pairs}
        pairs = draw(st.permutations(list(kept.values())))
    space = draw(spaces)
    return draw(st.sampled_from(["", "", "", "\ufeff"])) + space + written_object(list(pairs)) + space


@given(written_lines(), st.booleans())
def test_a_line_that_is_taken_fast_is_what_a_close_look_makes_of_it(text: str, as_bytes: bool) -> None:
    line = text.encode("utf-8", "surrogatepass") if as_bytes else text
    fast = parse_plain(line, 3, "u")
    if fast is not None:
        closely = parse_closely(line, 3, "u")
        assert fast == closely
        assert repr(fast) == repr(closely)
