"""Who is next: classes by guaranteed floors, owners inside a class by weighted turns, with aging and degradation.

Policies, each a function or class whose docstring defines it in the words that the property tests quote:

- *floors*: `shares`, `Turns.choose`, `Turns.charge`
- *fairness*: `Turns.join`, `Turns.charge`, `Turns.passed`
- *aging* and *degradation*: `served_as`, `Budget`
- *ties*: `headgate.gates.Entry`

One `Turns` belongs to one kind of call: reads and writes are different quotas, and being served in one owes nothing in the other.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headgate.message import SECOND_NS
from headgate.messages.words import Priority

CLASSES: tuple[Priority, ...] = ("urgent", "normal", "low")
PLACE: dict[Priority, int] = {c: n for n, c in enumerate(CLASSES)}
#: What one call of an owner of weight 1 adds to its turn; whole numbers, so that no rounding ever decides.
STRIDE = 1 << 20
#: A weight of nothing would divide by it, and hold the limiter's workflow for good.
LEAST_WEIGHT = 0.001
#: An owner that could not send keeps its turn for so many of its calls, and no more.
KEPT_CALLS = 16
#: A class whose later attempts were served out of turn stands at most so many calls behind for it.
MOST_OWED = -4.0
ONE_CALL: dict[Priority, float] = dict.fromkeys(CLASSES, 1.0)
#: While others wait, urgent may be so much of the project's limit ahead of an even pace.
RUSH = 0.15
BUDGET_WINDOW_NS = 10 * 60 * SECOND_NS


def shares(floors: Mapping[Priority, float], backlogged: Sequence[Priority]) -> dict[Priority, float]:
    """Each class with a backlog has its floor; what the others leave goes to the highest class with a backlog.

    `backlogged` is in class order and not empty; the shares add up to 1.
    """
    found = {c: floors[c] for c in backlogged}
    found[backlogged[0]] += 1.0 - sum(found.values())
    return found


def rush(limit: int) -> int:
    """So many calls urgent may be ahead of an even pace while others wait: a lane takes its class's floor one call after another.

    A minute's quota that is gone in 24 s leaves a class of one lane (1.2 s a call) 20 calls of it, not the 30 of its floor.
    """
    return max(1, int(RUSH * limit))


def served_as(priority: Priority, *, degraded: bool, floors: Mapping[Priority, float] | None) -> Priority:
    """The class that a holder is served in: its own; one lower while its owner is beyond its urgent budget; higher once aged.

    `floors` are None until then. It is raised to the next class above that has a floor, and to none where none above has one:
    in a class without a floor it could wait for good.
    Aging comes last, so that a degraded owner that waited long enough is urgent again for one call.
    """
    place = PLACE[priority]
    if degraded and priority == "urgent":
        place += 1
    if floors is not None:
        place = next((above for above in range(place - 1, -1, -1) if floors[CLASSES[above]] > 0), place)
    return CLASSES[place]


def stride(weight: float) -> int:
    """What one call adds to the turn of an owner of this weight: a key of weight 2 gets two calls for another's one."""
    return max(1, int(STRIDE / max(weight, LEAST_WEIGHT)))


def grams(weight: float) -> int:
    """A weight in whole numbers, so that a sum of many comes back to nothing."""
    return max(1, int(1000 * max(weight, LEAST_WEIGHT)))


def _more(credit: float, more: float, kept: float) -> float:
    """A credit that grows as far as it may be kept; what it is beyond that already stays."""
    grown = credit + more
    return grown if grown < kept else max(credit, kept)


@dataclass(slots=True, eq=False)
class Turn:
    """One owner in one class: how far its turn is, since when it stands there, how many of its lanes want calls.

    `owed` is what came back for tokens that were not used; it makes the next calls cheaper, so `passed` never goes back.
    """

    passed: int = 0
    since: int = 0
    weight: float = 1.0
    lanes: int = 0
    owed: int = 0
    calls: int = 0
    calls_before: int = 0
    stride: int = STRIDE
    kept: int = KEPT_CALLS * STRIDE
    grams: int = 1000

    def __post_init__(self) -> None:
        """Set what follows from the weight: the stride, how far behind the others a turn is kept, the weight in whole numbers."""
        self.stride = stride(self.weight)
        self.kept = KEPT_CALLS * self.stride
        self.grams = grams(self.weight)

    def become(self, other: Turn) -> None:
        """Stand where the other one does; whoever knows this turn goes on with it."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))

    def weigh(self, weight: float) -> None:
        """The owner's weight from now on."""
        if weight != self.weight:
            self.weight = weight
            self.__post_init__()


