"""Corners of the dispenser that a random driver turned up, each as the shortest story of it."""

from __future__ import annotations

from itertools import pairwise

from headgate.buckets import Buckets
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import (
    Booked,
    Booking,
    LaneDemand,
    LimiterSettings,
    NotUntil,
    Settlement,
    Throttling,
    TokenRequest,
    Unused,
)
from headgate.waiting import Token

NOW = 1_000 * SECOND_NS
SETTINGS = LimiterSettings(write_per_project=60, write_per_user=30, spreadsheet_spacing_ns=SECOND_NS)


def lane(number: int = 0, user: str = "", spreadsheet: str = "", calls: int = 1, **more: int) -> LaneDemand:
    return LaneDemand(
        lane=number, kind="write", user=user or f"u{number}", spreadsheet=spreadsheet, calls=calls, latency_ns=1, **more
    )


def request(holder: str, *lanes: LaneDemand, sequence: int = 1, owner: str = "", **more: object) -> TokenRequest:
    return TokenRequest(holder=holder, run=1, sequence=sequence, fairness_key=owner or holder, lanes=lanes, **more)


def booking(number: int = 0, user: str = "u", spreadsheet: str = "", **more: object) -> Booking:
    return Booking(
        id=f"b{number}", holder="h", kind="write", user=user, spreadsheet=spreadsheet, fairness_key="h", **more
    )


def times(limiter: Limiter, holder: str, now: int) -> list[int]:
    """When the holder's tokens of a round at `now` are."""
    grant = limiter.grant(now).get(holder)
    return sorted(at for times in grant.tokens.values() for at in times) if grant else []


def test_a_stopped_holder_that_hands_tokens_back_gets_none() -> None:
    """What comes back to a holder that is paused is not wanted again until it says so."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("h", lane()))
    grant = limiter.grant(NOW)["h"]
    limiter.request(NOW, request("h", lane(calls=0), sequence=2, epoch=1, last_grant=1, stopped="paused"))
    unused = (Unused(grant_id=grant.grant_id, lane=0, tokens=(0,)),)
    limiter.settle(NOW, Settlement(holder="h", epoch=1, unused=unused))
    assert limiter.returned == 1
    assert limiter.grant(NOW + SECOND_NS) == {}


def test_a_place_that_was_never_given_out_does_not_count_as_a_token_that_came_back() -> None:
    """Who leaves the queue hands nothing back: given = handed back + booked + expired."""
    limiter = Limiter(SETTINGS.model_copy(update={"write_per_user": 1}), epoch=1)
    assert isinstance(limiter.book(NOW, booking(1)), Booked)
    assert isinstance(limiter.book(NOW, booking(2)), NotUntil)
    limiter.settle(NOW, Settlement(holder="h", epoch=1, unused_bookings=("b1", "b2")))
    assert (limiter.granted, limiter.returned) == (1, 1)
    assert not limiter.buckets.project("write").times


def test_a_lane_may_be_replaced_by_one_of_the_same_number() -> None:
    """The lane that stood behind its user's gate is another spreadsheet's now; both are in one heap for a while."""
    limiter = Limiter(SETTINGS, epoch=1)
    for sequence in range(1, 5):
        spreadsheet = f"s{sequence}"
        limiter.request(NOW, request("h", lane(0, "u", spreadsheet, 9), lane(1, "u", "", 9), sequence=sequence))
        limiter.grant(NOW)
    assert limiter.lanes_wanting() == 2


def test_a_booking_far_ahead_makes_a_spreadsheet_forget_no_start() -> None:
    """Starts on one spreadsheet keep their distance, also from tokens that were given before somebody booked far ahead."""
    limiter = Limiter(SETTINGS.model_copy(update={"write_per_user": 1}), epoch=1)
    limiter.book(NOW, booking(1, user="full"))
    limiter.request(NOW, request("first", lane(0, "u0", "s")))
    first = times(limiter, "first", NOW)
    assert len(first) == 1
    assert isinstance(limiter.book(NOW, booking(2, user="full", spreadsheet="s")), NotUntil)
    limiter.request(NOW, request("second", lane(0, "u1", "s")))
    second = times(limiter, "second", NOW + SECOND_NS // 10)
    assert all(at >= first[0] + SECOND_NS for at in second)


def test_a_place_lapses_10_s_after_the_instant_that_was_last_named() -> None:
    """Who asks late is told another instant, and is served at that one, too."""
    limiter = Limiter(SETTINGS.model_copy(update={"write_per_user": 1, "window_ns": 8 * SECOND_NS}), epoch=1)
    limiter.book(NOW, booking(1))
    first = limiter.book(NOW, booking(2))
    assert isinstance(first, NotUntil)
    assert isinstance(limiter.book(NOW, booking(3)), NotUntil)
    second = limiter.book(first.at_ns + 5 * SECOND_NS, booking(2))
    assert isinstance(second, NotUntil)
    assert second.at_ns > first.at_ns + 10 * SECOND_NS
    assert isinstance(limiter.book(second.at_ns, booking(2)), Booked)


def test_a_place_that_lapses_lets_in_who_waited_behind_its_token() -> None:
    """The user's next token is free at once, not when the gate was to be looked at again."""
    limiter = Limiter(SETTINGS.model_copy(update={"write_per_user": 1}), epoch=1)
    assert isinstance(limiter.book(NOW, booking(1)), Booked)
    ahead = limiter.book(NOW, booking(2))
    assert isinstance(ahead, NotUntil)
    now = NOW + SECOND_NS
    limiter.request(now, request("behind", lane(0, "u")))
    assert not times(limiter, "behind", now)
    limiter.request(now, request("h", stopped="paused"))
    limiter.book(now, booking(2))
    assert times(limiter, "behind", ahead.at_ns)


