"""What the alerts of a limiter are told, say and carry over; the rules are those of `headgate.alerts`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from headgate.message import SECOND_NS, Message

Condition = Literal["quota", "throttled", "circuit", "waiting"]
Phase = Literal["raised", "cleared"]


class AlertSettings(Message):
    """What deserves a person's attention. Shares are parts of a quota's limit."""

    quota_share: PositiveFloat = 0.95
    quota_for_ns: NonNegativeInt = 600 * SECOND_NS
    quota_clear_share: PositiveFloat = 0.9
    throttled_quiet_ns: PositiveInt = 300 * SECOND_NS
    wait_urgent_ns: PositiveInt = 10 * SECOND_NS
    wait_normal_ns: PositiveInt = 300 * SECOND_NS
    wait_low_ns: PositiveInt = 1800 * SECOND_NS
    clear_after_ns: PositiveInt = 60 * SECOND_NS
    flapping_ns: PositiveInt = 1800 * SECOND_NS
    gap_ns: PositiveInt = 60 * SECOND_NS
    most_subjects: PositiveInt = 20


class Readings(Message):
    """What the limiter reports of one moment.

    `used`: bucket -> the share of its limit used in the last window. `throttled`: bucket -> 429s ever counted; one that
    is left out begins again at nothing. `circuits`: a spreadsheet, or "api" -> why its circuit is open; the closed are
    left out. `waits_ns`: class -> for how long its longest waiter has wanted a token and got none.
    """

    used: dict[str, float] = Field(default_factory=dict)
    throttled: dict[str, int] = Field(default_factory=dict)
    circuits: dict[str, str] = Field(default_factory=dict)
    waits_ns: dict[str, int] = Field(default_factory=dict)


class AlertEvent(Message):
    """A condition that began or ended; the two events share `since_ns`, and an event told again has the same `id`."""

    id: str
    project: str
    condition: Condition
    subject: str
    phase: Phase
    at_ns: int
    since_ns: int
    sentence: str
    numbers: dict[str, float] = Field(default_factory=dict)


class RaisedAlert(Message):
    """An alert that lasts; `calm_since_ns` is the first of the latest readings without it."""

    condition: Condition
    subject: str
    since_ns: int
    calm_for_ns: int
    calm_since_ns: int | None = None


class ClearedAlert(Message):
    """An alert that was cleared a short while ago, and the calm that it had needed."""

    condition: Condition
    subject: str
    at_ns: int
    calm_for_ns: int


class AlertCheckpoint(Message):
    """What `Alerts` carries into the next run.

    One with `throttled` alone is for a limiter that is old already: 429s counted before anybody observed are no news.
    """

    observed_ns: int = 0
    hot: dict[str, int] = Field(default_factory=dict)
    throttled: dict[str, int] = Field(default_factory=dict)
    raised: tuple[RaisedAlert, ...] = ()
    cleared: tuple[ClearedAlert, ...] = ()
