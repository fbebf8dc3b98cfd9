"""The emulator's quota is a plain log, and its verdict counts windows exactly."""

from __future__ import annotations

import random

import pytest

from emulator.errors import quota_exceeded
from emulator.ledger import Call, Ledger
from emulator.quota import BucketKey, Quota, worst_window
from emulator.settings import EmulatorSettings


def quota(**settings: object) -> Quota:
    return Quota(EmulatorSettings(**settings))  # type: ignore[arg-type]  # a test's keyword arguments


def test_a_sliding_window_frees_each_call_after_its_own_window() -> None:
    limited = quota(write_per_user=2, window=10)
    assert limited.take("p", "u", "write", 0.0) is None
    assert limited.take("p", "u", "write", 6.0) is None
    refusal = limited.take("p", "u", "write", 9.999)
    assert refusal is not None
    assert refusal.key == BucketKey("user", "p/u", "write")
    assert limited.take("p", "u", "write", 10.0) is None
    assert limited.take("p", "u", "write", 15.0) is not None


def test_a_fixed_window_starts_anew_at_its_edge() -> None:
    limited = quota(write_per_user=2, window=10, window_mode="fixed")
    for now in (8.0, 9.0, 10.0, 11.0):
        assert limited.take("p", "u", "write", now) is None
    assert limited.take("p", "u", "write", 12.0) is not None


def test_a_refused_call_uses_nothing_of_either_bucket() -> None:
    limited = quota(read_per_user=1, read_per_project=2, window=10)
    assert limited.take("p", "a", "read", 0.0) is None
    assert limited.take("p", "a", "read", 1.0) is not None
    assert limited.take("p", "b", "read", 2.0) is None
    refusal = limited.take("p", "c", "read", 3.0)
    assert refusal is not None
    assert refusal.key.level == "project"


def test_reads_and_writes_and_projects_are_counted_apart() -> None:
    limited = quota(read_per_user=1, write_per_user=1)
    assert limited.take("p", "u", "read", 0.0) is None
    assert limited.take("p", "u", "write", 0.0) is None
    assert limited.take("q", "u", "write", 0.0) is None


def test_the_worst_window_is_found_exactly() -> None:
    instants = sorted(random.Random(3).uniform(0, 50) for _ in range(300))
    slow = max(sum(1 for other in instants if at - 7 < other <= at) for at in instants)
    assert worst_window(instants, 7) == slow
    assert worst_window([0.0, 10.0], 10) == 1
    assert worst_window([], 10) == 0


@pytest.mark.parametrize(("level", "suffix"), [("user", "PerUser"), ("project", "PerProject")])
def test_a_429_names_the_quota_and_its_size(level: str, suffix: str) -> None:
    body = quota_exceeded("write", level, 60, "123").body()["error"]
    assert body["status"] == "RESOURCE_EXHAUSTED"
    metadata = body["details"][0]["metadata"]
    assert metadata["quota_limit"] == f"WriteRequestsPerMinute{suffix}"
    assert metadata["quota_limit_value"] == "60"
    assert metadata["consumer"] == "projects/123"
    assert body["message"].startswith(
        "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute"
    )


def test_the_ledger_drops_old_calls_and_keeps_counting() -> None:
    ledger = Ledger(most_calls=100)
    key = BucketKey("user", "p/u", "write")
    for number in range(250):
        call = Call(number, float(number), "u", "p", "m", "write", "S")
        ledger.arrive(call, (key,))
        ledger.passed(call, (key,))
        ledger.apply(call)
    assert len(ledger.calls) <= 100
    assert ledger.calls[0].number == ledger.dropped
    assert ledger.calls[-1].number == 249
    verdict = ledger.verdict(quota(write_per_user=60, window=10))
    [bucket] = verdict["buckets"]
    assert (verdict["calls"], verdict["applies"], bucket["calls"], bucket["worst_window"]) == (250, 250, 250, 10)
    assert bucket["per_window"] == [10] * 25
    assert bucket["used_share"] == pytest.approx(10 / 60, rel=0.05)
