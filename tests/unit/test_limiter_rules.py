"""Rules of the dispenser as cases with `now` as data: floors, fairness, priority, quiet time, resets, 429s, run-time quota."""

from __future__ import annotations

from collections import Counter

from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import (
    Booked,
    Booking,
    LaneDemand,
    LimiterSettings,
    NotUntil,
    Overload,
    Settlement,
    Stopped,
    Throttling,
    TokenRequest,
    Unused,
)
from headgate.messages.words import Priority

NOW = 1_000 * SECOND_NS
SETTINGS = LimiterSettings(write_per_project=60, write_per_user=30, spreadsheet_spacing_ns=1)


def demand(lane: int, user: str = "", calls: int = 1000) -> LaneDemand:
    return LaneDemand(lane=lane, kind="write", user=user or f"u{lane}", spreadsheet=f"s{lane}{user}", calls=calls)


def request(
    holder: str, *lanes: LaneDemand, priority: Priority = "normal", sequence: int = 1, **more: object
) -> TokenRequest:
    return TokenRequest(
        holder=holder,
        run=1,
        sequence=sequence,
        priority=priority,
        fairness_key=holder,
        lanes=lanes,
        **more,
    )


def run(limiter: Limiter, seconds: int, start: int = NOW) -> list[tuple[int, str, int]]:
    """Rounds as the workflow holds them; every token given, as (time, holder, lane)."""
    now, tokens = start, []
    while now < start + seconds * SECOND_NS:
        for holder, grant in limiter.grant(now).items():
            tokens += [(at, holder, lane) for lane, times in grant.tokens.items() for at in times]
        now = limiter.next_round(now) or now + SECOND_NS
    return sorted(tokens)


def test_every_class_with_a_backlog_gets_its_floor_in_every_minute() -> None:
    """Urgent saturates, and normal keeps 20 %, low 10 % of the calls, minute by minute."""
    limiter = Limiter(SETTINGS, epoch=1)
    for priority in ("urgent", "normal", "low"):
        lanes = [demand(n, user=f"{priority}{n}") for n in range(6)]
        limiter.request(NOW, request(priority, *lanes, priority=priority))
    tokens = run(limiter, 300)
    for minute in range(1, 5):
        start = NOW + minute * 60 * SECOND_NS
        counts = Counter(holder for at, holder, _ in tokens if start <= at < start + 60 * SECOND_NS)
        total = counts.total()
        assert counts["low"] >= 0.095 * total
        assert counts["normal"] >= 0.19 * total
        assert counts["urgent"] >= 0.65 * total


def test_owners_of_one_class_share_alike_whatever_they_ask_for() -> None:
    """Nine owners with one to nine lanes get the same number of calls: Jain's index is at least 0.998."""
    limiter = Limiter(SETTINGS, epoch=1)
    for owner in range(9):
        lanes = [demand(n, user=f"o{owner}l{n}") for n in range(owner + 1)]
        limiter.request(NOW, request(f"owner{owner}", *lanes))
    counts = Counter(holder for _, holder, _ in run(limiter, 300))
    jain = sum(counts.values()) ** 2 / (9 * sum(n * n for n in counts.values()))
    assert jain >= 0.998


def test_a_user_without_quota_left_keeps_nobody_waiting() -> None:
    """The head of the line has used up its user's quota; the others use the project's to the full."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("first", *[demand(n, user="same") for n in range(20)]))
    limiter.request(NOW, request("second", *[demand(n) for n in range(20)]))
    tokens = run(limiter, 240)
    last = [t for t in tokens if t[0] >= NOW + 120 * SECOND_NS]
    assert len(last) >= 0.97 * 60 * 2


def test_urgent_work_is_first_at_the_next_round() -> None:
    """An urgent holder that arrives behind a backlog gets the next token that is free."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("low", *[demand(n) for n in range(20)], priority="low"))
    run(limiter, 120)
    now = NOW + 121 * SECOND_NS
    assert limiter.request(now, request("now", demand(50), priority="urgent"))
    tokens = run(limiter, 10, start=now)
    assert "now" in [holder for at, holder, _ in tokens if at == tokens[0][0]]


