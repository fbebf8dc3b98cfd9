"""What the limiter knows of those who wait, and of the tokens that it gave."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Literal

from headgate.messages.tokens import Standing
from headgate.messages.words import Kind, Priority
from headgate.ordering import Turn
from headgate.quota import Spacing

#: Where a lane stands: nowhere (it wants nothing), on its way to a known instant, in the line, or before its spreadsheet.
Where = Literal["", "coming", "here", "parked"]


@dataclass(slots=True, eq=False)
class Lane:
    """What one lane wants and when it can send next. `version` tells a lane's present entry in a heap from old ones.

    `place` is its number in its line (0: not yet known there), `gate` that of the gate behind which it stands or stood last;
    `turn` is its owner's, in the class that it wants calls in.
    """

    waiter: Waiter
    number: int
    kind: Kind
    user: str
    spreadsheet: str
    calls: int = 0
    latency_ns: int = 0
    latency_p95_ns: int = 0
    free_at_ns: int = 0
    who: str = ""
    spacing: Spacing | None = None
    where: Where = ""
    due_ns: int = -1
    version: int = 0
    place: int = 0
    gate: int = 0
    turn: Turn | None = None

    def __post_init__(self) -> None:
        """Set the name under which the lane's calls follow each other on a spreadsheet."""
        self.who = f"{self.waiter.holder}/{self.user}/{self.kind}"

    def __lt__(self, other: Lane) -> bool:
        """A lane and one of the same name that it replaced may meet in a heap: which is first decides nothing."""
        return False


@dataclass(slots=True, eq=False)
class Waiter:
    """One holder: its last word and the lanes that still want calls. `served` is the class that it is served in now.

    `hungry_ns` is since when it has wanted a call without getting one; `aged` says that this has raised its class;
    `timed_ns` is when that is looked at next (0: never).
    """

    holder: str
    run: int
    sequence: int
    priority: Priority
    weight: float
    key: str
    submitted_at_ns: int
    stopped: str = ""
    lanes: dict[int, Lane] = field(default_factory=dict)
    unseen: list[int] = field(default_factory=list)
    heard_ns: int = 0
    served: Priority = "normal"
    hungry_ns: int = 0
    aged: bool = False
    wanting: int = 0
    timed_ns: int = 0
    standing: Standing | None = None

    @property
    def paced(self) -> bool:
        """Whether its tokens keep to the pace: all but those served as urgent do."""
        return self.served != "urgent"

    def wants(self) -> bool:
        """Whether any of its lanes wants a call."""
        return self.wanting > 0


@dataclass(slots=True)
class Token:
    """A booked token: its time, its path and the class that paid for it, so that it can be given back."""

    at_ns: int
    kind: Kind
    user: str
    spreadsheet: str
    who: str
    paced: bool
    served: Priority


@dataclass(slots=True)
class Place:
    """A booking's place: a token booked ahead, until it is asked for again or lapses. `probe` is the circuit that it tries."""

    token: Token
    key: str
    lapses_ns: int
    latency_ns: int = 0
    given: bool = False
    weight: float = 1.0
    probe: str = ""

    @property
    def holder(self) -> str:
        """Who booked it."""
        return self.token.who.rsplit("/", 2)[0]


@dataclass(slots=True)
class Queue:
    """Who wants tokens, by the class they are served in and by submission: to say how many are ahead in O(log n)."""

    rows: dict[Priority, list[tuple[int, str]]] = field(default_factory=lambda: {"urgent": [], "normal": [], "low": []})

    def add(self, waiter: Waiter) -> None:
        """A holder begins to want tokens."""
        insort(self.rows[waiter.served], (waiter.submitted_at_ns, waiter.holder))

    def remove(self, waiter: Waiter) -> None:
        """A holder wants none any more."""
        rows = self.rows[waiter.served]
        del rows[bisect_left(rows, (waiter.submitted_at_ns, waiter.holder))]

    def position(self, waiter: Waiter) -> int:
        """How many holders of its class were submitted before."""
        return bisect_left(self.rows[waiter.served], (waiter.submitted_at_ns, waiter.holder))

    def ahead(self, waiter: Waiter) -> int:
        """How many holders are ahead: all of higher classes, and those of its own that were submitted before."""
        count = self.position(waiter)
        for c, rows in self.rows.items():
            if c == waiter.served:
                break
            count += len(rows)
        return count

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))
