"""Bounds that people are promised: floors, fairness, nobody starves, urgent budgets, shared spreadsheets."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import LaneDemand, LimiterSettings, TokenRequest
from headgate.messages.words import Kind, Priority
from headgate.ordering import BUDGET_WINDOW_NS

NOW = 1_000 * SECOND_NS
CLASSES: tuple[Priority, ...] = ("urgent", "normal", "low")
PLENTY = 1_000_000


def lane(number: int, user: str, spreadsheet: str = "", kind: Kind = "write", latency: int = 1) -> LaneDemand:
    return LaneDemand(
        lane=number,
        kind=kind,
        user=user,
        spreadsheet=spreadsheet,
        calls=PLENTY,
        latency_ns=latency,
        latency_p95_ns=latency,
    )


def wants(limiter: Limiter, holder: str, *lanes: LaneDemand, owner: str = "", **more: object) -> None:
    said = TokenRequest(holder=holder, run=1, sequence=1, fairness_key=owner or holder, lanes=lanes, **more)
    limiter.request(NOW, said)


def run(limiter: Limiter, seconds: float, begin: int = NOW) -> list[tuple[int, str, int]]:
    """Rounds as the workflow holds them, some of them woken early: every token as (time, holder, lane), in order."""
    rng, now, tokens = Random(seconds), begin, []
    while now < begin + seconds * SECOND_NS:
        for holder, grant in limiter.grant(now).items():
            tokens += [(at, holder, n) for n, times in grant.tokens.items() for at in times]
        due = limiter.next_round(now) or now + SECOND_NS
        now = min(due, now + rng.choice((due, due, SECOND_NS // 5)))
    return sorted(tokens)


@pytest.mark.parametrize("floors", [(0.7, 0.2, 0.1), (0.4, 0.3, 0.3), (0.5, 0.25, 0.25), (0.1, 0.1, 0.8)])
@pytest.mark.parametrize("classes", [CLASSES, ("urgent", "low"), ("normal", "low"), ("urgent", "normal")])
def test_a_class_that_can_always_send_has_its_floor_in_every_window(
    floors: tuple[float, float, float], classes: tuple[Priority, ...]
) -> None:
    """Of the calls of any sliding minute at least its floor, less one call at each edge of it."""
    named = dict(zip(CLASSES, floors, strict=True))
    limiter = Limiter(
        LimiterSettings(
            write_per_project=120,
            write_per_user=120,
            floor_urgent=floors[0],
            floor_normal=floors[1],
            floor_low=floors[2],
        ),
        epoch=1,
    )
    for c in classes:
        for half in ("a", "b"):
            wants(limiter, f"{c}/{half}", *[lane(n, f"{c}{half}{n}") for n in range(64)], priority=c)
    tokens = run(limiter, 250)
    times = [at for at, _, _ in tokens]
    for c in classes:
        before = [0]
        for _, holder, _ in tokens:
            before.append(before[-1] + holder.startswith(c))
        end = 0
        for first, start in enumerate(times):
            while end < len(times) and times[end] < start + 60 * SECOND_NS:
                end += 1
            if end == len(times):
                break
            if first and times[first - 1] == start:
                continue
            assert before[end] - before[first] >= named[c] * (end - first) - 2


@pytest.mark.parametrize("seed", range(6))
def test_owners_that_can_always_send_stay_within_two_calls_of_their_weights(seed: int) -> None:
    """At any moment any two owners of one class, per unit of weight, whatever their numbers of holders, lanes and users."""
    rng = Random(seed)
    limiter = Limiter(LimiterSettings(write_per_project=100, write_per_user=100), epoch=1)
    weights = {f"o{n}": rng.choice((1.0, 1.0, 2.0, 4.0)) for n in range(rng.randint(2, 6))}
    for owner, weight in weights.items():
        for holder in range(rng.randint(1, 3)):
            lanes = [lane(n, f"{owner}-{holder}-{n}") for n in range(rng.randint(1, 6))]
            wants(limiter, f"{owner}-{holder}", *lanes, owner=owner, weight=weight)
    got: Counter[str] = Counter()
    tokens = run(limiter, 300)
    for (at, name, _), (later, _, _) in pairwise(tokens):
        got[name.split("-")[0]] += 1
        if later == at:
            continue
        turns = {owner: got[owner] / weight for owner, weight in weights.items()}
        assert max(turns.values()) - min(turns.values()) <= 2.0


@pytest.mark.parametrize("floors", [(0.7, 0.2, 0.1), (1.0, 0.0, 0.0)])
def test_waiting_raises_who_would_starve(floors: tuple[float, float, float]) -> None:
    """With floors of nothing for the others, urgent takes all: normal gets its call within the age and a share of the line."""
    limiter = Limiter(
        LimiterSettings(
            write_per_project=120, write_per_user=120, age_after_ns=30 * SECOND_NS, pace=1.0, window_ns=6 * SECOND_NS,
            floor_urgent=floors[0], floor_normal=floors[1], floor_low=floors[2],
        ),
        epoch=1,
    )  # fmt: skip
    for n in range(5):
        wants(limiter, f"urgent{n}", *[lane(k, f"u{n}-{k}") for k in range(4)], priority="urgent")
    wants(limiter, "normal", lane(0, "n"), priority="normal")
    times = [NOW, *(at for at, holder, _ in run(limiter, 200) if holder == "normal")]
    assert len(times) > 5
    assert all(b - a <= 40 * SECOND_NS for a, b in pairwise(times))


def beside_many_urgent(floors: tuple[float, float, float], raises_to_a_floor: bool = True) -> Limiter:
    """One low holder that is raised after 5 s, and more urgent lanes than could be served."""
    settings = LimiterSettings(
        age_after_ns=5 * SECOND_NS, floor_urgent=floors[0], floor_normal=floors[1], floor_low=floors[2]
    )
    limiter = Limiter(settings, epoch=1, raises_to_a_floor=raises_to_a_floor)
    for n in range(6):
        wants(limiter, f"urgent{n}", *[lane(k, f"u{n}-{k}") for k in range(64)], priority="urgent")
    wants(limiter, "low", lane(0, "n"), priority="low")
    return limiter


def test_low_is_raised_past_a_class_that_has_no_floor() -> None:
    """As normal it would starve just so: a floor of nothing is no promise, but nobody waits for good."""
    times = [NOW, *(at for at, holder, _ in run(beside_many_urgent((1.0, 0.0, 0.0)), 130) if holder == "low")]
    assert len(times) > 5
    assert all(b - a <= 15 * SECOND_NS for a, b in pairwise(times))


def test_low_is_raised_by_one_class_where_that_has_a_floor() -> None:
    """It gets its calls as normal, and never as urgent."""
    limiter, paid = beside_many_urgent((0.9, 0.1, 0.0)), []
    for step in range(100):
        lease = limiter.grant(NOW + step * 1_200_000_000).get("low")
        paid += [held[5] for held in lease.held] if lease is not None else []
    assert len(paid) > 5
    assert set(paid) == {"normal"}


def test_who_has_waited_keeps_its_class_where_none_above_has_a_floor() -> None:
    """Each call of the light owner comes after its age; as urgent, with a floor of nothing, it would get none at all."""
    settings = LimiterSettings(age_after_ns=5 * SECOND_NS, floor_urgent=0.0, floor_normal=0.9, floor_low=0.1)
    limiter = Limiter(settings, epoch=1)
    wants(limiter, "busy", *[lane(k, f"b{k}") for k in range(64)])
    wants(limiter, "low", *[lane(k, f"l{k}") for k in range(64)], priority="low")
    wants(limiter, "light", lane(0, "l"), weight=0.02)
    times = [NOW, *(at for at, holder, _ in run(limiter, 130) if holder == "light")]
    assert len(times) > 5
    assert max(b - a for a, b in pairwise(times)) > settings.age_after_ns, "it was never raised"
    assert all(b - a <= 20 * SECOND_NS for a, b in pairwise(times))


def test_in_a_run_of_an_earlier_release_low_is_raised_by_one_class_only() -> None:
    """With floors of nothing to normal, which has none either: or its history would not replay."""
    limiter = beside_many_urgent((1.0, 0.0, 0.0), raises_to_a_floor=False)
    assert not any(holder == "low" for _, holder, _ in run(limiter, 130))
    assert limiter.waiters["low"].served == "normal"


@pytest.mark.parametrize("budget", [1, 7, 50])
def test_an_owner_makes_no_more_urgent_calls_than_its_budget_and_is_never_refused(budget: int) -> None:
    """In any 10 minutes, over all its holders; as normal it goes on getting calls."""
    limiter = Limiter(
        LimiterSettings(write_per_project=60, write_per_user=60, urgent_budget=budget, age_after_ns=5000 * SECOND_NS),
        epoch=1,
    )
    for n in range(2):
        wants(limiter, f"busy{n}", *[lane(k, f"b{n}{k}") for k in range(3)], owner="busy", priority="urgent")
    wants(limiter, "other", *[lane(k, f"o{k}") for k in range(3)])
    urgent: list[int] = []
    given = now = 0
    for step in range(1200):
        now = NOW + step * 1_200_000_000
        limiter.grant(now)
        for _, key, _, expires_ns, held in limiter.leases.values():
            if expires_ns == now + 11_800_000_000 and key == "busy":
                urgent += [token[1] for token in held if token[5] == "urgent"]
                given += len(held)
    urgent.sort()
    assert all(b - a >= BUDGET_WINDOW_NS for a, b in zip(urgent, urgent[budget:], strict=False))
    assert len(urgent) >= 2 * budget
    assert given >= 1200 * 1.2 * 60 / 60.6 * 0.45


@pytest.mark.parametrize("kinds", [("write", "write"), ("read", "write"), ("read", "read")])
@pytest.mark.parametrize("busy", [False, True])
def test_a_shared_spreadsheet_is_shared(kinds: tuple[Kind, Kind], busy: bool) -> None:
    """Two holders on one spreadsheet take turns, be it two of a kind or a reader and a writer; also beside a backlog."""
    limiter = Limiter(LimiterSettings(), epoch=1)
    for holder, kind in zip("ab", kinds, strict=True):
        wants(limiter, holder, lane(0, holder, "shared", kind, latency=1_500_000_000))
    if busy:
        wants(limiter, "busy", *[lane(n, f"u{n}", f"own{n}", latency=1_000_000_000) for n in range(12)])
    tokens = [(at, holder) for at, holder, _ in run(limiter, 120) if holder != "busy"]
    assert all(b - a >= 1_500_000_000 for (a, _), (b, _) in pairwise(tokens))
    counts = Counter(holder for _, holder in tokens)
    assert len(tokens) >= 70 if not busy else len(tokens) >= 50, counts
    assert abs(counts["a"] - counts["b"]) <= 2 + len(tokens) // 10, counts
