"""Which grants a holder has seen: a grant counts once, whatever comes twice, late or from a limiter that was reset.

Rules:

1. A grant of an older epoch means nothing; one of a newer epoch begins the numbers anew.
2. A grant that was taken is not taken again, also where the holder has continued as new since: its tokens may be spent.
3. One whose number is lower than the last one taken is late, or its limiter was reset and does not know what it gave: its
   tokens are not used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: `stale`: an older epoch; `anew`: the first of a newer one; `again`: taken before; `late`: not to be used.
Arrival = Literal["stale", "anew", "next", "again", "late"]


@dataclass(slots=True)
class Seen:
    """The last grant that was taken and its epoch, those of this run, and the last one before it."""

    epoch: int = 0
    last: int = 0
    _before: int = field(init=False)
    _taken: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        """What was taken before this run cannot be told apart any more."""
        self._before = self.last

    def arrived(self, epoch: int, grant_id: int, *, tokens: bool) -> Arrival:
        """What a grant is to the holder; with `tokens` it is taken where it is `anew` or `next`."""
        if epoch < self.epoch:
            return "stale"
        anew = epoch > self.epoch
        if anew:
            self.epoch, self.last, self._before = epoch, 0, 0
            self._taken.clear()
        if tokens:
            if grant_id in self._taken or grant_id <= self._before:
                return "again"
            if grant_id <= self.last:
                self._taken.add(grant_id)  # handed back once
                return "late"
            self.last = grant_id
            self._taken.add(grant_id)
        return "anew" if anew else "next"
