"""In which class each holder is served: what it says of its rank, what waiting adds to it, what its owner's budget takes from it.

Rules:

1. A holder that has wanted a call for `age_after` without getting one is served in the next higher class that has a floor,
   until it gets one; in its own where no higher class has one.
2. An owner beyond its urgent budget is served as normal until it is back inside; it is never refused.
3. A holder's lanes stand in the line of the class that it is served in, and move whenever that changes.

The policies themselves are `headgate.ordering.served_as` and `Budget`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

from headgate.line import Line
from headgate.messages.tokens import LimiterSettings, TokenRequest
from headgate.messages.words import Kind, Priority
from headgate.ordering import CLASSES, LEAST_WEIGHT, Budget, served_as
from headgate.waiting import Lane, Waiter

#: Raising a holder moves its lanes: thousands that fall due at one instant must not stall a round.
RAISED_AT_ONCE = 64
ANY_FLOORS: dict[Priority, float] = dict.fromkeys(CLASSES, 1.0)


@dataclass(slots=True)
class Ranks:
    """The ranks of the limiter's waiters, by holder; `degraded` owners and until when, and the urgent calls that they have `spent`.

    Without `raises_to_a_floor` whoever has waited is raised by one class, whatever that one's floor (`Limiter`).
    """

    settings: LimiterSettings
    waiters: dict[str, Waiter]
    lines: dict[Kind, Line]
    raises_to_a_floor: bool = True
    degraded: dict[str, int] = field(default_factory=dict)
    spent: dict[str, Budget] = field(default_factory=dict)
    _due: list[tuple[int, str]] = field(default_factory=list)
    _budgets_due: list[tuple[int, str]] = field(default_factory=list)
    _urgent: dict[str, dict[str, None]] = field(default_factory=dict)

    def enrol(self, waiter: Waiter) -> None:
        """A holder is new: it is served as it says, unless its owner is beyond its budget."""
        if waiter.priority == "urgent":
            self._urgent.setdefault(waiter.key, {})[waiter.holder] = None
        waiter.served = self._served_as(waiter)

    def drop(self, waiter: Waiter) -> None:
        """A holder is gone."""
        self._urgent.get(waiter.key, {}).pop(waiter.holder, None)

    def take(self, waiter: Waiter, said: TokenRequest) -> None:
        """Take what a holder says of its rank; its lanes move where that changed."""
        new = (said.priority, max(said.weight, LEAST_WEIGHT), said.fairness_key, said.submitted_at_ns)
        if new == (waiter.priority, waiter.weight, waiter.key, waiter.submitted_at_ns):
            return
        self.drop(waiter)
        wanted = self._withdraw(waiter)
        waiter.priority, waiter.weight, waiter.key, waiter.submitted_at_ns = new
        self.enrol(waiter)
        self._stand_again(wanted)

    def configure(self, settings: LimiterSettings) -> None:
        """Another age or budget acts at once."""
        self.settings = settings
        for waiter in self.waiters.values():
            if waiter.aged:
                self._reclass(waiter)
            if waiter.wants():
                self.hungry(waiter, waiter.hungry_ns)
        for budget in self.spent.values():
            budget.limit = settings.urgent_budget
        self.look_at_budgets()
        if not settings.urgent_budget:
            self.spent, degraded = {}, list(self.degraded)
            self.degraded = {}
            for key in degraded:
                self._reclass_owner(key)

    def hungry(self, waiter: Waiter, since: int) -> None:
        """From `since` on the holder wants a call and has none; `age_after` later that raises its class."""
        waiter.hungry_ns = since
        due = since + self.settings.age_after_ns
        if not waiter.timed_ns or due < waiter.timed_ns:
            waiter.timed_ns = due
            heappush(self._due, (due, waiter.holder))

    def served(self, now: int, waiter: Waiter, at: int, c: Priority) -> None:
        """A holder got a token: its owner's budget counts it, and what the holder was raised for is done."""
        if self.settings.urgent_budget and waiter.priority == c == "urgent" and not waiter.aged:
            budget = self.spent.setdefault(waiter.key, Budget(self.settings.urgent_budget))
            budget.spend(at)
            if budget.degraded_until(at):
                self._degrade(waiter.key, now)
        if waiter.aged:
            waiter.aged = False
            self._reclass(waiter)
            if waiter.wants():
                self.hungry(waiter, waiter.hungry_ns)

    def refund(self, key: str, at: int) -> None:
        """An owner's urgent call at `at` was not made."""
        if key in self.spent:
            self.spent[key].refund(at)
            heappush(self._budgets_due, (0, key))

    def look_at_budgets(self) -> None:
        """The next round looks which owners are beyond their urgent budgets."""
        for key in {*self.spent, *self.degraded}:
            heappush(self._budgets_due, (0, key))

    def fall_due(self, now: int) -> None:
        """Restore owners that are inside their budget again, then raise holders that have waited long enough, longest first.

        At most `RAISED_AT_ONCE` holders are raised in one round, the others in the next ones.
        """
        budgets: set[str] = set()
        while self._budgets_due and self._budgets_due[0][0] <= now:
            budgets.add(heappop(self._budgets_due)[1])
        for key in sorted(budgets):
            self._degrade(key, now)
        due = self._due
        waited: list[Waiter] = []
        while due and due[0][0] <= now and len(waited) < RAISED_AT_ONCE:
            at, holder = heappop(due)
            waiter = self.waiters.get(holder)
            if waiter is None or waiter.timed_ns != at:
                continue
            waiter.timed_ns = 0
            if waiter.aged or not waiter.wants():
                continue
            if waiter.hungry_ns + self.settings.age_after_ns > at:
                self.hungry(waiter, waiter.hungry_ns)  # it got a call in between: its turn to be raised is later
                continue
            waited.append(waiter)
        for waiter in sorted(waited, key=lambda waiter: (waiter.hungry_ns, waiter.holder)):
            waiter.aged = True
            self._reclass(waiter)

    # --- moving -------------------------------------------------------------------------------------------------------

    def _served_as(self, waiter: Waiter) -> Priority:
        floors = None
        if waiter.aged:
            floors = self.settings.floors if self.raises_to_a_floor else ANY_FLOORS
        return served_as(waiter.priority, degraded=waiter.key in self.degraded, floors=floors)

    def _withdraw(self, waiter: Waiter) -> list[tuple[Lane, int]]:
        wanted = [(lane, lane.calls) for lane in waiter.lanes.values() if lane.calls > 0]
        for lane, _ in wanted:
            self.lines[lane.kind].want(lane, 0)
        return wanted

    def _stand_again(self, wanted: list[tuple[Lane, int]]) -> None:
        for lane, calls in wanted:
            self.lines[lane.kind].want(lane, calls)

    def _reclass(self, waiter: Waiter) -> None:
        """Move a holder's lanes to the class that it is served in now."""
        served = self._served_as(waiter)
        if served != waiter.served:
            wanted = self._withdraw(waiter)
            waiter.served = served
            self._stand_again(wanted)

    def _reclass_owner(self, key: str) -> None:
        for holder in sorted(self._urgent.get(key, ())):
            self._reclass(self.waiters[holder])

    def _degrade(self, key: str, now: int) -> None:
        """Serve an owner as normal while it is beyond its urgent budget, and look again when that ends."""
        budget = self.spent.get(key)
        until = budget.degraded_until(now) if budget and self.settings.urgent_budget else 0
        was = key in self.degraded
        if until:
            self.degraded[key] = until
            heappush(self._budgets_due, (until, key))
        else:
            self.degraded.pop(key, None)
            if budget and not budget.times:
                del self.spent[key]
        if was != bool(until):
            self._reclass_owner(key)
