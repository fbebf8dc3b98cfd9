"""Rows of data for fairness and floors, and what is read from the tokens' times; the benchmarks and a test share them.

Quotas are Google's defaults: 300 calls a minute for the project, 60 for each user. Every lane has a user of its own, and a
call takes 1.2 s, so that the project's quota is what there is too little of.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.simulated import FOREVER_S, START_NS, Clockwork, Given, Holder
from headgate.limiter import Limiter
from headgate.messages.tokens import LimiterSettings
from headgate.messages.words import Priority

MINUTE_S: Final = 60.0
#: A control acts within so many seconds (the promise): a class that has just come is not yet measured.
ACTS_WITHIN_S: Final = 2.0
FLOORS: Final[Mapping[Priority, float]] = {"normal": 0.19, "low": 0.095}


@dataclass(frozen=True)
class FairRow:
    """Owners, what part of the calls each is to get from second `begins` to `ends`, within which margin of that part."""

    name: str
    holders: tuple[Holder, ...]
    shares: Mapping[str, float]
    jain: float = 0.998
    margin: float = 0.03
    begins: float = 30.0
    ends: float = 210.0


@dataclass(frozen=True)
class FloorRow:
    """Classes that come and go; each is to get its floor in every minute throughout which it has a backlog."""

    name: str
    holders: tuple[Holder, ...]
    ends: float = 300.0
    floors: Mapping[Priority, float] = field(default_factory=lambda: FLOORS)


def _owners(lanes: Sequence[int], weights: Sequence[float] = (), **more: Any) -> tuple[Holder, ...]:
    """One holder an owner, named by number from 1."""
    given = weights or [1.0] * len(lanes)
    return tuple(
        Holder(f"h{n}", f"o{n}", weight=weight, lanes=count, **more)
        for n, (count, weight) in enumerate(zip(lanes, given, strict=True), 1)
    )


def _equal(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 1 / len(names))


_NINE = _equal(*(f"o{n}" for n in range(1, 10)))
_SMALL = _owners([1] * 5, calls=150)
_LARGE = tuple(Holder(f"h{n}", f"o{n}", lanes=9, calls=2_400) for n in range(6, 10))

FAIRNESS: Final = (
    FairRow("nine equal owners", _owners([3] * 9), _NINE, jain=0.999, margin=0.02),
    FairRow("nine owners with 1 to 9 lanes", _owners(range(1, 10)), _NINE),
    FairRow("five small and four large, while all have a backlog", _SMALL + _LARGE, _NINE),
    FairRow(
        "five small and four large, the small ones done",
        _SMALL + _LARGE,
        _equal("o6", "o7", "o8", "o9"),
        begins=300.0,
        ends=480.0,
    ),
    FairRow(
        "weights 1 to 4",
        _owners([8] * 4, [1.0, 2.0, 3.0, 4.0]),
        {"o1": 0.1, "o2": 0.2, "o3": 0.3, "o4": 0.4},
    ),
    FairRow(
        "weights against lanes: the light owner has nine, the heavy one four",
        _owners([9, 9, 4], [1.0, 2.0, 3.0]),
        {"o1": 1 / 6, "o2": 2 / 6, "o3": 3 / 6},
    ),
    FairRow(
        "an owner with six requests gets no more than one with one",
        (*(Holder(f"many-{n}", "many", lanes=2) for n in range(6)), Holder("one", "one", lanes=6)),
        _equal("many", "one"),
    ),
    FairRow(
        "one asks for less than its share, and gets it",
        (Holder("modest", "modest", lanes=2, per_minute=15), *_owners([4] * 3)),
        {"modest": 15 / 297, **dict.fromkeys(("o1", "o2", "o3"), 94 / 297)},
        margin=0.05,
    ),
    FairRow(
        "absence earns nothing",
        (*_owners([4] * 3), Holder("late", "late", lanes=4, present=((100.0, FOREVER_S),))),
        _equal("o1", "o2", "o3", "late"),
        begins=105.0,
        ends=285.0,
    ),
)


def _class(priority: Priority, *present: tuple[float, float], lanes: int = 12) -> Holder:
    return Holder(priority, priority, priority, lanes=lanes, present=present or ((0.0, FOREVER_S),))


_EVERY_45_S = tuple((start, start + 45.0) for start in range(0, 300, 90))
_THREE_TIMES = ((7.0, 100.0), (133.0, 201.0), (222.0, FOREVER_S))

FLOOR_ROWS: Final = (
    FloorRow("all three saturate", (_class("urgent"), _class("normal"), _class("low"))),
    FloorRow("urgent and low", (_class("urgent"), _class("low"))),
    FloorRow("urgent and normal", (_class("urgent"), _class("normal"))),
    FloorRow("normal and low", (_class("normal"), _class("low"))),
    FloorRow("low has one lane, normal two", (_class("urgent"), _class("normal", lanes=2), _class("low", lanes=1))),
    FloorRow("low has one lane, urgent sixty", (_class("urgent", lanes=60), _class("normal"), _class("low", lanes=1))),
    FloorRow("urgent joins", (_class("urgent", (40.0, FOREVER_S)), _class("normal", lanes=2), _class("low", lanes=1))),
    FloorRow("urgent comes and goes", (_class("urgent", *_EVERY_45_S), _class("normal"), _class("low"))),
    FloorRow("normal comes and goes", (_class("urgent"), _class("normal", *_THREE_TIMES), _class("low"))),
    FloorRow("low comes and goes", (_class("urgent"), _class("normal"), _class("low", *_THREE_TIMES))),
    FloorRow(
        "a new urgent request every 10 s",
        (
            *(Holder(f"u{n}", f"u{n % 7}", "urgent", lanes=4, calls=40, present=((10.0 * n, FOREVER_S),)) for n in range(30)),
            _class("normal"),
            _class("low"),
        ),
    ),
)  # fmt: skip


def play(holders: Sequence[Holder], seconds: float) -> list[Given]:
    """The tokens that a new limiter with the default settings gives these holders."""
    limiter = Limiter(LimiterSettings(), epoch=START_NS)
    return Clockwork(limiter, holders).run(seconds)


def jain(amounts: Sequence[float]) -> float:
    """Jain's index: 1 where all are equal, 1/n where one has everything."""
    return sum(amounts) ** 2 / (len(amounts) * sum(amount**2 for amount in amounts))


