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


@given(asked=st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 20)), min_size=1, max_size=40))
def test_forgetting_old_tokens_changes_no_answer(asked: list[tuple[int, bool, int]]) -> None:
    """A bucket that expires as time passes books what one that keeps everything books, paced or not, also far ahead."""
    keeps, forgets = Bucket(LIMIT, HOLD, 4, 2), Bucket(LIMIT, HOLD, 4, 2)
    now = 0
    for pause, paced, ahead in asked:
        now += pause
        forgets.expire(now, HOLD)
        at = keeps.earliest(now + ahead, paced=paced)
        assert forgets.earliest(now + ahead, paced=paced) == at
        keeps.book(at, paced=paced)
        forgets.book(at, paced=paced)


@given(
    asked=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=25),
    lowered=st.lists(st.integers(1, LIMIT), max_size=25),
)
def test_a_lower_limit_holds_from_then_on(asked: list[tuple[int, bool]], lowered: list[int]) -> None:
    """Whatever was booked before, a token brings no span over the limit of its moment; and it is the first that does not."""
    bucket = Bucket(LIMIT, HOLD, 1, 100)
    times: list[int] = []
    for number, (t, give_back) in enumerate(asked):
        limit = bucket.limit = lowered[number] if number < len(lowered) else bucket.limit
        if give_back and times:
            bucket.give_back(times.pop(t % len(times)), paced=False)
            continue

        def fits(at: int, limit: int = limit) -> bool:
            starts = [start for start in (*times, at) if start <= at < start + HOLD]
            return all(sum(start <= x < start + HOLD for x in (*times, at)) <= limit for start in starts)

        at = bucket.earliest(t, paced=False)
        assert fits(at)
        assert not any(fits(sooner) for sooner in range(t, at))
        bucket.book(at, paced=False)
        times.append(at)


@given(pauses=st.lists(st.integers(0, 9), min_size=10, max_size=60), paced=st.booleans())
def test_a_learned_ceiling_is_a_pace_for_every_token(pauses: list[int], paced: bool) -> None:
    """From any token on, at most two more than the ceiling's interval allows; a token that comes back is free again."""
    bucket = Bucket(1000, HOLD, 1, 100, ceiling_interval_ns=6)
    now, times = 0, []
    for pause in pauses:
        now += pause
        at = bucket.earliest(now, paced=paced)
        bucket.book(at, paced=paced)
        if pause == 7:
            bucket.give_back(at, paced=paced)
            assert bucket.earliest(now, paced=paced) == at
            bucket.book(at, paced=paced)
        now = at
        times.append(at)
    for i, start in enumerate(times):
        for j in range(i, len(times)):
            assert j - i <= (times[j] - start) / 6 + 3


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


@given(
    asked=st.lists(
        st.tuples(
            st.integers(0, 40), st.booleans(), st.sampled_from(("book", "book", "back", "expire", "ceil", "shut"))
        ),
        max_size=30,
    )
)
def test_from_the_instant_that_a_bucket_names_nothing_keeps_a_token_away(asked: list[tuple[int, bool, str]]) -> None:
    """Whatever was booked, handed back, forgotten, learned or shut, in any order: no token has to wait from `clear_ns` on."""
    bucket = Bucket(LIMIT, HOLD, 4, 2, rush=1)
    now = 0
    times: list[int] = []
    for t, paced, what in asked:
        if what == "back" and times:
            bucket.give_back(times.pop(t % len(times)), paced=paced)
        elif what == "expire":
            now += t // 4
            bucket.expire(now, HOLD)
        elif what == "ceil":
            bucket.ceiling_interval_ns, bucket.ceiled_until_ns = t % 7, now
            bucket.reckon()
        elif what == "shut":
            bucket.shut_until_ns = now + t % 9
            bucket.reckon()
        else:
            times.append(bucket.earliest(now + t, paced=paced))
            bucket.book(times[-1], paced=paced)
        for later in (0, 1, 5, HOLD):
            at = max(now, bucket.clear_ns) + later
            assert bucket.earliest(at, paced=True) == bucket.earliest(at, paced=False) == at


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
        spacing.expire(t - 60)
        spacing.book(at, who, latency)
        booked.append((at, who, latency))
    booked.sort()
    for i, (at, who, latency) in enumerate(booked):
        for later, other, _ in booked[i + 1 :]:
            assert later - at >= (3 if who == other else max(3, latency))


@given(
    asked=st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 30)), max_size=25
    )
)
def test_trimming_a_spreadsheets_starts_changes_no_answer(asked: list[tuple[int, str, int, int]]) -> None:
    """What is trimmed by the time keeps nobody away, be the starts that are booked near or far ahead, alone or in turns."""
    both = {"a": 1, "b": 1}
    keeps, trims = Spacing(3, kinds=both, turn_ns=5), Spacing(3, kinds=both, turn_ns=5)
    now = 0
    for pause, who, latency, ahead in asked:
        now += pause
        trims.expire(now)
        in_turn = keeps.in_turn(now + ahead, who, latency)
        assert trims.in_turn(now + ahead, who, latency) == in_turn
        at = keeps.earliest(now + ahead, who, latency)
        assert trims.earliest(now + ahead, who, latency) == at <= in_turn
        keeps.book(at, who, latency)
        trims.book(at, who, latency)
