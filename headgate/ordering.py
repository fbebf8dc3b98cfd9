"""Who is next: classes by guaranteed floors, owners inside a class by weighted turns.

Rules:

1. *Floors.* Of the calls that can be made now, each class with a backlog gets at least its floor; what a class does not use
   goes to the highest class with a backlog. Smooth weighted round robin: every token adds to each backlogged class its
   share and takes one from the class that is served, so no class is ever more than one call behind its share.
2. *Fairness.* Inside a class, fairness keys take turns by stride, charged in calls: a key of weight 2 gets two calls for
   another's one. A key that was away starts level with the others: absence earns nothing.
3. Ties are broken by submission, then by holder, then by the lane that was served longest ago: never by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate.models import Priority

CLASSES: tuple[Priority, ...] = ("urgent", "normal", "low")


@dataclass(slots=True)
class Turns:
    """The state of the turns: credits of classes, passes of fairness keys."""

    floors: dict[Priority, float]
    credits: dict[str, float] = field(default_factory=dict)
    passes: dict[str, float] = field(default_factory=dict)

    def choose(self, backlogged: list[Priority]) -> Priority:
        """The class that is next among those with a backlog (in class order, not empty)."""
        if len(backlogged) == 1:
            return backlogged[0]
        shares = self._shares(backlogged)
        return max(backlogged, key=lambda c: (self.credits.get(c, 0.0) + shares[c], -CLASSES.index(c)))

    def charge(self, served: Priority, key: str, weight: float, backlogged: list[Priority]) -> None:
        """Record that one call went to `key` in `served` while `backlogged` were waiting."""
        shares = self._shares(backlogged)
        for c in backlogged:
            self.credits[c] = min(self.credits.get(c, 0.0) + shares[c], 1.0)
        self.credits[served] -= 1.0
        name = f"{served}/{key}"
        self.passes[name] = self.passes.get(name, 0.0) + 1.0 / weight

    def refund(self, served: Priority, key: str, weight: float) -> None:
        """Take back the charge for a token that was not used."""
        name = f"{served}/{key}"
        if name in self.passes:
            self.passes[name] -= 1.0 / weight
        self.credits[served] = min(self.credits.get(served, 0.0) + 1.0, 1.0)

    def level(self, backlogged: dict[Priority, set[str]]) -> None:
        """Start keys that come back level with the least served of those present, and forget keys that are gone."""
        passes: dict[str, float] = {}
        for c in CLASSES:
            keys = sorted(backlogged.get(c, ()))
            known = [self.passes[f"{c}/{k}"] for k in keys if f"{c}/{k}" in self.passes]
            start = min(known, default=0.0)
            for k in keys:
                passes[f"{c}/{k}"] = self.passes.get(f"{c}/{k}", start) - start
        self.passes = passes

    def _shares(self, backlogged: list[Priority]) -> dict[Priority, float]:
        shares = {c: self.floors[c] for c in backlogged}
        shares[backlogged[0]] += 1.0 - sum(shares.values())
        return shares
