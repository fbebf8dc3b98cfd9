"""Ranges, tables and number formats hold for more than the recorded cases."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import a1, tables, theme
from emulator.a1 import Area, Box
from emulator.arithmetic import value_of
from emulator.errors import ApiError
from emulator.grid import Cell, Dimension, Sheet, deleted, inserted
from emulator.rendering import by_format, formatted, general
from tests.unit.emulator_api import Api

indexes = st.integers(min_value=0, max_value=18_000)
titles = st.text(min_size=1, max_size=20).filter(lambda title: title.strip() == title)


@given(st.integers(min_value=0, max_value=18_277))
def test_a_column_name_means_its_index(index: int) -> None:
    assert a1.column_index(a1.column_name(index)) == index


@given(titles, indexes, indexes, st.integers(1, 50), st.integers(1, 50))
def test_an_echoed_range_means_the_same_area(title: str, top: int, left: int, height: int, width: int) -> None:
    area = Area(top, top + height, left, min(left + width, 18_278))
    found, cells, _ = a1.split(a1.text_of(title, area))
    assert found == title
    assert cells is not None
    assert a1.parse_cells(cells) == Box(*area)


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 40), st.integers(1, 10))
def test_what_is_inserted_and_deleted_again_leaves_a_span_as_it_was(start: int, size: int, at: int, count: int) -> None:
    span = (start, start + size)
    assert deleted(inserted(span, at, count), Dimension(True, at, at + count)) == span


@pytest.mark.parametrize("seed", range(20))
def test_a_remembered_table_is_the_one_that_a_fresh_look_finds(seed: int) -> None:
    dice = random.Random(seed)
    api = Api()
    for _ in range(40):
        if dice.random() < 0.7:
            width = dice.randint(1, 4)
            rows = [[dice.choice(["x", "", None, 1]) for _ in range(width)] for _ in range(dice.randint(1, 3))]
            api.append(dice.choice(["A1", "A:C", "Sheet1", "B2:C4"]), rows)
        else:
            cell = f"{dice.choice('ABCDE')}{dice.randint(1, 12)}"
            api.put(cell, [[dice.choice(["y", ""])]])
        sheet = api.library.get("S").sheet(0)
        for within in (sheet.whole, Area(0, 1, 0, 1), Area(0, 1000, 0, 3)):
            remembered = tables.find(sheet, within)
            fresh = sheet.fork()
            fresh.table = None
            assert remembered == tables.find(fresh, within)


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (1234.5, {"type": "NUMBER", "pattern": "#,##0.00"}, "1,234.50"),
        (-0.126, {"type": "PERCENT", "pattern": "0.0%"}, "-12.6%"),
        (0.5, {"type": "PERCENT"}, "50.00%"),
        (2.5, {"type": "NUMBER", "pattern": "0"}, "3"),
        (-3, {"type": "CURRENCY", "pattern": '"$"#,##0.00'}, "-$3.00"),
        (43831.5, {"type": "DATE_TIME", "pattern": "yyyy-mm-dd hh:mm:ss"}, "2020-01-01 12:00:00"),
        (43831, {"type": "DATE"}, "1/1/2020"),
        (7, {"type": "TEXT"}, "7"),
    ],
)
def test_a_number_is_shown_as_its_format_says(value: float, form: dict[str, Any], shown: str) -> None:
    assert by_format(value, form) == shown


def test_an_unknown_number_format_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        formatted(Cell(1, {"userEnteredFormat": {"numberFormat": {"type": "NUMBER", "pattern": "# ?/?"}}}))
    assert refused.value.code == 501


@pytest.mark.parametrize(
    ("value", "shown"), [(1 / 3, "0.3333333333"), (0.1 + 0.2, "0.3"), (1e21, "1E+21"), (12, "12"), (1.45, "1.45")]
)
def test_a_number_without_a_format_has_ten_digits(value: float, shown: str) -> None:
    assert general(value) == shown


@pytest.mark.parametrize(
    ("formula", "value"), [("= 1 / 1024", 0.0009765625), ("=(1+2)*3", 9), ("=-2^2", -4), ("=1/0", "#DIV/0!")]
)
def test_a_formula_of_numbers_has_a_value(formula: str, value: Any) -> None:
    assert value_of(formula) == value


@pytest.mark.parametrize("formula", ["=A1", "=SUM(1,2)", "=1+", "=__import__('os')", '="a"&"b"'])
def test_any_other_formula_is_refused(formula: str) -> None:
    with pytest.raises(ApiError) as refused:
        value_of(formula)
    assert refused.value.code == 501


def test_a_colour_channel_is_a_byte_shown_as_a_32_bit_float() -> None:
    assert theme.shown_channel(0.5) == 0.49803922
    assert theme.shown_channel(1.0) == 1
    assert theme.shortest(66 / 255) == 0.25882354


def test_rows_are_never_changed_in_place() -> None:
    sheet = Sheet(0, "T")
    sheet.write(0, {0: Cell("a")})
    fork = sheet.fork()
    fork.write(0, {0: Cell("b"), 1: Cell("c")})
    fork.insert(Dimension(True, 0, 1))
    assert sheet.cell(0, 0).value == "a"
    assert fork.cell(1, 0).value == "b"
    assert sheet.row_count == 1000


def test_text_typed_into_a_text_cell_stays_text() -> None:
    api = Api()
    form = {"userEnteredFormat": {"numberFormat": {"type": "TEXT"}}}
    place = {"sheetId": 0, "endRowIndex": 1, "endColumnIndex": 1}
    api.batch({"repeatCell": {"range": place, "cell": form, "fields": "userEnteredFormat.numberFormat"}})
    api.put("A1", [["0042"]], "USER_ENTERED")
    assert api.get("A1", "valueRenderOption=UNFORMATTED_VALUE") == [["0042"]]
