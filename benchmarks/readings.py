"""What the emulator's ledger says about arrivals; instants are of the machine's monotonic clock, as `time.monotonic` reads it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import ceil
from typing import Any

Ledger = dict[str, Any]
Call = dict[str, Any]


def arrivals(ledger: Ledger, *, foreign: bool = False, kind: str = "write", passed: bool = False) -> list[float]:
    """When our calls (or a foreign client's) of that kind arrived, rising; with `passed` those that no quota refused.

    Without a kind: all.
    """
    return sorted(
        call["arrived"]
        for call in calls_of(ledger, foreign=foreign)
        if kind in ("", call["kind"]) and not (passed and call["status"] == 429)
    )


def calls_of(ledger: Ledger, *, foreign: bool = False) -> list[Call]:
    """Our calls, or a foreign client's: those of users that are not in the credentials file."""
    return [call for call in ledger["calls"] if call["user"].startswith("foreign") == foreign]


def throttled(ledger: Ledger) -> int:
    """429s that we were answered."""
    return sum(call["status"] == 429 for call in calls_of(ledger))


def between(times: Sequence[float], start: float, end: float) -> int:
    """How many of them lie in [start, end)."""
    return bisect_left(times, end) - bisect_left(times, start)


def by_span(times: Sequence[float], start: float, end: float, span: float) -> list[int]:
    """How many lie in each whole span from start on."""
    return [between(times, start + n * span, start + (n + 1) * span) for n in range(int((end - start) // span + 1e-9))]


def most_behind(times: Sequence[float], since: float, window: float) -> int:
    """The most in any (t - window, t] that ends with an arrival at t >= since."""
    first = bisect_left(times, since)
    return max((n + 1 - bisect_right(times, times[n] - window) for n in range(first, len(times))), default=0)


def full_again_after(times: Sequence[float], since: float, window: float, enough: float) -> float | None:
    """Seconds from `since` to the end of the first window behind it that holds `enough`; None if there is none."""
    for n in range(bisect_left(times, since), len(times)):
        if n + 1 - bisect_right(times, times[n] - window) >= enough:
            return times[n] - since
    return None


def steady_after(times: Sequence[float], since: float, stretch: float, enough: float) -> float | None:
    """Seconds from `since` to the start of the first stretch ahead of it that holds `enough`; None if there is none."""
    starts = [since, *times[bisect_left(times, since) :]]
    return next((start - since for start in starts if between(times, start, start + stretch) >= enough), None)


def percentiles(amounts: Sequence[float]) -> dict[str, float]:
    """Nearest ranks: the least amount that so many percent do not exceed."""
    ranked = sorted(amounts)
    if not ranked:
        return {"count": 0}
    named = {f"p{percent}": ranked[ceil(percent / 100 * len(ranked)) - 1] for percent in (50, 95, 99)}
    return {**named, "max": ranked[-1], "count": len(ranked)}
