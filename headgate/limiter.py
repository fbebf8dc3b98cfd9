"""The token dispenser's decisions: who may call when, exact at every level. No clock: every method takes `now`.

Rules:

1. No token is given that a bucket on its path cannot hold: project and user, and the spreadsheet's spacing of starts. All of
   them are booked or none (`headgate.buckets`).
2. A holder's demand is declarative: the newest `(run, sequence)` replaces everything before, less the grants that it had
   not seen. Repeated, late or reordered messages change nothing.
3. Every token ends once: used, handed back by `settle`, or expired. Only what is still booked can be handed back.
4. Nothing is granted before `quiet_until_ns`: after a loss, until every token of the lost limiter has left the windows.
5. A lane that cannot be served now never keeps others waiting (`headgate.rounds`).

The theory (slack, pacing, horizon) is in `docs/scheduling.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from headgate import standing as standings
from headgate.buckets import Buckets
from headgate.health import Pause
from headgate.models import (
    SECOND_NS,
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
    Stopped,
    Throttling,
    TokenRequest,
)
from headgate.ordering import Turns
from headgate.rounds import Round
from headgate.waiting import Lane, Lease, Place, Token, Waiter

BOOKING_LAPSES_NS = 10 * SECOND_NS
SILENT_FOR_NS = 10 * 60 * SECOND_NS
#: A timer may be late by this; rounds overlap by as much, so that no instant falls between two.
TIMER_LATE_NS = 50_000_000
FINISHED = "finished"
#: A weight of nothing would divide by it, and hold the limiter's workflow for good.
LEAST_WEIGHT = 0.001
KINDS: tuple[Kind, ...] = ("read", "write")


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
    waiters: dict[str, Waiter] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)
    buckets: Buckets = field(init=False)
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        self.buckets = Buckets(self.settings)
        self.turns = Turns(self._floors())

    # --- what holders say ---------------------------------------------------------------------------------------------

    def request(self, now: int, said: TokenRequest) -> bool:
        """Take a holder's demand; True if it deserves a round at once: a first demand or a control change."""
        if said.epoch == self.epoch and said.last_grant > self.grants:
            # The holder saw a grant that we never gave: we were reset. Its tokens may still be in the window.
            self.quiet_until_ns = max(self.quiet_until_ns, now + self.buckets.hold_ns)
            self.grants = said.last_grant
        known = self.waiters.get(said.holder)
        if known and (said.run, said.sequence) <= (known.run, known.sequence):
            return False
        if said.stopped == FINISHED:
            self.forget(said.holder)
            return False
        waiter = self.waiters[said.holder] = self._heard(now, said, known)
        fresh = waiter.wants() and not (known and known.wants())
        changed = known is not None and (known.priority, known.stopped) != (waiter.priority, waiter.stopped)
        return fresh or changed

    def settle(self, now: int, said: Settlement) -> bool:
        """Take back tokens that were not used and note 429s; True if a token came back."""
        before = self.returned
        for unused in said.unused if said.epoch == self.epoch else ():
            lease = self.leases.get(unused.grant_id)
            if lease is None or lease.holder != said.holder:
                continue
            tokens = lease.tokens.get(unused.lane, {})
            for position in unused.tokens:
                token = tokens.pop(position, None)
                if token is not None:
                    self._give_back(token)
                    self.turns.refund(lease.priority, lease.key, lease.weight)
                    self._wants_again(said.holder, unused.lane, token, unused.grant_id)
        for booking_id in said.unused_bookings:
            place = self.places.pop(booking_id, None)
            if place is not None:
                self._give_back(place.token)
        for throttling in said.throttled:
            self._throttle(now, throttling)
        return self.returned > before

    def book(self, now: int, booking: Booking) -> BookingAnswer:
        """Answer a later attempt's demand for one token; under the same id it keeps its place."""
        self.expire(now)  # there may be no rounds for long while every lane is being resent
        waiter = self.waiters.get(booking.holder)
        if waiter is not None and waiter.stopped:
            self._drop_place(booking.id)
            return Stopped(why=waiter.stopped)
        soonest = now + self.settings.lead_ns // 5
        place = self.places.get(booking.id)
        if place is None or place.token.at_ns < soonest:
            self._drop_place(booking.id)
            place = self._place(soonest, booking)
        at = place.token.at_ns
        if at > now + self.settings.horizon_ns:
            why = standings.why(place.token, self.buckets, self.quiet_until_ns, now)
            return NotUntil(at_ns=at - self.settings.lead_ns, why=why)
        if not place.given:
            self.granted += 1
            place.given = True
        return Booked(at_ns=at)

    def configure(self, settings: LimiterSettings) -> None:
        """New quotas act at once, also on what is queued; tokens that were granted stay booked."""
        self.settings = settings
        self.turns.floors = self._floors()
        self.buckets.configure(settings)

    def forget(self, holder: str) -> None:
        """A holder that is gone loses its place; its tokens stay booked until they expire."""
        self.waiters.pop(holder, None)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def grant(self, now: int) -> dict[str, Grant]:
        """One round: tokens in [now + lead, now + horizon] for whoever is next, one grant a holder."""
        self.expire(now)
        self.turns.level(self._backlog())
        start = max(now + self.settings.lead_ns, self.quiet_until_ns)
        end = now + self.settings.horizon_ns
        given: dict[str, dict[int, list[Token]]] = {}
        for kind in KINDS:
            for holder, lanes in Round(kind, start, end, self.waiters, self.buckets, self.turns).run().items():
                given.setdefault(holder, {}).update(lanes)
        return {holder: self._lease(now, holder, lanes) for holder, lanes in given.items()}

    def standings(self, now: int) -> dict[str, Grant]:
        """Grants without tokens for holders whose reason for waiting changed in a way that a person would notice."""
        changed: dict[str, Grant] = {}
        for waiter in self.waiters.values():
            if waiter.wants():
                new = standings.standing(waiter, self.waiters, self.buckets, self.quiet_until_ns, now)
                if new.reason and not standings.alike(new, waiter.standing):
                    waiter.standing = new
                    changed[waiter.holder] = Grant(epoch=self.epoch, grant_id=self.grants, standing=new)
        return changed

    def next_round(self, now: int) -> int | None:
        """When the next round is worth having after one at `now`; None while nobody wants a token."""
        calls = [standings.next_call(waiter, self.buckets, now) for waiter in self.waiters.values()]
        soonest = min((call[0] for call in calls if call), default=None)
        if soonest is None:
            return None
        regular = now + self.settings.horizon_ns - self.settings.lead_ns - TIMER_LATE_NS
        return max(regular, max(soonest, self.quiet_until_ns) - 2 * self.settings.lead_ns)

    def lanes_wanting(self) -> int:
        """How many lanes want calls."""
        return sum(lane.calls > 0 for waiter in self.waiters.values() for lane in waiter.lanes.values())

    def expire(self, now: int) -> None:
        """Forget what can no longer matter: old tokens, old leases, lapsed places, silent holders without demand."""
        for booking_id in [b for b, place in self.places.items() if self._lapsed(place, now)]:
            self._drop_place(booking_id)
        for place in self.places.values():
            if not place.given and place.token.at_ns < now:
                self._move_back(place, now)
        self.buckets.expire(now)
        self.leases = {g: lease for g, lease in self.leases.items() if lease.expires_ns > now}
        for waiter in self.waiters.values():
            waiter.unseen = [(g, n) for g, n in waiter.unseen if g in self.leases]
        for waiter in list(self.waiters.values()):
            if not waiter.wants() and not waiter.stopped and waiter.heard_ns < now - SILENT_FOR_NS:
                self.forget(waiter.holder)

    def view(self, project: str, now: int) -> LimiterView:
        """What a person may see of the limiter."""
        return LimiterView(
            project=project,
            epoch=self.epoch,
            now_ns=now,
            quiet_until_ns=self.quiet_until_ns,
            settings=self.settings,
            granted=self.granted,
            returned=self.returned,
            booked=sum(len(self.buckets.project(kind).times) for kind in KINDS),
            throttled=self.throttled,
            buckets=standings.shown_buckets(self.buckets, now),
            waiters=standings.shown_waiters(self.waiters.values()),
        )

    # --- demand and leases --------------------------------------------------------------------------------------------

    def _heard(self, now: int, said: TokenRequest, known: Waiter | None) -> Waiter:
        """The waiter that a demand makes; what it knew of the holder's lanes and grants before is kept."""
        seen = said.last_grant if said.epoch == self.epoch else 0
        unseen = [(g, n) for g, n in known.unseen if g > seen] if known and known.run == said.run else []
        waiter = Waiter(
            holder=said.holder,
            run=said.run,
            sequence=said.sequence,
            priority=said.priority,
            weight=max(said.weight, LEAST_WEIGHT),
            key=said.fairness_key,
            submitted_at_ns=said.submitted_at_ns,
            stopped=said.stopped,
            unseen=unseen,
            heard_ns=now,
            standing=known.standing if known else None,
        )
        for demand in said.lanes[: standings.LANES_EACH]:
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
        return waiter

    def _backlog(self) -> dict[Priority, set[str]]:
        """The fairness keys with demand, by class."""
        backlog: dict[Priority, set[str]] = {}
        for waiter in self.waiters.values():
            if waiter.wants():
                backlog.setdefault(waiter.priority, set()).add(waiter.key)
        return backlog

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
            expires_ns=last + self.buckets.hold_ns,
            tokens={number: dict(enumerate(tokens)) for number, tokens in lanes.items()},
        )
        waiter.standing = standings.standing(waiter, self.waiters, self.buckets, self.quiet_until_ns, now)
        return Grant(
            epoch=self.epoch,
            grant_id=self.grants,
            tokens={number: tuple(t.at_ns for t in tokens) for number, tokens in lanes.items()},
            reads=tuple(number for number, tokens in lanes.items() if tokens[0].kind == "read"),
            valid_for_ns=self.settings.token_valid_for_ns,
            standing=waiter.standing,
        )

    def _wants_again(self, holder: str, number: int, token: Token, grant_id: int) -> None:
        """A lane whose token came back wants another one, without having to say so."""
        waiter = self.waiters.get(holder)
        lane = waiter.lanes.get(number) if waiter else None
        if waiter is None or lane is None or lane.kind != token.kind:
            return
        for known, counts in waiter.unseen:
            if known == grant_id and counts.get(number):
                counts[number] -= 1
        lane.calls += 1
        lane.free_at_ns = min(lane.free_at_ns, token.at_ns)

    def _give_back(self, token: Token) -> None:
        self.returned += 1
        self.buckets.give_back(token)

    def _throttle(self, now: int, said: Throttling) -> None:
        self.throttled += 1
        name = f"user/{said.kind}/{said.user}" if said.scope == "user" else f"project/{said.kind}"
        pause = self.pauses.setdefault(name, Pause())
        bucket = self.buckets.quota(name)
        bucket.shut_until_ns = max(bucket.shut_until_ns, pause.until(now, self.settings.window_ns))

    def _floors(self) -> dict[Priority, float]:
        s = self.settings
        return {"urgent": s.floor_urgent, "normal": s.floor_normal, "low": s.floor_low}

    # --- places of bookings -------------------------------------------------------------------------------------------

    def _place(self, soonest: int, booking: Booking) -> Place:
        """Book the first token that is free on the booking's path, and keep it as its place."""
        who = f"{booking.holder}/{booking.user}/{booking.kind}"
        path = Token(0, booking.kind, booking.user, booking.spreadsheet, who, paced=False)
        token = self._ahead(soonest, path, booking.latency_ns)
        place = Place(
            token, booking.priority, booking.fairness_key, token.at_ns + BOOKING_LAPSES_NS, booking.latency_ns
        )
        self.places[booking.id] = place
        return place

    def _move_back(self, place: Place, now: int) -> None:
        """Nobody asked while the place's token was good: keep the place, with the next token."""
        self._give_back(place.token)
        place.token = self._ahead(now + self.settings.lead_ns, place.token, place.latency_ns)

    def _ahead(self, soonest: int, path: Token, latency_ns: int) -> Token:
        at = self.buckets.earliest(max(soonest, self.quiet_until_ns), path, latency_ns)
        token = Token(at, path.kind, path.user, path.spreadsheet, path.who, path.paced)
        self.buckets.take(token, latency_ns)
        return token

    def _drop_place(self, booking_id: str) -> None:
        """Leave a place; a token that was given out stays booked, since a call may be under way with it."""
        place = self.places.pop(booking_id, None)
        if place is not None and not place.given:
            self._give_back(place.token)

    def _lapsed(self, place: Place, now: int) -> bool:
        return (place.token.at_ns + self.buckets.hold_ns if place.given else place.lapses_ns) < now
