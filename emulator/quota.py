"""A quota is a log of the calls that passed: the next one passes if fewer than `limit` lie in its window.

Written without a look at how headgate books tokens, so that it can convict it. Facts (reference: sheets, 1.1, 1.2): four buckets,
read and write by project and by user; a refused call uses nothing [U]; the window slides, or is a fixed minute.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from emulator.settings import EmulatorSettings


class BucketKey(NamedTuple):
    """Whose calls are counted: `level` is project or user, `kind` read or write."""

    level: str
    name: str
    kind: str


@dataclass
class Bucket:
    """The instants of the calls that passed, oldest first."""

    passed: deque[float] = field(default_factory=deque)

    def used(self, now: float, window: float, mode: str) -> int:
        """How many of them count against a call at `now`."""
        oldest = (now // window) * window if mode == "fixed" else now - window
        while self.passed and (self.passed[0] < oldest or (mode == "sliding" and self.passed[0] <= oldest)):
            self.passed.popleft()
        return len(self.passed)


class Refusal(NamedTuple):
    key: BucketKey
    limit: int


class Quota:
    """The four limits and every bucket that was asked so far."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.enabled = settings.quota
        self.window = settings.window
        self.mode: Literal["sliding", "fixed"] = settings.window_mode
        self.limits = {
            ("project", "read"): settings.read_per_project,
            ("user", "read"): settings.read_per_user,
            ("project", "write"): settings.write_per_project,
            ("user", "write"): settings.write_per_user,
        }
        self.buckets: dict[BucketKey, Bucket] = {}

    def keys(self, project: str, user: str, kind: str) -> tuple[BucketKey, BucketKey]:
        return BucketKey("user", f"{project}/{user}", kind), BucketKey("project", project, kind)

    def take(self, project: str, user: str, kind: str, now: float) -> Refusal | None:
        """Counts the call in both buckets, or in none and says which was full."""
        if not self.enabled:
            return None
        taken = []
        for key in self.keys(project, user, kind):
            bucket = self.buckets.setdefault(key, Bucket())
            limit = self.limits[key.level, kind]
            if bucket.used(now, self.window, self.mode) >= limit:
                return Refusal(key, limit)
            taken.append(bucket)
        for bucket in taken:
            bucket.passed.append(now)
        return None

    def reset(self) -> None:
        self.buckets.clear()


def worst_window(instants: list[float], window: float) -> int:
    """The most instants in any half-open stretch of `window` seconds; the instants are in order."""
    worst = first = 0
    for last, instant in enumerate(instants):
        while instants[first] <= instant - window:
            first += 1
        worst = max(worst, last - first + 1)
    return worst
