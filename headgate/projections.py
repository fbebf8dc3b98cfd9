"""When the read model is told how a request stands: by an order that is sent anyway, or else by an activity of its own. No clock.

Rules:

1. An order takes along what is new, at most once a second. A request that sends tells everything like that.
2. What people said is told at once by an activity.
3. So is what they see (the state, the priority, the cause of waiting) once no order has taken it along for two seconds, at most
   once in ten. That a request which sends seldom runs and waits in turns is no such change: the orders tell of it.
4. So are the counts of one that is held, once they have not changed for two seconds; those of another one when something
   happens, nothing was told for ten seconds, and no order went. No timer runs for these.
5. Handed out is told: what is lost on the way (a process that was killed) the next hand-out brings, and the end has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headgate.message import SECOND_NS
from headgate.messages.projections import ProjectionCheckpoint
from headgate.messages.views import ProgressView

HAND_EVERY_NS: Final = SECOND_NS
SETTLES_NS: Final = 2 * SECOND_NS
CALM_NS: Final = 10 * SECOND_NS

#: State, priority and cause of waiting, as people see them.
Sight = tuple[str, str, str]


def sight(state: str, priority: str, cause: str) -> Sight:
    """What counts as a change (rule 3)."""
    return ("running" if state == "waiting" else state, priority, cause)


@dataclass(slots=True)
class Projections:
    """What was handed out, and since when something else is there to be seen."""

    version: int = 0
    handed_ns: int = 0
    sight: Sight | None = None
    own_ns: int = 0
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
        self.said = False
        if own:
            self.own_ns = now

    def due_ns(self, now: int, version: int, seen: Sight, *, held: bool) -> int:
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
        return now if now - max(self.handed_ns, self.own_ns) >= CALM_NS else 0

    def checkpoint(self, *, under_way: bool) -> ProjectionCheckpoint:
        """What the next run goes on from; what was `under_way` it tells anew."""
        return ProjectionCheckpoint(
            version=0 if under_way else self.version,
            handed_ns=self.handed_ns,
            sight=None if under_way else self.sight,
            own_ns=0 if under_way else self.own_ns,
        )

    @classmethod
    def restore(cls, kept: ProjectionCheckpoint | None) -> Projections:
        """What was handed out by the runs before."""
        return cls(kept.version, kept.handed_ns, kept.sight, kept.own_ns) if kept is not None else cls()
