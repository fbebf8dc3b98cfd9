"""Every bucket of one project: a call's path through them, booked as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate.models import Kind, LimiterSettings
from headgate.quota import Bucket, Spacing
from headgate.waiting import Token


@dataclass(slots=True)
class Buckets:
    """Buckets by name (`project/KIND`, `user/KIND/USER`) and spacings by spreadsheet, made when they are first needed."""

    settings: LimiterSettings
    quotas: dict[str, Bucket] = field(default_factory=dict)
    spacings: dict[str, Spacing] = field(default_factory=dict)

    @property
    def hold_ns(self) -> int:
        """How long a token keeps its place: from its time until it can share a window with none that is used."""
        s = self.settings
        return s.window_ns + s.token_valid_for_ns + s.network_spread_ns

    def quota(self, name: str) -> Bucket:
        """The bucket of that name."""
        bucket = self.quotas.get(name)
        if bucket is None:
            bucket = self.quotas[name] = self._new(name)
        return bucket

    def project(self, kind: Kind) -> Bucket:
        """The project's bucket."""
        return self.quota(f"project/{kind}")

    def user(self, kind: Kind, user: str) -> Bucket:
        """One user's bucket."""
        return self.quota(f"user/{kind}/{user}")

    def spacing(self, spreadsheet: str) -> Spacing:
        """The spacing of starts on a spreadsheet."""
        spacing = self.spacings.get(spreadsheet)
        if spacing is None:
            spacing = self.spacings[spreadsheet] = Spacing(self.settings.spreadsheet_spacing_ns)
        return spacing

    def ready(self, t: int, path: Token, latency_ns: int) -> int:
        """The first instant >= t at which the user's bucket and the spreadsheet have room for a call on that path."""
        own, spacing = self.user(path.kind, path.user), self.spacing(path.spreadsheet)
        while True:
            ready = spacing.earliest(own.earliest(t, paced=path.paced), path.who, latency_ns)
            if ready == t:
                return t
            t = ready

    def earliest(self, t: int, path: Token, latency_ns: int) -> int:
        """The first instant >= t at which every bucket of the path has room."""
        project = self.project(path.kind)
        while True:
            ready = self.ready(project.earliest(t, paced=path.paced), path, latency_ns)
            if ready == t:
                return t
            t = ready

    def take(self, token: Token, latency_ns: int) -> None:
        """Book a token in every bucket of its path."""
        self.project(token.kind).book(token.at_ns, paced=token.paced)
        self.user(token.kind, token.user).book(token.at_ns, paced=token.paced)
        self.spacing(token.spreadsheet).book(token.at_ns, token.who, latency_ns)

    def give_back(self, token: Token) -> None:
        """Free a token in every bucket of its path."""
        self.project(token.kind).give_back(token.at_ns, paced=token.paced)
        self.user(token.kind, token.user).give_back(token.at_ns, paced=token.paced)
        self.spacing(token.spreadsheet).give_back(token.at_ns, token.who)

    def configure(self, settings: LimiterSettings) -> None:
        """New quotas act at once; tokens that were given stay booked."""
        self.settings = settings
        for name, bucket in self.quotas.items():
            fresh = self._new(name)
            bucket.limit, bucket.hold_ns = fresh.limit, fresh.hold_ns
            bucket.interval_ns, bucket.burst = fresh.interval_ns, fresh.burst
            bucket.paced_until_ns = 0
        for spacing in self.spacings.values():
            spacing.gap_ns = settings.spreadsheet_spacing_ns

    def expire(self, now: int) -> None:
        """Forget what can no longer matter."""
        for bucket in self.quotas.values():
            bucket.expire(now)
        for spacing in self.spacings.values():
            spacing.expire(now)
        idle = [n for n, b in self.quotas.items() if n.startswith("user") and not b.times and b.shut_until_ns <= now]
        for name in idle:
            del self.quotas[name]
        for spreadsheet in [s for s, spacing in self.spacings.items() if not spacing.starts]:
            del self.spacings[spreadsheet]

    def _new(self, name: str) -> Bucket:
        scope, kind = name.split("/", 2)[:2]
        limit: int = getattr(self.settings, f"{kind}_per_{scope}")
        return Bucket(
            limit=limit,
            hold_ns=self.hold_ns,
            interval_ns=int(self.hold_ns / (self.settings.pace * limit)),
            burst=max(1, int(self.settings.burst * limit)),
        )
