"""What 429s teach: how long a bucket rests, and how much of its quota is left to us when others use it too.

Rules:

1. A 429 shuts the bucket that it names for 1 s, up to 3 s while they repeat, and beyond that only in long windows.
2. The ceiling is the rate at which calls got through: since the 429 before if that was lately, else in the last window. It is
   held for 2 minutes, then raised faster and faster, and never above the configured limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from headgate.quota import SECOND_NS

LONGEST_PAUSE_NS = 3 * SECOND_NS
CEILING_HELD_NS = 120 * SECOND_NS
#: From the end of the hold to the configured limit; the way up is a parabola, so that the first steps are small.
CEILING_REGROWS_NS = 100 * SECOND_NS
#: 429s that come so soon after one another are of calls that were on their way already: one event.
SAME_EVENT_NS = 1_500_000_000
#: A ceiling is not taken from fewer calls, nor from a shorter time.
LEAST_SAMPLE = 4
LEAST_SAMPLE_NS = SECOND_NS


@dataclass(slots=True)
class Pressure:
    """What 429s taught about one bucket. `named` is the limit that the API named (0: none), `total` counts 429s for people."""

    paused_ns: int = 0
    length_ns: int = 0
    ceiling: int = 0
    grows_from_ns: int = 0
    named: int = 0
    refused: int = 0
    total: int = 0
    since_ns: int = 0

    def throttled(self, now: int, used_since: int, used_window: int, value: int, window_ns: int) -> bool:
        """Note a 429 at `now`; True if it begins a pause of its own, with a new ceiling.

        `used_since` and `used_window` are the calls made since the event before and in the last window; `value` is what the
        API said the limit is.
        """
        self.total += 1
        self.refused += 1
        if value:
            self.named = value
        if self.since_ns and now < self.paused_ns + self.length_ns + SAME_EVENT_NS:
            return False
        since = now - self.since_ns
        if not self.since_ns or since > 2 * window_ns:
            self.length_ns = SECOND_NS
        elif since < window_ns // 4:
            self.length_ns = min(2 * self.length_ns, max(LONGEST_PAUSE_NS, window_ns // 20), window_ns)
        through = used_since - self.refused
        if self.since_ns and LEAST_SAMPLE_NS <= since < window_ns and through >= LEAST_SAMPLE:
            learned = through * window_ns // since
        else:
            learned = used_window - self.refused
        self.ceiling = max(1, min(learned, self.ceiling or learned) if since < window_ns else learned)
        self.grows_from_ns = now + CEILING_HELD_NS
        self.since_ns, self.paused_ns, self.refused = now, now, 0
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
