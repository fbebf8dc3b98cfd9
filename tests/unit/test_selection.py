"""What a person names becomes a query that no value can break out of; what the queries find is asked of a real server elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.errors import InvalidRequest
from starter.selection import Selection, age_s, selection

NOW = datetime(2030, 3, 17, 12, 0, tzinfo=UTC)


@given(st.text())
def test_a_value_stays_one_literal_or_is_left_to_be_compared(owner: str) -> None:
    whole, named = Selection().query(NOW), Selection(owner=owner)
    assert named.query(NOW) in (whole, f'{whole} AND HeadgateOwner = "{owner}"')
    if set(owner) & {'"', "\\", "\n", "\0"}:
        assert named.query(NOW) == whole


@given(st.text(), st.text(), st.text() | st.none())
def test_what_fits_has_the_named_owner_and_project(owner: str, project: str, named: str | None) -> None:
    assert Selection(owner=named).fits(owner, project) == (named is None or named == owner)
    assert Selection(project=named).fits(owner, project) == (named is None or named == project)


def test_nothing_named_is_every_request() -> None:
    assert not Selection().narrows
    assert not Selection(limit=3, is_open=True).narrows
    assert Selection(owner="").narrows
    assert Selection().query(NOW) == 'WorkflowType = "BulkRequestWorkflow" AND ExecutionStatus != "ContinuedAsNew"'


def test_an_age_counts_back_from_now() -> None:
    assert 'HeadgateSubmittedAt < "2030-03-17T10:00:00+00:00"' in selection(older_than="2h").query(NOW)


@pytest.mark.parametrize(
    ("said", "seconds"), [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("30d", 2_592_000), ("8w", 4_838_400)]
)
def test_ages(said: str, seconds: int) -> None:
    assert age_s(said) == seconds


@pytest.mark.parametrize("said", ["", "30", "0d", "-1d", "1.5d", "d", "30 days", "9999999d"])
def test_what_is_no_age(said: str) -> None:
    with pytest.raises(InvalidRequest, match="30d"):
        age_s(said)