def test_a_lost_limiter_is_quiet_until_its_tokens_have_left_every_window() -> None:
    """Nothing is granted or booked before `quiet_until`."""
    quiet = NOW + 30 * SECOND_NS
    limiter = Limiter(SETTINGS, epoch=1, quiet_until_ns=quiet)
    limiter.request(NOW, request("a", demand(1)))
    assert all(at >= quiet for at, _, _ in run(limiter, 40))
    limiter = Limiter(SETTINGS, epoch=1, quiet_until_ns=quiet)
    answer = limiter.book(NOW, Booking(id="b", holder="a", kind="write", user="u", spreadsheet="s"))
    assert isinstance(answer, NotUntil)
    assert answer.at_ns >= quiet - SETTINGS.lead_ns


#: From a limiter's end on: the furthest token that it gave, its use, its window.
MEMORY_NS = SETTINGS.furthest_ns + SETTINGS.token_valid_for_ns + SETTINGS.network_spread_ns + SETTINGS.window_ns


def test_a_grant_that_we_never_gave_proves_a_reset() -> None:
    """A holder that saw grant 9 while we have given 2: quiet until what was given has run out, under a new epoch."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.grants = 2
    limiter.request(NOW, request("a", demand(1), epoch=1, last_grant=9))
    limiter.request(NOW + SECOND_NS, request("b", demand(2), epoch=1, last_grant=8))
    tokens = run(limiter, 90)
    assert tokens[0][0] == NOW + MEMORY_NS
    assert limiter.epoch == NOW


def test_what_was_given_before_a_reset_is_not_taken_back_after_it() -> None:
    """The numbers of grants begin anew, so an old one of the same number must not free a token of a new one."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", demand(1)))
    before = limiter.grant(NOW)["a"]
    booked = limiter.book(NOW, Booking(id="b", holder="a", kind="write", user="u", spreadsheet="s"))
    limiter.begin_anew(NOW)
    again = limiter.book(NOW, Booking(id="c", holder="a", kind="write", user="u", spreadsheet="s"))
    assert isinstance(booked, Booked)
    assert isinstance(again, NotUntil)
    unused = Unused(grant_id=before.grant_id, lane=1, tokens=(0,))
    limiter.settle(NOW, Settlement(holder="a", epoch=1, unused=(unused,)))
    assert limiter.returned == 0
    run(limiter, 70)
    limiter.settle(NOW + 70 * SECOND_NS, Settlement(holder="a", epoch=1, unused=(unused,)))
    assert limiter.returned == 0
    assert limiter.grants >= before.grant_id


def test_a_demand_after_a_reset_is_wanted_in_full() -> None:
    """What the holder had not seen of the old epoch is lost, not under way."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", demand(1, calls=2)))
    assert len(run(limiter, 3)) == 2
    limiter.begin_anew(NOW + 4 * SECOND_NS)
    limiter.request(NOW + 5 * SECOND_NS, request("a", demand(1, calls=2), sequence=2, epoch=1, last_grant=0))
    assert len(run(limiter, 90, start=NOW + 5 * SECOND_NS)) == 2


def test_a_limiter_that_was_deleted_is_known_by_its_holders() -> None:
    """Its successor was told of none before it; a holder's epoch says otherwise: quiet from its own start on, once."""
    limiter = Limiter(SETTINGS, epoch=NOW)
    limiter.request(NOW + SECOND_NS, request("a", demand(1), epoch=NOW - 5, last_grant=3))
    limiter.request(NOW + 2 * SECOND_NS, request("b", demand(2), epoch=NOW - 5, last_grant=4))
    assert run(limiter, 90)[0][0] == NOW + MEMORY_NS


def test_a_limiter_that_knows_of_the_one_before_believes_its_starter() -> None:
    """Whoever started it saw when the last run closed: holders add nothing to that."""
    quiet = NOW + 3 * SECOND_NS
    limiter = Limiter(SETTINGS, epoch=NOW, quiet_until_ns=quiet)
    limiter.request(NOW + SECOND_NS, request("a", demand(1), epoch=NOW - 5, last_grant=3))
    assert run(limiter, 90)[0][0] == quiet