def fairness(row: FairRow) -> dict[str, Any]:
    """Each owner's part of the calls against its share, the index over both, and the largest relative error."""
    owners = {holder.name: holder.owner for holder in row.holders}
    given = [token for token in play(row.holders, row.ends) if token.at >= row.begins]
    calls = Counter(owners[token.holder] for token in given)
    parts = {owner: calls[owner] / len(given) for owner in row.shares}
    errors = [abs(parts[owner] / share - 1) for owner, share in row.shares.items()]
    return {
        "jain": jain([parts[owner] / share for owner, share in row.shares.items()]),
        "largest_error": max(errors),
        "calls_per_minute": len(given) / (row.ends - row.begins) * MINUTE_S,
        "parts": parts,
    }


def floors(row: FloorRow) -> dict[Priority, dict[str, float]]:
    """For each class its least part of the calls in any minute throughout which it has a backlog."""
    classes = {holder.name: holder.priority for holder in row.holders}
    given = play(row.holders, row.ends)
    times = [token.at for token in given]
    least: dict[Priority, dict[str, float]] = {}
    for priority in row.floors:
        counted = [0]
        for token in given:
            counted.append(counted[-1] + (classes[token.holder] == priority))
        spans = [span for holder in row.holders if holder.priority == priority for span in holder.present]
        for name, starts in (("aligned", _aligned(spans, row.ends)), ("sliding", _sliding(spans, times, row.ends))):
            parts = [part for start in starts if (part := _part(start, times, counted)) is not None]
            if parts:
                least.setdefault(priority, {})[name] = min(parts)
    return least


def _part(start: float, times: Sequence[float], counted: Sequence[int]) -> float | None:
    first, behind = bisect_left(times, start), bisect_left(times, start + MINUTE_S)
    return (counted[behind] - counted[first]) / (behind - first) if behind > first else None


def _whole(begins: float, ends: float, end: float) -> tuple[float, float]:
    """The first and the last instant at which a minute of that span can start."""
    return begins + ACTS_WITHIN_S, min(ends, end) - MINUTE_S


def _aligned(spans: Sequence[tuple[float, float]], end: float) -> list[float]:
    bounds = [_whole(begins, ends, end) for begins, ends in spans]
    return [n * MINUTE_S for n in range(int(end // MINUTE_S)) if any(a - ACTS_WITHIN_S <= n * MINUTE_S <= b for a, b in bounds)]  # fmt: skip


def _sliding(spans: Sequence[tuple[float, float]], times: Sequence[float], end: float) -> list[float]:
    """A least part is reached just behind a token, or just when a token leaves at the end: those minutes are enough."""
    bounds = [_whole(begins, ends, end) for begins, ends in spans]
    starts = sorted({edge for at in times for edge in (at + 1e-9, at - MINUTE_S + 1e-9, at - MINUTE_S)})
    return [start for start in starts if any(a <= start <= b for a, b in bounds)]
