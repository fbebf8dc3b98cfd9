"""What the benchmarks read from a ledger and from metrics pages, as cases."""

from __future__ import annotations

import pytest

from benchmarks import metrics, readings

PAGE = """\
# TYPE temporal_workflow_task_execution_latency histogram
temporal_workflow_task_execution_latency_bucket{workflow_type="RateLimiterWorkflow",le="10"} 90
temporal_workflow_task_execution_latency_bucket{workflow_type="RateLimiterWorkflow",le="200"} 99
temporal_workflow_task_execution_latency_bucket{workflow_type="RateLimiterWorkflow",le="+Inf"} 100
temporal_workflow_task_execution_latency_bucket{workflow_type="BulkRequestWorkflow",le="10"} 7
action{action_type="command_StartTimer",namespace="default"} 3
action_total{action_type="command_StartTimer",namespace="other"} 2
"""


def call(arrived: float, user: str = "u1", kind: str = "write", status: int = 200) -> readings.Call:
    return {"arrived": arrived, "user": user, "kind": kind, "status": status}


def test_a_ledger_tells_ours_from_a_foreign_clients_and_passed_from_refused() -> None:
    ledger = {"calls": [call(2.0), call(1.0, status=429), call(3.0, "foreign-0", status=429), call(4.0, kind="read")]}
    assert readings.arrivals(ledger) == [1.0, 2.0]
    assert readings.arrivals(ledger, passed=True) == [2.0]
    assert readings.arrivals(ledger, foreign=True) == [3.0]
    assert readings.arrivals(ledger, kind="") == [1.0, 2.0, 4.0]
    assert readings.throttled(ledger) == 1


def test_spans_take_their_start_and_leave_their_end() -> None:
    assert readings.by_span([0.0, 0.5, 1.0, 1.9, 2.0], 0.0, 2.5, 1.0) == [2, 2]


def test_a_window_that_ends_later_counts_what_came_before() -> None:
    """Ten at once, then nothing for long enough: the burst still stands in windows that end up to 60 s later."""
    burst = [0.0] * 10
    assert readings.most_behind([*burst, 59.0], 2.0, 60.0) == 11
    assert readings.most_behind([*burst, 60.0], 2.0, 60.0) == 1
    assert readings.most_behind(burst, 2.0, 60.0) == 0


def test_full_again_is_the_end_of_the_first_full_window() -> None:
    times = [float(second) for second in range(100)]
    assert readings.full_again_after(times, 20.0, 10.0, 10) == 0.0
    assert readings.full_again_after([*times[:20], *times[40:]], 20.0, 10.0, 10) == 29.0
    assert readings.full_again_after(times, 20.0, 10.0, 11) is None


def test_steady_is_the_start_of_the_first_full_stretch() -> None:
    times = [5.0, 20.0, 21.0, 22.0]
    assert readings.steady_after(times, 0.0, 3.0, 3) == 20.0
    assert readings.steady_after(times, 0.0, 10.0, 1) == 0.0
    assert readings.steady_after(times, 0.0, 3.0, 4) is None


def test_percentiles_are_nearest_ranks() -> None:
    measured = readings.percentiles([float(n) for n in range(100, 0, -1)])
    assert measured == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0, "count": 100}
    assert readings.percentiles([]) == {"count": 0}


def test_task_times_are_upper_bounds_in_seconds() -> None:
    expected = {"tasks": 100, "p50_at_most": 0.01, "p95_at_most": 0.2, "p99_at_most": 0.2, "p100_at_most": None}
    assert metrics.task_seconds(PAGE, "RateLimiterWorkflow") == pytest.approx(expected)
    assert metrics.task_seconds("", "RateLimiterWorkflow") is None


def test_actions_are_added_up_by_type() -> None:
    assert metrics.actions(PAGE) == {"command_StartTimer": 5}
