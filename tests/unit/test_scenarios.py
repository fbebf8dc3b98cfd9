"""Fair, and floors kept: the rows of `benchmarks.scenarios`, played on a clock that jumps."""

from __future__ import annotations

import pytest

from benchmarks.scenarios import FAIRNESS, FLOOR_ROWS, FairRow, FloorRow, fairness, floors, jain


@pytest.mark.parametrize("row", FAIRNESS, ids=lambda row: row.name)
def test_owners_get_their_shares(row: FairRow) -> None:
    """Every owner's part of the calls is within the margin of its share, and the index over all at least the bar."""
    measured = fairness(row)
    assert measured["jain"] >= row.jain, measured
    assert measured["largest_error"] <= row.margin, measured


@pytest.mark.parametrize("row", FLOOR_ROWS, ids=lambda row: row.name)
def test_classes_with_a_backlog_keep_their_floors(row: FloorRow) -> None:
    """In every minute, aligned or sliding, throughout which a class has a backlog."""
    measured = floors(row)
    for priority, parts in measured.items():
        assert min(parts.values()) >= row.floors[priority], measured
    assert measured, "no minute was measured"


def test_jain_is_one_for_equals_and_the_reciprocal_for_a_monopoly() -> None:
    assert jain([7.0, 7.0, 7.0]) == pytest.approx(1.0)
    assert jain([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
