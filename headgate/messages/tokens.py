"""The token protocol (docs/scheduling.md): what holders and the limiter say to each other, and the limiter's settings."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from headgate.message import SECOND_NS, Message
from headgate.messages.alerts import AlertSettings
from headgate.messages.words import Cause, Kind, Priority

#: So much farther than the horizon tokens may reach, so that a pause still acts within 2 s.
LONGEST_STRETCH_NS = 300_000_000


class UserLimits(Message):
    """What one user may do in a window where it differs from the others; None: as everybody."""

    read: PositiveInt | None = None
    write: PositiveInt | None = None


class LimiterSettings(Message):
    """The quotas of one API and project, and how tokens are dealt out; defaults are Google's (reference/sheets.md 1.1).

    `users` are those whose quota differs. `age_after_ns`: waiting that long without a call raises a holder's class.
    `urgent_budget`: so many urgent calls may an owner make in 10 minutes before it is served as normal (0: any number).
    """

    read_per_project: PositiveInt = 300
    read_per_user: PositiveInt = 60
    write_per_project: PositiveInt = 300
    write_per_user: PositiveInt = 60
    window_ns: PositiveInt = 60 * SECOND_NS
    token_valid_for_ns: PositiveInt = 300_000_000
    network_spread_ns: PositiveInt = 300_000_000
    horizon_ns: PositiveInt = 1_500_000_000
    lead_ns: PositiveInt = 250_000_000
    spreadsheet_spacing_ns: PositiveInt = SECOND_NS
    pace: PositiveFloat = 1.0
    burst: float = 0.03
    floor_urgent: float = 0.7
    floor_normal: float = 0.2
    floor_low: float = 0.1
    users: dict[str, UserLimits] = {}
    age_after_ns: PositiveInt = 600 * SECOND_NS
    urgent_budget: int = 0
    alerts: AlertSettings = AlertSettings()

    @property
    def furthest_ns(self) -> int:
        """How far ahead of a round its tokens reach at the most, where grants need long to become calls."""
        return self.horizon_ns + LONGEST_STRETCH_NS

    @property
    def floors(self) -> dict[Priority, float]:
        """The part of the quota that each class is sure of, in class order."""
        return {"urgent": self.floor_urgent, "normal": self.floor_normal, "low": self.floor_low}


class LaneDemand(Message):
    """How many calls one lane could make now, and how long its calls take (from a token's time to the next free moment)."""

    lane: int
    kind: Kind
    user: str
    spreadsheet: str
    calls: int
    latency_ns: int = 0
    latency_p95_ns: int = 0


#: `TokenRequest.stopped` of a holder that is over and will say nothing more.
FINISHED: Final = "finished"


class TokenRequest(Message):
    """The full present demand of one holder; a later `sequence` of the same or a newer `run` replaces what was said before.

    `run` is the start of the holder's run (ns, so that newer means larger). `epoch` and `last_grant` are the last grant
    seen: later ones are subtracted by the limiter. `lead_ns`: so long its grants take to become calls. `stopped` names why a holder wants nothing (paused, cancelled) and makes
    `book` answer `Stopped`. `gives_back`: one that is finished uses no grant that it has not seen.
    """

    holder: str
    run: int
    sequence: int
    epoch: int = 0
    last_grant: int = 0
    priority: Priority = "normal"
    weight: float = 1.0
    fairness_key: str = ""
    submitted_at_ns: int = 0
    stopped: str = ""
    lanes: tuple[LaneDemand, ...] = ()
    lead_ns: int = 0
    gives_back: bool = False


class Standing(Message):
    """What a holder waits for (`""`: nothing), until when, how many holders are ahead, the calls a minute it can expect, and
    how many of them each of its users may make (0: not said)."""

    reason: str = ""
    cause: Cause = ""
    until_ns: int = 0
    ahead: int = 0
    rate_per_minute: float = 0.0
    user_rate_per_minute: float = 0.0
    allowance: int = 64


class Grant(Message):
    """A lease: for each lane the times (ns, server clock, rising) of its tokens. `(epoch, grant_id)` names it.

    `reads` are the lanes whose tokens are for reads; the others' are for writes. `probes` names, for a lane, the open circuit
    that its token is to try: what becomes of that call is told by `settle`.
    """

    epoch: int
    grant_id: int
    tokens: dict[int, tuple[int, ...]] = {}
    reads: tuple[int, ...] = ()
    valid_for_ns: int = 300_000_000
    standing: Standing | None = None
    probes: dict[int, str] = {}
    at_ns: int = 0


class Throttling(Message):
    """A 429: the quota it named (`project` or `user`; `""` if it named none), the value it gave (0: none), and when."""

    kind: Kind
    scope: Literal["project", "user", ""] = ""
    user: str = ""
    quota_value: int = 0
    at_ns: int = 0


class Overload(Message):
    """A call that the API failed or did not answer (5xx, a timeout, no connection), and when."""

    spreadsheet: str
    at_ns: int = 0


class Probed(Message):
    """What became of a call made with a probe's token: `ok` if the API answered it."""

    circuit: str
    ok: bool


class Unused(Message):
    """Tokens of one grant that were not used, as positions in the lane's tuple of that grant."""

    grant_id: int
    lane: int
    tokens: tuple[int, ...]


class Settlement(Message):
    """What leases taught: tokens not used (free at once, once) and 429s. Unknown or already settled tokens change nothing."""

    holder: str
    epoch: int
    unused: tuple[Unused, ...] = ()
    unused_bookings: tuple[str, ...] = ()
    throttled: tuple[Throttling, ...] = ()
    overloads: tuple[Overload, ...] = ()
    probed: tuple[Probed, ...] = ()


class Booking(Message):
    """A later attempt's demand for its own token; asking again under the same `id` keeps the place in the queue.

    `attempt` counts the calls that failed before it; a first call (0) is no retry and costs nothing of the retry budget.
    """

    id: str
    holder: str
    kind: Kind
    user: str
    spreadsheet: str
    priority: Priority = "normal"
    fairness_key: str = ""
    latency_ns: int = 0
    weight: float = 1.0
    attempt: int = 0


class Booked(Message):
    """The token: use it in [at, at + token_valid_for]. With `probe`, tell by `settle` what became of that call."""

    answer: Literal["booked"] = "booked"
    at_ns: int
    probe: str = ""


class NotUntil(Message):
    """No token yet: ask again at `at_ns` with the same id and it is served before new grants."""

    answer: Literal["not_until"] = "not_until"
    at_ns: int
    why: str = ""


class Stopped(Message):
    """The holder is paused or cancelled: no token, nothing to wait for."""

    answer: Literal["stopped"] = "stopped"
    why: str = ""


BookingAnswer = Annotated[Booked | NotUntil | Stopped, Field(discriminator="answer")]


class BookRequest(Message):
    """Bookings of one worker process in one update; none at all is a reading of the limiter's clock."""

    bookings: tuple[Booking, ...] = ()


class BookReply(Message):
    """One answer a booking, in order, and the limiter's `now`: between the update's sending and its receipt."""

    now_ns: int
    answers: tuple[BookingAnswer, ...] = ()
    token_valid_for_ns: int = 300_000_000
