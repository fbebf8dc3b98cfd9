"""What one token costs does not grow with the number of those who wait: counted in calls of functions, never in time."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import LaneDemand, LimiterSettings, TokenRequest

NOW = 1_000 * SECOND_NS
#: Shapes of a crowd: the owner and the user of the waiter of that number.
SHAPES = {
    "each its own user and owner": ("o{n}", "u{n}"),
    "one user, many owners": ("o{n}", "u"),
    "one owner, many users": ("o", "u{n}"),
    "one owner, one user": ("o", "u"),
    "some owners, some users": ("o{few}", "u{some}"),
}


def crowd(waiters: int, shape: str, shared: bool) -> Limiter:
    """So many holders with a lane each, and the limiter warm: everybody stands where it belongs."""
    owner, user = SHAPES[shape]
    limiter = Limiter(LimiterSettings(write_per_project=3000, write_per_user=600, age_after_ns=10**15), epoch=1)
    for n in range(waiters):
        names = {"n": n, "few": n % 7, "some": n % 31}
        demand = LaneDemand(
            lane=0, kind="write", user=user.format(**names), spreadsheet=f"s{n % 50}" if shared else f"s{n}", calls=50,
            latency_ns=SECOND_NS, latency_p95_ns=SECOND_NS,
        )  # fmt: skip
        said = TokenRequest(
            holder=f"h{n}", run=1, sequence=1, fairness_key=owner.format(**names), submitted_at_ns=n, lanes=(demand,)
        )
        limiter.request(NOW, said)
    for number in range(6):
        limiter.grant(NOW + number * 1_200_000_000)
    return limiter


def calls_per_token(waiters: int, shape: str, shared: bool = False) -> float:
    """Calls of functions, built in or not, for each token of twenty rounds."""
    limiter = crowd(waiters, shape, shared)
    calls = 0

    def count(_frame: FrameType, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = limiter.granted
    for number in range(6, 26):
        now = NOW + number * 1_200_000_000
        sys.setprofile(count)
        try:
            limiter.grant(now)
        finally:
            sys.setprofile(None)
    given = limiter.granted - before
    assert given >= 150, "too few tokens to count by"
    return calls / given


@pytest.mark.parametrize("shape", SHAPES)
def test_a_token_costs_the_same_beside_200_and_beside_4000(shape: str) -> None:
    """At most twice as many calls of functions: what a heap is deeper, and nothing that looks at everybody."""
    few, many = calls_per_token(200, shape), calls_per_token(4000, shape)
    assert many <= 2 * few, (few, many)