@dataclass(slots=True)
class Turns:
    """The state of the turns of one kind: credits of classes, turns of owners; `waiting` are the classes with a backlog, in order."""

    floors: Mapping[Priority, float]
    rush: int = 0
    credits: dict[Priority, float] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0.0))
    turns: dict[tuple[Priority, str], Turn] = field(default_factory=dict)
    virtual: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    wanting: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    weighing: dict[Priority, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    joined: int = 0
    waiting: tuple[Priority, ...] = ()
    _called: dict[Turn, None] = field(default_factory=dict)
    _away: dict[tuple[Priority, str], None] = field(default_factory=dict)
    kept: dict[Priority, float] = field(default_factory=dict)
    _shares: dict[tuple[Priority, ...], dict[Priority, float]] = field(default_factory=dict)
    _deal: tuple[tuple[Priority, float, float], ...] = ()

    def __post_init__(self) -> None:
        """Know what each class may keep."""
        self.reset(self.floors, self.rush)

    # --- floors -------------------------------------------------------------------------------------------------------

    def choose(self, here: Sequence[Priority]) -> Priority:
        """Of the classes that could send now, the one that is furthest behind its share is next; at a tie the higher one.

        Smooth weighted round robin: every token adds to each backlogged class its share and takes one from the class that
        is served, so no class is ever more than a call behind its floor while it can send.
        """
        if len(here) == 1:
            return here[0]
        credits, deal = self.credits, self._deal
        if len(here) < len(deal):
            deal = tuple([row for row in deal if row[0] in here])
        best, most = here[0], -1e9
        for c, share, _ in deal:
            credit = credits[c] + share
            if credit > most:
                best, most = c, credit
        return best

    def charge(self, served: Priority, turn: Turn | None, weight: float, here: Sequence[Priority]) -> None:
        """One call went to an owner in `served`: the class pays one call, the owner one stride; what was lent is not owed.

        `here` are the classes that could have sent it. One that wants calls and could not keeps its share, so that it is next
        when it can: up to one call, and beside urgent its floor of what that may rush ahead.
        An owner that has no `turn` in the class is one that books and has nothing in line.
        """
        credits, deal, able = self.credits, self._deal, len(here)
        if able > 1:
            if able == len(deal):
                for c, share, kept in deal:
                    grown = credits[c] + share
                    credits[c] = grown if grown < kept else max(credits[c], kept)  # as _more
            else:
                self._grow(self._shared(tuple(here)), here)
            paid = credits[served] - 1.0
            credits[served] = paid if paid > MOST_OWED else MOST_OWED
        if able < len(deal):
            absent = [row[0] for row in deal if row[0] not in here]
            self._grow(self._shared(self.waiting), absent)
        if turn is None:
            return
        virtual = self.virtual[served]
        start, least = turn.passed, virtual - turn.kept
        if least > start:  # as passed
            start = least
            self.joined += 1
            turn.since = self.joined
        step = turn.stride if weight == turn.weight else stride(weight)
        if turn.owed:
            repaid = min(turn.owed, step)
            turn.owed -= repaid
            step -= repaid
        turn.passed = start + step
        if not turn.calls:
            self._called[turn] = None
        turn.calls += 1
        if start > virtual:
            self.virtual[served] = start

    def refund(self, served: Priority, key: str, weight: float) -> None:
        """A token that was not used is taken off what its class and its owner pay next."""
        self.credits[served] = _more(self.credits[served], 1.0, 1.0)
        turn = self.turns.get((served, key))
        if turn is not None:
            turn.owed += stride(weight)
            turn.calls -= 1
            self._called[turn] = None

    def shared(self) -> dict[Priority, float]:
        """The share of each class with a backlog."""
        return self._shared(self.waiting)

    def reset(self, floors: Mapping[Priority, float], rush: int) -> None:
        """New floors, and a new rush, act from the next token on."""
        self.floors, self.rush = floors, rush
        self.kept = {c: 1.0 + (rush * floors[c] if c != "urgent" else 0.0) for c in CLASSES}
        self._shares = {}
        self._count()

    def _shared(self, waiting: tuple[Priority, ...]) -> dict[Priority, float]:
        known = self._shares.get(waiting)
        if known is None:
            known = self._shares[waiting] = shares(self.floors, waiting) if waiting else {}
        return known

    # --- fairness -----------------------------------------------------------------------------------------------------

    def passed(self, c: Priority, turn: Turn) -> int:
        """How far an owner's turn is: the least is next. An owner that could not send keeps its turn for `KEPT_CALLS` calls.

        Those that have kept all of it are level; whoever of them is served goes behind the others (`Turns.charge`).
        """
        least = self.virtual[c] - turn.kept
        return turn.passed if turn.passed > least else least

    def join(self, c: Priority, key: str, weight: float) -> Turn:
        """A lane of `key` wants calls in `c`. An owner that was away starts level with the others: absence earns nothing."""
        turn = self.turns.get((c, key))
        if turn is None:
            turn = self.turns[c, key] = Turn()
        if not turn.lanes:
            self.joined += 1
            turn.since = self.joined
            turn.passed = max(turn.passed, self.virtual[c])
        else:
            turn.passed = self.passed(c, turn)  # a lighter owner keeps more of its turn, but none that is gone
            self.weighing[c] -= turn.grams
        self.weighing[c] += grams(weight)
        if weight != turn.weight:
            turn.passed = self.passed(c, turn)  # a smaller weight's longer stride must not set it back
            turn.weigh(weight)
        turn.lanes += 1
        self.wanting[c] += 1
        if self.wanting[c] == 1:
            self._count()
        return turn

    def leave(self, c: Priority, key: str) -> None:
        """A lane of `key` wants no more calls in `c`."""
        turn = self.turns[c, key]
        turn.lanes -= 1
        self.wanting[c] -= 1
        if not self.wanting[c]:
            self._count()
        if not turn.lanes:
            self.weighing[c] -= turn.grams
            turn.owed = 0
            self._away[c, key] = None

    def _count(self) -> None:
        """Know who waits, and for each of them its share and how much of it a class may keep."""
        self.waiting = tuple(c for c in CLASSES if self.wanting[c])
        kept = self.kept if "urgent" in self.waiting else ONE_CALL
        self._deal = tuple([(c, share, kept[c]) for c, share in self.shared().items()])

    def _grow(self, shared: Mapping[Priority, float], who: Sequence[Priority]) -> None:
        kept = self.kept if "urgent" in self.waiting else ONE_CALL
        for c in who:
            self.credits[c] = _more(self.credits[c], shared[c], kept[c])

    def reinstate(self, c: Priority, key: str, kept: Turn) -> None:
        """Put an owner back to where a checkpoint has it; its lanes have joined by now."""
        turn = self.turns.setdefault((c, key), kept)
        if turn is not kept:
            if turn.lanes:
                self.weighing[c] += kept.grams - turn.grams
            kept.lanes = turn.lanes
            turn.become(kept)
        if not turn.lanes:
            self._away[c, key] = None
        if turn.calls or turn.calls_before:
            self._called[turn] = None

    def tidy(self) -> None:
        """Forget owners that are gone and could not stand anywhere but level if they came back; begin a new period of counting."""
        for name in list(self._away):
            turn = self.turns.get(name)
            if turn is None or turn.lanes:
                del self._away[name]
            elif turn.passed <= self.virtual[name[0]] and not turn.calls:
                del self._away[name], self.turns[name]
        for turn in self._called:
            turn.calls, turn.calls_before = 0, turn.calls
        self._called = {turn: None for turn in self._called if turn.calls_before}

    def share(self, c: Priority, key: str, weight: float) -> float:
        """The part of the quota that an owner can count on in `c` now, beside the owners that are there."""
        turn, beside = self.turns.get((c, key)), self.weighing[c]
        mine = turn.grams if turn is not None and turn.weight == weight else grams(weight)
        if turn is not None and turn.lanes:
            beside -= turn.grams
        waiting = self.waiting
        if not self.wanting[c]:
            waiting = tuple([other for other in CLASSES if self.wanting[other] or other == c])
        return self._shared(waiting)[c] * mine / (mine + beside)

    def owners(self, c: Priority) -> int:
        """How many owners of the class have a backlog."""
        return sum(1 for (other, _), turn in self.turns.items() if other == c and turn.lanes)

    def jain(self, c: Priority) -> float:
        """Jain's index over the class's owners with a backlog, by calls and weight in the last period: 1 is even, 1/n all to one."""
        got = [
            turn.calls_before / turn.weight
            for (other, _), turn in self.turns.items()
            if other == c and turn.lanes and turn.calls_before
        ]
        return sum(got) ** 2 / (len(got) * sum(x * x for x in got)) if got else 1.0


@dataclass(slots=True)
class Budget:
    """*Degradation*: an owner that made `limit` urgent calls in 10 minutes is served as normal until one of them is older.

    Never refused; times in ns, rising.
    """

    limit: int
    times: list[int] = field(default_factory=list)

    def spend(self, at: int) -> None:
        """An urgent call of the owner at `at`."""
        insort(self.times, at)

    def refund(self, at: int) -> None:
        """That call was not made."""
        if at in self.times:
            self.times.remove(at)

    def degraded_until(self, now: int) -> int:
        """Until when the owner is beyond its budget; 0 if it is inside."""
        del self.times[: bisect_right(self.times, now - BUDGET_WINDOW_NS)]
        return self.times[-self.limit] + BUDGET_WINDOW_NS if len(self.times) >= self.limit else 0
