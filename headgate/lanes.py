"""The lanes of one bulk request: what they want, what can start, what came back. No clock: methods take `now`.

Rules:

1. A lane's batches are done strictly in order; `position` of them are done. Folding the same report twice changes nothing.
2. At most one part of a lease is under way in a lane; tokens granted meanwhile wait behind it.
3. A token is used for a call of its kind, or handed back: never for the other kind.
4. A lane whose batch is being resent, or whose call keeps it beyond its tokens, wants nothing until it is free.
5. At most 64 lanes are active, whatever the size of the request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from headgate.messages.carried import LaneCheckpoint
from headgate.messages.requests import LaneEntry
from headgate.messages.sending import BatchDone, LaneReport, LaneSending
from headgate.messages.tokens import Grant, LaneDemand, Unused
from headgate.messages.views import LaneCounts, LaneView
from headgate.messages.words import Kind

ACTIVE_LANES = 64
LATENCIES_KEPT = 24
LEADS_KEPT = 16
LEADS_NEEDED = 4
LEAD_STEP_NS = 50_000_000
#: From the end of a lane's call to the moment at which its next lease can send: result, workflow task, dispatch.
TURNAROUND_NS = 40_000_000
#: A token has to lie at least this far ahead of the end of its validity to be worth starting an activity for.
MARGIN_NS = 25_000_000
#: So many tokens may pass a busy lane before it wants none until it is free.
PASSED_BY = 2
FIRST_GUESS_NS = 1_000_000_000
#: A lane that is done is told of before the others if they would keep it for longer than this.
KEEPS_AT_MOST_NS = 500_000_000
#: A lease of so many lanes is told of half-way in any case: those that are done can be in the next one.
MANY_LANES = 8
#: With more lanes than this, starts are gathered; an activity is started this long before its first token's time,
#: or as long as leases have shown to need.
GATHERS_FROM = 16
STARTS_AHEAD_NS = 250_000_000


@dataclass(slots=True)
class WaitingToken:
    """A granted token that no activity has taken yet."""

    grant_id: int
    place: int
    at_ns: int
    kind: Kind
    probe: str = ""


@dataclass(slots=True)
class Lane:
    """One active lane."""

    entry: LaneEntry
    position: int = 0
    under_way: int = 0
    grant_id: int = 0
    resending: bool = False
    passed_by: int = 0
    pressed: bool = False
    most: int = 0
    latencies_ns: list[int] = field(default_factory=list)
    waiting: list[WaitingToken] = field(default_factory=list)

    @property
    def stalled(self) -> bool:
        """A slow call keeps the lane: asking for more would only waste tokens."""
        return self.passed_by >= PASSED_BY

    @property
    def finished(self) -> bool:
        return self.position >= self.entry.batches

    @property
    def left(self) -> int:
        """How many batches are not done."""
        return max(0, self.entry.batches - self.position)

    def kind_at(self, offset: int) -> Kind:
        """The kind of call that the batch at `offset` of the lane makes."""
        if self.entry.look_up:
            if offset == 0:
                return "read"
            offset -= 1
        kind: Kind = self.entry.kind
        for length in self.entry.runs:
            if offset < length:
                return kind
            offset -= length
            kind = "read" if kind == "write" else "write"
        return self.entry.kind if not self.entry.runs else kind

    def run_from(self, offset: int) -> int:
        """How many batches from `offset` on are of the same kind."""
        end = self.entry.batches
        if self.entry.look_up and offset == 0:
            return 1
        if not self.entry.runs:
            return end - offset
        kind, count = self.kind_at(offset), 0
        while offset + count < end and self.kind_at(offset + count) == kind:
            count += 1
        return count

    def demand(self) -> LaneDemand:
        """What the lane wants beyond the tokens that it has."""
        base = self.position + self.under_way + len(self.waiting)
        calls = 0
        if not (self.resending or self.stalled) and base < self.entry.batches:
            kind = self.kind_at(base)
            if base == self.position or self.kind_at(self.position) == kind:
                calls = self.run_from(base)
        kind = self.kind_at(min(base, self.entry.batches - 1))
        spacing, p95 = self.spacing()
        return LaneDemand(
            lane=self.entry.lane,
            kind=kind,
            user=self.entry.user,
            spreadsheet=self.entry.spreadsheet,
            calls=calls,
            latency_ns=spacing,
            latency_p95_ns=p95,
        )

    def spacing(self) -> tuple[int, int]:
        """How far apart the lane's tokens should lie, and how long others should keep off the spreadsheet.

        The 70th percentile makes most of a lane that is alone: closer, and tokens go stale behind slow calls; farther, and
        quick calls leave it idle (simulated for 1.2 s and 1.2 +/- 0.4 s: 95 % and 83 % of back-to-back).
        """
        if not self.latencies_ns:
            return FIRST_GUESS_NS, FIRST_GUESS_NS
        rising = sorted(self.latencies_ns)
        return rising[(len(rising) - 1) * 70 // 100] + TURNAROUND_NS, rising[(len(rising) - 1) * 95 // 100]

    def learn(self, latency_ns: int) -> None:
        """Remember how long a call took."""
        if latency_ns:
            self.latencies_ns = [*self.latencies_ns[1 - LATENCIES_KEPT :], latency_ns]


@dataclass(slots=True)
class Folded:
    """What a report added: results (`passed`: how many, by user), the lanes whose batch has to be resent, and those that cannot
    go on at all."""

    done: list[BatchDone] = field(default_factory=list)
    rescues: list[tuple[int, LaneReport]] = field(default_factory=list)
    broken: dict[int, str] = field(default_factory=dict)
    sent: int = 0
    passed: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Lanes:
    """The active lanes of a request, by number, in the plan's order."""

    active: dict[int, Lane] = field(default_factory=dict)
    finished: int = 0
    leads_ns: list[int] = field(default_factory=list)
    reports_ns: dict[int, tuple[int, ...]] = field(default_factory=dict)
    leases: int = 0

    def begun(self, lease: Sequence[LaneSending]) -> int:
        """A lease is under way: know when it is going to report. Returns its number, for `ended`."""
        self.leases += 1
        ends = max(lane.tokens[-1] + lane.latency_ns for lane in lease)
        self.reports_ns[self.leases] = (*moments(lease)[:-1], ends)
        return self.leases

    def ended(self, number: int) -> None:
        """The lease has reported for the last time."""
        self.reports_ns.pop(number, None)

    def learn_lead(self, ready_ns: int) -> None:
        """Remember how long after its grant a lease could send (0: not known)."""
        if ready_ns > 0:
            self.leads_ns = [*self.leads_ns[1 - LEADS_KEPT :], ready_ns]

    @property
    def lead_ns(self) -> int:
        """How far ahead tokens should lie so that most leases are ready for them; 0 while too little is known."""
        if len(self.leads_ns) < LEADS_NEEDED:
            return 0
        rising = sorted(self.leads_ns)
        return rising[(len(rising) - 1) * 80 // 100] // LEAD_STEP_NS * LEAD_STEP_NS

    def admit(self, entries: Iterable[LaneEntry]) -> None:
        """Make lanes of the plan active."""
        for entry in entries:
            self.active[entry.lane] = Lane(entry)

    @property
    def room(self) -> int:
        return ACTIVE_LANES - len(self.active)

    def demand(self, allowance: int = ACTIVE_LANES) -> tuple[LaneDemand, ...]:
        """The full present demand, at most `allowance` lanes."""
        wanted = [d for d in (lane.demand() for lane in self.active.values()) if d.calls > 0]
        return tuple(wanted[:allowance])

    def granted(self, grant: Grant) -> list[Unused]:
        """Put a grant's tokens behind their lanes; what no lane has a use for is handed back."""
        back: list[Unused] = []
        for number, times in grant.tokens.items():
            kind: Kind = "read" if number in grant.reads else "write"
            lane = self.active.get(number)
            places = range(len(times))
            if lane is None or lane.resending or lane.stalled:
                back.append(Unused(grant_id=grant.grant_id, lane=number, tokens=tuple(places)))
                continue
            lane.pressed = lane.pressed or bool(lane.under_way)
            probe = grant.probes.get(number, "")
            lane.waiting += [WaitingToken(grant.grant_id, p, times[p], kind, probe) for p in places]
            # A token granted in place of one that came back may lie before those granted earlier.
            lane.waiting.sort(key=lambda token: token.at_ns)
        return back

    def starts(self, now: int, valid_for_ns: int) -> tuple[list[LaneSending], list[Unused]]:
        """What can start now, and the tokens for which it is too late. What starts counts as under way.

        With many lanes those that are free wait for a report that is due before they have to start: it frees others that can
        go with them, and a lease of many lanes costs as much as one of a few.
        """
        if self._gathers(now):
            return [], self._late(now, valid_for_ns)
        sendings: list[LaneSending] = []
        back: list[Unused] = []
        for number, lane in self.active.items():
            if not lane.waiting:
                continue
            if lane.under_way:
                continue
            usable, useless = self._usable(lane, now + MARGIN_NS - valid_for_ns)
            back += _unused(number, useless)
            if usable:
                sendings.append(_sending(lane, usable, few=len(self.active) <= GATHERS_FROM))
        return sendings, back + self._late(now, valid_for_ns)

    def _gathers(self, now: int) -> bool:
        free = [lane.waiting[0].at_ns for lane in self.active.values() if lane.waiting and not lane.under_way]
        if len(self.active) <= GATHERS_FROM or not free:
            return False
        first = min(free)
        ahead = max(STARTS_AHEAD_NS, self.lead_ns)
        return first - ahead > now and any(
            now < at <= first - ahead for reports in self.reports_ns.values() for at in reports
        )

    def _late(self, now: int, valid_for_ns: int) -> list[Unused]:
        """The tokens that passed while their lane was under way."""
        back: list[Unused] = []
        for number, lane in self.active.items():
            late = [w for w in lane.waiting if w.at_ns + valid_for_ns < now] if lane.under_way else []
            if late:
                lane.passed_by += len(late)
                back += _unused(number, late)
                lane.waiting = [w for w in lane.waiting if w.at_ns + valid_for_ns >= now]
        return back

    def fold(self, report: LaneReport, into: Folded) -> None:
        """Add what one lane's part of a lease achieved; a part that was folded before adds nothing."""
        lane = self.active.get(report.lane)
        if lane is None:
            return
        for done in report.done:
            if done.batch == lane.entry.first_batch + lane.position:
                lane.position += 1
                lane.learn(done.latency_ns)
                lane.most = done.most
                into.done.append(done)
                into.sent += done.calls
                into.passed[lane.entry.user] = into.passed.get(lane.entry.user, 0) + 1
        if not lane.under_way or report.grant_id != lane.grant_id:
            return
        lane.under_way = 0
        lane.passed_by = 0
        if broken := report.broken or next((done.failure for done in report.done if done.failure), ""):
            if not lane.finished:
                into.broken[report.lane] = broken
        elif report.rescue == lane.entry.first_batch + lane.position:
            lane.resending = True
            into.rescues.append((report.lane, report))

    def resent(self, number: int, done: BatchDone) -> bool:
        """A rescued batch is done: its lane goes on. False if that was known."""
        lane = self.active.get(number)
        if lane is None or not lane.resending or done.batch != lane.entry.first_batch + lane.position:
            return False
        lane.resending = False
        lane.position += 1
        lane.most = done.most
        return True

    def retire(self) -> list[Lane]:
        """Take out the lanes that are finished; their tokens are of no use any more (`hand_back` first)."""
        finished = [lane for lane in self.active.values() if lane.finished and not lane.under_way]
        for lane in finished:
            del self.active[lane.entry.lane]
        self.finished += len(finished)
        return finished

    def hand_back(self) -> list[Unused]:
        """Give up every token that no activity has taken: of paused, cancelled, resent, stalled and finished lanes."""
        back: list[Unused] = []
        for number, lane in self.active.items():
            back += _unused(number, lane.waiting)
            lane.waiting = []
        return back

    def hand_back_useless(self) -> list[Unused]:
        """Give up the tokens of lanes that cannot use them: those being resent and those with no batch left for them."""
        back: list[Unused] = []
        for number, lane in self.active.items():
            keep = 0 if lane.resending else max(0, lane.entry.batches - lane.position - lane.under_way)
            back += _unused(number, lane.waiting[keep:])
            lane.waiting = lane.waiting[:keep]
        return back

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return any(lane.under_way or lane.resending for lane in self.active.values())

    @property
    def calling(self) -> bool:
        """Whether an activity has calls to make at their tokens' times."""
        return any(lane.under_way for lane in self.active.values())

    @property
    def by_user(self) -> Counter[str]:
        """How many lanes each user has under way."""
        return Counter(lane.entry.user for lane in self.active.values())

    @property
    def longest_ns(self) -> int:
        """How long the longest active lane takes, a call after the other."""
        return max((lane.left * lane.spacing()[0] for lane in self.active.values()), default=0)

    def counts(self, total: int) -> LaneCounts:
        """Lanes of the plan: how many there are in all, how many are active, how many done."""
        return LaneCounts(total=total, active=len(self.active), done=self.finished)

    def view(self) -> tuple[LaneView, ...]:
        """What a person may see of the active lanes."""
        return tuple(
            LaneView(
                lane=number,
                kind=lane.entry.kind,
                spreadsheet=lane.entry.spreadsheet,
                user=lane.entry.user,
                batches=lane.entry.batches,
                done=lane.position,
                under_way=lane.under_way,
                resending=lane.resending,
                call_s=round(lane.spacing()[0] / 1e9, 3) if lane.latencies_ns else 0.0,
            )
            for number, lane in self.active.items()
        )

    def checkpoint(self) -> tuple[LaneCheckpoint, ...]:
        """The lanes as they are carried over; nothing is under way then but batches that are being resent."""
        return tuple(
            LaneCheckpoint(
                entry=lane.entry,
                position=lane.position,
                resending=lane.resending,
                latencies_ns=tuple(lane.latencies_ns),
                most=lane.most,
            )
            for lane in self.active.values()
        )

    def restore(self, kept: Iterable[LaneCheckpoint]) -> None:
        """Take up lanes that a run before has left."""
        for lane in kept:
            self.active[lane.entry.lane] = Lane(
                lane.entry,
                lane.position,
                resending=lane.resending,
                latencies_ns=list(lane.latencies_ns),
                most=lane.most,
            )

    def __iter__(self) -> Iterator[Lane]:
        return iter(self.active.values())

    @staticmethod
    def _usable(lane: Lane, oldest_at: int) -> tuple[list[WaitingToken], list[WaitingToken]]:
        """Split a free lane's tokens: those of its first usable grant for the run at hand; those that are of no use."""
        kind = lane.kind_at(lane.position) if not lane.finished else None
        good = [w for w in lane.waiting if w.at_ns >= oldest_at and w.kind == kind and not lane.resending]
        useless = [w for w in lane.waiting if w not in good]
        room = lane.run_from(lane.position) if good else 0
        first = [w for w in good if w.grant_id == good[0].grant_id][:room]
        later = [w for w in good if w.grant_id != good[0].grant_id][: max(0, room - len(first))]
        useless += [w for w in good if w not in first and w not in later]
        lane.waiting = later
        return first, useless


def unused_of(grant: Grant) -> list[Unused]:
    """Every token of a grant, to be handed back."""
    return [
        Unused(grant_id=grant.grant_id, lane=lane, tokens=tuple(range(len(times))))
        for lane, times in grant.tokens.items()
    ]


def moments(lanes: Sequence[LaneSending]) -> list[int]:
    """When a lease tells of lanes that are done while others still send (ns): half-way if they are many or pressed, and late."""
    ends = [lane.tokens[-1] + lane.latency_ns for lane in lanes]
    first, last = min(ends), max(ends)
    pressed = len(lanes) >= MANY_LANES or any(lane.more for lane in lanes)
    half_way = [(first + last) // 2] if pressed and last - first > KEEPS_AT_MOST_NS else []
    return [*half_way, last + KEEPS_AT_MOST_NS]


def _sending(lane: Lane, tokens: list[WaitingToken], *, few: bool) -> LaneSending:
    first = lane.entry.first_batch + lane.position
    lane.under_way = len(tokens)
    lane.grant_id = tokens[0].grant_id
    pressed, lane.pressed = lane.pressed, False
    return LaneSending(
        lane=lane.entry.lane,
        kind=tokens[0].kind,
        user=lane.entry.user,
        spreadsheet=lane.entry.spreadsheet,
        grant_id=lane.grant_id,
        batches=tuple(range(first, first + len(tokens))),
        tokens=tuple(t.at_ns for t in tokens),
        token_positions=tuple(t.place for t in tokens),
        first_batch=lane.entry.first_batch,
        look_up=lane.entry.look_up,
        more=few and pressed and lane.position + len(tokens) < lane.entry.batches,
        latency_ns=lane.spacing()[0],
        probe=tokens[0].probe,
        most=lane.most,
    )


def _unused(number: int, tokens: Iterable[WaitingToken]) -> list[Unused]:
    places: dict[int, list[int]] = {}
    for token in tokens:
        places.setdefault(token.grant_id, []).append(token.place)
    return [Unused(grant_id=g, lane=number, tokens=tuple(p)) for g, p in places.items()]
