"""What the limiter knows of those who wait, and of the tokens that it gave."""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate.models import Kind, Priority, Standing


@dataclass(slots=True)
class Lane:
    """What one lane wants and when it can send next."""

    kind: Kind
    user: str
    spreadsheet: str
    calls: int
    latency_ns: int
    latency_p95_ns: int
    free_at_ns: int = 0


@dataclass(slots=True)
class Waiter:
    """One holder: its last word and the lanes that still want calls."""

    holder: str
    run: int
    sequence: int
    priority: Priority
    weight: float
    key: str
    submitted_at_ns: int
    stopped: str = ""
    lanes: dict[int, Lane] = field(default_factory=dict)
    unseen: list[tuple[int, dict[int, int]]] = field(default_factory=list)
    heard_ns: int = 0
    standing: Standing | None = None

    @property
    def paced(self) -> bool:
        """Whether its tokens keep to the pace: all but urgent ones do."""
        return self.priority != "urgent"

    def wants(self) -> bool:
        """Whether any of its lanes wants a call."""
        return any(lane.calls > 0 for lane in self.lanes.values())

    def who(self, lane: Lane) -> str:
        """The name under which the lane's calls follow each other on a spreadsheet."""
        return f"{self.holder}/{lane.user}/{lane.kind}"


@dataclass(slots=True)
class Token:
    """A booked token: its time and its path, so that it can be given back."""

    at_ns: int
    kind: Kind
    user: str
    spreadsheet: str
    who: str
    paced: bool


@dataclass(slots=True)
class Lease:
    """The tokens of one grant that have not been handed back: lane -> position -> token."""

    holder: str
    priority: Priority
    key: str
    weight: float
    expires_ns: int
    tokens: dict[int, dict[int, Token]]


@dataclass(slots=True)
class Place:
    """A booking's place: a token booked ahead, until it is asked for again or lapses."""

    token: Token
    priority: Priority
    key: str
    lapses_ns: int
    latency_ns: int = 0
    given: bool = False
