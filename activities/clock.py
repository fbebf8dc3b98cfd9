"""The server's time, without trusting this host's wall clock.

Invariants:
1. What `now_ns` says is never later than the server's clock by more than drift, and, once `trusted`, never earlier by more
   than `WIDEST_NS`: a token is used a little late rather than a little early.
2. One-sided samples (an activity's start) can only lag, by their delivery: the best of the recent ones counts.
3. Before a process sends anything it takes a two-sided sample: an update's answer carries a time between send and receipt.
   It counts for `TRUSTED_NS`, less what clocks may drift; then `trusted` ends, since what came after may all lag.
4. A step of the wall clock changes nothing: only the monotonic clock is read here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

#: A two-sided sample wider than this is measured again (design section 4, point 5).
WIDEST_NS = 100_000_000
#: A sample older than this may have drifted too far (500 ppm: 30 ms a minute).
RECENT_NS = 60_000_000_000
TRUSTED_NS = 2 * RECENT_NS
DRIFT = 500e-6


@dataclass(slots=True)
class ServerClock:
    """The server's time as this process knows it. `monotonic_ns` is injected by tests."""

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    _offsets: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=256))
    _best: int | None = None
    _two_sided: tuple[int, int] | None = None

    @property
    def trusted(self) -> bool:
        """Whether a two-sided sample that was close enough still counts."""
        return self._two_sided is not None and self.monotonic_ns() - self._two_sided[0] <= TRUSTED_NS

    def now_ns(self) -> int:
        """The server's time, or slightly before."""
        if self._best is None:
            raise RuntimeError("the server's clock is asked before it was ever sampled")
        return self.monotonic_ns() + self._best

    def started(self, started_time: datetime) -> None:
        """An activity was started at this server time, and is here by now."""
        self._add(int(started_time.timestamp() * 1_000_000) * 1000)

    def between(self, sent_ns: int, server_ns: int) -> bool:
        """The server said `server_ns` after we asked at monotonic `sent_ns` and before now; True if that is close enough."""
        width = self.monotonic_ns() - sent_ns
        self._add(server_ns)
        if width <= WIDEST_NS:
            here = self.monotonic_ns()
            self._two_sided = (here, server_ns - here)
            self._choose()
        return width <= WIDEST_NS

    def _add(self, server_ns: int) -> None:
        here = self.monotonic_ns()
        self._offsets.append((here, server_ns - here))
        while self._offsets[0][0] < here - RECENT_NS:
            self._offsets.popleft()
        self._choose()

    def _choose(self) -> None:
        best = max(offset for _, offset in self._offsets)
        if self._two_sided is not None:
            at, offset = self._two_sided
            best = max(best, offset - int((self.monotonic_ns() - at) * DRIFT)) if self.trusted else best
        self._best = best
