"""Who is away, as far as the bridge knows: how long nobody need try, and when there is news of it. No clock: `now` comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from headgate.errors import Unreachable

#: Of Temporal's absence all rows are told by few of them: those go on soon after it.
LONGEST_OUTAGE_S: Final = 10.0
#: So many commands in a row that no worker heard say that none runs.
SILENT_AFTER: Final = 3


class Away(Unreachable):
    """Temporal cannot be reached."""


class Slow(Unreachable):
    """Somebody took too long, and it is not known who."""


@dataclass(slots=True)
class Outage:
    """Whether something can be reached, as far as is known. All times in seconds of one clock.

    While it cannot, whoever needs it tries again after pauses that double from `shortest_s` to `longest_s`.
    """

    shortest_s: float = 0.5
    longest_s: float = LONGEST_OUTAGE_S
    until: float = 0.0
    pause_s: float = 0.0

    def met(self, now: float) -> bool:
        """It could not be reached. True where that is news."""
        news = not self.pause_s
        if news or now >= self.until:  # several that went at once have met one outage
            self.pause_s = min(max(2 * self.pause_s, self.shortest_s), self.longest_s)
            self.until = now + self.pause_s
        return news

    def passed(self) -> bool:
        """It could be reached. True where that is news."""
        news = bool(self.pause_s)
        self.until = self.pause_s = 0.0
        return news

    def left_s(self, now: float) -> float:
        """How long nobody need try."""
        return max(0.0, self.until - now)


@dataclass(slots=True)
class Silence:
    """Whether workers answer commands. Where none does, the next one is not waited for as long: it is recorded all the same."""

    unheard: int = 0

    def met(self, *, heard: bool) -> None:
        """One more command was heard, or was not."""
        self.unheard = 0 if heard else self.unheard + 1

    def answer_within_s(self, usual_s: float) -> float:
        """How long to wait for an answer."""
        return usual_s if self.unheard < SILENT_AFTER else usual_s / 10