def test_grants_after_the_last_one_seen_are_subtracted() -> None:
    """A demand that crosses a grant on its way does not get the same calls twice."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", demand(1, calls=2)))
    assert len(run(limiter, 3)) == 2
    limiter.request(NOW + 4 * SECOND_NS, request("a", demand(1, calls=2), sequence=2, epoch=1, last_grant=0))
    assert run(limiter, 5, start=NOW + 5 * SECOND_NS) == []
    limiter.request(
        NOW + 11 * SECOND_NS, request("a", demand(1, calls=2), sequence=3, epoch=1, last_grant=limiter.grants)
    )
    assert len(run(limiter, 5, start=NOW + 11 * SECOND_NS)) == 2


def test_a_message_has_its_lease_and_tells_how_the_holder_stands_while_that_is_news() -> None:
    """Tokens of a lane rise, reads are named, and whoever was told why it waited is told that it no longer does."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", demand(1, calls=3), demand(2, calls=2).model_copy(update={"kind": "read"})))
    lease = limiter.grant(NOW)["a"]
    grant = limiter.message(NOW, lease)
    assert (grant.epoch, grant.grant_id, grant.at_ns) == (1, lease.grant_id, NOW)
    assert grant.tokens == {lane: tuple(sorted(at for n, at, *_ in lease.held if n == lane)) for lane in (1, 2)}
    assert grant.reads == (2,)
    assert grant.standing is not None
    assert (grant.standing.ahead, grant.standing.allowance) == (0, 64)
    assert (grant.standing.reason, grant.standing.cause) == ("user u1 is at its 30 writes a minute", "quota")
    told = [grant]
    for later in range(NOW, NOW + 10 * SECOND_NS, SECOND_NS):
        told += [limiter.message(later, lease) for lease in limiter.grant(later).values()]
    assert told[-1].standing is not None
    assert told[-1].standing.reason == ""


def test_a_token_handed_back_is_free_at_once_and_wanted_again() -> None:
    """It goes to the same lane again without a new demand."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", demand(1, calls=1)))
    grant = limiter.grant(NOW)["a"]
    assert limiter.next_round(NOW) is None
    limiter.settle(NOW, Settlement(holder="a", epoch=1, unused=(Unused(grant_id=grant.grant_id, lane=1, tokens=(0,)),)))
    assert limiter.returned == 1
    assert list(limiter.grant(NOW + SECOND_NS)["a"].tokens) == [1]


def test_a_429_pauses_the_bucket_that_it_names_and_no_other() -> None:
    """User a rests at least a second, user b does not; repeated 429s rest longer, never more than a window."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("h", demand(1, user="a"), demand(2, user="b")))
    said = Settlement(
        holder="h", epoch=0, throttled=(Throttling(kind="write", scope="user", user="a", quota_value=30),)
    )
    limiter.settle(NOW, said)
    tokens = run(limiter, 2)
    assert min(at for at, _, lane in tokens if lane == 1) >= NOW + SECOND_NS
    assert min(at for at, _, lane in tokens if lane == 2) < NOW + SECOND_NS
    now = NOW
    for _ in range(12):
        now = limiter.buckets.quotas["user/write/a"].shut_until_ns + SECOND_NS
        limiter.settle(now, said)
    assert limiter.buckets.quotas["user/write/a"].shut_until_ns - now <= SETTINGS.window_ns


def test_a_stopped_holder_gets_no_token_by_any_way() -> None:
    """Neither grant nor booking, until it says that it goes on."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", stopped="paused by ana"))
    booking = Booking(id="b", holder="a", kind="write", user="u", spreadsheet="s")
    assert limiter.book(NOW, booking) == Stopped(why="paused by ana")
    limiter.request(NOW, request("a", demand(1), sequence=2))
    assert isinstance(limiter.book(NOW, booking), Booked)


def test_a_lower_quota_acts_at_once_on_what_is_queued() -> None:
    """After the limit drops, no window that begins later holds more than the new limit."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("a", *[demand(n) for n in range(20)]))
    run(limiter, 90)
    changed = NOW + 91 * SECOND_NS
    limiter.configure(SETTINGS.model_copy(update={"write_per_project": 12}))
    times = [at for at, _, _ in run(limiter, 240, start=changed)]
    window = SETTINGS.window_ns
    assert times
    assert all(sum(1 for t in times if start <= t < start + window) <= 12 for start in times)


