"""What 429s teach: how long a bucket rests, and how much of its quota is left to us when others use it too.

Rules:

1. A 429 shuts the bucket that it names for a twentieth of its window (3 s), at least 1 s, and while they repeat at least 3 s.
   What others leave meanwhile is used afterwards, and a longer time until the next 429 tells more of how much that is.
2. A 429 says that the window is full. So what is left to us is what we have in the window, if others have used the quota for
   that long; and between two 429s, what got through by the time between them, however it was sent.
3. The ceiling is that, less a margin. It is held for 2 minutes, then raised faster and faster, and never above the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from headgate.quota import SECOND_NS

SHORTEST_PAUSE_NS = SECOND_NS
LONGEST_PAUSE_NS = 3 * SECOND_NS
CEILING_HELD_NS = 120 * SECOND_NS
#: From the end of the hold to the configured limit; the way up is a parabola, so that the first steps are small.
CEILING_REGROWS_NS = 100 * SECOND_NS
#: 429s that come so soon after one another are of calls that were on their way already: one event.
SAME_EVENT_NS = 1_500_000_000
#: A ceiling is not taken from a shorter time between two 429s; and so many calls may be due to unevenness alone.
LEAST_SAMPLE_NS = SECOND_NS
UNEVEN_CALLS = 7
#: Where others were known before a series began, so many of its further events are laid to unevenness.
KNOWN_EVENTS = 2
#: At the ceiling itself the slightest unevenness would be a 429.
MARGIN = 0.98


@dataclass(slots=True)
class Pressure:
    """What 429s taught about one bucket. `named` is the limit that the API named (0: none), `total` counts 429s for people.

    `series_ns` is the first of a series of 429s not longer than a window, `refused` counts those of the series. `doubts`: so
    many more events of it are laid to unevenness, since the others were there a window ago and the window tells their part.
    """

    paused_ns: int = 0
    length_ns: int = 0
    ceiling: int = 0
    grows_from_ns: int = 0
    named: int = 0
    refused: int = 0
    total: int = 0
    series_ns: int = 0
    doubts: int = 0

    def throttled(self, now: int, used_since: int, used_window: int, value: int, window_ns: int) -> bool:
        """Note a 429 at `now`; True if it begins a pause of its own, with a new ceiling.

        `used_since` and `used_window` are the calls made since the series began and in the last window; `value` is what the
        API said the limit is.
        """
        self.total += 1
        if value:
            self.named = value
        if self.series_ns and now < self.paused_ns + self.length_ns + SAME_EVENT_NS:
            self.refused += 1
            return False
        longest = min(max(LONGEST_PAUSE_NS, window_ns // 20), window_ns)
        repeats = self.series_ns and now - self.paused_ns < window_ns
        first = min(max(SHORTEST_PAUSE_NS, window_ns // 20), window_ns)
        self.length_ns = min(2 * self.length_ns, longest) if repeats else first
        elapsed = now - self.series_ns
        if not self.series_ns or elapsed > window_ns:
            known = self.series_ns and now < self.grows_from_ns + CEILING_REGROWS_NS
            self.series_ns, self.refused, self.doubts = now, 1, KNOWN_EVENTS if known else 0
            self.ceiling = max(1, int(MARGIN * (used_window - 1)))
        elif self.doubts:
            self.refused += 1
            self.doubts -= 1
            self.ceiling = max(1, min(self.ceiling, int(MARGIN * (used_window - 1))))
        else:
            self.refused += 1
            through = max(0, used_since - self.refused) + UNEVEN_CALLS
            learned = through * window_ns // max(elapsed, LEAST_SAMPLE_NS)
            self.ceiling = max(1, int(MARGIN * min(learned, self.ceiling)))
        self.paused_ns, self.grows_from_ns = now, now + CEILING_HELD_NS
        return True

    @property
    def until_ns(self) -> int:
        """The end of the pause."""
        return self.paused_ns + self.length_ns

    def limit(self, now: int, configured: int) -> int:
        """What the bucket can take in a window as far as was learned; `configured` where nothing was, or it has grown back."""
        most = min(configured, self.named) if self.named else configured
        if not self.ceiling or self.ceiling >= most:
            return most
        grown = max(0, now - self.grows_from_ns) / CEILING_REGROWS_NS
        return min(most, int(self.ceiling + (most - self.ceiling) * grown * grown))
