"""What a line is made of: lanes behind their user's gate, gates grouped by owner, lanes parked before a spreadsheet.

Rules:

1. Every lane, gate and sheet of a line has a number, and every heap holds numbers, instants and names only, no objects: such
   tuples cost the garbage collector nothing, however many lanes wait.
2. A version tells a present entry of a heap from an old one; whoever finds an old one at the top drops it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate.messages.words import Priority
from headgate.ordering import Turn
from headgate.quota import Bucket

#: A lane in line. Its rank is submitted_at_ns, holder, free_at_ns, lane: ties inside an owner go to the request that was
#: submitted first, then by holder, then to the lane that was free first; never by chance, and never by the order of messages.
#: Behind that the lane's version and its number in the line.
Entry = tuple[int, str, int, int, int, int]
#: An offer to a class: passed, since, the first entry behind it, number of the gate (or of the group: below 0), version.
Head = tuple[int, int, Entry | tuple[()], int, int]
#: The first entry behind a group is looked up when the group is next: only then can it decide, and only where its owner
#: stands behind gates with others, too. Until then it counts as the least of all.
UNTOLD: tuple[()] = ()


@dataclass(slots=True, eq=False)
class Gate:
    """The lanes of one user and class that are free, by owner; open while the user's bucket has room.

    `shared` says that the user has a gate in another class, too.
    `turns` orders the owners, and is empty or None as long as there was but one.
    """

    served: Priority
    paced: bool
    number: int
    bucket: Bucket
    shared: bool = False
    owners: dict[str, list[Entry]] = field(default_factory=dict)
    turns: list[tuple[int, int, str]] | None = None
    version: int = 0
    open: bool = False
    due_ns: int = -1


@dataclass(slots=True, eq=False)
class Group:
    """The open gates behind which only lanes of one owner stand, by the rank of the first lane: entry, gate, its version.

    `told` is the first entry as its head has it.
    """

    key: str
    turn: Turn
    number: int
    gates: list[tuple[Entry, int, int]] = field(default_factory=list)
    version: int = 0
    told: Entry | tuple[()] = UNTOLD


@dataclass(slots=True, eq=False)
class Sheet:
    """The lanes (number, version) that are parked before a spreadsheet until its next start."""

    name: str
    number: int
    parked: list[tuple[int, int]] = field(default_factory=list)
    due_ns: int = -1
