"""When the read model is told how a request stands: by an order that is sent anyway, or else by an activity of its own. No clock.

Rules:

1. An order takes along what is new, at most once a second. A request that sends tells everything like that.
2. What people said is told at once by an activity.
3. So is what they see (the state, the priority, what keeps it from its turn) once no order has taken it along for two seconds,
   at most once in ten. That a request in the line runs and waits in turns, at one quota or another, is no such change.
4. So are the counts of one that is held, once they have not changed for two seconds; those of another one, and for what it
   waits in the line, when something happens, nothing was told for a quarter of a minute, and no order goes. No timer runs for it.
5. That a request is planned is known before it says so, but not of a retry.
6. Handed out is told: what is lost on the way (a process that was killed) the next hand-out brings, and the end has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headgate.message import SECOND_NS
from headgate.messages.projections import ProjectionCheckpoint
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView
from headgate.retries import retried

HAND_EVERY_NS: Final = SECOND_NS
SETTLES_NS: Final = 2 * SECOND_NS
CALM_NS: Final = 10 * SECOND_NS
SELDOM_NS: Final = 15 * SECOND_NS
#: Whoever waits for these is in the line, and its turn comes: they change with every call of others.
IN_THE_LINE: Final = frozenset({"", "quota", "used_by_others", "spacing", "behind", "throttled", "retries"})

#: State, priority and what keeps it from its turn.
Sight = tuple[str, str, str]
#: State, cause of waiting, and how much has been counted.
Exact = tuple[str, str, int]


def sight(state: str, priority: str, cause: str) -> Sight:
    """What counts as a change (rule 3)."""
    return ("running" if state == "waiting" else state, priority, "" if cause in IN_THE_LINE else cause)


def exact(state: str, cause: str, counts: int) -> Exact:
    """What counts as a change for one that waits for its turn (rule 4)."""
    return (state, cause, counts)


def counted(view: ProgressView) -> int:
    """A number that grows with every count that people see."""
    return view.operations.total + view.operations.succeeded + view.operations.failed + view.calls.made


@dataclass(slots=True)
class Projections:
    """What was handed out, and since when something else is there to be seen."""

    version: int = 0
    handed_ns: int = 0
    sight: Sight | None = None
    own_ns: int = 0
    exact: Exact | None = None
    said: bool = False
    _latest: int = 0
    _latest_ns: int = 0
    _other: Sight | None = None
    _other_ns: int = 0

    def may_go_along(self, now: int) -> bool:
        """Whether an order may take the present view along, if its version is new."""
        return now - self.handed_ns >= HAND_EVERY_NS

    def handed(self, now: int, view: ProgressView, *, own: bool) -> None:
        """This view was handed out, to an order or to an activity of its `own`."""
        self.version, self.handed_ns = view.version, now
        self.sight = sight(view.state, view.priority, view.waiting.cause)
        self.exact = exact(view.state, view.waiting.cause, counted(view))
        self.said = False
        if own:
            self.own_ns = now

    def due_ns(self, now: int, version: int, seen: Sight, exactly: Exact, *, held: bool) -> int:
        """From when on an activity has to tell what there is now: at once if that is past, not yet known if 0."""
        if version != self._latest:
            self._latest, self._latest_ns = version, now
        if seen == self.sight:
            self._other = None
        elif seen != self._other:
            self._other, self._other_ns = seen, now
        if version == self.version:
            self.said = False
            return 0
        if self.said:
            return now
        if self._other is not None:
            return max(self._other_ns + SETTLES_NS, self.own_ns + CALM_NS)
        if held:
            return self._latest_ns + SETTLES_NS
        return now if exactly != self.exact and now - max(self.handed_ns, self.own_ns) >= SELDOM_NS else 0

    def checkpoint(self, *, under_way: bool) -> ProjectionCheckpoint:
        """What the next run goes on from; what was `under_way` it tells anew."""
        return ProjectionCheckpoint(
            version=0 if under_way else self.version,
            handed_ns=self.handed_ns,
            sight=None if under_way else self.sight,
            own_ns=0 if under_way else self.own_ns,
        )

    @classmethod
    def restore(cls, kept: ProjectionCheckpoint | None, request: BulkRequest) -> Projections:
        """What was handed out by the runs before, or is known of a new request."""
        if kept is not None:
            return cls(kept.version, kept.handed_ns, kept.sight, kept.own_ns)
        if retried(request.id):
            return cls()
        return cls(sight=sight("planning", request.priority, "planning"), exact=exact("planning", "planning", 0))
