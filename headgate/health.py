"""When the API pushes back: how long a bucket rests after a 429."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.quota import SECOND_NS


@dataclass(slots=True)
class Pause:
    """1 s after a first 429, doubling while they repeat within a window of each other, never beyond a window."""

    last_ns: int = 0
    length_ns: int = 0

    def until(self, now: int, window_ns: int) -> int:
        """The end of the pause that a 429 at `now` begins."""
        if now - self.last_ns > self.length_ns + window_ns:
            self.length_ns = SECOND_NS
        elif now >= self.last_ns + self.length_ns:
            self.length_ns = min(2 * self.length_ns, window_ns)
        self.last_ns = max(self.last_ns, now)
        return self.last_ns + self.length_ns
