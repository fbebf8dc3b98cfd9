"""Every bucket of one project: a call's path through them, booked as a whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from headgate.messages.tokens import LimiterSettings
from headgate.messages.words import Kind
from headgate.ordering import rush
from headgate.quota import Bucket, Spacing
from headgate.waiting import Token

#: So many buckets and spacings are looked at in one round for what can be forgotten: a few, and more while tokens are given,
SWEPT_LEAST = 2
SWEPT_MOST = 64
#: and so many for each that is new: an old one is reached within the time in which half as many are made as there are.
SWEPT_FOR_NEW = 2


@dataclass(slots=True)
class Buckets:
    """Buckets by name (`project/KIND`, `user/KIND/USER`) and spacings by spreadsheet, made when they are first needed.

    Those of which somebody holds a reference (`in_use`, by gates) or that 429s have taught something (`kept`) stay.
    """

    settings: LimiterSettings
    quotas: dict[str, Bucket] = field(default_factory=dict)
    spacings: dict[str, Spacing] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    in_use: set[str] = field(default_factory=set)
    expired_ns: int = -1
    _quotas_to_sweep: list[tuple[str, Bucket]] = field(default_factory=list)
    _spacings_to_sweep: list[tuple[str, Spacing]] = field(default_factory=list)
    _new_quotas: int = 0
    _new_spacings: int = 0

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
            self._new_quotas += 1
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
            spacing = self.spacings[spreadsheet] = Spacing(
                self.settings.spreadsheet_spacing_ns, turn_ns=self.settings.horizon_ns
            )
            self._new_spacings += 1
        return spacing

    def earliest(self, t: int, path: Token, latency_ns: int) -> int:
        """The first instant >= t at which every bucket of the path has room; no spreadsheet, no spacing."""
        project, own = self.project(path.kind), self.user(path.kind, path.user)
        while True:
            ready = own.earliest(project.earliest(t, paced=path.paced), paced=path.paced)
            if path.spreadsheet:
                ready = self.spacing(path.spreadsheet).earliest(ready, path.who, latency_ns)
            if ready == t:
                return t
            t = ready

    def take(self, token: Token, latency_ns: int) -> None:
        """Book a token in every bucket of its path."""
        self.project(token.kind).book(token.at_ns, paced=token.paced)
        self.user(token.kind, token.user).book(token.at_ns, paced=token.paced)
        if token.spreadsheet:
            self.spacing(token.spreadsheet).book(token.at_ns, token.who, latency_ns)

    def give_back(self, token: Token) -> None:
        """Free a token in every bucket of its path; one that has left every window by now is nobody's any more."""
        if token.at_ns <= self.expired_ns - self.hold_ns:
            return
        self.project(token.kind).give_back(token.at_ns, paced=token.paced)
        self.user(token.kind, token.user).give_back(token.at_ns, paced=token.paced)
        if token.spreadsheet:
            self.spacing(token.spreadsheet).give_back(token.at_ns, token.who)

    def configure(self, settings: LimiterSettings) -> None:
        """New quotas act at once; tokens that were given stay booked, and so does the pace that they were given at."""
        self.settings = settings
        for name, bucket in self.quotas.items():
            fresh = self._new(name)
            bucket.limit, bucket.hold_ns = fresh.limit, fresh.hold_ns
            bucket.interval_ns, bucket.burst, bucket.rush = fresh.interval_ns, fresh.burst, fresh.rush
            bucket.reckon()
        for spacing in self.spacings.values():
            spacing.gap_ns, spacing.turn_ns = settings.spreadsheet_spacing_ns, settings.horizon_ns
            spacing.reckon()

    def ceil(self, name: str, ceiling: int, now: int) -> bool:
        """Pace a bucket at a learned ceiling (calls in a window; 0: at none). True if it can take more than before."""
        bucket = self.quota(name)
        before = bucket.ceiling_interval_ns
        after = int(self.hold_ns / ceiling) if ceiling else 0
        if after and not before:
            bucket.ceiled_until_ns = now
        bucket.ceiling_interval_ns = after
        bucket.reckon()
        return bool(before) and (after == 0 or after < before)

    def expire(self, now: int, tokens: int = 0) -> None:
        """Forget what can no longer matter: in the project's buckets each time, in others as `tokens` are given and new ones made."""
        self.expired_ns = now
        window = self.settings.window_ns
        for kind in ("project/read", "project/write"):
            if (bucket := self.quotas.get(kind)) is not None:
                bucket.expire(now, window)
        some = min(SWEPT_LEAST + tokens, SWEPT_MOST) // 2
        quotas, spacings = self._quotas_to_sweep, self._spacings_to_sweep
        if not quotas:
            quotas += self.quotas.items()
        for _ in range(min(some + SWEPT_FOR_NEW * self._new_quotas, len(quotas))):
            self._sweep_quota(*quotas.pop(), now)
        if not spacings:
            spacings += self.spacings.items()
        for _ in range(min(some + SWEPT_FOR_NEW * self._new_spacings, len(spacings))):
            self._sweep_spacing(*spacings.pop(), now)
        self._new_quotas = self._new_spacings = 0

    def expire_all(self) -> None:
        """Forget all that could no longer matter when that was last looked at: what has been swept by then decides nothing."""
        for name, bucket in list(self.quotas.items()):
            self._sweep_quota(name, bucket, self.expired_ns)
        for name, spacing in list(self.spacings.items()):
            self._sweep_spacing(name, spacing, self.expired_ns)

    def _sweep_spacing(self, name: str, spacing: Spacing, now: int) -> None:
        spacing.expire(now)
        if spacing.idle(now) and self.spacings.get(name) is spacing:
            del self.spacings[name]

    def _sweep_quota(self, name: str, bucket: Bucket, now: int) -> None:
        bucket.expire(now, self.settings.window_ns)
        if bucket.times or max(bucket.shut_until_ns, bucket.paced_until_ns) > now or not name.startswith("user"):
            return
        if name not in self.in_use and name not in self.kept and self.quotas.get(name) is bucket:
            del self.quotas[name]

    def limit(self, name: str) -> int:
        """The configured limit of a bucket: a user's own where it has one."""
        scope, kind, *user = name.split("/", 2)
        if user and user[0] in self.settings.users:
            own: int | None = getattr(self.settings.users[user[0]], kind)
            if own is not None:
                return own
        everybody: int = getattr(self.settings, f"{kind}_per_{scope}")
        return everybody

    def _new(self, name: str) -> Bucket:
        limit = self.limit(name)
        return Bucket(
            limit=limit,
            hold_ns=self.hold_ns,
            interval_ns=int(self.hold_ns / (self.settings.pace * limit)),
            burst=max(1, ceil(self.settings.burst * limit)),
            rush=rush(limit) if name.startswith("project") else 0,
        )