def test_places_move_out_of_a_pause_and_out_of_the_quiet_time() -> None:
    """A token that was booked ahead and not given out yet is not used while its bucket rests, or before a lost one's have left."""
    limiter = Limiter(SETTINGS.model_copy(update={"write_per_user": 1, "window_ns": 2 * SECOND_NS}), epoch=1)
    limiter.book(NOW, booking(1))
    told = limiter.book(NOW, booking(2))
    assert isinstance(told, NotUntil)
    limiter.settle(told.at_ns, Settlement(holder="h", epoch=1, throttled=(Throttling(kind="write", scope="project"),)))
    answer = limiter.book(told.at_ns, booking(2))
    assert isinstance(answer, Booked)
    assert answer.at_ns >= told.at_ns + SECOND_NS

    limiter = Limiter(SETTINGS.model_copy(update={"write_per_user": 1, "window_ns": 2 * SECOND_NS}), epoch=1)
    limiter.book(NOW, booking(1))
    told = limiter.book(NOW, booking(2))
    assert isinstance(told, NotUntil)
    limiter.request(NOW, request("h", lane(), epoch=1, last_grant=9))
    limiter.request(told.at_ns, request("h", lane(), epoch=1, last_grant=99, sequence=2))
    assert isinstance(answer := limiter.book(told.at_ns, booking(2)), NotUntil)
    assert answer.at_ns >= limiter.quiet_until_ns - SETTINGS.lead_ns


def test_places_keep_a_quota_that_was_lowered_before_they_were_given_out() -> None:
    """Four bookings wait in a project of four a window; lowered to one, they come one window after another."""
    settings = SETTINGS.model_copy(update={"write_per_project": 4, "window_ns": 2 * SECOND_NS})
    limiter = Limiter(settings, epoch=1)
    asked = [limiter.book(NOW, booking(n, user=f"u{n}")) for n in range(8)]
    limiter.configure(settings.model_copy(update={"write_per_project": 1}))
    due, found = [(NOW + SECOND_NS, n) for n, answer in enumerate(asked) if isinstance(answer, NotUntil)], []
    while due:
        due.sort()
        now, number = due.pop(0)
        answer = limiter.book(now, booking(number, user=f"u{number}"))
        if isinstance(answer, NotUntil):
            due.append((answer.at_ns, number))
        elif isinstance(answer, Booked):
            found.append(answer.at_ns)
    assert len(found) == 4
    assert all(b - a >= settings.window_ns for a, b in pairwise(sorted(found)))


def test_places_that_were_left_keep_their_owner_from_nothing() -> None:
    """Whoever leaves twenty booked places is served as soon as one that never booked."""
    limiter = Limiter(SETTINGS, epoch=1)
    soonest = limiter.book(NOW, booking(0))
    assert isinstance(soonest, Booked)
    for number in range(1, 21):
        limiter.book(NOW, booking(number))
    left = tuple(f"b{number}" for number in range(21))
    limiter.settle(NOW, Settlement(holder="h", epoch=1, unused_bookings=left))
    again = limiter.book(NOW, booking(99))
    assert isinstance(again, Booked)
    assert again.at_ns == soonest.at_ns


def test_buckets_of_users_that_come_once_are_forgotten_as_quickly_as_they_are_made() -> None:
    """150 calls a second, each of another user on another spreadsheet: what is kept grows with the window, not with the time."""
    settings = LimiterSettings(window_ns=10 * SECOND_NS, write_per_project=10_000)
    buckets = Buckets(settings)
    now, most = NOW, 4 * 150 * (buckets.hold_ns // SECOND_NS)
    for second in range(200):
        now += SECOND_NS
        for n in range(150):
            name = f"{second}-{n}"
            buckets.take(Token(now, "write", name, name, name, paced=False, served="normal"), 0)
        buckets.expire(now, 150)
        assert max(len(buckets.quotas), len(buckets.spacings)) <= most, f"after {second} s"
