"""The ETA against a naive simulation of users who share a rate, and against what the progress of a request was told."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.eta import remaining_s
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.tokens import Standing
from headgate.messages.views import LaneCounts, ProgressView, Waiting
from headgate.messages.words import State
from headgate.progress import Progress

NOW = 1_800_000_000 * SECOND_NS


def simulated(by_user: list[tuple[int, int]], rate: float, each: float) -> float:
    """Seconds, by tenths of a second: each lane of those who have calls left gets the same, and no user more than `each` a minute."""
    left, seconds = [float(calls) for calls, _ in by_user], 0.0
    while any(calls > 1e-9 for calls in left):
        lanes = [many if calls > 1e-9 else 0 for calls, (_, many) in zip(left, by_user, strict=True)]
        low, high = 0.0, rate + each
        for _ in range(40):  # what a lane gets: found by halving, since more for a lane is more in all
            level = (low + high) / 2
            fits = sum(min(each, level * many) for many in lanes) <= rate
            low, high = (level, high) if fits else (low, level)
        left = [max(0.0, calls - min(each, low * many) / 600) for calls, many in zip(left, lanes, strict=True)]
        seconds += 0.1
    return seconds


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 6)), min_size=1, max_size=6),
    st.integers(60, 300),
    st.integers(20, 120),
)
def test_lanes_share_the_rate_and_users_keep_to_their_own_quota(
    by_user: list[tuple[int, int]], rate: int, each: int
) -> None:
    """Within two of the simulation's steps a user."""
    found = remaining_s(sum(calls for calls, _ in by_user), rate, by_user, each, 0.0)
    assert found == pytest.approx(simulated(by_user, rate, each), abs=0.2 * len(by_user) + 0.1)


def test_there_is_no_eta_without_a_rate_and_the_longest_lane_counts() -> None:
    """A lane of 100 calls that take 2 s each is not done sooner, whatever the rate."""
    assert remaining_s(10, 0.0, [(10, 1)], 60, 0.0) is None
    assert remaining_s(120, 60.0, [], 0, 0.0) == 120
    assert remaining_s(120, 60.0, [], 0, 200.0) == 200


class Request:
    """A request of so many calls, of which one goes out at a time; what its progress says is asked at any moment."""

    def __init__(self, calls: int) -> None:
        self.plan = PlanSummary(operations=calls, dead_letters=0, calls=calls, lanes=1, pages=1)
        self.progress = Progress()
        self.progress.planned(self.plan, NOW)
        self.now = NOW

    def send(self, rate: float, seconds: float) -> None:
        """At so many calls a minute for so long."""
        for _ in range(round(rate * seconds / 60)):
            self.now += int(60 * SECOND_NS / rate)
            self.progress.sent(1, self.now)

    def view(self, state: State = "running") -> ProgressView:
        return self.progress.view(
            BulkRequest(id="r", project="p"), self.plan, state, "normal", Waiting(), LaneCounts(), {}, 0, 0, self.now
        )

    def eta_s(self) -> float:
        """How long it says that it takes from now on."""
        eta = self.view().eta_at
        assert eta is not None
        return datetime.fromisoformat(eta).timestamp() - self.now / SECOND_NS

    def takes_s(self, rate: float) -> float:
        """How long it really takes at that rate."""
        return (self.plan.calls - self.progress.made) * 60 / rate


def test_a_share_that_is_taken_away_shows_at_once() -> None:
    """The limiter promises less: that counts until the new rate was seen for ten seconds, and then the new rate does."""
    request = Request(3_000)
    request.progress.promise(Standing(rate_per_minute=300), request.now)
    request.send(300, 120)
    assert request.eta_s() == pytest.approx(request.takes_s(300), rel=0.02)
    request.progress.promise(Standing(rate_per_minute=90), request.now)
    for seconds in (1, 5, 20, 40, 60):
        request.send(90, seconds)
        assert request.eta_s() == pytest.approx(request.takes_s(90), rel=0.1), seconds


def test_a_share_that_comes_back_shows_after_ten_seconds_of_it() -> None:
    """More is promised: nobody knows that it can be used before it was."""
    request = Request(3_000)
    request.progress.promise(Standing(rate_per_minute=90), request.now)
    request.send(90, 120)
    request.progress.promise(Standing(rate_per_minute=300), request.now)
    request.send(300, 5)
    assert request.eta_s() == pytest.approx(request.takes_s(90), rel=0.02)
    request.send(300, 6)
    assert request.eta_s() == pytest.approx(request.takes_s(300), rel=0.1)


def test_a_pause_costs_the_rate_nothing() -> None:
    """No ETA while it lasts; after it the rate before it, until there is a new one."""
    request = Request(3_000)
    request.send(300, 120)
    request.progress.changed(request.now)
    request.now += 600 * SECOND_NS
    assert request.view("paused").eta_at is None
    assert request.view("paused").rate_per_minute == 0
    request.progress.resumed(request.now)
    for seconds in (1, 5, 20, 60):
        request.send(300, seconds)
        assert request.eta_s() == pytest.approx(request.takes_s(300), rel=0.1), seconds


def test_a_moment_in_which_it_wants_nothing_is_no_change_of_share() -> None:
    """All that it wanted was granted: the limiter promises nothing just then, and the same again with the next demand."""
    request = Request(3_000)
    request.progress.promise(Standing(rate_per_minute=300, user_rate_per_minute=60), request.now)
    request.send(300, 120)
    for _ in range(10):
        request.progress.promise(Standing(), request.now)
        assert request.progress.user_rate == 60
        request.send(300, 1)
        request.progress.promise(Standing(rate_per_minute=300, user_rate_per_minute=60), request.now)
        request.send(300, 1)
    assert request.progress.changed_ns == 0
    assert request.view().rate_per_minute == pytest.approx(300, rel=0.02)


def test_a_share_that_was_small_for_a_moment_is_forgotten_with_it() -> None:
    """Others come and go every few seconds: what counts is the rate that was seen and what is promised now."""
    request = Request(3_000)
    request.progress.promise(Standing(rate_per_minute=300), request.now)
    request.send(300, 120)
    request.progress.promise(Standing(rate_per_minute=20), request.now)
    request.send(20, 3)
    request.progress.promise(Standing(rate_per_minute=300), request.now)
    request.send(300, 3)
    assert request.eta_s() == pytest.approx(request.takes_s(300), rel=0.02)


def test_calls_that_will_not_be_made_are_not_waited_for() -> None:
    """A lane that was given up had 300 of the 700 that are left: the others take 80 s, and the next run knows it."""
    request = Request(1_000)
    request.send(300, 60)
    request.progress.given_up("bot", 300)
    assert request.eta_s() == pytest.approx(80, rel=0.03)
    request.progress.given_up("bot", 200)
    request.progress = Progress.restore(request.progress.checkpoint())
    assert request.eta_s() == pytest.approx(40, rel=0.03)
