"""A bucket against a naive reference: the first instant that fits, and never a window over the limit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headgate.quota import Bucket, Spacing

LIMIT, HOLD = 3, 10


def allowed(times: list[int]) -> bool:
    """Naively: no more than LIMIT of the times lie in any half-open span of length HOLD."""
    return all(sum(1 for t in times if start <= t < start + HOLD) <= LIMIT for start in times)


def first_fit(times: list[int], t: int) -> int:
    """Naively: try every instant."""
    while not allowed([*times, t]):
        t += 1
    return t


@given(asked=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=25))
def test_the_earliest_instant_is_the_first_that_fits(asked: list[tuple[int, bool]]) -> None:
    """`earliest` agrees with trying every instant, also between and before tokens that are booked."""
    bucket = Bucket(LIMIT, HOLD, 1, 100)
    times: list[int] = []
    for t, give_back in asked:
        if give_back and times:
            gone = times.pop(t % len(times))
            assert bucket.give_back(gone, paced=False)
            continue
        at = bucket.earliest(t, paced=False)
        assert at == first_fit(times, t)
        bucket.book(at, paced=False)
        times.append(at)
        assert allowed(times)


@given(asked=st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_forgetting_old_tokens_changes_no_answer(asked: list[int]) -> None:
    """A bucket that expires as time passes books what one that keeps everything books."""
    keeps, forgets = Bucket(LIMIT, HOLD, 4, 2), Bucket(LIMIT, HOLD, 4, 2)
    now = 0
    for pause in asked:
        now += pause
        forgets.expire(now, HOLD)
        at = keeps.earliest(now, paced=True)
        assert forgets.earliest(now, paced=True) == at
        keeps.book(at, paced=True)
        forgets.book(at, paced=True)


@given(pauses=st.lists(st.integers(0, 3), min_size=20, max_size=80))
def test_the_pace_holds_beyond_the_burst(pauses: list[int]) -> None:
    """Paced tokens are at most burst + 1 more than the interval allows, from any token on."""
    bucket = Bucket(1000, 10, 5, 2)
    now, times = 0, []
    for pause in pauses:
        now += pause
        at = bucket.earliest(now, paced=True)
        bucket.book(at, paced=True)
        now = at
        times.append(at)
    for i, start in enumerate(times):
        for j in range(i, len(times)):
            assert j - i <= (times[j] - start) / 5 + 3


def test_a_token_that_was_never_booked_cannot_be_given_back() -> None:
    """Giving back what is not there changes nothing."""
    bucket = Bucket(LIMIT, HOLD, 1, 1)
    bucket.book(5, paced=True)
    assert not bucket.give_back(6, paced=True)
    assert bucket.times == [5]


@given(asked=st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ab"), st.integers(0, 9)), max_size=12))
def test_starts_on_a_spreadsheet_keep_their_distance(asked: list[tuple[int, str, int]]) -> None:
    """Any two starts are a gap apart, and another lane's start is not within a call's latency."""
    spacing = Spacing(3)
    booked: list[tuple[int, str, int]] = []
    for t, who, latency in asked:
        at = spacing.earliest(t, who, latency)
        assert at >= t
        spacing.book(at, who, latency)
        booked.append((at, who, latency))
    booked.sort()
    for i, (at, who, latency) in enumerate(booked):
        for later, other, _ in booked[i + 1 :]:
            assert later - at >= (3 if who == other else max(3, latency))
