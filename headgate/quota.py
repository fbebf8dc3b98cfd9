"""Exact booking against one quota, in integer nanoseconds.

Rules:

1. A token booked at `at` may reach the API at any instant in [at, at + slack], slack = token_valid_for + network_spread.
2. So of the sorted times of a bucket, the one `limit` places later is at least window + slack after the earlier one: then
   no window of that length, however it slides, can hold more than `limit` arrivals.
3. Tokens may be booked in any order and given back; giving one back never breaks rule 2.
4. Pacing (normal and low) is a smoothness, not a safety: beyond a burst from idle at most `pace` x limit / (window + slack)
   tokens a second (design section 4, point 1). Urgent tokens are neither paced nor charged to the pace.
   A *rush* is what an urgent one may go ahead while others wait: beyond `rush` from idle the same rate, charged by all.
5. A learned ceiling is a pace for every token, urgent ones too: others use the same quota, so what is left comes at a rate.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field

SECOND_NS = 1_000_000_000
#: So many tokens may follow each other at once under a learned ceiling.
CEILING_BURST = 1
#: Starts are remembered for so long, to tell how many of them failed.
RECENT_NS = 10 * SECOND_NS


@dataclass(slots=True)
class Bucket:
    """One quota of one project or user: what is booked, and from when it is free. Times in ns, rising.

    From `clear_ns` on nothing keeps a token away, paced or not: most buckets are far from full, and need no closer look.
    Whoever changes a quota, a pause or what is booked other than by `book` has it reckoned anew (`reckon`).
    """

    limit: int
    hold_ns: int
    interval_ns: int
    burst: int
    rush: int = 0
    times: list[int] = field(default_factory=list)
    paced_until_ns: int = 0
    rushed_until_ns: int = 0
    shut_until_ns: int = 0
    ceiling_interval_ns: int = 0
    ceiled_until_ns: int = 0
    worst: int = 0
    clear_ns: int = 0

    def earliest(self, t: int, *, paced: bool) -> int:
        """The first instant >= t at which one more token fits."""
        if paced and (ready := self.paced_from()) > t:
            t = ready
        if self.shut_until_ns > t:
            t = self.shut_until_ns
        if self.ceiling_interval_ns:
            ready = self.ceiled_until_ns - CEILING_BURST * self.ceiling_interval_ns
            if ready > t:
                t = ready
        times, limit, hold = self.times, self.limit, self.hold_ns
        n = len(times)
        if not n or t >= times[-1]:  # nothing is booked later: only those before count
            return t if n < limit else max(t, times[n - limit] + hold)
        p = bisect_right(times, t)
        while True:
            if p and times[p - 1] > t:
                t = times[p - 1]
            if p >= limit:
                t = max(t, times[p - limit] + hold)
            if p < n and t > times[p]:
                p = bisect_right(times, t)
                continue
            crowded = self._crowded(p, t) if p < n else 0
            if not crowded:
                return t
            p = crowded

    def paced_from(self) -> int:
        """The first instant at which the pace alone lets a token go."""
        return self.paced_until_ns - self.burst * self.interval_ns

    def rushed_from(self) -> int:
        """The first instant at which the rush lets an urgent token go while others wait."""
        return self.rushed_until_ns - self.rush * self.interval_ns

    def _crowded(self, p: int, t: int) -> int:
        """0 if a token at t, put at place p, leaves rule 2 whole for those behind it; else the first place worth trying next.

        A pair that is too close is too close for every place up to the later one of it, so the latest such pair says how
        far to go at once.
        """
        times, limit, hold = self.times, self.limit, self.hold_ns
        for k in range(min(len(times), p + limit), max(p + 1, limit) - 1, -1):
            before = times[k - limit] if k - limit < p else t
            if times[k - 1] < before + hold:
                return k
        return 0

    def book(self, at: int, *, paced: bool) -> None:
        """Book a token at an instant that `earliest` named."""
        times, clear = self.times, self.clear_ns
        if not times or at >= times[-1]:
            times.append(at)
        else:
            insort(times, at)
        if at > clear:
            clear = at
        if paced:
            until = self.paced_until_ns
            self.paced_until_ns = until = (until if until > at else at) + self.interval_ns
            ready = until - self.burst * self.interval_ns
            if ready > clear:
                clear = ready
        if self.rush:
            until = self.rushed_until_ns
            self.rushed_until_ns = (until if until > at else at) + self.interval_ns
        if self.ceiling_interval_ns:
            self.ceiled_until_ns = max(self.ceiled_until_ns, at) + self.ceiling_interval_ns
            self.reckon()
        elif len(times) >= self.limit:
            ready = times[-self.limit] + self.hold_ns
            self.clear_ns = ready if ready > clear else clear
        else:
            self.clear_ns = clear

    def booked_beyond(self, t: int) -> bool:
        """Whether a token is booked for later than t."""
        return bool(self.times) and self.times[-1] > t

    def reckon(self) -> None:
        """Know anew from when on nothing keeps a token away (`clear_ns`)."""
        times = self.times
        self.clear_ns = max(
            self.shut_until_ns,
            self.paced_from(),
            self.ceiled_until_ns - CEILING_BURST * self.ceiling_interval_ns if self.ceiling_interval_ns else 0,
            times[-1] if times else 0,
            times[-self.limit] + self.hold_ns if len(times) >= self.limit else 0,
        )

    def give_back(self, at: int, *, paced: bool) -> bool:
        """Free a booked token; False if there is none at that instant."""
        place = bisect_left(self.times, at)
        if place == len(self.times) or self.times[place] != at:
            return False
        del self.times[place]
        if paced:
            self.paced_until_ns -= self.interval_ns
        if self.rush:
            self.rushed_until_ns -= self.interval_ns
        if self.ceiling_interval_ns:
            self.ceiled_until_ns -= self.ceiling_interval_ns
        return True

    def expire(self, now: int, window_ns: int) -> None:
        """Forget tokens that can no longer share a window with one used at `now` or later; remember the fullest window."""
        times, past = self.times, now - self.hold_ns
        if times and times[0] <= past:
            gone = bisect_right(times, past)
            worst, end = self.worst, len(times)
            for n, first in enumerate(times[:gone]):
                if n + worst < end and times[n + worst] < first + window_ns:  # fuller than any before
                    worst = bisect_left(times, first + window_ns, n + worst) - n
            self.worst = worst
            del times[:gone]

    def fullest(self, window_ns: int, now: int) -> int:
        """The most tokens in any window among those that are still remembered and whose time has come."""
        times = self.times[: bisect_right(self.times, now)]
        return max((bisect_left(times, at + window_ns) - n for n, at in enumerate(times)), default=0)

    def used(self, now: int, span_ns: int = 0) -> int:
        """Tokens whose time has come and that still count; those of the last `span_ns` if that is given."""
        return bisect_right(self.times, now) - bisect_right(self.times, now - (span_ns or self.hold_ns))


@dataclass(slots=True)
class Spacing:
    """The starts of calls on one spreadsheet: at least `gap_ns` apart, and after another lane's call at least its latency.

    Google advises one call at a time and a second between them (reference/sheets.md section 5). A lane's own calls follow
    each other by construction, so while nobody else wants the spreadsheet (`wanted_by`) only `gap_ns` counts between them;
    with others about, its own next call waits as long as theirs, or they would wait until it is done.
    Reads and writes are dealt out one after the other, `turn_ns` at a time: while both want the spreadsheet (`kinds`), the
    kind that started last leaves the other so long to come first. `shared` says that more than one wants the spreadsheet.
    """

    gap_ns: int
    starts: list[tuple[int, int, str]] = field(default_factory=list)
    recent: list[int] = field(default_factory=list)
    wanted_by: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    turn_ns: int = 0
    shut_until_ns: int = 0
    clear_ns: int = 0
    shared: bool = False

    def want(self, who: str, kind: str) -> None:
        """A lane wants calls on the spreadsheet."""
        self.wanted_by[who] = self.wanted_by.get(who, 0) + 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.shared = len(self.wanted_by) > 1

    def leave(self, who: str, kind: str) -> bool:
        """A lane wants none any more; True if whoever is left no longer has to keep off for others, or for this kind."""
        wanted, kinds = self.wanted_by, self.kinds
        wanted[who] -= 1
        kinds[kind] -= 1
        if not wanted[who]:
            del wanted[who]
        if not kinds[kind]:
            del kinds[kind]
        self.shared = len(wanted) > 1
        return len(wanted) == 1 or kind not in kinds

    def earliest(self, t: int, who: str, latency_ns: int) -> int:
        """The first instant >= t at which `who` may start a call that takes `latency_ns`."""
        if self.shut_until_ns > t:
            t = self.shut_until_ns
        if t >= self.clear_ns:
            return t
        gap = self.gap_ns
        for at, latency, other in self.starts:
            after = gap if other == who or gap > latency else latency
            if t >= at + after:
                continue
            before = gap if other == who or gap > latency_ns else latency_ns
            if t > at - before:
                t = at + after
        return t

    def in_turn(self, t: int, kind: str, latency_ns: int) -> int:
        """`earliest` for a lane beside others: the kind that started last lets the other one have its turn."""
        t = self.earliest(t, "", latency_ns)
        while len(self.kinds) > 1:
            last = max((start for start in self.starts if start[0] <= t), default=None)
            if last is None or not last[2].endswith(kind):
                return t
            turn = last[0] + max(self.gap_ns, last[1]) + self.turn_ns
            if turn <= t:
                return t
            others = [at for at, _, who in self.starts if t < at < turn and not who.endswith(kind)]
            t = self.earliest(min([turn, *others]), "", latency_ns)
        return t

    def book(self, at: int, who: str, latency_ns: int, *, past_ns: int = 0) -> None:
        """Book a start at an instant that `earliest` named. What ended before `past_ns` keeps nobody away any more."""
        start, gap = (at, latency_ns, who), self.gap_ns
        starts, recent = self.starts, self.recent
        if starts and starts[0][0] + max(gap, starts[0][1]) + self.turn_ns <= past_ns:
            self.expire(past_ns)
        if starts and start < starts[-1]:
            insort(starts, start)
        else:
            starts.append(start)
        clear = at + (latency_ns if latency_ns > gap else gap) + self.turn_ns
        if clear > self.clear_ns:
            self.clear_ns = clear
        if recent and recent[0] <= past_ns - RECENT_NS:
            del recent[: bisect_right(recent, past_ns - RECENT_NS)]
        if recent and at < recent[-1]:
            insort(recent, at)
        else:
            recent.append(at)

    def give_back(self, at: int, who: str) -> None:
        """Free a start that did not take place."""
        for n, start in enumerate(self.starts):
            if start[0] == at and start[2] == who:
                del self.starts[n]
                break
        if at in self.recent:
            self.recent.remove(at)

    def expire(self, now: int) -> None:
        """Forget starts that no longer keep anybody away."""
        if self.clear_ns <= now:
            self.starts.clear()
        elif self.starts:
            self.starts[:] = [s for s in self.starts if s[0] + max(self.gap_ns, s[1]) + self.turn_ns > now]
        if self.recent and self.recent[0] <= now - RECENT_NS:
            del self.recent[: bisect_right(self.recent, now - RECENT_NS)]

    def booked_beyond(self, t: int) -> bool:
        """Whether a start is booked for later than t."""
        return bool(self.starts) and self.starts[-1][0] > t

    def reckon(self) -> None:
        """The starts or the gap are others: know anew from when on none of them keeps anybody away (`clear_ns`)."""
        self.clear_ns = max(
            (at + max(self.gap_ns, latency) + self.turn_ns for at, latency, _ in self.starts), default=0
        )

    def idle(self, now: int) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return not (self.wanted_by or self.starts or self.recent) and self.shut_until_ns <= now
