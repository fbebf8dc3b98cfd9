"""Circuits and their probes, and the retry budget: what keeps calls away from an API that fails.

Rules:

1. A circuit opens when at least half of the calls failed since the first failure of the last 10 s: for a spreadsheet, or for
   the API when several spreadsheets fail.
2. While it is open one call at a time may try; pauses between tries grow to 8 s and no further.
3. Retries are at most a tenth of the calls, beyond a small reserve.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from headgate.quota import RECENT_NS, SECOND_NS

SHEET_FAILURES = 3
API_FAILURES = 5
API_SHEETS = 3
FIRST_PROBE_NS = SECOND_NS
LONGEST_PROBE_PAUSE_NS = 8 * SECOND_NS
#: A probe of which nothing is heard for so long is lost; another may go.
PROBE_LOST_NS = 10 * SECOND_NS

RETRY_SHARE = 0.1
RETRY_RESERVE = 30.0
#: The reserve fills by itself in this time, or nobody could ever try again after an outage.
RETRY_REFILL_NS = 60 * SECOND_NS


@dataclass(slots=True)
class Circuit:
    """The latest failures of one spreadsheet, or of the API; open from `opened_ns` (0: closed) until a probe is answered.

    `failures` are (at_ns, spreadsheet's number) so that several spreadsheets can be told from one.
    """

    failures: list[tuple[int, int]] = field(default_factory=list)
    opened_ns: int = 0
    probe_at_ns: int = 0
    pause_ns: int = 0
    out_until_ns: int = 0

    @property
    def open(self) -> bool:
        return bool(self.opened_ns)

    def first_ns(self, now: int) -> int:
        """The first failure of the last 10 s; now, if there was none."""
        return next((at for at, _ in self.failures if at > now - RECENT_NS), now)

    def failed(self, now: int, sheet: int, calls: int, *, api: bool) -> bool:
        """Note a failure; True if that opens the circuit, among so many `calls` since the first failure of the last 10 s."""
        self.failures = [(at, s) for at, s in self.failures if at > now - RECENT_NS]
        self.failures.append((now, sheet))
        if self.open:
            return False
        enough = API_FAILURES if api else SHEET_FAILURES
        several = len({s for _, s in self.failures}) >= (API_SHEETS if api else 1)
        if len(self.failures) < enough or not several or 2 * len(self.failures) < calls:
            return False
        self.opened_ns, self.pause_ns, self.out_until_ns = now, FIRST_PROBE_NS, 0
        self.probe_at_ns = now + self.pause_ns
        return True

    def shut_until(self, now: int) -> int:
        """Until when nothing may be sent: the next probe's time, or the end of the one that is out."""
        return self.out_until_ns if self.out_until_ns > now else self.probe_at_ns

    def probing(self, at: int) -> None:
        """A probe's token was given for `at`: no second one while it is out."""
        self.out_until_ns = at + PROBE_LOST_NS
        self.probe_at_ns = self.out_until_ns

    def probed(self, now: int, *, ok: bool) -> None:
        """The probe was answered, and the circuit is closed; or it failed, and the next one waits longer."""
        self.out_until_ns = 0
        if ok:
            self.opened_ns, self.failures = 0, []
            return
        self.pause_ns = min(2 * self.pause_ns, LONGEST_PROBE_PAUSE_NS)
        self.probe_at_ns = now + self.pause_ns

    def returned(self, now: int) -> None:
        """The probe's token came back unused: another may go at once."""
        self.out_until_ns, self.probe_at_ns = 0, now


@dataclass(slots=True)
class RetryBudget:
    """Tokens for retries: a tenth of one comes with each call, and the reserve fills by itself in a minute."""

    left: float = RETRY_RESERVE
    at_ns: int = 0

    def earn(self, granted: Iterable[int]) -> None:
        """So many calls were granted to one holder after the other; none of them is a retry."""
        for calls in granted:
            if self.left >= 2 * RETRY_RESERVE:
                return
            self.left = min(self.left + RETRY_SHARE * calls, 2 * RETRY_RESERVE)

    def spend(self, now: int) -> int:
        """Take one for a retry: 0 if there was one, else the instant at which there is (ns)."""
        if self.left < RETRY_RESERVE:
            grown = (now - self.at_ns) * RETRY_RESERVE / RETRY_REFILL_NS if self.at_ns else 0.0
            self.left = min(RETRY_RESERVE, self.left + grown)
        self.at_ns = now
        if self.left >= 1.0:
            self.left -= 1.0
            return 0
        return now + int((1.0 - self.left) * RETRY_REFILL_NS / RETRY_RESERVE) + 1

    def refill(self) -> None:
        """The API is back: whoever waited may try."""
        self.left = max(self.left, RETRY_RESERVE)
