"""Whatever a line holds: planning goes on, and what is accepted becomes a call that Google's own description accepts."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks import discovery
from benchmarks.hostile import inputs, judge


@settings(
    max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example]
)
@given(inputs)
def test_hostile_lines_never_crash_the_plan_nor_pass_what_the_schema_refuses(lines: bytes) -> None:
    judge(lines)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"requests": [{"addSheet": {"properties": {"title": 1}}}]}, "no text"),
        ({"requests": [{"addSheet": {"properties": {"sheetId": "1_0"}}}]}, "no int32"),
        ({"requests": [{"addSheet": {"propertiez": {}}}]}, "no field"),
        ({"requests": [{"setBasicFilter": {"filter": {"criteria": {"0": {"hidden": True}}}}}]}, "no field"),
        ({"requests": [{"repeatCell": {"fields": "a..b"}}]}, "no google-fieldmask"),
        ({"requests": {}}, "not a list"),
    ],
)
def test_the_judge_refuses_what_is_wrong(body: object, wrong: str) -> None:
    """A judge that cannot refuse proves nothing."""
    said = discovery.complaint("POST", "/v4/spreadsheets/S:batchUpdate?fields=replies", json.dumps(body).encode())
    assert wrong in said


def test_the_judge_knows_addresses_and_parameters() -> None:
    good = json.dumps({"requests": [{"addSheet": {"properties": {"title": "x", "sheetId": "7"}}}]}).encode()
    assert discovery.complaint("POST", "/v4/spreadsheets/S:batchUpdate?fields=replies", good) == ""
    assert "no parameter" in discovery.complaint("POST", "/v4/spreadsheets/S:batchUpdate?field=replies", good)
    assert "methods" in discovery.complaint("PUT", "/v4/spreadsheets/S:batchUpdate", good)
    assert "no JSON" in discovery.complaint("POST", "/v4/spreadsheets/S:batchUpdate", b'{"requests": [NaN]}')
