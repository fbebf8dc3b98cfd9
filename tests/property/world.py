"""A small world around the limiter: holders that ask, use, hand back, book and vanish, on a clock that only moves forward.

Several limiters may be driven by the same messages: what they answer must be equal. What they give is checked by a `Ledger`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from headgate.checkpoint import dump, restore
from headgate.health import API
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.carried import LimiterCheckpoint
from headgate.messages.tokens import (
    Booked,
    Booking,
    BookingAnswer,
    LaneDemand,
    LimiterSettings,
    NotUntil,
    Overload,
    Probed,
    Settlement,
    Stopped,
    Throttling,
    TokenRequest,
    Unused,
)
from headgate.messages.words import Kind, Priority
from tests.property.ledger import Ledger, Stub

MS = 1_000_000
EPOCH = 7
KINDS: tuple[Kind, ...] = ("read", "write")
CLASSES: tuple[Priority, ...] = ("urgent", "normal", "low")
USERS = ("ana", "bot", "cho")
HOLDERS = ("bulk/a", "bulk/b", "bulk/c", "bulk/d")
OWNERS = ("x", "y", "z")
SHEETS = ("", "s1", "s2", "s3")
LATENCIES = (0, 50 * MS, 400 * MS, 1500 * MS)
#: A lease is known for so long after its horizon; a probe of which nothing is heard is lost after so long.
KNOWN_NS = LOST_NS = 10 * SECOND_NS
SETTINGS = LimiterSettings(
    read_per_project=5,
    read_per_user=3,
    write_per_project=6,
    write_per_user=3,
    window_ns=4 * SECOND_NS,
    spreadsheet_spacing_ns=100 * MS,
    age_after_ns=5 * SECOND_NS,
    urgent_budget=5,
)
T = TypeVar("T")
Position = tuple[int, int, int]


def through_json(limiter: Limiter) -> Limiter:
    """The limiter's next run."""
    return restore(LimiterCheckpoint.model_validate_json(dump(limiter).model_dump_json()))


@dataclass
class Holding:
    """A token that a holder has: what it is, whose, until when its lease is known."""

    stub: Stub
    holder: str
    expires: int
    probe: str


