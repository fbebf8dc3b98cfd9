"""However reads are put together, each is answered as the API answers it alone, echo and empty ends included."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.applying import Core, alone, apply_planned, batches_of
from headgate.apis.sheets.compose import compose
from headgate.apis.sheets.operations import parse_line
from headgate.messages.requests import BulkRequest, Operation
from headgate.outcomes import MOST_ALIKE

Fields = dict[str, Any]
TITLES = ("Sheet1", "Two words", "R", "C1", "It's")
ROWS, COLUMNS = 7, 5

titles = st.sampled_from(("", *TITLES, "sheet1", "Nope"))
rows = st.integers(1, ROWS + 2)
columns = st.sampled_from("ABCDEF")
cells = st.one_of(
    st.builds(lambda c, r: f"{c}{r}", columns, rows),
    st.builds(lambda c, r: f"{c}{r}:{c}{r}", columns, rows),
    st.builds(lambda c, r, d, s: f"{c}{r}:{d}{s}", columns, rows, columns, rows),
    st.builds(lambda c, d: f"{c}:{d}", columns, columns),
    st.builds(lambda c, r, d: f"{c}{r}:{d}", columns, rows, columns),
    st.builds(lambda r, s: f"{r}:{s}", rows, rows),
    st.builds(lambda c, r, s: f"{c}{r}:{s}", columns, rows, rows),
    st.just("A1:C4"),
    st.just("A:E"),
)


def in_sheet(title: str, text: str) -> str:
    quoted = f"'{title.replace(chr(39), chr(39) * 2)}'"
    if not text:
        return quoted if title else "A1"
    return f"{quoted}!{text}" if title else text


ranges = st.builds(in_sheet, titles, st.one_of(cells, st.just("")))
reads = st.builds(
    lambda text, render, major: {"op": "read", "range": text, "render": render, "major_dimension": major},
    ranges,
    st.sampled_from(["", "FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA"]),
    st.sampled_from(["ROWS", "ROWS", "COLUMNS"]),
)
values = st.lists(
    st.lists(st.sampled_from([None, None, "x", "=1+1", 12.5, True, '=""']), max_size=COLUMNS), max_size=ROWS
)


def parsed(given: list[Fields]) -> list[Operation]:
    return [
        parse_line(json.dumps({"spreadsheet": "S", "user": "u", **fields}), number, "")
        for number, fields in enumerate(given, 1)
    ]


def book(grids: list[list[list[Any]]]) -> Core:
    core = Core(["S"], TITLES, ROWS, COLUMNS)
    for title, grid in zip(TITLES, grids, strict=False):
        where = quote(in_sheet(title, "A1"), safe="")
        core.call(
            "PUT",
            f"/v4/spreadsheets/S/values/{where}?valueInputOption=USER_ENTERED",
            json.dumps({"values": grid}).encode(),
        )
    return core


@settings(max_examples=300, deadline=None)
@given(
    st.lists(values, min_size=len(TITLES), max_size=len(TITLES)),
    st.lists(reads, min_size=1, max_size=12),
    st.integers(0, 60),
)
def test_each_read_is_answered_as_if_it_were_alone(
    grids: list[list[list[Any]]], asked: list[Fields], padding: int
) -> None:
    """`padding` reads more make the query long, so that it goes as data filters."""
    core = book(grids)
    more: list[Fields] = [{"op": "read", "range": f"'Two words'!B{1 + n % ROWS}:C{1 + n % 5}"} for n in range(padding)]
    operations = parsed(asked + more)
    answers = {operation.id: alone(core, operation) for operation in operations}
    results = apply_planned(core, BulkRequest(id="r", project="p", nonce="n"), operations)
    sent = {name: result for name, result in results.items() if not result.reason.startswith("not sent: ")}
    assert len(sent) == len(results) or len(sent) >= MOST_ALIKE, "only after so many refusals of one kind"
    assert {name: result.reply if result.outcome == "succeeded" else None for name, result in sent.items()} == {
        name: answers[name] for name in sent
    }


def test_a_thousand_reads_of_which_many_repeat_or_are_covered_take_a_handful_of_calls() -> None:
    """600 ranges of their own, 200 repeated, 200 inside others: one spreadsheet, two ways to show values."""
    core = Core(["S"], TITLES, 2000, 26)
    own = [f"Sheet1!A{3 * n + 1}:E{3 * n + 3}" for n in range(600)]
    inside = [f"Sheet1!B{3 * n + 1}:C{3 * n + 2}" for n in range(200)]
    renders = ("FORMATTED_VALUE", "UNFORMATTED_VALUE")
    asked = [
        {"op": "read", "range": text, "render": renders[number % 2]}
        for number, text in enumerate([*own, *own[:200], *inside])
    ]
    operations = parsed(asked)
    before = core.calls.total()
    results = apply_planned(core, BulkRequest(id="r", project="p", nonce="n"), operations)
    assert core.calls.total() - before <= 8
    assert {result.outcome for result in results.values()} == {"succeeded"}


def test_a_short_query_stands_in_the_address_and_a_long_one_in_the_body() -> None:
    """Reference sheets 4.6: about 2,000 characters of a query are safe."""
    for count in (1, 5, 100, 1000):
        operations = parsed([{"op": "read", "range": f"Sheet1!A{n}:B{n}"} for n in range(1, count + 1)])
        (draft,) = batches_of(BulkRequest(id="r", project="p"), operations)
        call = compose(draft.operations, draft.form, "S").call
        assert call is not None
        assert call.kind == "read"
        assert len(call.target) <= 2_100
        assert (call.method, bool(call.body)) == (("GET", False) if count <= 5 else ("POST", True))


@pytest.mark.parametrize("bad", ["Nope!A{0}:B{0}", "'sheet1'!A{1}:B{1}", "A{1}", "Nowhere"])
def test_what_would_be_refused_alike_fails_at_once_and_the_others_go_on(bad: str) -> None:
    """199 ranges of a missing sheet, or beyond the grid, among 99 good ones: one call to hear of it, one for the others."""
    core = Core(["S"], TITLES, 100, COLUMNS)
    good = [f"Sheet1!C{n}:D{n}" for n in range(1, 100)]
    asked = [*good, *(bad.format(n, n + 500) for n in range(1, 200)), "'Two words'!A1"]
    operations = parsed([{"op": "read", "range": text} for text in asked])
    answers = {operation.id: alone(core, operation) for operation in operations}
    before = core.calls.total()
    results = apply_planned(core, BulkRequest(id="r", project="p", nonce="n"), operations)
    assert core.calls.total() - before == 2
    assert {
        name: result.reply if result.outcome == "succeeded" else None for name, result in results.items()
    } == answers
