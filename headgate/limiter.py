"""The token dispenser's decisions: who may call when, exact at every level. No clock: every method takes `now`.

Rules:

1. No token is given that a bucket on its path cannot hold: project and user (`headgate.quota.Bucket`), and the spreadsheet's
   spacing of starts. All of them are booked or none.
2. A holder's demand is declarative: the newest `(run, sequence)` replaces everything before, less the grants that it had
   not seen. Repeated, late or reordered messages change nothing.
3. Every token ends once: used, handed back by `settle`, or expired. Only what is still booked can be handed back.
4. Nothing is granted before `quiet_until_ns`: after a loss, until every token of the lost limiter has left the windows.
5. A lane that cannot be served now never keeps others waiting.

The theory (slack, pacing, horizon) is in `docs/scheduling.md`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headgate.health import Pause
from headgate.models import (
    Booked,
    Booking,
    BookingAnswer,
    Grant,
    Kind,
    LimiterSettings,
    LimiterView,
    NotUntil,
    Priority,
    Settlement,
    Standing,
    Stopped,
    Throttling,
    TokenRequest,
)
from headgate.ordering import CLASSES, Turns
from headgate.quota import SECOND_NS, Bucket, Spacing

LANES_OVERALL = 4096
LANES_EACH = 64
BOOKING_LAPSES_NS = 10 * SECOND_NS
FINISHED = "finished"
KINDS: tuple[Kind, ...] = ("read", "write")


@dataclass(slots=True)
class Lane:
    """What one lane wants and when it can send next."""

    kind: Kind
    user: str
    spreadsheet: str
    calls: int
    latency_ns: int
    latency_p95_ns: int
    free_at_ns: int = 0


@dataclass(slots=True)
class Waiter:
    """One holder: its last word and the lanes that still want calls."""

    holder: str
    run: int
    sequence: int
    priority: Priority
    weight: float
    key: str
    submitted_at_ns: int
    stopped: str = ""
    lanes: dict[int, Lane] = field(default_factory=dict)
    unseen: list[tuple[int, dict[int, int]]] = field(default_factory=list)
    heard_ns: int = 0
    standing: Standing | None = None

    def wants(self) -> bool:
        return any(lane.calls > 0 for lane in self.lanes.values())


@dataclass(slots=True)
class Token:
    """A booked token: its time and its path, so that it can be given back."""

    at_ns: int
    kind: Kind
    user: str
    spreadsheet: str
    who: str
    paced: bool


@dataclass(slots=True)
class Lease:
    """The tokens of one grant that have not been handed back: lane -> position -> token."""

    holder: str
    priority: Priority
    key: str
    weight: float
    expires_ns: int
    tokens: dict[int, dict[int, Token]]


@dataclass(slots=True)
class Place:
    """A booking's place: a token booked ahead, until it is asked for again or lapses."""

    token: Token
    priority: Priority
    key: str
    lapses_ns: int
    latency_ns: int = 0
    given: bool = False


