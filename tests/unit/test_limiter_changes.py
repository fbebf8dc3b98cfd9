"""What changes while somebody waits acts at once: aging, budgets, weights, circuits, the pace; through a checkpoint, too."""

from __future__ import annotations

from headgate.checkpoint import dump, restore
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.carried import LimiterCheckpoint
from headgate.messages.tokens import (
    Booked,
    Booking,
    LaneDemand,
    LimiterSettings,
    Overload,
    Probed,
    Settlement,
    TokenRequest,
    Unused,
    UserLimits,
)
from headgate.ordering import KEPT_CALLS, STRIDE, Turns

NOW = 1_000 * SECOND_NS
SETTINGS = LimiterSettings(write_per_project=60, write_per_user=30, spreadsheet_spacing_ns=1)


def lane(number: int = 0, user: str = "u", spreadsheet: str = "", calls: int = 1000, **more: int) -> LaneDemand:
    return LaneDemand(lane=number, kind="write", user=user, spreadsheet=spreadsheet, calls=calls, **more)


def request(holder: str, *lanes: LaneDemand, sequence: int = 1, **more: object) -> TokenRequest:
    return TokenRequest(holder=holder, run=1, sequence=sequence, fairness_key=holder, lanes=lanes, **more)


def through_json(limiter: Limiter) -> Limiter:
    return restore(LimiterCheckpoint.model_validate_json(dump(limiter).model_dump_json()))


def changed(**what: object) -> LimiterSettings:
    return SETTINGS.model_copy(update=what)


def served(limiter: Limiter) -> str:
    return limiter.waiters["h"].served


def test_the_pace_outlives_its_tokens() -> None:
    """A paced token that came back, or has left the window, leaves the next one where it was: also after a checkpoint."""
    limiter = Limiter(changed(write_per_user=1, burst=0.0, pace=0.5), epoch=1)
    limiter.request(NOW, request("h", lane()))
    first = limiter.grant(NOW)["h"].tokens[0][0]
    paced = limiter.buckets.user("write", "u").paced_until_ns
    assert paced > first + limiter.buckets.hold_ns
    later = through_json(limiter)
    for now in (first + limiter.buckets.hold_ns + 1, first + limiter.buckets.hold_ns + SECOND_NS):
        for one in (limiter, later):
            one.expire(now)
            assert one.buckets.user("write", "u").paced_until_ns == paced


def test_a_shorter_age_acts_on_those_who_wait() -> None:
    """Not when the old age would have come."""
    limiter = Limiter(changed(write_per_user=1, write_per_project=2), epoch=1)
    limiter.request(NOW, request("h", lane(), priority="low"))
    limiter.grant(NOW)
    limiter.configure(changed(write_per_user=1, write_per_project=2, age_after_ns=10 * SECOND_NS))
    limiter.grant(NOW + 13 * SECOND_NS)
    assert limiter.waiters["h"].aged


def test_another_budget_acts_at_the_next_round() -> None:
    """Raised, an owner is urgent again; lowered, one that is beyond it is not."""
    limiter = Limiter(changed(urgent_budget=2), epoch=1)
    limiter.request(NOW, request("h", lane(), priority="urgent"))
    limiter.grant(NOW)
    assert served(limiter) == "normal"
    limiter.configure(changed(urgent_budget=5))
    limiter.request(NOW, request("h", lane(calls=0), sequence=2, priority="urgent"))
    limiter.grant(NOW + 2 * SECOND_NS)
    assert served(limiter) == "urgent"
    limiter.configure(changed(urgent_budget=1))
    limiter.grant(NOW + 3 * SECOND_NS)
    assert served(limiter) == "normal"


