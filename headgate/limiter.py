"""The token dispenser's decisions: who may call when, exact at every level. No clock: every method takes `now`.

Rules:

1. No token is given that a bucket on its path cannot hold: project and user, and the spreadsheet's spacing of starts. All of
   them are booked or none (`headgate.buckets`).
2. A holder's demand is declarative: the newest `(run, sequence)` replaces everything before, less the grants that it had
   not seen. Repeated, late or reordered messages change nothing.
3. Every token ends once: used, handed back by `settle`, or expired. Only what is still booked can be handed back.
4. Nothing is granted before `quiet_until_ns`: after a loss or a reset, until every token that may have been given without
   being in the books has left the windows. A reset begins a new epoch.
5. A lane that cannot be served now never keeps others waiting (`headgate.line`, `headgate.rounds`).
6. Nothing is granted or booked while the project is paused, or but for probes while a circuit is open (`headgate.health`).

Who is next: `headgate.ordering`. The theory (slack, pacing, horizon, bounds) is in `docs/scheduling.md`.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from headgate import answers
from headgate import standing as standings
from headgate.bookings import Bookings
from headgate.buckets import Buckets
from headgate.health import KINDS, Health
from headgate.leases import NO_PROBES, Fresh, Given, Held, Lease, count, take_out
from headgate.line import Line
from headgate.message import SECOND_NS
from headgate.messages.tokens import Booking, BookingAnswer, Grant, LimiterSettings, Settlement, TokenRequest, Unused
from headgate.messages.views import LimiterView
from headgate.messages.words import Kind, Priority
from headgate.ordering import LEAST_WEIGHT, Turns
from headgate.ranks import Ranks
from headgate.rounds import run_round, soonest
from headgate.standing import Why
from headgate.told_before import ToldBefore
from headgate.waiting import Lane, Queue, Token, Waiter
from headgate.wording import words

SILENT_FOR_NS = 10 * 60 * SECOND_NS
#: A timer may be late by this; rounds overlap by as much, so that no instant falls between two.
TIMER_LATE_NS = 50_000_000
#: Tokens of an older lease are not taken back, and a demand has seen an older grant: messages are not that slow.
MESSAGES_TAKE_NS = 10 * SECOND_NS
#: So many holders are looked at for a changed reason for waiting at a time, and so many are told.
LOOKED_AT = 8
TOLD = 4
#: A lead that is measured longer than this beyond the setting is not believed.
LONGEST_LEAD_NS = 500_000_000
#: Of so many grants that a holder has not seen some are too old to be in the books.
MANY_UNSEEN = 16
FINISHED = "finished"


@dataclass(slots=True)
class Limiter:
    """The limiter of one API and project. `epoch` is the start of its first run (ns): a larger one is newer."""

    settings: LimiterSettings
    epoch: int
    quiet_until_ns: int = 0
    grants: int = 0
    granted: int = 0
    returned: int = 0
    paused_by: str = ""
    waiters: dict[str, Waiter] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    probes: dict[tuple[int, int], str] = field(default_factory=dict)
    counted_ns: int = 0
    leads: dict[str, int] = field(default_factory=dict)
    barred: dict[str, Why] = field(default_factory=dict)
    told_before: ToldBefore | None = None
    buckets: Buckets = field(init=False)
    lines: dict[Kind, Line] = field(init=False)
    health: Health = field(init=False)
    bookings: Bookings = field(init=False)
    ranks: Ranks = field(init=False)
    queue: Queue = field(default_factory=Queue)
    _rota: deque[str] = field(default_factory=deque)
    _to_look: int = 0
    _probes: dict[tuple[str, int], str] = field(default_factory=dict)
    _swept_at: int = 0

    def __post_init__(self) -> None:
        """Set up the empty books."""
        self.buckets = Buckets(self.settings)
        self.health = Health(self.buckets)
        self.bookings = Bookings(self.buckets, self._recheck)
        self.lines = {kind: Line(kind, self.buckets, self._new_turns(kind), self.queue) for kind in KINDS}
        self.ranks = Ranks(self.settings, self.waiters, self.lines)
        reads, writes = self.lines["read"].parking, self.lines["write"].parking
        reads.other, writes.other = writes, reads

    @property
    def throttled(self) -> int:
        """429s that were ever told of."""
        return self.health.throttled

    # --- what holders say ---------------------------------------------------------------------------------------------

    def request(self, now: int, said: TokenRequest) -> bool:
        """Take a holder's demand; True if it deserves a round at once: a first demand or a control change."""
        if said.epoch == self.epoch and said.last_grant > self.grants:
            self.begin_anew(now)  # the holder saw a grant that we never gave
        elif 0 < said.epoch < self.epoch and not self.quiet_until_ns:
            # There was a limiter before us, and whoever started us could not see it: it was deleted.
            self.quiet_until_ns = self.epoch + self.settings.furthest_ns + self.buckets.hold_ns
            self.bookings.move(self.quiet_until_ns)
        known = self.waiters.get(said.holder)
        if known and (said.run, said.sequence) <= (known.run, known.sequence):
            return False
        if said.stopped == FINISHED:
            self._finished(now, said, known)
            return False
        waiter = known or self._new(said)
        before = (waiter.priority, waiter.stopped, waiter.wants()) if known else None
        seen = said.last_grant if said.epoch == self.epoch else 0
        waiter.unseen = [n for n in waiter.unseen if n > seen] if waiter.run == said.run else []
        self.ranks.take(waiter, said)
        waiter.run, waiter.sequence, waiter.stopped = said.run, said.sequence, said.stopped
        waiter.heard_ns = now
        self._to_look = len(self._rota)
        if said.lead_ns > self.settings.lead_ns and said.lanes:
            self.leads[said.holder] = said.lead_ns
        else:
            self.leads.pop(said.holder, None)
        self._demand(waiter, said)
        if waiter.wants() and not (before and before[2]):
            self.ranks.hungry(waiter, now)
        if before is None:
            return waiter.wants()
        return (waiter.wants() and not before[2]) or before[:2] != (waiter.priority, waiter.stopped)

    def settle(self, now: int, said: Settlement) -> bool:
        """Take back tokens that were not used, note 429s, failures and probes; True if that deserves a round at once."""
        before = self.returned
        for unused in said.unused if said.epoch == self.epoch else ():
            lease = self.leases.get(unused.grant_id)
            if lease is not None and lease[0] == said.holder:
                self._take_back(now, unused)
        for booking_id in said.unused_bookings:
            place = self.bookings.places.pop(booking_id, None)
            if place is not None:
                self.returned += place.given
                self.bookings.refund(place, self.turns(place.token.kind))
                if place.probe:
                    self.health.probe_returned(now, place.probe)
        for throttling in said.throttled:
            self.health.throttle(now, throttling)
            if throttling.scope == "user":  # a slower pace is counted from an earlier instant
                self.lines[throttling.kind].recheck(throttling.user)
        if said.throttled:
            self.bookings.move(self.quiet_until_ns)
        opened = [self.health.overloaded(now, overload.spreadsheet) for overload in said.overloads]
        for probed in said.probed:
            self.health.probed(now, probed.circuit, ok=probed.ok)
        if said.probed or any(opened):
            self._recheck_all()
        if said.throttled or said.probed or any(opened):
            self._to_look = len(self._rota)
        return self.returned > before or any(probed.ok for probed in said.probed)

    def book(self, now: int, booking: Booking) -> BookingAnswer:
        """Answer a later attempt's demand for one token; under the same id it keeps its place."""
        self.expire(now)  # there may be no rounds for long while every lane is being resent
        return answers.answer(self, now, booking)

    def unsaid(self, holder: str) -> bool:
        """Whether nothing is left of a holder but what is resent, and it was not told yet what that waits for."""
        waiter, barred = self.waiters.get(holder), self.barred.get(holder)
        if waiter is None or barred is None or waiter.wants() or waiter.stopped:
            return False
        return not standings.alike(barred, waiter.standing)

    def configure(self, settings: LimiterSettings) -> None:
        """New quotas act at once, also on what is queued; tokens that were granted stay booked."""
        self.buckets.expire_all()  # under a longer window only those count again that nobody could forget
        self.settings = settings
        self.buckets.configure(settings)
        self.bookings.move(self.quiet_until_ns, every=True)
        self.health.trust_configured()
        for line in self.lines.values():
            line.turns.reset(self._floors(), line.project.rush)
            line.rebuild(self._lanes(line.kind))
        self.ranks.configure(settings)
        self._to_look = len(self._rota)

    def pause(self, by: str) -> None:
        """Stop the whole project: nothing is granted or booked until `resume`."""
        self.paused_by = words(by) or "someone"
        self._to_look = len(self._rota)

    def resume(self) -> None:
        """Go on after `pause`."""
        self.paused_by = ""
        self._to_look = len(self._rota)

    def forget(self, holder: str) -> None:
        """A holder that is gone loses its place; its tokens stay booked until they expire."""
        self.leads.pop(holder, None)
        self.barred.pop(holder, None)
        if self.told_before is not None:
            self.told_before.granted(holder)
        waiter = self.waiters.pop(holder, None)
        if waiter is not None:
            self._drop_lanes(waiter, keep=frozenset())
            self.ranks.drop(waiter)

    def begin_anew(self, now: int) -> None:
        """We were reset: what was given since is not in the books, and may be under way.

        A new epoch, so that its numbers mean nothing any more, and quiet until all of it has left the windows.
        """
        self.epoch = max(now, self.epoch + 1)
        self.quiet_until_ns = max(self.quiet_until_ns, now + self.settings.furthest_ns + self.buckets.hold_ns)
        self.grants = 0
        self.leases.clear()
        self.probes.clear()
        for waiter in self.waiters.values():
            waiter.unseen = []
        for booking_id in list(self.bookings.places):
            self.bookings.drop(booking_id, self.turns)

    # --- what goes out ------------------------------------------------------------------------------------------------

    def grant(self, now: int) -> dict[str, Fresh]:
        """One round: tokens in [now + lead, now + horizon] for whoever is next, one lease a holder."""
        self.expire(now)
        if self.paused_by:
            return {}
        self.ranks.fall_due(now)
        if grown := self.health.regrow(now):
            self._grown(grown)
        if now >= self.counted_ns + self.settings.window_ns:
            self.counted_ns = now
            for line in self.lines.values():
                line.turns.tidy()
        start = max(now + self.lead_ns, self.quiet_until_ns)
        end = now + self.reach_ns
        given: Given = {}
        self._probes = {}

        def served(lane: Lane, at: int, c: Priority) -> None:
            self._served(now, lane, at, c)

        watched = bool(self.settings.urgent_budget or self.health.circuits)
        for line in self.lines.values():
            if line.behind.wasteful():
                line.rebuild(self._lanes(line.kind))
            run_round(line, start, end, given, served, all_served=watched)
        expires_ns = now + self.settings.furthest_ns + MESSAGES_TAKE_NS
        self.health.retries.earn([len(held) for held in given.values()])
        if given:
            self._to_look = len(self._rota)
        return {waiter.holder: self._lease(waiter, held, expires_ns) for waiter, held in given.items()}

    def message(self, now: int, lease: Fresh) -> Grant:
        """The signal that tells a holder of a lease of the round at `now`, and how it stands where that is news to it."""
        waiter = self.waiters[lease.holder]
        if self.told_before is not None:
            self.told_before.granted(lease.holder)
        if news := standings.news(self, waiter, now):
            waiter.standing = news
        return Grant(
            epoch=self.epoch,
            grant_id=lease.grant_id,
            tokens=lease.tokens,
            reads=lease.reads,
            valid_for_ns=self.settings.token_valid_for_ns,
            standing=waiter.standing,
            probes=lease.probes,
            at_ns=now,
        )

    def standings(self, now: int) -> dict[str, Grant]:
        """Grants without tokens for holders whose reason for waiting changed in a way that a person would notice: those that
        want tokens, and those of which nothing is left but what is resent. With `told_before` it decides who.

        A few of them at a time, and all of them in turn.
        """
        changed: dict[str, Grant] = {}
        for _ in range(min(LOOKED_AT, len(self._rota))):
            holder = self._rota.popleft()
            self._to_look -= 1
            waiter = self.waiters.get(holder)
            if waiter is None:
                continue
            if not waiter.wants() and not waiter.stopped and waiter.heard_ns < now - SILENT_FOR_NS:
                self.forget(holder)
                continue
            self._rota.append(holder)
            why = standings.standing(self, waiter, now)
            if self._tells(waiter, why, now):
                new = waiter.standing = standings.moving(self, waiter, why)
                changed[holder] = Grant(epoch=self.epoch, grant_id=self.grants, standing=new)
                if len(changed) == TOLD:
                    break
        return changed

    def _tells(self, waiter: Waiter, why: Why, now: int) -> bool:
        if self.told_before is not None:
            return self.told_before.tells(self, waiter, now)
        asks = waiter.wants() or (waiter.holder in self.barred and not waiter.stopped)
        return asks and bool(why.reason) and not standings.alike(why, waiter.standing)

    def looks_again(self) -> bool:
        """Whether somebody's reason for waiting may have changed since it was last looked at."""
        return self._to_look > 0

    def next_round(self, now: int) -> int | None:
        """When the next round is worth having after one at `now`; None while nobody wants a token, or nobody may have one."""
        if self.paused_by:
            return None
        end = now + self.reach_ns
        first = min((at for line in self.lines.values() if (at := soonest(line, end)) is not None), default=None)
        if first is None:
            return None
        regular = now + self.reach_ns - self.lead_ns - TIMER_LATE_NS
        return max(regular, max(first, self.quiet_until_ns) - 2 * self.lead_ns)

    @property
    def lead_ns(self) -> int:
        """How far ahead of a round its first tokens lie: as long as grants take to become calls, by what holders measured."""
        shortest = self.settings.lead_ns
        return min(max(shortest, *self.leads.values()), shortest + LONGEST_LEAD_NS) if self.leads else shortest

    @property
    def reach_ns(self) -> int:
        """How far ahead of a round its last tokens lie: the horizon, and what a longer lead takes from it, up to a limit."""
        s = self.settings
        return s.horizon_ns + min(self.lead_ns - s.lead_ns, s.furthest_ns - s.horizon_ns)

    def lanes_wanting(self) -> int:
        """How many lanes want calls."""
        return sum(sum(line.turns.wanting.values()) for line in self.lines.values())

    def expire(self, now: int) -> None:
        """Forget what can no longer matter: old tokens, old leases, lapsed places."""
        if now == self.buckets.expired_ns:
            return
        soonest = max(now + self.settings.lead_ns, self.quiet_until_ns)
        self.bookings.expire(now, soonest, self.turns)
        self.buckets.expire(now, self.granted - self._swept_at)
        self._swept_at = self.granted
        self.health.expire(now)
        gone: list[int] = []
        for grant_id, lease in self.leases.items():
            if lease[3] > now:
                break
            gone.append(grant_id)
        for grant_id in gone:
            del self.leases[grant_id]
        for name in [name for name in self.probes if name[0] not in self.leases]:
            del self.probes[name]

    def view(self, project: str, now: int) -> LimiterView:
        """What a person may see of the limiter."""
        return standings.view(self, project, now)

    # --- demand -------------------------------------------------------------------------------------------------------

    def _new(self, said: TokenRequest) -> Waiter:
        waiter = Waiter(
            holder=said.holder,
            run=said.run,
            sequence=said.sequence,
            priority=said.priority,
            weight=max(said.weight, LEAST_WEIGHT),
            key=said.fairness_key,
            submitted_at_ns=said.submitted_at_ns,
        )
        self.enrol(waiter)
        return waiter

    def enrol(self, waiter: Waiter) -> None:
        """Take a holder into the books; its lanes want nothing yet."""
        self.waiters[waiter.holder] = waiter
        self._rota.appendleft(waiter.holder)
        self.ranks.enrol(waiter)

    def stand(self, waiter: Waiter, wanted: list[tuple[Lane, int]], hungry_ns: int) -> None:
        """Take back a holder from a checkpoint, with what its lanes want."""
        self.enrol(waiter)
        for lane, calls in wanted:
            lane.calls = min(calls, 0)
            self.lines[lane.kind].want(lane, calls)
        waiter.hungry_ns = hungry_ns
        if waiter.wants():
            self.ranks.hungry(waiter, hungry_ns)

    def _demand(self, waiter: Waiter, said: TokenRequest) -> None:
        """Take a holder's lanes and what they want, less the grants that it had not seen."""
        lanes = () if said.stopped else said.lanes[: standings.LANES_EACH]
        unseen = [self.leases[grant] for grant in waiter.unseen if grant in self.leases]
        self._drop_lanes(waiter, keep=frozenset(demand.lane for demand in lanes))
        for demand in lanes:
            lane = waiter.lanes.get(demand.lane)
            path = (demand.kind, demand.user, demand.spreadsheet)
            if lane is None or (lane.kind, lane.user, lane.spreadsheet) != path:
                free_at = lane.free_at_ns if lane else 0
                if lane is not None:
                    self.lines[lane.kind].want(lane, 0)
                lane = waiter.lanes[demand.lane] = Lane(waiter, demand.lane, *path, free_at_ns=free_at)
            quicker = demand.latency_p95_ns < lane.latency_p95_ns
            lane.latency_ns, lane.latency_p95_ns = demand.latency_ns, demand.latency_p95_ns
            if quicker and lane.where == "parked":
                self.lines[lane.kind].free_from(lane, lane.free_at_ns)
            already = sum(count(lease, demand.lane) for lease in unseen)
            self.lines[lane.kind].want(lane, demand.calls - already)

    def _finished(self, now: int, said: TokenRequest, known: Waiter | None) -> None:
        """A holder says that it ends: it loses its place, and nobody will use the grants that cross its word."""
        seen = said.last_grant if said.epoch == self.epoch else 0
        unseen = [n for n in known.unseen if n > seen and n in self.leases] if known and said.gives_back else []
        self.forget(said.holder)
        for grant_id in unseen:
            for lane, calls in Counter(token[0] for token in self.leases[grant_id][4]).items():
                self._take_back(now, Unused(grant_id=grant_id, lane=lane, tokens=tuple(range(calls))))

    def _drop_lanes(self, waiter: Waiter, keep: frozenset[int]) -> None:
        for number in [n for n in waiter.lanes if n not in keep]:
            lane = waiter.lanes.pop(number)
            self.lines[lane.kind].want(lane, 0)

    def _lanes(self, kind: Kind) -> list[Lane]:
        return [lane for waiter in self.waiters.values() for lane in waiter.lanes.values() if lane.kind == kind]

    def _served(self, now: int, lane: Lane, at: int, c: Priority) -> None:
        """A holder got a token: that may change its rank, and where a circuit is open the token is its probe."""
        self.ranks.served(now, lane.waiter, at, c)
        if self.health.circuits and (circuit := self.health.open_for(lane.spreadsheet)):
            self.health.probing(circuit, at, now)
            self._probes[lane.waiter.holder, lane.number] = circuit

    # --- leases -------------------------------------------------------------------------------------------------------

    def _lease(self, waiter: Waiter, held: tuple[Held, ...], expires_ns: int) -> Fresh:
        """Keep what a holder was given until it can neither be handed back nor be unknown to the holder any more."""
        holder = waiter.holder
        grant_id = self.grants = self.grants + 1
        self.granted += len(held)
        unseen = waiter.unseen
        unseen.append(grant_id)
        if len(unseen) > MANY_UNSEEN and unseen[0] not in self.leases:
            waiter.unseen = [grant for grant in unseen if grant in self.leases or grant == grant_id]
        probes = NO_PROBES
        if self._probes:
            probes = {token[0]: self._probes[holder, token[0]] for token in held if (holder, token[0]) in self._probes}
            self.probes.update({(grant_id, n): circuit for n, circuit in probes.items()})
        self.leases[grant_id] = (holder, waiter.key, waiter.weight, expires_ns, held)
        return Fresh(holder, grant_id, held, probes)

    def _take_back(self, now: int, unused: Unused) -> None:
        """Free the tokens, refund who paid for them; the lane wants as many calls again without having to say so."""
        for position in unused.tokens:
            lease, token = take_out(self.leases[unused.grant_id], unused.lane, position)
            if token is None:
                continue
            self.leases[unused.grant_id] = lease
            holder, key, weight, _, _ = lease
            self.returned += 1
            self.buckets.give_back(token)
            self.turns(token.kind).refund(token.served, key, weight)
            if token.served == "urgent":
                self.ranks.refund(key, token.at_ns)
            self._recheck(token)
            self._wants_again(now, holder, unused, token)
            if circuit := self.probes.pop((unused.grant_id, unused.lane), ""):
                self.health.probe_returned(now, circuit)

    def _wants_again(self, now: int, holder: str, unused: Unused, token: Token) -> None:
        """A lane whose token came back was busy, or is free by now: it stands behind those that have been free for longer."""
        waiter = self.waiters.get(holder)
        lane = waiter.lanes.get(unused.lane) if waiter else None
        if waiter is None or lane is None or (lane.kind, lane.user) != (token.kind, token.user):
            return
        wanted = waiter.wants()
        line = self.lines[lane.kind]
        line.want(lane, lane.calls + 1)
        line.free_from(lane, min(lane.free_at_ns, max(token.at_ns, now)))
        if waiter.wants() and not wanted:
            self.ranks.hungry(waiter, waiter.hungry_ns)

    def _recheck(self, token: Token) -> None:
        for line in self.lines.values():
            line.recheck(token.user if line.kind == token.kind else "", token.spreadsheet)

    def _recheck_all(self) -> None:
        for line in self.lines.values():
            line.recheck_all()

    def _grown(self, names: list[str]) -> None:
        for name in names:
            if name.startswith("user/"):
                _, kind, user = name.split("/", 2)
                self.lines["read" if kind == "read" else "write"].recheck(user)

    def turns(self, kind: str) -> Turns:
        """The turns of one kind of call."""
        return self.lines["read" if kind == "read" else "write"].turns

    def _new_turns(self, kind: Kind) -> Turns:
        return Turns(self._floors(), self.buckets.project(kind).rush)

    def _floors(self) -> dict[Priority, float]:
        s = self.settings
        return {"urgent": s.floor_urgent, "normal": s.floor_normal, "low": s.floor_low}
