"""Exact booking against one quota, in integer nanoseconds.

Rules:

1. A token booked at `at` may reach the API at any instant in [at, at + slack], slack = token_valid_for + network_spread.
2. So of the sorted times of a bucket, the one `limit` places later is at least window + slack after the earlier one: then
   no window of that length, however it slides, can hold more than `limit` arrivals.
3. Tokens may be booked in any order and given back; giving one back never breaks rule 2.
4. Pacing (normal and low) is a smoothness, not a safety: beyond a burst from idle at most `pace` x limit / (window + slack)
   tokens a second (design section 4, point 1). Urgent tokens are neither paced nor charged to the pace.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field

SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class Bucket:
    """One quota of one project or user: what is booked, and from when it is free. Times in ns, rising."""

    limit: int
    hold_ns: int
    interval_ns: int
    burst: int
    times: list[int] = field(default_factory=list)
    paced_until_ns: int = 0
    shut_until_ns: int = 0

    def earliest(self, t: int, *, paced: bool) -> int:
        """The first instant >= t at which one more token fits."""
        t = max(t, self.shut_until_ns)
        if paced:
            t = max(t, self.paced_until_ns - self.burst * self.interval_ns)
        times, limit, hold = self.times, self.limit, self.hold_ns
        n = len(times)
        p = bisect_right(times, t)
        while True:
            if p and times[p - 1] > t:
                t = times[p - 1]
            if p >= limit:
                t = max(t, times[p - limit] + hold)
            if p < n and t > times[p]:
                p += 1
            elif p == n or self._fits_before(p, t):
                return t
            else:
                p += 1

    def _fits_before(self, p: int, t: int) -> bool:
        """Whether a token at t, put at place p, leaves rule 2 whole for the tokens behind it."""
        times, limit, hold = self.times, self.limit, self.hold_ns
        for k in range(max(p + 1, limit), min(len(times), p + limit) + 1):
            before = times[k - limit] if k - limit < p else t
            if times[k - 1] < before + hold:
                return False
        return True

    def book(self, at: int, *, paced: bool) -> None:
        """Book a token at an instant that `earliest` named."""
        insort(self.times, at)
        if paced:
            self.paced_until_ns = max(self.paced_until_ns, at) + self.interval_ns

    def give_back(self, at: int, *, paced: bool) -> bool:
        """Free a booked token; False if there is none at that instant."""
        place = bisect_left(self.times, at)
        if place == len(self.times) or self.times[place] != at:
            return False
        del self.times[place]
        if paced:
            self.paced_until_ns -= self.interval_ns
        return True

    def expire(self, now: int) -> None:
        """Forget tokens that can no longer share a window with one used at `now` or later."""
        gone = bisect_right(self.times, now - self.hold_ns)
        if gone:
            del self.times[:gone]

    def used(self, now: int) -> int:
        """Tokens whose time has come and that still count."""
        return bisect_right(self.times, now) - bisect_right(self.times, now - self.hold_ns)


@dataclass(slots=True)
class Spacing:
    """The starts of calls on one spreadsheet: at least `gap_ns` apart, and after another lane's call at least its latency.

    Google advises one call at a time and a second between them (reference/sheets.md section 5). A lane's own calls follow
    each other by construction, so between them only `gap_ns` counts.
    """

    gap_ns: int
    starts: list[tuple[int, int, str]] = field(default_factory=list)

    def earliest(self, t: int, who: str, latency_ns: int) -> int:
        """The first instant >= t at which `who` may start a call that takes `latency_ns`."""
        for at, latency, other in self.starts:
            after = self.gap_ns if other == who else max(self.gap_ns, latency)
            before = self.gap_ns if other == who else max(self.gap_ns, latency_ns)
            if t < at + after and t > at - before:
                t = at + after
        return t

    def book(self, at: int, who: str, latency_ns: int) -> None:
        """Book a start at an instant that `earliest` named."""
        insort(self.starts, (at, latency_ns, who))

    def give_back(self, at: int, who: str) -> None:
        """Free a start that did not take place."""
        for start in self.starts:
            if start[0] == at and start[2] == who:
                self.starts.remove(start)
                return

    def expire(self, now: int) -> None:
        """Forget starts that no longer keep anybody away."""
        self.starts = [s for s in self.starts if s[0] + max(self.gap_ns, s[1]) > now]
