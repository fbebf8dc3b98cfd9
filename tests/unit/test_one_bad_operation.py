"""One bad operation in a thousand: it alone is a dead letter, and finding it costs the calls that were promised.

Calls are counted where they arrive, at the emulator's methods; what is bad is decided there, or by a refusal put before them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bad_operations import (
    TITLES,
    CountingEmulator,
    Line,
    append,
    beyond,
    dead_letters,
    in_rows,
    too_long,
    update,
)
from headgate.apis.sheets.compose import compose_requests
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.outcomes import MOST_ALIKE

THOUSAND = 1000


def prepare(emulator: CountingEmulator, *requests: dict[str, Any]) -> None:
    """Changes the spreadsheet beforehand."""
    emulator.ask(compose_requests("S", requests))
    emulator.calls = 0


PLACES = [0, 1, 499, 500, 998, 999]


@pytest.mark.parametrize("place", PLACES)
def test_named_by_its_index_it_costs_one_call(place: int) -> None:
    emulator = CountingEmulator()
    lines = [update(number) for number in range(THOUSAND)]
    lines[place] = beyond(place)
    state = emulator.run(lines)
    assert dead_letters(state) == [place]
    assert emulator.calls - 1 <= 2
    assert emulator.column() == [number for number in range(THOUSAND) if number != place]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("named", [True, False], ids=["named request", "nothing named"])
def test_inside_a_merged_append_it_is_searched(place: int, named: bool) -> None:
    emulator = CountingEmulator(in_rows({place}, named=named))
    state = emulator.run([append(number) for number in range(THOUSAND)])
    assert dead_letters(state) == [place]
    assert state.results[place].reason.endswith("not possible")
    assert emulator.calls - 1 <= 12
    assert emulator.column() == [number for number in range(THOUSAND) if number != place]


@pytest.mark.parametrize("place", PLACES)
def test_a_cell_that_is_too_long_names_nothing_and_is_found(place: int) -> None:
    emulator = CountingEmulator()
    lines = [update(number) for number in range(THOUSAND)]
    lines[place] = too_long(place)
    state = emulator.run(lines)
    assert dead_letters(state) == [place]
    assert "50000 characters" in state.results[place].reason
    assert emulator.calls - 1 <= 12
    assert emulator.column() == [number for number in range(THOUSAND) if number != place]


@pytest.mark.parametrize("named", [True, False], ids=["named", "nothing named"])
@pytest.mark.parametrize("line", [append, update], ids=["merged", "apart"])
def test_a_batch_that_is_bad_as_a_whole_costs_forty_calls_at_most(line: Callable[[int], Line], named: bool) -> None:
    emulator = CountingEmulator(in_rows(range(THOUSAND), named=named))
    state = emulator.run([line(number) for number in range(THOUSAND)])
    assert dead_letters(state) == list(range(THOUSAND))
    assert emulator.calls <= 40
    sent = [result for result in state.results if not result.reason.startswith("not sent: ")]
    assert len(sent) == MOST_ALIKE
    assert {result.applied for result in state.results} == {"no"}
    assert state.results[-1].reason.startswith(f"not sent: {MOST_ALIKE} refusals")
    assert emulator.column() == []


@pytest.mark.parametrize("named", [True, False], ids=["named", "nothing named"])
def test_two_bad_ones_at_either_end(named: bool) -> None:
    emulator = CountingEmulator(in_rows({0, THOUSAND - 1}, named=named))
    state = emulator.run([append(number) for number in range(THOUSAND)])
    assert dead_letters(state) == [0, THOUSAND - 1]
    assert emulator.calls - 1 <= 28
    assert emulator.column() == list(range(1, THOUSAND - 1))


def test_many_bad_ones_among_good_ones_cost_a_few_calls_each() -> None:
    emulator = CountingEmulator(in_rows(range(0, THOUSAND, 2), named=False))
    state = emulator.run([append(number) for number in range(THOUSAND)])
    assert emulator.calls <= 10 + 4 * MOST_ALIKE
    assert emulator.column() == [number for number, result in enumerate(state.results) if result.applied == "yes"]
    assert len(emulator.column()) == MOST_ALIKE - 1


def test_a_full_spreadsheet_fails_what_needs_room_at_once() -> None:
    emulator = CountingEmulator()
    for size in ({"columnCount": 1}, {"rowCount": 10_000_000}):
        changed = {"properties": {"sheetId": 0, "gridProperties": size}, "fields": f"gridProperties.{next(iter(size))}"}
        prepare(emulator, {"updateSheetProperties": changed})
    start = {"sheetId": 0, "rowIndex": 9_999_999}
    last = {"userEnteredValue": {"stringValue": "the last cell"}}
    prepare(emulator, {"updateCells": {"start": start, "rows": [{"values": [last]}], "fields": "userEnteredValue"}})
    lines = [append(number) if number % 2 else update(number) for number in range(THOUSAND)]
    state = emulator.run(lines)
    assert dead_letters(state) == [number for number in range(THOUSAND) if number % 2]
    assert emulator.calls <= 2


def test_a_sheet_that_is_gone_fails_what_is_written_there_at_once_and_not_what_came_before() -> None:
    emulator = CountingEmulator()
    prepare(emulator, {"addSheet": {"properties": {"sheetId": 9, "title": "Other"}}})
    lines: list[Line] = [{**append(number), "range": "Other!A:A"} for number in range(5)]
    lines.append({"op": "request", "request": {"deleteSheet": {"sheetId": 9}}})
    cell = {"sheetId": 9, "rows": [{"values": [{}]}], "fields": "userEnteredValue"}
    lines += [{"op": "request", "request": {"appendCells": cell}} for _ in range(5)]
    lines += [append(number) for number in range(5)]
    state = emulator.run(lines, Titles(sheets=(*TITLES.sheets, Sheet(sheet_id=9, title="Other"))))
    assert dead_letters(state) == list(range(6, 11))
    assert emulator.calls == 2


TOO_LARGE = [
    "Request payload size exceeds the limit: 10485760 bytes.",
    "Cannot exceed 100000 requests in a single batch.",
]


@pytest.mark.parametrize("sentence", TOO_LARGE)
def test_what_is_too_large_as_one_call_goes_in_halves(sentence: str) -> None:
    emulator = CountingEmulator(lambda requests: sentence if len(requests) > 301 else "")
    state = emulator.run([update(number) for number in range(THOUSAND)])
    assert dead_letters(state) == []
    assert emulator.column() == list(range(THOUSAND))
    assert emulator.calls <= 7


def test_one_operation_that_is_too_large_alone_is_a_dead_letter_and_the_others_are_not() -> None:
    def refuse(requests: list[dict[str, Any]]) -> str:
        return TOO_LARGE[0] if in_rows({7}, named=False)(requests) else ""

    emulator = CountingEmulator(refuse)
    state = emulator.run([append(number) for number in range(64)])
    assert dead_letters(state) == [7]
    assert emulator.column() == [number for number in range(64) if number != 7]


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 300),
    bad=st.sets(st.integers(0, 299), max_size=5),
    named=st.booleans(),
    merged=st.booleans(),
)
def test_whatever_is_bad_the_others_are_written_in_their_order(
    count: int, bad: set[int], named: bool, merged: bool
) -> None:
    emulator = CountingEmulator(in_rows(bad, named=named))
    line = append if merged else update
    state = emulator.run([line(number) for number in range(count)])
    bad = {number for number in bad if number < count}
    assert dead_letters(state) == sorted(bad)
    assert emulator.column() == [number for number in range(count) if number not in bad]
    assert emulator.calls <= 1 + 16 * len(bad)