@dataclass
class World:
    """The limiters, the time, what everybody said, has and was promised."""

    settings: LimiterSettings = SETTINGS
    now: int = 1_000 * SECOND_NS
    ledger: Ledger = field(default_factory=Ledger)
    said: dict[str, TokenRequest] = field(default_factory=dict)
    messages: list[TokenRequest] = field(default_factory=list)
    sequence: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seen: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0]))
    wanted: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    holdings: dict[Position, Holding] = field(default_factory=dict)
    booked: dict[str, Holding] = field(default_factory=dict)
    bookings: dict[str, Booking] = field(default_factory=dict)
    promised: dict[str, int] = field(default_factory=dict)
    probes: dict[str, int] = field(default_factory=dict)
    paused: bool = False

    def __post_init__(self) -> None:
        """Begin with one limiter."""
        self.limiters = [Limiter(self.settings, EPOCH)]

    @property
    def limiter(self) -> Limiter:
        """The first of the limiters."""
        return self.limiters[0]

    def both(self, do: Callable[[Limiter], T]) -> T:
        """Do the same to every limiter: they answer alike."""
        first, *others = [do(limiter) for limiter in self.limiters]
        for other in others:
            assert other == first, f"{other} is not {first}"
        return first

    # --- demand -------------------------------------------------------------------------------------------------------

    def ask(
        self,
        holder: str,
        lanes: Sequence[LaneDemand],
        priority: Priority = "normal",
        owner: str = "",
        weight: float = 1.0,
        stopped: str = "",
        behind: int = 0,
    ) -> None:
        """A holder says what it wants; it has seen all of its grants but the last `behind`."""
        self.sequence[holder] += 1
        grants, before = self.seen[holder], self.said.get(holder)
        last = max(grants[max(0, len(grants) - 1 - behind)], before.last_grant if before else 0)
        said = TokenRequest(
            holder=holder, run=1, sequence=self.sequence[holder], epoch=self.limiter.epoch, last_grant=last, priority=priority, weight=weight, fairness_key=owner,
            submitted_at_ns=HOLDERS.index(holder) % 2, stopped=stopped, lanes=tuple(lanes),
        )  # fmt: skip
        self.say(said)

    def say(self, said: TokenRequest) -> None:
        """A new message of a holder arrives."""
        before = self.said.get(said.holder)
        self.said[said.holder] = said
        self.messages.append(said)
        self.both(lambda limiter: limiter.request(self.now, said))
        if said.stopped or (before and before.stopped):
            self.forget_promises(said.holder)
        for held in [lane for holder, lane in self.wanted if holder == said.holder]:
            del self.wanted[said.holder, held]
        for demand in () if said.stopped else said.lanes:
            unseen = sum(
                holding.holder == said.holder and position[0] > said.last_grant and position[1] == demand.lane
                for position, holding in self.holdings.items()
                if holding.expires > self.now
            )
            self.wanted[said.holder, demand.lane] = demand.calls - unseen

    def prove_reset(self, holder: str) -> None:
        """A holder has seen a grant that the limiter never gave: quiet until every token of a lost one has left."""
        before = self.said.get(holder)
        self.seen[holder].append(self.limiter.grants + 1)
        self.ask(holder, before.lanes if before else (), owner=before.fairness_key if before else "")
        assert self.limiter.quiet_until_ns >= self.now + self.settings.horizon_ns + self.hold_ns
        self.forget_promises()
        # A new epoch: what was given stands, but its numbers mean nothing any more.
        self.seen.clear()
        self.holdings.clear()
        self.booked.clear()
        self.messages.clear()
        self.said = {name: said.model_copy(update={"last_grant": 0}) for name, said in self.said.items()}

    def say_again(self, said: TokenRequest) -> None:
        """An old message arrives again: it changes nothing."""
        before = dump(self.limiter)
        self.both(lambda limiter: limiter.request(self.now, said))
        assert dump(self.limiter) == before

    def vanish(self, holder: str) -> None:
        """A holder is gone."""
        self.both(lambda limiter: limiter.forget(holder))
        self.forget_promises(holder)
        self.said.pop(holder, None)
        self.seen[holder] = self.seen[holder][-1:]
        self.messages = [said for said in self.messages if said.holder != holder]
        for lane in [lane for other, lane in self.wanted if other == holder]:
            del self.wanted[holder, lane]

    # --- tokens -------------------------------------------------------------------------------------------------------

    def round(self) -> int:
        """One round, at its time or sooner; returns how many tokens were given."""
        open_before, rests = self.troubles()
        grants = self.both(
            lambda limiter: {
                holder: (grant.grant_id, grant.tokens, grant.reads, grant.probes)
                for holder, grant in limiter.grant(self.now).items()
            }
        )
        assert not (grants and self.paused), "granted while the project is paused"
        given = 0
        for holder, (grant_id, lanes, reads, probes) in grants.items():
            assert grant_id > self.seen[holder][-1]
            self.seen[holder].append(grant_id)
            said = self.said[holder]
            assert not said.stopped, "granted to a holder that is stopped"
            demands = {demand.lane: demand for demand in said.lanes}
            for number, times in lanes.items():
                demand = demands[number]
                assert (number in reads) == (demand.kind == "read")
                assert list(times) == sorted(times)
                self.wanted[holder, number] -= len(times)
                assert self.wanted[holder, number] >= 0, "more tokens than were asked for"
                given += len(times)
                for position, at in enumerate(times):
                    assert self.now + self.settings.lead_ns <= at <= self.now + self.settings.horizon_ns
                    who = f"{holder}/{demand.user}/{demand.kind}"
                    stub = Stub(at, demand.kind, demand.user, demand.spreadsheet, who, demand.latency_p95_ns)
                    self._given(stub, probes.get(number, ""), open_before, rests)
                    expires = self.now + self.settings.furthest_ns + KNOWN_NS
                    holding = Holding(stub, holder, expires, probes.get(number, ""))
                    self.holdings[grant_id, number, position] = holding
        if self.limiter.grants % 2:  # to ask changes nothing, and neither does not to ask
            self.both(lambda limiter: limiter.next_round(self.now))
        self.check()
        return given

    def troubles(self) -> tuple[set[str], dict[str, int]]:
        """The circuits that are open, and until when buckets rest after a 429."""
        health = self.limiter.health
        return (
            {name for name, circuit in health.circuits.items() if circuit.open},
            {name: pressure.until_ns for name, pressure in health.pressures.items()},
        )

    def _given(self, stub: Stub, probe: str, open_before: set[str], rests: dict[str, int]) -> None:
        self.ledger.give(stub, self.settings)
        assert stub.at >= self.limiter.quiet_until_ns, "a token in the quiet time"
        for name in (f"project/{stub.kind}", f"user/{stub.kind}/{stub.user}"):
            assert stub.at >= rests.get(name, 0), f"{name} rests after a 429"
        trouble = {API, f"sheet/{stub.spreadsheet}"} & open_before
        if trouble:
            assert probe in trouble, "a token for an open circuit that is not its probe"
            assert stub.at >= self.probes.get(probe, 0), "a second probe while one is out"
            self.probes[probe] = stub.at + LOST_NS

    def hand_back(self, position: Position, holder: str = "") -> None:
        """A holder hands a token back, be it its own or not, in time or late."""
        grant_id, lane, place = position
        holding = self.holdings.get(position)
        whose = holder or (holding.holder if holding else HOLDERS[0])
        unused = Unused(grant_id=grant_id, lane=lane, tokens=(place,))
        before = self.limiter.returned
        self.both(
            lambda limiter: limiter.settle(
                self.now, Settlement(holder=whose, epoch=self.limiter.epoch, unused=(unused,))
            )
        )
        came = self.limiter.returned - before
        if holding is None or holding.holder != whose:
            assert came == 0, "a token that was not there came back"
            return
        if holding.expires > self.now:
            assert came == 1, "a token did not come back"
        if came:
            del self.holdings[position]
            self._came_back(holding)
            if (whose, lane) in self.wanted:
                demand = next(d for d in self.said[whose].lanes if d.lane == lane)
                if (demand.kind, demand.user) == (holding.stub.kind, holding.stub.user):
                    self.wanted[whose, lane] += 1

    def _came_back(self, holding: Holding) -> None:
        self.ledger.take_back(holding.stub)
        if holding.probe:
            self.probes.pop(holding.probe, None)

    # --- bookings -----------------------------------------------------------------------------------------------------

    def book(self, booking: Booking) -> BookingAnswer:
        """A later attempt asks for its own token."""
        booking = self.bookings.setdefault(booking.id, booking)
        open_before, rests = self.troubles()
        due = self.promised.pop(booking.id, None)
        answer = self.both(lambda limiter: limiter.book(self.now, booking))
        said = self.said.get(booking.holder)
        assert isinstance(answer, Stopped) == bool(said and said.stopped)
        if isinstance(answer, Booked):
            assert not self.paused, "booked while the project is paused"
            assert self.now <= answer.at_ns <= self.now + self.settings.horizon_ns
            before = self.booked.get(booking.id)
            if before is None or before.stub.at != answer.at_ns:
                who = f"{booking.holder}/{booking.user}/{booking.kind}"
                stub = Stub(answer.at_ns, booking.kind, booking.user, booking.spreadsheet, who, booking.latency_ns)
                self._given(stub, answer.probe, open_before, rests)
                self.booked[booking.id] = Holding(stub, booking.holder, answer.at_ns + self.hold_ns, answer.probe)
        elif isinstance(answer, NotUntil):
            assert answer.at_ns > self.now
            assert due != self.now, f"asked again when it was told to, and sent away: {answer}"
            kept = "retries" not in answer.why and "circuit" not in answer.why and not self.paused
            if kept:
                self.promised[booking.id] = answer.at_ns
        self.check()
        return answer

    @property
    def hold_ns(self) -> int:
        """How long a token counts."""
        return self.settings.window_ns + self.settings.token_valid_for_ns + self.settings.network_spread_ns

    def hand_booking_back(self, booking_id: str) -> None:
        """A booking's token was not used, or is not wanted any more."""
        holding = self.booked.get(booking_id)
        self.promised.pop(booking_id, None)
        before = self.limiter.returned
        said = Settlement(
            holder=holding.holder if holding else "", epoch=self.limiter.epoch, unused_bookings=(booking_id,)
        )
        self.both(lambda limiter: limiter.settle(self.now, said))
        came = self.limiter.returned - before
        if holding is None:
            assert came == 0, "a token that was never given came back"
        elif came:
            del self.booked[booking_id]
            self._came_back(holding)

    def forget_promises(self, holder: str = "") -> None:
        """Something came between that takes promised instants with it."""
        gone = [name for name in self.promised if not holder or self.bookings[name].holder == holder]
        for name in gone:
            del self.promised[name]

    # --- trouble and control ------------------------------------------------------------------------------------------

    def throttle(self, said: Throttling) -> None:
        """A 429."""
        self.both(
            lambda limiter: limiter.settle(self.now, Settlement(holder="", epoch=self.limiter.epoch, throttled=(said,)))
        )
        self.forget_promises()

    def fail(self, spreadsheet: str) -> None:
        """A call fails or stays without an answer."""
        said = Settlement(holder="", epoch=self.limiter.epoch, overloads=(Overload(spreadsheet=spreadsheet),))
        before, _ = self.troubles()
        self.both(lambda limiter: limiter.settle(self.now, said))
        opened = self.troubles()[0] - before
        if opened:
            self.forget_promises()
        for name in opened:
            self.probes.pop(name, None)

    def probed(self, circuit: str, *, ok: bool) -> None:
        """What became of a probe is told."""
        self.probes.pop(circuit, None)
        said = Settlement(holder="", epoch=self.limiter.epoch, probed=(Probed(circuit=circuit, ok=ok),))
        self.both(lambda limiter: limiter.settle(self.now, said))

    def pause(self) -> None:
        """The project is paused."""
        self.paused = True
        self.both(lambda limiter: limiter.pause("ana"))
        self.forget_promises()

    def resume(self) -> None:
        """The project goes on."""
        self.paused = False
        self.both(lambda limiter: limiter.resume())

    def configure(self, **changes: object) -> None:
        """Quotas and policies change; the window stays."""
        self.settings = self.settings.model_copy(update=changes)
        self.both(lambda limiter: limiter.configure(self.settings))
        self.forget_promises()

    def continue_as_new(self) -> None:
        """Every limiter goes through JSON: nothing changes."""
        for n, limiter in enumerate(self.limiters):
            kept = dump(limiter)
            self.limiters[n] = through_json(limiter)
            assert dump(self.limiters[n]) == kept

    def shadow(self) -> None:
        """A second limiter is restored from the first, and hears the same from now on."""
        self.limiters = [self.limiter, through_json(self.limiter)]

    # --- what holds at any moment -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Tokens are conserved: given = handed back + still booked + expired, in counts and in the books."""
        limiter, since = self.limiter, self.now - self.hold_ns
        assert limiter.granted == self.ledger.given
        assert limiter.returned == self.ledger.returned
        ahead = [place.token for place in limiter.bookings.places.values() if not place.given]
        for kind in KINDS:
            for user in ("", *USERS):
                name = f"user/{kind}/{user}" if user else f"project/{kind}"
                bucket = limiter.buckets.quotas.get(name)
                times = [at for at in bucket.times if at > since] if bucket else []
                places = [t.at_ns for t in ahead if t.kind == kind and user in ("", t.user) and t.at_ns > since]
                assert times == sorted(self.ledger.standing(kind, user, since) + places), (
                    f"the books of {name} are wrong"
                )
