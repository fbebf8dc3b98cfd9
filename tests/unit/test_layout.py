"""Paths in the store are ordered, apart, and inside the request's folder."""

from __future__ import annotations

import pytest

from activities import layout
from headgate.errors import InvalidRequest


def test_results_are_listed_in_the_order_of_their_numbers() -> None:
    """Sorting paths sorts numbers, and a number comes back out of its path."""
    numbers = [0, 1, 9, 10, 999, 1000, 1001, 99_999, 100_000, 1_000_000, 999_999_999]
    paths = [layout.results_path("r", number) for number in numbers]
    assert paths == sorted(paths)
    assert [layout.batch_number(path) for path in paths] == numbers
    assert all(path.startswith(layout.results_prefix("r") + "/") for path in paths)


def test_no_two_things_share_a_path() -> None:
    """Every function, number and part has a path of its own."""
    paths = [
        layout.input_path("r", "a" * 64),
        layout.plan_path("r"),
        layout.batches_path("r", "e"),
        layout.index_path("r", "e"),
        layout.refused_path("r", "e"),
        *(layout.page_path("r", "e", page) for page in range(3)),
        *(layout.titles_path("r", lane) for lane in range(3)),
        *(layout.journal_path("r", number) for number in range(3)),
        *(layout.results_path("r", number) for number in range(3)),
    ]
    assert len(set(paths)) == len(paths)
    assert all(path.startswith("requests/r/") for path in paths)


@pytest.mark.parametrize("request_id", ["", ".", "..", "a/b", "../b", "a b", "ä", "x" * 129, "a\n"])
def test_an_id_that_could_leave_its_folder_is_refused(request_id: str) -> None:
    """The error says what an id may be."""
    with pytest.raises(InvalidRequest, match="take 1 to 128 letters"):
        layout.request_root(request_id)


@pytest.mark.parametrize("sha256", ["", "../../x", "A" * 64, "a" * 63])
def test_a_digest_that_is_none_is_refused(sha256: str) -> None:
    """An input is found by its SHA-256 alone."""
    with pytest.raises(InvalidRequest, match="not a SHA-256"):
        layout.input_path("r", sha256)