def test_a_weight_of_nothing_holds_nobody_up() -> None:
    """Whoever says that it weighs nothing gets what the others leave, and nothing divides by it."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("light", demand(1), weight=0.0))
    limiter.request(NOW, request("heavy", demand(2)))
    counts = Counter(holder for _, holder, _ in run(limiter, 30))
    assert counts["heavy"] >= counts["light"] >= 1


def test_bookings_alone_do_not_make_the_limiter_grow() -> None:
    """Without any round, what was booked is forgotten when its window is over."""
    limiter = Limiter(SETTINGS, epoch=1)
    for n in range(500):
        now = NOW + n * 3 * SECOND_NS
        limiter.book(now, Booking(id=f"b{n}", holder="h", kind="write", user="u", spreadsheet=f"s{n}"))
    assert len(limiter.bookings.places) < 60
    assert sum(len(bucket.times) for bucket in limiter.buckets.quotas.values()) < 100


def test_readers_do_not_make_the_limiter_forget_the_writers_turns() -> None:
    """Fairness among writers with unequal numbers of lanes holds while somebody else reads."""
    limiter = Limiter(SETTINGS, epoch=1)
    for owner in range(3):
        lanes = [demand(n, user=f"o{owner}l{n}") for n in range(1 + 4 * owner)]
        limiter.request(NOW, request(f"owner{owner}", *lanes))
    reader = LaneDemand(lane=0, kind="read", user="r", spreadsheet="r", calls=1000)
    limiter.request(NOW, request("reader", reader))
    counts = Counter(holder for _, holder, _ in run(limiter, 200) if holder != "reader")
    assert max(counts.values()) - min(counts.values()) <= 2 + 0.05 * max(counts.values())


def test_a_lone_lane_in_full_swing_opens_its_circuit_by_three_failures() -> None:
    """Many calls went well just before: they say nothing about those that follow, and its attempts are few."""
    limiter = Limiter(SETTINGS.model_copy(update={"window_ns": 5 * SECOND_NS}), epoch=1)
    limiter.request(NOW, request("a", demand(1)))
    assert len(run(limiter, 8)) > 40
    now = NOW + 8 * SECOND_NS
    overload = Overload(spreadsheet="s1", at_ns=now)
    for second in range(3):
        assert not limiter.health.open_for("s1")
        limiter.settle(now + second * SECOND_NS, Settlement(holder="", epoch=0, overloads=(overload,)))
    assert limiter.health.open_for("s1")


def test_a_spreadsheet_of_which_a_third_of_the_calls_fail_goes_on() -> None:
    """Failures among calls that go well open nothing."""
    limiter = Limiter(SETTINGS, epoch=1)
    for second in range(60):
        now = NOW + second * SECOND_NS
        limiter.buckets.spacing("s").book(now, "a", 0)
        if second % 3 == 0:
            limiter.health.overloaded(now, "s")
        limiter.expire(now)
        assert not limiter.health.open_for("s")


def test_grants_that_cross_a_holders_last_word_come_back() -> None:
    """What it had seen may have been used and stays booked; what it had not seen is free at once."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("h", demand(1), demand(2)))
    seen = limiter.grant(NOW)["h"].grant_id
    used = limiter.granted
    limiter.grant(NOW + 2 * SECOND_NS)
    assert limiter.granted > used
    last_word = request("h", sequence=2, stopped="finished", epoch=1, last_grant=seen, gives_back=True)
    limiter.request(NOW + 3 * SECOND_NS, last_word)
    assert limiter.granted - limiter.returned == used
    assert sum(len(limiter.buckets.user("write", f"u{n}").times) for n in (1, 2)) == used
    assert not limiter.waiters