def test_urgent_tokens_that_come_back_bring_their_owner_back_inside_its_budget() -> None:
    """What was not used is not spent."""
    limiter = Limiter(changed(urgent_budget=2), epoch=1)
    limiter.request(NOW, request("h", lane(calls=2), priority="urgent"))
    grant = limiter.grant(NOW)["h"]
    assert served(limiter) == "normal"
    unused = (Unused(grant_id=grant.grant_id, lane=0, tokens=(0, 1)),)
    limiter.settle(NOW, Settlement(holder="h", epoch=1, unused=unused))
    limiter.grant(NOW + SECOND_NS // 10)
    limiter.grant(NOW + 2 * SECOND_NS)
    assert limiter.ranks.spent["h"].times
    assert all(at > NOW + SECOND_NS // 10 for at in limiter.ranks.spent["h"].times)


def fails(limiter: Limiter, now: int, spreadsheet: str, times: int = 1) -> None:
    limiter.settle(
        now, Settlement(holder="", epoch=1, overloads=(Overload(spreadsheet=spreadsheet, at_ns=now),) * times)
    )


def test_lanes_before_a_spreadsheet_go_on_as_soon_as_its_circuit_closes() -> None:
    """Not when the probe would have been lost; two holders share the spreadsheet."""
    limiter = Limiter(SETTINGS, epoch=1)
    for holder in ("a", "b"):
        limiter.request(NOW, request(holder, lane(user=holder, spreadsheet="s")))
    fails(limiter, NOW, "s", 3)
    probe = next(iter(limiter.grant(NOW + SECOND_NS).values()))
    assert probe.probes == {0: "sheet/s"}
    assert not limiter.grant(NOW + 2 * SECOND_NS)
    limiter.settle(NOW + 2 * SECOND_NS, Settlement(holder="", epoch=1, probed=(Probed(circuit="sheet/s", ok=True),)))
    assert limiter.grant(NOW + 2 * SECOND_NS)


def test_lanes_before_a_spreadsheet_are_not_held_by_its_circuit_once_the_apis_is_open() -> None:
    """The API's circuit stands for all of them, so its probe may be for that spreadsheet."""
    limiter = Limiter(SETTINGS, epoch=1)
    for holder in ("a", "b"):
        limiter.request(NOW, request(holder, lane(user=holder, spreadsheet="s")))
    fails(limiter, NOW, "s", 3)
    assert limiter.grant(NOW + SECOND_NS)
    assert not limiter.grant(NOW + 2 * SECOND_NS)
    for spreadsheet in ("s1", "s2", "s3"):
        fails(limiter, NOW + 2 * SECOND_NS, spreadsheet)
    assert limiter.health.circuits["api"].open
    assert limiter.grant(NOW + 3 * SECOND_NS)


def test_an_owner_that_becomes_lighter_does_not_get_back_a_turn_that_it_has_lost() -> None:
    """What is kept of a turn is counted in calls of the weight that it was kept under: turns never go back."""
    turns = Turns({"urgent": 0.7, "normal": 0.2, "low": 0.1})
    heavy = turns.join("normal", "heavy", 2.0)
    turns.virtual["normal"] = 100 * STRIDE
    kept = turns.passed("normal", heavy)
    assert kept == 100 * STRIDE - KEPT_CALLS * STRIDE // 2
    turns.join("normal", "heavy", 0.5)
    assert turns.passed("normal", heavy) == kept


def test_an_owner_that_books_gets_no_more_than_its_share() -> None:
    """Low has a tenth beside urgent: so many bookings a minute and the few that may go at once, however often it asks."""
    limiter = Limiter(changed(users={"busy": UserLimits(write=1)}), epoch=1)
    limiter.request(NOW, request("h", lane(user="busy"), priority="urgent"))
    limiter.grant(NOW)
    given = 0
    for step in range(600):
        ask = Booking(
            id=f"b{given}", holder="x", kind="write", user=f"x{given % 9}", spreadsheet="", priority="low",
            fairness_key="x",
        )  # fmt: skip
        given += isinstance(limiter.book(NOW + step * SECOND_NS // 5, ask), Booked)
    assert 8 <= given <= 0.1 * 120 + 5


def test_a_lane_whose_calls_are_quicker_now_fits_before_a_booked_start() -> None:
    """Not only when the start that it would have overlapped is over."""
    limiter = Limiter(changed(users={"full": UserLimits(write=1)}, spreadsheet_spacing_ns=SECOND_NS), epoch=1)
    for number, spreadsheet in enumerate(("", "s")):
        ask = Booking(id=f"b{number}", holder="x", kind="write", user="full", spreadsheet=spreadsheet)
        limiter.book(NOW, ask)
    now = NOW + 59 * SECOND_NS
    limiter.request(now, request("h", lane(spreadsheet="s", latency_p95_ns=2 * SECOND_NS)))
    assert not limiter.grant(now)
    limiter.request(now, request("h", lane(spreadsheet="s"), sequence=2))
    assert limiter.grant(now + SECOND_NS // 10)


def test_only_the_latest_calls_count_when_a_spreadsheet_fails() -> None:
    """Twenty calls of a minute ago keep no circuit closed, be they forgotten yet or not."""
    limiter = Limiter(SETTINGS, epoch=1)
    limiter.request(NOW, request("h", lane(spreadsheet="s", calls=20), priority="urgent"))
    assert len(limiter.grant(NOW)["h"].tokens[0]) == 20
    fails(limiter, NOW + 60 * SECOND_NS, "s", 3)
    assert limiter.health.open_for("s") == "sheet/s"
