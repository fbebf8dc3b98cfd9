"""The ledger keeps every call as it arrived and every apply in order, so that a referee can count.

An arrival is the instant, on the monotonic clock, at which a call's headers had been read: before its body, its quota and any
simulated latency. A call that an injected fault answered is in it too. Old calls are dropped when there are very many;
the instants that the verdict counts are never dropped before a reset.
"""

from __future__ import annotations

import time
from array import array
from dataclasses import dataclass

from emulator.errors import Json
from emulator.quota import BucketKey, Quota, worst_window


@dataclass(slots=True)
class Call:
    """One call; `status` 0 is an answer that was never sent."""

    number: int
    arrived: float
    user: str
    project: str
    method: str
    kind: str
    spreadsheet: str
    status: int = 0
    applied: bool = False
    sha256: str = ""
    fault: str | None = None
    answered: float = 0.0

    def shown(self) -> Json:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Applied:
    """One write that took effect, in the order in which they did."""

    number: int
    call: int
    at: float
    spreadsheet: str
    method: str
    sha256: str

    def shown(self) -> Json:
        return {name: getattr(self, name) for name in self.__slots__}


class Arrivals:
    """The instants of one bucket: of all its calls, and of those that passed the quota."""

    def __init__(self) -> None:
        self.all = array("d")
        self.passed = array("d")
        self.refused = 0


class Gauge:
    """How many calls of a spreadsheet were in flight at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    def enter(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def leave(self) -> None:
        self.now -= 1


class Ledger:
    """Calls, applies, arrivals per bucket, gauges per spreadsheet."""

    def __init__(self, most_calls: int) -> None:
        self.most_calls = most_calls
        self.reset()

    def reset(self) -> None:
        self.started = time.monotonic()
        self.calls: list[Call] = []
        self.applies: list[Applied] = []
        self.dropped = 0
        self.applies_dropped = 0
        self.count = 0
        self.arrivals: dict[BucketKey, Arrivals] = {}
        self.gauges: dict[tuple[str, str], Gauge] = {}

    def arrive(self, call: Call, keys: tuple[BucketKey, ...]) -> None:
        self.count += 1
        self.calls.append(call)
        if len(self.calls) > self.most_calls:
            gone = self.most_calls // 10 + 1
            del self.calls[:gone]
            self.dropped += gone
        for key in keys:
            self._arrivals(key).all.append(call.arrived)

    def refuse(self, key: BucketKey) -> None:
        self._arrivals(key).refused += 1

    def passed(self, call: Call, keys: tuple[BucketKey, ...]) -> None:
        for key in keys:
            self._arrivals(key).passed.append(call.arrived)

    def _arrivals(self, key: BucketKey) -> Arrivals:
        if key not in self.arrivals:
            self.arrivals[key] = Arrivals()
        return self.arrivals[key]

    def apply(self, call: Call) -> None:
        call.applied = True
        number = len(self.applies) + self.applies_dropped
        entry = Applied(number, call.number, time.monotonic(), call.spreadsheet, call.method, call.sha256)
        self.applies.append(entry)
        if len(self.applies) > self.most_calls:
            gone = self.most_calls // 10 + 1
            del self.applies[:gone]
            self.applies_dropped += gone

    def gauge(self, spreadsheet_id: str, kind: str) -> Gauge:
        key = (spreadsheet_id, kind)
        if key not in self.gauges:
            self.gauges[key] = Gauge()
        return self.gauges[key]

    def verdict(self, quota: Quota) -> Json:
        """What a referee needs: per bucket the limit and the worst window, the 429s, the concurrency."""
        buckets = [self._bucket(key, arrivals, quota) for key, arrivals in sorted(self.arrivals.items())]
        injected: dict[str, int] = {}
        statuses: dict[str, int] = {}
        for call in list(self.calls):
            statuses[str(call.status)] = statuses.get(str(call.status), 0) + 1
            if call.fault is not None:
                injected[call.fault] = injected.get(call.fault, 0) + 1
        return {
            "window": quota.window,
            "mode": quota.mode,
            "quota": quota.enabled,
            "calls": self.count,
            "applies": len(self.applies) + self.applies_dropped,
            "refused": sum(arrivals.refused for arrivals in list(self.arrivals.values())),
            "within_limits": all(bucket["worst_window"] <= bucket["limit"] for bucket in buckets),
            "buckets": buckets,
            "statuses": statuses,
            "faults": injected,
            "max_in_flight": self._most(None),
            "max_writes_in_flight": self._most("write"),
        }

    def _bucket(self, key: BucketKey, arrivals: Arrivals, quota: Quota) -> Json:
        limit = quota.limits[key.level, key.kind]
        instants = list(arrivals.all)
        passed = sorted(arrivals.passed)
        elapsed = instants[-1] - instants[0] if instants else 0.0
        worst = worst_window(instants, quota.window)
        return {
            **key._asdict(),
            "limit": limit,
            "calls": len(instants),
            "passed": len(passed),
            "refused": arrivals.refused,
            "worst_window": worst,
            "worst_window_passed": worst_window(passed, quota.window),
            "worst_share": round(worst / limit, 4) if limit else None,
            "first_arrival": instants[0] if instants else None,
            "last_arrival": instants[-1] if instants else None,
            "used_share": _share(len(passed), limit, elapsed, quota.window),
            "per_window": _per_window(passed, quota.window),
        }

    def _most(self, kind: str | None) -> dict[str, int]:
        """With no kind: of reads and writes together."""
        wanted = kind or "any"
        return {name: gauge.most for (name, what), gauge in list(self.gauges.items()) if what == wanted}


def _share(calls: int, limit: int, elapsed: float, window: float) -> float | None:
    """What part of `limit` calls in every window the calls were, over the time from first to last."""
    if not limit or elapsed < window:
        return None
    return round(calls / (limit * elapsed / window), 4)


def _per_window(instants: list[float], window: float) -> list[int]:
    """Calls in each window since the first one."""
    counts: list[int] = []
    for instant in instants:
        index = int((instant - instants[0]) // window)
        counts.extend([0] * (index + 1 - len(counts)))
        counts[index] += 1
    return counts
