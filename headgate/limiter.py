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

from dataclasses import dataclass, field

from headgate import answers, demand, granting, settling, telling
from headgate.bookings import Bookings
from headgate.buckets import Buckets
from headgate.health import KINDS, Health
from headgate.leases import Fresh, Lease, forget_old
from headgate.line import Line
from headgate.messages.tokens import Booking, BookingAnswer, Grant, LimiterSettings, Settlement, TokenRequest
from headgate.messages.views import LimiterView
from headgate.messages.words import Kind
from headgate.ordering import Turns
from headgate.ranks import Ranks
from headgate.rounds import soonest
from headgate.shown import view
from headgate.standing import Why, alike
from headgate.telling import Rota
from headgate.told_before import ToldBefore
from headgate.waiting import Lane, Queue, Token, Waiter
from headgate.wording import words

#: A timer may be late by this; rounds overlap by as much, so that no instant falls between two.
TIMER_LATE_NS = 50_000_000
#: A lead that is measured longer than this beyond the setting is not believed.
LONGEST_LEAD_NS = 500_000_000


@dataclass(slots=True)
class Limiter:
    """The limiter of one API and project. `epoch` is the start of its first run (ns): a larger one is newer.

    `raises_to_a_floor` and `told_before` are other in runs of earlier releases, which have to be replayed.
    """

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
    raises_to_a_floor: bool = True
    buckets: Buckets = field(init=False)
    lines: dict[Kind, Line] = field(init=False)
    health: Health = field(init=False)
    bookings: Bookings = field(init=False)
    ranks: Ranks = field(init=False)
    queue: Queue = field(default_factory=Queue)
    rota: Rota = field(default_factory=Rota)
    _swept_at: int = 0

    def __post_init__(self) -> None:
        """Set up the empty books."""
        self.buckets = Buckets(self.settings)
        self.health = Health(self.buckets)
        self.bookings = Bookings(self.buckets, self.recheck)
        self.lines = {kind: Line(kind, self.buckets, self._no_turns(kind), self.queue) for kind in KINDS}
        self.ranks = Ranks(self.settings, self.waiters, self.lines, self.raises_to_a_floor)
        reads, writes = self.lines["read"].parking, self.lines["write"].parking
        reads.other, writes.other = writes, reads

    def request(self, now: int, said: TokenRequest) -> bool:
        """Take a holder's demand; True if it deserves a round at once: a first demand or a control change."""
        if said.epoch == self.epoch and said.last_grant > self.grants:
            self.begin_anew(now)  # the holder saw a grant that we never gave
        elif 0 < said.epoch < self.epoch and not self.quiet_until_ns:
            # There was a limiter before us, and whoever started us could not see it: it was deleted.
            self.quiet_until_ns = self.epoch + self.settings.furthest_ns + self.buckets.hold_ns
            self.bookings.move(self.quiet_until_ns)
        return demand.take(self, now, said)

    def settle(self, now: int, said: Settlement) -> bool:
        """Take back tokens that were not used, note 429s, failures and probes; True if that deserves a round at once."""
        return settling.settle(self, now, said)

    def book(self, now: int, booking: Booking) -> BookingAnswer:
        """Answer a later attempt's demand for one token; under the same id it keeps its place."""
        self.expire(now)  # there may be no rounds for long while every lane is being resent
        return answers.answer(self, now, booking)

    def unsaid(self, holder: str) -> bool:
        """Whether nothing is left of a holder but what is resent, and it was not told yet what that waits for."""
        waiter, barred = self.waiters.get(holder), self.barred.get(holder)
        if waiter is None or barred is None or waiter.wants() or waiter.stopped:
            return False
        return not alike(barred, waiter.standing)

    def configure(self, settings: LimiterSettings) -> None:
        """New quotas act at once, also on what is queued; tokens that were granted stay booked."""
        self.buckets.expire_all()  # under a longer window only those count again that nobody could forget
        self.settings = settings
        self.buckets.configure(settings)
        self.bookings.move(self.quiet_until_ns, every=True)
        self.health.trust_configured()
        for line in self.lines.values():
            line.turns.reset(self.settings.floors, line.project.rush)
            line.rebuild(self.lanes(line.kind))
        self.ranks.configure(settings)
        self.rota.look_again()

    def pause(self, by: str) -> None:
        """Stop the whole project: nothing is granted or booked until `resume`."""
        self.paused_by = words(by) or "someone"
        self.rota.look_again()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.paused_by = ""
        self.rota.look_again()

    def forget(self, holder: str) -> None:
        """A holder that is gone loses its place; its tokens stay booked until they expire."""
        self.leads.pop(holder, None)
        self.barred.pop(holder, None)
        if self.told_before is not None:
            self.told_before.granted(holder)
        waiter = self.waiters.pop(holder, None)
        if waiter is not None:
            demand.drop_lanes(self, waiter)
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

    def grant(self, now: int) -> dict[str, Fresh]:
        """One round: tokens in [now + lead, now + horizon] for whoever is next, one lease a holder."""
        self.expire(now)
        if self.paused_by:
            return {}
        return granting.grant(self, now)

    def message(self, now: int, lease: Fresh) -> Grant:
        """The signal that tells a holder of a lease of the round at `now`, and how it stands where that is news to it."""
        return telling.message(self, now, lease)

    def standings(self, now: int) -> dict[str, Grant]:
        """Grants without tokens, for holders that should know that they wait for something else than they were told."""
        return telling.standings(self, now)

    def looks_again(self) -> bool:
        """Whether somebody's reason for waiting may have changed since it was last looked at."""
        return self.rota.left > 0

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

    def expire(self, now: int) -> None:
        """Forget what can no longer matter: old tokens, old leases, lapsed places."""
        if now == self.buckets.expired_ns:
            return
        soonest = max(now + self.settings.lead_ns, self.quiet_until_ns)
        self.bookings.expire(now, soonest, self.turns)
        self.buckets.expire(now, self.granted - self._swept_at)
        self._swept_at = self.granted
        self.health.expire(now)
        forget_old(self.leases, now)
        for name in [name for name in self.probes if name[0] not in self.leases]:
            del self.probes[name]

    def view(self, project: str, now: int) -> LimiterView:
        """What a person may see of the limiter."""
        return view(self, project, now)

    def enrol(self, waiter: Waiter) -> None:
        """Take a holder into the books; its lanes want nothing yet."""
        self.waiters[waiter.holder] = waiter
        self.rota.enrol(waiter.holder)
        self.ranks.enrol(waiter)

    def lanes(self, kind: Kind) -> list[Lane]:
        """Every lane of a kind, whether it wants calls or not."""
        return [lane for waiter in self.waiters.values() for lane in waiter.lanes.values() if lane.kind == kind]

    def lanes_wanting(self) -> int:
        """How many lanes want calls."""
        return sum(sum(line.turns.wanting.values()) for line in self.lines.values())

    def recheck(self, token: Token) -> None:
        """A token is free again, or booked: others may be next sooner than they thought."""
        for line in self.lines.values():
            line.recheck(token.user if line.kind == token.kind else "", token.spreadsheet)

    def turns(self, kind: str) -> Turns:
        """The turns of one kind of call."""
        return self.lines["read" if kind == "read" else "write"].turns

    def _no_turns(self, kind: Kind) -> Turns:
        return Turns(self.settings.floors, self.buckets.project(kind).rush)
