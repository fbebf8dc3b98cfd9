"""The expected duration is about what the real dispenser needs for the same lanes beside the same others."""

from __future__ import annotations

import pytest

from headgate.forecast import CALL_NS, Demand, calls_of, forecast, supplies
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.requests import LaneEntry
from headgate.messages.tokens import LaneDemand, LimiterSettings, TokenRequest, UserLimits
from headgate.messages.views import LimiterView
from headgate.messages.words import Priority
from headgate.shown import view

NOW = 1_000 * SECOND_NS
Lanes = list[tuple[str, str, int]]
"""User, spreadsheet, writes."""


def entry(number: int, user: str, spreadsheet: str, calls: int, **more: object) -> LaneEntry:
    fields = {"kind": "write", "first_batch": 0, "batches": calls, "operations": calls, **more}
    return LaneEntry(lane=number, user=user, spreadsheet=spreadsheet, **fields)


def asked(holder: str, lanes: Lanes, priority: Priority, sequence: int = 1) -> TokenRequest:
    demands = tuple(
        LaneDemand(
            lane=n, kind="write", user=user, spreadsheet=sheet, calls=calls, latency_ns=CALL_NS, latency_p95_ns=CALL_NS
        )
        for n, (user, sheet, calls) in enumerate(lanes)
    )
    return TokenRequest(holder=holder, run=1, sequence=sequence, priority=priority, fairness_key=holder, lanes=demands)


def dispensed(limiter: Limiter, holder: str, calls: int) -> float:
    """How long it takes until so many tokens of this holder have come, and their calls have ended."""
    now, times = NOW, list[int]()
    while len(times) < calls:
        for name, grant in limiter.grant(now).items():
            times += [at for lane in grant.tokens.values() for at in lane] if name == holder else []
        now = limiter.next_round(now) or now + SECOND_NS
        assert now < NOW + 7_200 * SECOND_NS, "it never ends"
    return (sorted(times)[calls - 1] - NOW + CALL_NS) / SECOND_NS


def expected(lanes: Lanes, settings: LimiterSettings, seen: LimiterView | None, priority: Priority) -> float:
    demand = Demand()
    for number, (user, sheet, calls) in enumerate(lanes):
        demand.add(entry(number, user, sheet, calls))
    return forecast(demand, supplies(settings, seen, priority, "mine"), settings).seconds


GOOGLE = LimiterSettings()
MANY = [(f"u{n % 10}", f"s{n}", 10) for n in range(60)]
CASES: dict[str, tuple[Lanes, LimiterSettings]] = {
    "the project's quota": (MANY, GOOGLE),
    "a user's quota": ([("u0", f"s{n}", 30) for n in range(8)], GOOGLE),
    "a user's own quota": (
        [("u0", f"s{n}", 30) for n in range(8)],
        GOOGLE.model_copy(update={"users": {"u0": UserLimits(write=120)}}),
    ),
    "one spreadsheet": ([(f"u{n}", "s0", 40) for n in range(5)], GOOGLE),
    "a lane": ([("u0", "s0", 50)], GOOGLE),
}


@pytest.mark.parametrize("name", CASES)
def test_alone(name: str) -> None:
    lanes, settings = CASES[name]
    limiter = Limiter(settings, epoch=1)
    limiter.request(NOW, asked("mine", lanes, "normal"))
    took = dispensed(limiter, "mine", sum(calls for _, _, calls in lanes))
    assert expected(lanes, settings, None, "normal") == pytest.approx(took, rel=0.12)
    assert expected(lanes, settings, view(Limiter(settings, epoch=1), "p", NOW), "normal") == pytest.approx(
        took, rel=0.12
    )


@pytest.mark.parametrize("priority", ["urgent", "normal", "low"])
@pytest.mark.parametrize("others", [("normal",), ("urgent", "low"), ("normal", "normal", "low")])
def test_beside_others(priority: Priority, others: tuple[Priority, ...]) -> None:
    """What their shares are is the limiter's to say: they ask first, and never have enough.

    A class above that leaves some of its share makes it shorter than expected, never longer.
    """
    limiter = Limiter(GOOGLE, epoch=1)
    for number, other in enumerate(others):
        lanes = [(f"o{number}-{n}", f"o{number}-{n}", 100_000) for n in range(30)]
        limiter.request(NOW, asked(f"other{number}", lanes, other))
    seen = view(limiter, "p", NOW)
    limiter.request(NOW, asked("mine", MANY, priority))
    took = dispensed(limiter, "mine", 600)
    said = expected(MANY, GOOGLE, seen, priority)
    assert 0.85 * took <= said <= (1.7 if "urgent" in others and priority != "urgent" else 1.15) * took


def test_calls_by_kind() -> None:
    assert calls_of(entry(0, "u", "s", 5, look_up=True)) == {"read": 1, "write": 4}
    assert calls_of(entry(0, "u", "s", 5, kind="read")) == {"read": 5, "write": 0}
    assert calls_of(entry(0, "u", "s", 7, look_up=True, runs=(2, 3, 1))) == {"read": 4, "write": 3}
    assert calls_of(entry(0, "u", "s", 3, kind="write", runs=(0, 3))) == {"read": 3, "write": 0}


def test_nothing_takes_no_time() -> None:
    assert expected([], GOOGLE, None, "normal") == 0.0
