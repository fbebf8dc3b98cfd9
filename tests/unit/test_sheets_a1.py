"""A1 notation: what it means, what is refused, and that the canonical text means the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.apis.sheets.a1 import GridRange, format_range, format_title, parse

MEANS = {
    "a cell of the first sheet": ("B3", GridRange("", 2, 1, 3, 2, anchor=True)),
    "absolute marks change nothing": ("$B$3", GridRange("", 2, 1, 3, 2, anchor=True)),
    "a rectangle": ("Orders!A1:C10", GridRange("Orders", 0, 0, 10, 3)),
    "a rectangle named from the wrong corner": ("C3:A1", GridRange("", 0, 0, 3, 3)),
    "whole columns": ("Orders!A:C", GridRange("Orders", 0, 0, None, 3)),
    "whole rows": ("2:5", GridRange("", 1, 0, 5, None)),
    "columns from a row on": ("A2:C", GridRange("", 1, 0, None, 3)),
    "rows from a column on": ("B2:4", GridRange("", 1, 1, 4, None)),
    "a title alone": ("Orders", GridRange("Orders", whole=True)),
    "a quoted title alone": ("'My Sheet'", GridRange("My Sheet", whole=True)),
    "a title with a quote in it": ("'It''s'!A1", GridRange("It's", 0, 0, 1, 1, anchor=True)),
    "a title with a ! in it": ("'a!b'!A:A", GridRange("a!b", 0, 0, None, 1)),
    "a title that looks like a cell": ("'A1'!A1", GridRange("A1", 0, 0, 1, 1, anchor=True)),
    "a word too long for a column": ("Sheet1", GridRange("Sheet1", whole=True)),
    "the last column": ("x!ZZZ1", GridRange("x", 0, 18_277, 1, 18_278, anchor=True)),
}
REFUSED = ["", "  ", "A0", "x!A0:B2", "A1:AAAA1", "x!A", "x!", "!A1", "'x", "''!A1", "A1:", "A1:B2:C3", "A10000001"]
REFUSED += ["A1:ZZZ10000", "x!R1C1", "A:3", "a\nb", "'x'A1", "a!b!A1", "A" + "9" * 5000]


@pytest.mark.parametrize("name", MEANS)
def test_a_range_means(name: str) -> None:
    text, meaning = MEANS[name]
    assert parse(text) == meaning
    assert parse(format_range(meaning)) == meaning


@pytest.mark.parametrize("text", REFUSED)
def test_a_range_that_makes_no_sense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the range") as refusal:
        parse(text)
    assert len(str(refusal.value)) < 250


def test_containing_and_overlapping() -> None:
    columns, inside, beside = parse("Orders!A:C"), parse("Orders!B2:C3"), parse("Orders!D1")
    assert columns.contains(inside)
    assert not inside.contains(columns)
    assert columns.overlaps(inside)
    assert not columns.overlaps(beside)
    assert not columns.contains(parse("Other!A1"))
    assert columns.overlaps(parse("A1")), "the first sheet may be this one"
    assert parse("Sales").overlaps(inside), "a bare name may be a named range of any sheet"


ranges = st.builds(
    lambda title, top, left, height, width: GridRange(title, top, left, top + height, left + width),
    st.sampled_from(["", "Orders", "It's"]),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(1, 6),
    st.integers(1, 6),
)


def cells_of(area: GridRange) -> set[tuple[int, int]]:
    return {(row, column) for row in range(area.top, area.bottom or 0) for column in range(area.left, area.right or 0)}


@given(ranges, ranges)
def test_containing_and_overlapping_agree_with_sets_of_cells(one: GridRange, other: GridRange) -> None:
    if one.title == other.title:
        assert one.contains(other) == (cells_of(one) >= cells_of(other))
        assert one.overlaps(other) == bool(cells_of(one) & cells_of(other))
    assert parse(format_range(one)) == one


@given(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20))
def test_every_title_survives_quoting(title: str) -> None:
    assert parse(f"{format_title(title)}!A1:B2").title == title
    if title.strip() == title:
        assert parse(format_title(title)) == GridRange(title, whole=True)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        area = parse(text)
    except ValueError:
        return
    assert parse(format_range(area)) == area