@dataclass(slots=True)
class Limiter:
    """The limiter of one API and project. `epoch` is the start of its first run (ns): a larger one is newer."""

    settings: LimiterSettings
    epoch: int
    quiet_until_ns: int = 0
    grants: int = 0
    granted: int = 0
    returned: int = 0
    throttled: int = 0
    buckets: dict[str, Bucket] = field(default_factory=dict)
    spacings: dict[str, Spacing] = field(default_factory=dict)
    waiters: dict[str, Waiter] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        self.turns = Turns(self._floors())

    # --- what holders say ---------------------------------------------------------------------------------------------

    def request(self, now: int, said: TokenRequest) -> bool:
        """Take a holder's demand; True if it deserves a round at once (a first demand, a control change, urgent work)."""
        if said.epoch == self.epoch and said.last_grant > self.grants:
            # The holder saw a grant that we never gave: we were reset. Its tokens may still be in the window.
            self.quiet_until_ns = max(self.quiet_until_ns, now + self._hold_ns())
            self.grants = said.last_grant
        known = self.waiters.get(said.holder)
        if known and (said.run, said.sequence) <= (known.run, known.sequence):
            return False
        if said.stopped == FINISHED:
            self.forget(said.holder)
            return False
        seen = said.last_grant if said.epoch == self.epoch else 0
        unseen = [(g, n) for g, n in known.unseen if g > seen] if known and known.run == said.run else []
        waiter = Waiter(
            holder=said.holder,
            run=said.run,
            sequence=said.sequence,
            priority=said.priority,
            weight=said.weight,
            key=said.fairness_key,
            submitted_at_ns=said.submitted_at_ns,
            stopped=said.stopped,
            unseen=unseen,
            heard_ns=now,
            standing=known.standing if known else None,
        )
        for demand in said.lanes[:LANES_EACH]:
            already = sum(counts.get(demand.lane, 0) for _, counts in unseen)
            before = known.lanes.get(demand.lane) if known else None
            waiter.lanes[demand.lane] = Lane(
                kind=demand.kind,
                user=demand.user,
                spreadsheet=demand.spreadsheet,
                calls=demand.calls - already,
                latency_ns=demand.latency_ns,
                latency_p95_ns=demand.latency_p95_ns,
                free_at_ns=before.free_at_ns if before else 0,
            )
        self.waiters[said.holder] = waiter
        fresh = waiter.wants() and not (known and known.wants())
        changed = known is not None and (known.priority, known.stopped) != (waiter.priority, waiter.stopped)
        return fresh or changed

    def settle(self, now: int, said: Settlement) -> bool:
        """Take back tokens that were not used and note 429s; True if a token came back."""
        freed = False
        for unused in said.unused if said.epoch == self.epoch else ():
            lease = self.leases.get(unused.grant_id)
            if lease is None or lease.holder != said.holder:
                continue
            tokens = lease.tokens.get(unused.lane, {})
            for position in unused.tokens:
                token = tokens.pop(position, None)
                if token is None:
                    continue
                freed = True
                self._give_back(token)
                self.turns.refund(lease.priority, lease.key, lease.weight)
                self._wants_again(said.holder, unused.lane, token, unused.grant_id)
        for booking_id in said.unused_bookings:
            place = self.places.pop(booking_id, None)
            if place is not None:
                freed = True
                self._give_back(place.token)
        for throttling in said.throttled:
            self._throttle(now, throttling)
        return freed

    def book(self, now: int, booking: Booking) -> BookingAnswer:
        """Answer a later attempt's demand for one token; under the same id it keeps its place."""
        waiter = self.waiters.get(booking.holder)
        if waiter is not None and waiter.stopped:
            self._drop_place(booking.id)
            return Stopped(why=waiter.stopped)
        soonest = now + self.settings.lead_ns // 5
        place = self.places.get(booking.id)
        if place is None or place.token.at_ns < soonest:
            self._drop_place(booking.id)
            place = self._place(now, soonest, booking)
        at = place.token.at_ns
        if at > now + self.settings.horizon_ns:
            return NotUntil(at_ns=at - self.settings.lead_ns, why=self._why(place.token, now))
        if not place.given:
            self.granted += 1
            place.given = True
        return Booked(at_ns=at)

    def configure(self, settings: LimiterSettings) -> None:
        """New quotas act at once, also on what is queued; tokens that were granted stay booked."""
        self.settings = settings
        self.turns.floors = self._floors()
        for name, bucket in self.buckets.items():
            fresh = self._new_bucket(name)
            bucket.limit, bucket.hold_ns = fresh.limit, fresh.hold_ns
            bucket.interval_ns, bucket.burst = fresh.interval_ns, fresh.burst
            bucket.paced_until_ns = 0
        for spacing in self.spacings.values():
            spacing.gap_ns = settings.spreadsheet_spacing_ns

    def forget(self, holder: str) -> None:
        """A holder that is gone loses its place; its tokens stay booked until they expire."""
        self.waiters.pop(holder, None)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def grant(self, now: int) -> dict[str, Grant]:
        """One round: tokens in [now + lead, now + horizon] for whoever is next, one grant a holder."""
        self.expire(now)
        start = max(now + self.settings.lead_ns, self.quiet_until_ns)
        end = now + self.settings.horizon_ns
        given: dict[str, dict[int, list[Token]]] = defaultdict(lambda: defaultdict(list))
        for kind in KINDS:
            self._round(kind, start, end, given)
        return {holder: self._lease(now, holder, lanes) for holder, lanes in given.items()}

    def standings(self, now: int) -> dict[str, Grant]:
        """Grants without tokens for holders whose reason for waiting changed in a way that a person would notice."""
        changed: dict[str, Grant] = {}
        for waiter in self.waiters.values():
            if not waiter.wants():
                continue
            standing = self._standing(waiter, now)
            if standing.reason and not _alike(standing, waiter.standing):
                waiter.standing = standing
                changed[waiter.holder] = Grant(epoch=self.epoch, grant_id=self.grants, standing=standing)
        return changed

    def next_round(self, now: int) -> int | None:
        """When the next round is worth having after one at `now`; None while nobody wants a token."""
        wanted = [w for w in self.waiters.values() if w.wants()]
        if not wanted:
            return None
        regular = now + self.settings.horizon_ns - self.settings.lead_ns - 50_000_000
        first = min(
            self._earliest(
                now, lane.kind, lane.user, lane.spreadsheet, _who(w.holder, lane), lane, w.priority != "urgent"
            )
            for w in wanted
            for lane in w.lanes.values()
            if lane.calls > 0
        )
        return max(regular, max(first, self.quiet_until_ns) - 2 * self.settings.lead_ns)

    def lanes_wanting(self) -> int:
        """How many lanes want calls."""
        return sum(lane.calls > 0 for waiter in self.waiters.values() for lane in waiter.lanes.values())

    def expire(self, now: int) -> None:
        """Forget what can no longer matter: old tokens, old leases, lapsed places, silent holders without demand."""
        for booking_id in [b for b, p in self.places.items() if self._lapsed(p, now)]:
            self._drop_place(booking_id)
        for place in self.places.values():
            if not place.given and place.token.at_ns < now:
                self._move_back(place, now)
        for bucket in self.buckets.values():
            bucket.expire(now)
        for spacing in self.spacings.values():
            spacing.expire(now)
        self.leases = {g: lease for g, lease in self.leases.items() if lease.expires_ns > now}
        for waiter in self.waiters.values():
            waiter.unseen = [(g, n) for g, n in waiter.unseen if g in self.leases]
        idle = [n for n, b in self.buckets.items() if n.startswith("user") and not b.times and b.shut_until_ns <= now]
        for name in idle:
            del self.buckets[name]
        for sheet in [s for s, spacing in self.spacings.items() if not spacing.starts]:
            del self.spacings[sheet]
        silent = now - 10 * 60 * SECOND_NS
        for holder in [h for h, w in self.waiters.items() if not w.wants() and not w.stopped and w.heard_ns < silent]:
            del self.waiters[holder]

    def view(self, project: str, now: int) -> LimiterView:
        """What a person may see of the limiter."""
        booked = {n: b for n, b in sorted(self.buckets.items()) if b.times or n.startswith("project")}
        waiters = [w for w in self.waiters.values() if w.wants() or w.stopped]
        return LimiterView(
            project=project,
            epoch=self.epoch,
            now_ns=now,
            quiet_until_ns=self.quiet_until_ns,
            settings=self.settings,
            granted=self.granted,
            returned=self.returned,
            booked=sum(len(b.times) for n, b in booked.items() if n.startswith("project")),
            throttled=self.throttled,
            buckets={
                n: {
                    "limit": b.limit,
                    "used": b.used(now),
                    "booked": len(b.times),
                    "free": max(0, b.limit - len(b.times)),
                }
                for n, b in booked.items()
            },
            waiters=tuple(
                {
                    "holder": w.holder,
                    "priority": w.priority,
                    "owner": w.key,
                    "lanes": len(w.lanes),
                    "calls": sum(max(0, lane.calls) for lane in w.lanes.values()),
                    "stopped": w.stopped,
                    "waits_for": w.standing.reason if w.standing else "",
                }
                for w in waiters
            ),
        )

    # --- one round ----------------------------------------------------------------------------------------------------

    def _round(self, kind: Kind, start: int, end: int, given: dict[str, dict[int, list[Token]]]) -> None:
        coming: list[tuple[int, int, str, int]] = []
        for waiter in self.waiters.values():
            for number, lane in waiter.lanes.items():
                if lane.kind == kind and lane.calls > 0:
                    ready = self._ready(start, waiter, lane)
                    if ready <= end:
                        heappush(coming, (ready, waiter.submitted_at_ns, waiter.holder, number))
        if not coming:
            return
        backlog: dict[Priority, set[str]] = defaultdict(set)
        for _, _, holder, _ in coming:
            backlog[self.waiters[holder].priority].add(self.waiters[holder].key)
        self.turns.level(backlog)
        here: dict[Priority, list[tuple[float, int, str, int, int]]] = {c: [] for c in CLASSES}
        project = self.bucket(f"project/{kind}")
        t = start
        while True:
            t = project.earliest(max(t, start), paced=False)
            if t > end:
                return
            self._arrive(coming, here, t)
            backlogged = [c for c in CLASSES if here[c]]
            if not backlogged:
                if not coming:
                    return
                t = coming[0][0]
                continue
            served = self.turns.choose(backlogged)
            if served != "urgent":
                # The token is this class's: urgent may burst within its share, not out of the others' turns.
                paced = project.earliest(t, paced=True)
                if paced > t and coming and coming[0][0] <= paced:
                    t = coming[0][0]
                    continue
                t = paced
                if t > end:
                    return
            self._serve(kind, t, end, served, backlogged, coming, here, given)

    def _arrive(
        self,
        coming: list[tuple[int, int, str, int]],
        here: dict[Priority, list[tuple[float, int, str, int, int]]],
        t: int,
    ) -> None:
        while coming and coming[0][0] <= t:
            _, _, holder, number = heappop(coming)
            waiter = self.waiters[holder]
            heappush(here[waiter.priority], self._rank(waiter, number))

    def _rank(self, waiter: Waiter, number: int) -> tuple[float, int, str, int, int]:
        turn = self.turns.passes.get(f"{waiter.priority}/{waiter.key}", 0.0)
        return (turn, waiter.submitted_at_ns, waiter.holder, waiter.lanes[number].free_at_ns, number)

    def _serve(
        self,
        kind: Kind,
        t: int,
        end: int,
        served: Priority,
        backlogged: list[Priority],
        coming: list[tuple[int, int, str, int]],
        here: dict[Priority, list[tuple[float, int, str, int, int]]],
        given: dict[str, dict[int, list[Token]]],
    ) -> None:
        """Give the token at t to the first of the class, or move that lane back to when it can be served."""
        rank = heappop(here[served])
        waiter = self.waiters[rank[2]]
        number = rank[4]
        now_ranks = self._rank(waiter, number)
        if now_ranks > rank and here[served] and now_ranks > here[served][0]:
            heappush(here[served], now_ranks)
            return
        lane = waiter.lanes[number]
        ready = self._ready(t, waiter, lane)
        if ready > t:
            if ready <= end:
                heappush(coming, (ready, waiter.submitted_at_ns, waiter.holder, number))
            return
        token = Token(t, kind, lane.user, lane.spreadsheet, _who(waiter.holder, lane), served != "urgent")
        self._take(token, lane.latency_p95_ns)
        given[waiter.holder][number].append(token)
        lane.calls -= 1
        lane.free_at_ns = t + max(lane.latency_ns, 1)
        self.turns.charge(served, waiter.key, waiter.weight, backlogged)
        if lane.calls > 0:
            ready = self._ready(lane.free_at_ns, waiter, lane)
            if ready <= end:
                heappush(coming, (ready, waiter.submitted_at_ns, waiter.holder, number))

    def _ready(self, t: int, waiter: Waiter, lane: Lane) -> int:
        """When a lane could be served as far as its user, its spreadsheet and itself are concerned."""
        who = _who(waiter.holder, lane)
        user = self.bucket(f"user/{lane.kind}/{lane.user}")
        spacing = self.spacing(lane.spreadsheet)
        t = max(t, lane.free_at_ns)
        while True:
            ready = user.earliest(t, paced=waiter.priority != "urgent")
            ready = spacing.earliest(ready, who, lane.latency_p95_ns)
            if ready == t:
                return t
            t = ready

    def _lease(self, now: int, holder: str, lanes: dict[int, list[Token]]) -> Grant:
        waiter = self.waiters[holder]
        self.grants += 1
        counts = {number: len(tokens) for number, tokens in lanes.items()}
        self.granted += sum(counts.values())
        waiter.unseen.append((self.grants, counts))
        last = max(tokens[-1].at_ns for tokens in lanes.values())
        self.leases[self.grants] = Lease(
            holder=holder,
            priority=waiter.priority,
            key=waiter.key,
            weight=waiter.weight,
            expires_ns=last + self._hold_ns(),
            tokens={number: dict(enumerate(tokens)) for number, tokens in lanes.items()},
        )
        waiter.standing = self._standing(waiter, now)
        return Grant(
            epoch=self.epoch,
            grant_id=self.grants,
            tokens={number: tuple(t.at_ns for t in tokens) for number, tokens in lanes.items()},
            reads=tuple(number for number, tokens in lanes.items() if tokens[0].kind == "read"),
            valid_for_ns=self.settings.token_valid_for_ns,
            standing=waiter.standing,
        )

    # --- buckets ------------------------------------------------------------------------------------------------------

    def _earliest(
        self,
        t: int,
        kind: Kind,
        user: str,
        spreadsheet: str,
        who: str,
        lane: Lane | None,
        paced: bool,
        latency: int = 0,
    ) -> int:
        """The first instant at which every bucket of a path has room."""
        project, own = self.bucket(f"project/{kind}"), self.bucket(f"user/{kind}/{user}")
        spacing = self.spacing(spreadsheet)
        if lane is not None:
            t, latency = max(t, lane.free_at_ns), lane.latency_p95_ns
        t = max(t, self.quiet_until_ns)
        while True:
            ready = own.earliest(project.earliest(t, paced=paced), paced=paced)
            ready = spacing.earliest(ready, who, latency)
            if ready == t:
                return t
            t = ready

    def _take(self, token: Token, latency_ns: int) -> None:
        self.bucket(f"project/{token.kind}").book(token.at_ns, paced=token.paced)
        self.bucket(f"user/{token.kind}/{token.user}").book(token.at_ns, paced=token.paced)
        self.spacing(token.spreadsheet).book(token.at_ns, token.who, latency_ns)

    def _give_back(self, token: Token) -> None:
        self.returned += 1
        self.bucket(f"project/{token.kind}").give_back(token.at_ns, paced=token.paced)
        self.bucket(f"user/{token.kind}/{token.user}").give_back(token.at_ns, paced=token.paced)
        self.spacing(token.spreadsheet).give_back(token.at_ns, token.who)

    def _wants_again(self, holder: str, number: int, token: Token, grant_id: int) -> None:
        waiter = self.waiters.get(holder)
        lane = waiter.lanes.get(number) if waiter else None
        if waiter is None or lane is None or lane.kind != token.kind:
            return
        for known, counts in waiter.unseen:
            if known == grant_id and counts.get(number):
                counts[number] -= 1
        lane.calls += 1
        lane.free_at_ns = min(lane.free_at_ns, token.at_ns)

    def _place(self, now: int, soonest: int, booking: Booking) -> Place:
        who = f"{booking.holder}/{booking.user}/{booking.kind}"
        at = self._earliest(
            soonest, booking.kind, booking.user, booking.spreadsheet, who, None, paced=False, latency=booking.latency_ns
        )
        token = Token(at, booking.kind, booking.user, booking.spreadsheet, who, paced=False)
        self._take(token, booking.latency_ns)
        place = Place(token, booking.priority, booking.fairness_key, at + BOOKING_LAPSES_NS, booking.latency_ns)
        self.places[booking.id] = place
        return place

    def _drop_place(self, booking_id: str) -> None:
        """Leave a place; a token that was given out stays booked, since a call may be under way with it."""
        place = self.places.pop(booking_id, None)
        if place is not None and not place.given:
            self._give_back(place.token)

    def _lapsed(self, place: Place, now: int) -> bool:
        return (place.token.at_ns + self._hold_ns() if place.given else place.lapses_ns) < now

    def _move_back(self, place: Place, now: int) -> None:
        """Nobody asked while the place's token was good: keep the place, with the next token."""
        old = place.token
        self._give_back(old)
        at = self._earliest(
            now + self.settings.lead_ns, old.kind, old.user, old.spreadsheet, old.who, None, paced=False
        )
        place.token = Token(at, old.kind, old.user, old.spreadsheet, old.who, old.paced)
        self._take(place.token, place.latency_ns)

    def _throttle(self, now: int, said: Throttling) -> None:
        self.throttled += 1
        name = f"user/{said.kind}/{said.user}" if said.scope == "user" else f"project/{said.kind}"
        pause = self.pauses.setdefault(name, Pause())
        bucket = self.bucket(name)
        bucket.shut_until_ns = max(bucket.shut_until_ns, pause.until(now, self.settings.window_ns))

    def bucket(self, name: str) -> Bucket:
        """The bucket of that name (`project/KIND`, `user/KIND/USER`), made when it is first needed."""
        bucket = self.buckets.get(name)
        if bucket is None:
            bucket = self.buckets[name] = self._new_bucket(name)
        return bucket

    def _new_bucket(self, name: str) -> Bucket:
        scope, kind = name.split("/", 2)[:2]
        limit: int = getattr(self.settings, f"{kind}_per_{scope}")
        hold = self._hold_ns()
        return Bucket(
            limit=limit,
            hold_ns=hold,
            interval_ns=int(hold / (self.settings.pace * limit)),
            burst=max(1, int(self.settings.burst * limit)),
        )

    def spacing(self, spreadsheet: str) -> Spacing:
        """The spacing of starts on a spreadsheet, made when it is first needed."""
        spacing = self.spacings.get(spreadsheet)
        if spacing is None:
            spacing = self.spacings[spreadsheet] = Spacing(self.settings.spreadsheet_spacing_ns)
        return spacing

    def _hold_ns(self) -> int:
        s = self.settings
        return s.window_ns + s.token_valid_for_ns + s.network_spread_ns

    def _floors(self) -> dict[Priority, float]:
        s = self.settings
        return {"urgent": s.floor_urgent, "normal": s.floor_normal, "low": s.floor_low}

    # --- why ----------------------------------------------------------------------------------------------------------

    def _standing(self, waiter: Waiter, now: int) -> Standing:
        ahead = sum(
            1
            for other in self.waiters.values()
            if other.wants()
            and (CLASSES.index(other.priority), other.submitted_at_ns)
            < (CLASSES.index(waiter.priority), waiter.submitted_at_ns)
        )
        reason, until = self._reason(waiter, now)
        wanting = sum(1 for w in self.waiters.values() if w.wants()) or 1
        return Standing(
            reason=reason, until_ns=until, ahead=ahead, allowance=min(LANES_EACH, max(1, LANES_OVERALL // wanting))
        )

    def _reason(self, waiter: Waiter, now: int) -> tuple[str, int]:
        if self.quiet_until_ns > now:
            return "quiet after the limiter was lost", self.quiet_until_ns
        lanes = [lane for lane in waiter.lanes.values() if lane.calls > 0]
        if not lanes:
            return "", 0
        paced = waiter.priority != "urgent"
        ready = [
            (self._earliest(now, la.kind, la.user, la.spreadsheet, _who(waiter.holder, la), la, paced), n)
            for n, la in enumerate(lanes)
        ]
        at, number = min(ready)
        if at <= now + self.settings.horizon_ns:
            return "", 0
        lane = lanes[number]
        return self._why(Token(at, lane.kind, lane.user, lane.spreadsheet, "", paced), now), at

    def _why(self, token: Token, now: int) -> str:
        """The bucket that holds a token's path up longest, in words."""
        own = self.bucket(f"user/{token.kind}/{token.user}")
        project = self.bucket(f"project/{token.kind}")
        if max(own.shut_until_ns, project.shut_until_ns) > now:
            return "cooling down after a 429"
        if self.quiet_until_ns > now:
            return "quiet after the limiter was lost"
        seconds = self.settings.window_ns / SECOND_NS
        if own.earliest(now, paced=False) >= project.earliest(now, paced=False):
            return f"user {token.user} is at its {own.limit} {token.kind}s in {seconds:g} s"
        return f"the project is at its {project.limit} {token.kind}s in {seconds:g} s"


def _who(holder: str, lane: Lane) -> str:
    return f"{holder}/{lane.user}/{lane.kind}"


def _alike(new: Standing, old: Standing | None) -> bool:
    return old is not None and old.reason == new.reason and abs(old.until_ns - new.until_ns) < 2 * SECOND_NS
