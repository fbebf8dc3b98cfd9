"""CSV becomes the operations that its rows mean; Python's csv module writes, and what it wrote has to come back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate import csv_input
from headgate.apis.sheets.operations import parse_line
from headgate.csv_input import Destination
from headgate.errors import InvalidRequest

PLAIN = Destination(spreadsheet="s", sheet="Data")
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["=1+1", "+1", "-1", "@x", '"', "a\nb", "a\r\nb", ",", ";", "\t", "007", "1e5", "true", "3.5", ""]
)


def read(text: str | bytes, table: Destination = PLAIN, block: int = 7) -> list[dict[str, Any]]:
    """The operations of a CSV text, read in small blocks, as a program reads JSON Lines."""
    data = text if isinstance(text, bytes) else text.encode()
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    scanned = csv_input.scan(blocks, table, "x.csv")
    made = b"".join(csv_input.operations(blocks, scanned, table, "x.csv")).decode()
    lines = made.split("\n")
    assert lines.pop() == ""
    for number, line in enumerate(lines, 1):
        parse_line(line, number, "u")
    return [json.loads(line) for line in lines]


def cells(text: str | bytes, **more: Any) -> list[list[Any]]:
    return [row for one in read(text, Destination(spreadsheet="s", sheet="Data", **more)) for row in one["values"]]


def refusal(text: str | bytes, **more: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        cells(text, **more)
    return str(caught.value)


def written(rows: Sequence[Sequence[str]], delimiter: str, ending: str, quoting: Any) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows(rows)
    return out.getvalue()


@given(
    st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=8)),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.booleans(),
)
def test_every_text_comes_back(rows: list[list[str]], delimiter: str, ending: str, quoting: Any, marked: bool) -> None:
    rows = [row for row in rows if any(row)]
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # the writer does not see that a carriage return alone needs quotes
    header = [f"c{column}" for column in range(len(rows[0]) if rows else 1)]
    data = ("\ufeff" if marked else "").encode() + written([header, *rows], delimiter, ending, quoting).encode()
    if not rows:
        assert "no rows" in refusal(data)
        return
    table = Destination(spreadsheet="s", sheet="Data", kinds={"*": "text"}, delimiter=delimiter)
    made = read(data, table)
    assert [one["values"] for one in made] == [[row] for row in rows]
    assert [one["id"] for one in made] == [f"row-{number}" for number in range(2, len(rows) + 2)]
    assert {one["op"] for one in made} == {"append"}
    assert not any("input" in one for one in made), "a text stays a text"


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_what_is_inferred_shows_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    """A value that is no text any more is spelt like the text that it was."""
    rows = [row for row in rows if any(row)] or [("a", "b")]
    data = written([("one", "two"), *rows], ",", "\n", csv.QUOTE_ALL)
    for before, after in zip(rows, cells(data), strict=True):
        for text, value in zip(before, after, strict=True):
            if isinstance(value, bool):
                assert str(value).casefold() == text.casefold()
            elif not isinstance(value, str):
                assert float(text) == value
                assert text not in ("007", "1e5")
            else:
                assert value == text


SOUP = st.lists(
    st.sampled_from(['"', ",", ";", "\t", "\n", "\r", "a", "1", "=", " ", "é", "\0", "\u2028", "'"]), max_size=30
)


@given(SOUP.map("".join).map(str.encode) | st.binary(max_size=40), st.booleans(), st.integers(1, 9))
def test_whatever_comes_is_taken_whole_or_refused_in_a_sentence(data: bytes, formulas: bool, block: int) -> None:
    """What is taken is operations that planning takes."""
    table = Destination(spreadsheet="s", sheet="Data", mode="replace", formulas=formulas)
    made: list[dict[str, Any]] = []
    said = ""
    try:
        made = read(data, table, block)
    except InvalidRequest as refusal:
        said = str(refusal)
    assert bool(made) != bool(said)
    assert not said or (said.startswith("x.csv") and "\n" not in said)
    assert [one["op"] for one in made[:2]] == ["clear", "append"][: len(made)]
    assert len({len(row) for one in made[1:] for row in one["values"]}) <= 1


def test_the_operation_says_where_it_goes() -> None:
    table = Destination(spreadsheet="s1", sheet="It's 1")
    assert read("a,b,c\n1,x,true\n", table) == [
        {"id": "row-2", "op": "append", "spreadsheet": "s1", "range": "'It''s 1'!A:C", "values": [[1, "x", True]]}
    ]


def test_a_column_has_one_kind() -> None:
    assert cells("zip,sum\n01234,1\n12345,2\n") == [["01234", 1], ["12345", 2]]
    assert cells("when\n2030-01-31\n") == [["2030-01-31"]]
    assert cells("when,on\n2030-01-31,yes\n", kinds={"when": "date", "on": "boolean"}) == [[47_514, True]]


def test_a_replace_empties_the_sheet_and_writes_the_header() -> None:
    made = read("a,=b\n1,2\n", Destination(spreadsheet="s", sheet="A1", mode="replace", formulas=True))
    assert made[0] == {"id": "clear", "op": "clear", "spreadsheet": "s", "range": "'A1'"}
    assert [(one["id"], one["values"]) for one in made[1:]] == [("row-1", [["a", "=b"]]), ("row-2", [[1, 2]])]
    assert "input" not in made[1]


def test_formulas_are_the_callers_choice() -> None:
    data = "a,b\n=1+1,007\n+1,-x\n@x,=\n"
    assert cells(data) == [["=1+1", "007"], ["+1", "-x"], ["@x", "="]]
    made = read(data, Destination(spreadsheet="s", sheet="Data", formulas=True))
    assert [one.get("input") for one in made] == ["FORMULAS", None, "FORMULAS"]


def test_rows_without_a_value_are_none_and_rows_keep_their_numbers() -> None:
    made = read("a,b\n1,2\n\n,\n3,4\n\n")
    assert [(one["id"], one["values"]) for one in made] == [("row-2", [[1, 2]]), ("row-5", [[3, 4]])]


def test_a_cell_may_hold_line_ends_and_rows_count_as_rows() -> None:
    made = read('a,b\n"x\ny","1\r\n2"\nz,w\n')
    assert [(one["id"], one["values"]) for one in made] == [("row-2", [["x\ny", "1\r\n2"]]), ("row-3", [["z", "w"]])]


def test_the_header_may_hold_line_ends() -> None:
    assert cells('"a;\nb","c,d"\n1,2\n') == [[1, 2]]


def test_blank_lines_may_stand_before_the_header() -> None:
    assert [one["id"] for one in read("\n\na\n1\n")] == ["row-2"]


@pytest.mark.parametrize(
    ("header", "delimiter"), [("a,b", ","), ("a;b", ";"), ("a\tb", "\t"), ('a;"b,c,d"', ";"), ("a b,c;", "")]
)
def test_the_delimiter_is_found_in_the_header(header: str, delimiter: str) -> None:
    if not delimiter:
        assert "--delimiter" in refusal(header + "\n")
        return
    assert cells(f"{header}\nx{delimiter}y\n") == [["x", "y"]]


def test_any_delimiter_can_be_named() -> None:
    assert cells("a|b\n1|x,y\n", delimiter="|") == [[1, "x,y"]]


@pytest.mark.parametrize("delimiter", ["||", '"', "\n"])
def test_what_cannot_part_cells_is_refused(delimiter: str) -> None:
    with pytest.raises(InvalidRequest, match="--delimiter"):
        Destination(spreadsheet="s", sheet="Data", delimiter=delimiter).checked()


@pytest.mark.parametrize("sheet", ["", "a\nb"])
def test_what_cannot_be_a_title_is_refused(sheet: str) -> None:
    with pytest.raises(InvalidRequest, match="--sheet"):
        Destination(spreadsheet="s", sheet=sheet).checked()


def test_ragged_rows_are_named_by_their_lines() -> None:
    said = refusal('a,b\n1,2\n"x\ny"\n3\n4,5,6\n7,8\n')
    assert said == (
        "x.csv cannot be taken as it is: line 3 (row 3) has 1 cell where the header has 2; "
        "line 5 (row 4) has 1 cell where the header has 2; line 6 (row 5) has 3 cells where the header has 2"
    )


def test_only_the_first_faults_are_said() -> None:
    said = refusal("a,b\n" + "1\n" * 1_000)
    assert said.count("row ") == csv_input.FAULTS_SAID
    assert said.endswith("; and 980 more")


def test_a_cell_of_another_kind_is_named_by_its_line() -> None:
    assert refusal("a,b\n1,x\n2,y\n", kinds={"b": "number"}).startswith(
        "x.csv cannot be taken as it is: line 2 (row 2): 'x' is no number; line 3 (row 3): 'y' is no number"
    )


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no header"),
        (b",\n1,2\n", "has no header"),
        (b"a,b\n", "no rows below its header"),
        (b"a,b\n,\n", "no rows below its header"),
        (b'a,b\n1,2\n"x,3\n4,5\n', "line 3 (row 3) cannot be read: a quote is opened and never closed"),
        (b'a,b\n"x"y,3\n', "line 2 (row 2) cannot be read: text follows a closing quote"),
        (b"a,b\r1,2\r", "carriage return alone"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "a cell is longer than Sheets takes"),
        (b'a,b\n"' + b"x,y\n" * 100_000, "its quote is never closed"),
        (b"a,b\n1,\xff\n", "line 2 is not valid UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16: save it as CSV in UTF-8"),
        (b"PK\x03\x04 and so on\n", "is a ZIP or Excel file"),
    ],
)
def test_what_is_no_csv_is_refused_in_one_sentence(data: bytes, says: str) -> None:
    said = refusal(data)
    assert says in said
    assert said.startswith("x.csv")
    assert "\n" not in said


def test_a_file_without_line_ends_takes_no_memory() -> None:
    blocks = (b"x" * 1_000_000 for _ in range(1_000))
    with pytest.raises(InvalidRequest, match="line 1 is longer than 9,000,000 bytes"):
        csv_input.scan(blocks, PLAIN, "x.csv")
