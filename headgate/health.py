"""When the API pushes back: what 429s and failures mean for buckets and spreadsheets, applied where tokens are booked.

One `Health` a project. It shuts and paces buckets (`headgate.buckets`); what it knows of each is a `Pressure`
(`headgate.ceilings`) or a `Circuit` (`headgate.circuits`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from headgate.buckets import Buckets
from headgate.ceilings import Pressure
from headgate.circuits import Circuit, RetryBudget
from headgate.messages.tokens import Throttling
from headgate.messages.words import Kind
from headgate.quota import RECENT_NS

API = "api"
KINDS: tuple[Kind, ...] = ("read", "write")


def sheet_circuit(spreadsheet: str) -> str:
    """The name of a spreadsheet's circuit."""
    return f"sheet/{spreadsheet}"


@dataclass(slots=True)
class Health:
    """Pressures by bucket, circuits by name (`api`, `sheet/ID`), the retry budget, and what was counted for people."""

    buckets: Buckets
    pressures: dict[str, Pressure] = field(default_factory=dict)
    circuits: dict[str, Circuit] = field(default_factory=dict)
    retries: RetryBudget = field(default_factory=RetryBudget)
    throttled: int = 0
    overloads: int = 0

    # --- 429s ---------------------------------------------------------------------------------------------------------

    def throttle(self, now: int, said: Throttling) -> None:
        """A 429: the bucket that it names rests, and is paced at what got through."""
        self.throttled += 1
        name = f"user/{said.kind}/{said.user}" if said.scope == "user" else f"project/{said.kind}"
        bucket = self.buckets.quota(name)
        window = self.buckets.settings.window_ns
        pressure = self.pressures.setdefault(name, Pressure())
        self.buckets.kept.add(name)
        since = max(1, now - pressure.series_ns) if pressure.series_ns else window
        if pressure.throttled(
            now, bucket.used(now, min(since, window)), bucket.used(now, window), said.quota_value, window
        ):
            self.buckets.ceil(name, self._ceiling(name, now), now)
        self._shut_bucket(name, now)

    def regrow(self, now: int) -> list[str]:
        """Raise what was learned as time goes by; returns the buckets that can take more than before."""
        return [name for name in self.pressures if self.buckets.ceil(name, self._ceiling(name, now), now)]

    def ceiling(self, name: str, now: int) -> int:
        """What a bucket can take in a window, as far as is known."""
        configured = self.buckets.limit(name)
        pressure = self.pressures.get(name)
        return pressure.limit(now, configured) if pressure else configured

    def _ceiling(self, name: str, now: int) -> int:
        learned = self.ceiling(name, now)
        return learned if learned < self.buckets.limit(name) else 0

    def trust_configured(self) -> None:
        """A person set the quotas: what the API named before is no cap any more."""
        for pressure in self.pressures.values():
            pressure.named = 0

    # --- failures -----------------------------------------------------------------------------------------------------

    def overloaded(self, now: int, spreadsheet: str) -> bool:
        """A call failed or stayed without an answer; True if that opened a circuit."""
        self.overloads += 1
        number = crc32(spreadsheet.encode())
        api = self.circuits.setdefault(API, Circuit())
        since = now - api.first_ns(now)
        calls = 1 + sum(self.buckets.project(kind).used(now, since) for kind in KINDS) if since else 1
        if api.failed(now, number, calls, api=True):
            for name in [n for n in self.circuits if n != API]:
                self._close(name, now)  # the API's stands for all of them
            self._shut_api(now)
            return True
        if api.open or not spreadsheet:
            return False
        name = sheet_circuit(spreadsheet)
        own = self.circuits.setdefault(name, Circuit())
        first = own.first_ns(now)
        recent = 1 + sum(first < at <= now for at in self.buckets.spacing(spreadsheet).recent)
        if own.failed(now, number, recent, api=False):
            self._shut_sheet(spreadsheet, now)
            return True
        return False

    def open_for(self, spreadsheet: str) -> str:
        """The name of the circuit that keeps calls from a spreadsheet; `""` if none does."""
        for name in (API, sheet_circuit(spreadsheet)):
            circuit = self.circuits.get(name)
            if circuit is not None and circuit.open:
                return name
        return ""

    def probing(self, name: str, at: int, now: int) -> None:
        """A token at `at` was given to try an open circuit."""
        self.circuits[name].probing(at)
        self._shut(name, now)

    def probed(self, now: int, name: str, *, ok: bool) -> None:
        """What became of a probe; of one that nobody waits for any more, nothing."""
        circuit = self.circuits.get(name)
        if circuit is None or not circuit.open:
            return
        circuit.probed(now, ok=ok)
        if ok:
            self.retries.refill()
            self._close(name, now)
        else:
            self._shut(name, now)

    def probe_returned(self, now: int, name: str) -> None:
        """A probe's token came back unused."""
        circuit = self.circuits.get(name)
        if circuit is not None and circuit.open:
            circuit.returned(now)
            self._shut(name, now)

    def expire(self, now: int) -> None:
        """Forget circuits that are closed and have seen no failure lately."""
        for name in [n for n, c in self.circuits.items() if not c.open]:
            failures = self.circuits[name].failures
            if not failures or failures[-1][0] <= now - RECENT_NS:
                del self.circuits[name]

    def why(self, name: str) -> str:
        """An open circuit in words."""
        what = "the API" if name == API else f"spreadsheet {name[6:]}"
        return f"{what} fails: circuit open, one call at a time tries"

    def shut_anew(self, names: Iterable[str], now: int) -> None:
        """Apply what is known to buckets that were made anew."""
        for name in names:
            self._shut(name, now)
        for name in self.pressures:
            self.buckets.kept.add(name)

    # --- applying -----------------------------------------------------------------------------------------------------

    def _close(self, name: str, now: int) -> None:
        del self.circuits[name]
        if name == API:
            self._shut_api(now)
        else:
            self._shut_sheet(name[6:], now)

    def _shut(self, name: str, now: int) -> None:
        if name == API:
            self._shut_api(now)
        elif name.startswith("sheet/"):
            self._shut_sheet(name[6:], now)

    def _shut_api(self, now: int) -> None:
        for kind in KINDS:
            self._shut_bucket(f"project/{kind}", now)

    def _shut_bucket(self, name: str, now: int) -> None:
        pressure, circuit = self.pressures.get(name), self.circuits.get(API)
        shut = pressure.until_ns if pressure else 0
        if circuit is not None and circuit.open and name.startswith("project/"):
            shut = max(shut, circuit.shut_until(now))
        bucket = self.buckets.quota(name)
        bucket.shut_until_ns = shut
        bucket.reckon()

    def _shut_sheet(self, spreadsheet: str, now: int) -> None:
        circuit = self.circuits.get(sheet_circuit(spreadsheet))
        shut = circuit.shut_until(now) if circuit is not None and circuit.open else 0
        self.buckets.spacing(spreadsheet).shut_until_ns = shut
