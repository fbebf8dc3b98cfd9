"""An oracle that knows nothing of the limiter: every token that was ever given, every one that came back, and what may be.

A token may be used at any instant of [at, at + slack]. So of the tokens that stand (given, not handed back), no more than the
limit may lie in any half-open span of window + slack. That is checked whenever a token is given, against the limit of that
moment and all tokens that stand: so a lower limit holds from then on, counting what had been granted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field

from headgate.messages.tokens import LimiterSettings
from headgate.messages.words import Kind


@dataclass(frozen=True)
class Stub:
    """What is kept of one token: when it may be used, and its path. `who` is the lane's name on its spreadsheet."""

    at: int
    kind: Kind
    user: str
    spreadsheet: str
    who: str
    latency_ns: int


def limit_of(settings: LimiterSettings, kind: Kind, user: str = "") -> int:
    """The limit of the project, or of a user."""
    if not user:
        return settings.read_per_project if kind == "read" else settings.write_per_project
    own = settings.users.get(user)
    named = (own.read if kind == "read" else own.write) if own else None
    return named or (settings.read_per_user if kind == "read" else settings.write_per_user)


@dataclass
class Ledger:
    """Tokens that stand, by bucket and by spreadsheet; how many were given and came back."""

    given: int = 0
    returned: int = 0
    times: dict[tuple[Kind, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    starts: dict[str, list[Stub]] = field(default_factory=lambda: defaultdict(list))

    def give(self, token: Stub, settings: LimiterSettings) -> None:
        """A token is given: quotas hold at both levels, and starts on its spreadsheet keep their distance."""
        self.given += 1
        hold = settings.window_ns + settings.token_valid_for_ns + settings.network_spread_ns
        for user in ("", token.user):
            times = self.times[token.kind, user or "(project)"]
            insort(times, token.at)
            limit, place = limit_of(settings, token.kind, user), bisect_left(times, token.at)
            for first in range(max(0, place - limit), min(place + 1, len(times) - limit)):
                span = times[first + limit] - times[first]
                assert span >= hold, f"{limit + 1} {token.kind}s of {user or 'the project'} within {span / 1e9} s"
        if token.spreadsheet:
            for other in self.starts[token.spreadsheet]:
                earlier, later = sorted((token, other), key=lambda stub: stub.at)
                gap = settings.spreadsheet_spacing_ns
                if earlier.who != later.who:
                    gap = max(gap, earlier.latency_ns)
                assert later.at - earlier.at >= gap, (
                    f"starts {(later.at - earlier.at) / 1e9} s apart: {earlier}, {later}"
                )
            self.starts[token.spreadsheet].append(token)

    def take_back(self, token: Stub) -> None:
        """A token came back unused."""
        self.returned += 1
        self.times[token.kind, "(project)"].remove(token.at)
        self.times[token.kind, token.user].remove(token.at)
        if token.spreadsheet:
            self.starts[token.spreadsheet].remove(token)

    def standing(self, kind: Kind, user: str, since: int) -> list[int]:
        """Times of the tokens of a bucket (user `""`: the project's) that stand and are later than `since`."""
        return [at for at in self.times[kind, user or "(project)"] if at > since]
