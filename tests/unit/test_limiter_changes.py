"""What changes while somebody waits acts at once: aging, budgets, weights, circuits, the pace; through a checkpoint, too."""

from __future__ import annotations

from headgate.checkpoint import dump, restore
from headgate.limiter import Limiter
from headgate.models import (
    SECOND_NS,
    Booked,
    Booking,
    LaneDemand,
    LimiterCheckpoint,
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
