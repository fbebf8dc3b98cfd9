"""Who is next in each class, as long as nothing has happened that may put another one first.

Rules:

1. A class is known until an instant, or until it is forgotten: whoever changes something that may put another one first says so.
2. Which classes could send (`here`) is known until `here_until`, but for those in `unsure`, which are to be looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate.messages.words import Priority
from headgate.waiting import Lane


@dataclass(slots=True)
class NextUp:
    """The lane that is next in a class (None: nobody can send), and until when (ns) that holds."""

    lanes: dict[Priority, Lane | None] = field(default_factory=dict)
    until: dict[Priority, int] = field(default_factory=dict)
    here: tuple[Priority, ...] = ()
    here_until: int = -1
    unsure: list[Priority] = field(default_factory=list)

    def forget(self, c: Priority) -> None:
        """Who is next in the class has to be looked at again."""
        if self.lanes.pop(c, None) is not None:
            self.unsure.append(c)
        else:
            self.here_until = -1

    def forget_mates(self, lane: Lane) -> None:
        """Those that share the lane's user or spreadsheet may have to wait now."""
        for c, mate in list(self.lanes.items()):
            if mate is not None and (mate.user == lane.user or mate.spreadsheet == lane.spreadsheet):
                self.forget(c)

    def forget_all(self) -> None:
        """Every class has to be looked at again."""
        self.lanes, self.unsure = {}, []
        self.here_until = -1
