"""The rows of a limiter's checkpoint, there and back: holders, buckets, spacings, leases, places, turns.

Every name is there once, elsewhere stands its place; times count from a base on, rising ones each from the one before.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate, chain

from headgate.health import KINDS
from headgate.leases import Held
from headgate.limiter import Limiter
from headgate.messages.carried import (
    BucketRow,
    LeaseRow,
    LimiterCheckpoint,
    LimiterRows,
    PlaceRow,
    SpacingRow,
    TurnRow,
    WaiterRow,
)
from headgate.messages.words import Kind
from headgate.ordering import CLASSES, PLACE, Turn
from headgate.quota import Spacing
from headgate.waiting import Lane, Place, Token, Waiter

KIND_PLACE = {kind: n for n, kind in enumerate(KINDS)}


class Rows:
    """The rows of a limiter; `places` are those of the names."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter, self.base = limiter, limiter.buckets.expired_ns
        self.places: dict[str, int] = {}

    def all(self) -> LimiterRows:
        """Every row, and the names that they use."""
        limiter = self.limiter
        rows = LimiterRows.model_construct(  # unchecked: there may be 100,000 numbers
            base_ns=self.base,
            waiting=tuple([self.waiter(waiter) for waiter in limiter.waiters.values()]),
            buckets=tuple(self.buckets()),
            spacings=tuple(
                [
                    self.spacing(name, spacing)
                    for name, spacing in sorted(limiter.buckets.spacings.items())
                    if spacing.starts or spacing.recent
                ]
            ),
            leased=tuple([self.lease(grant_id) for grant_id in limiter.leases]),
            booked=tuple([self.place(name, place) for name, place in limiter.bookings.places.items()]),
            turns=tuple([row for kind in KINDS for row in self.turns(kind)]),
            clocks=limiter.bookings.clocks,
            spent={key: tuple(budget.times) for key, budget in limiter.ranks.spent.items()},
            rushed=tuple([(KIND_PLACE[k], limiter.buckets.project(k).rushed_until_ns - self.base) for k in KINDS]),
        )
        return rows.model_copy(update={"names": tuple(self.places)})  # all of them are known only now

    def name(self, name: str) -> int:
        """The place of a name."""
        return self.places.setdefault(name, len(self.places))

    def steps(self, times: Iterable[int]) -> tuple[int, ...]:
        """Rising times, each as the difference to the one before; the first from the base on."""
        steps, before = [], self.base
        for at in times:
            steps.append(at - before)
            before = at
        return tuple(steps)

    def buckets(self) -> Iterable[BucketRow]:
        """Every bucket that anything is booked in; the project's also for its fullest window."""
        quotas = self.limiter.buckets.quotas
        for name, bucket in sorted(quotas.items()):
            scope, kind, *user = name.split("/", 2)
            if not bucket.times and bucket.paced_until_ns <= self.base and (user or not bucket.worst):
                continue
            times: tuple[int, ...] | None = self.steps(bucket.times)
            if scope == "project" and bucket.times == _together(self.limiter, kind):
                times = None
            number = self.name(user[0]) if user else -1
            paced = bucket.paced_until_ns - self.base
            yield (int(kind == "write"), number, paced, bucket.shut_until_ns, bucket.worst, times)

    def spacing(self, name: str, spacing: Spacing) -> SpacingRow:
        """One spreadsheet's starts."""
        starts: list[tuple[int, int, int, int, str]] = []
        for at, latency, who in spacing.starts:
            holder, user, kind = who.rsplit("/", 2)
            starts.append((at - self.base, latency, self.name(holder), self.name(user), kind))
        return (self.name(name), tuple(starts), self.steps(spacing.recent))

    def waiter(self, w: Waiter) -> WaiterRow:
        """One holder with its lanes."""
        name, base = self.name, self.base
        lanes = [
            (
                lane.number,
                KIND_PLACE[lane.kind],
                name(lane.user),
                name(lane.spreadsheet),
                lane.calls,
                lane.latency_ns,
                lane.latency_p95_ns,
                lane.free_at_ns - base,
            )
            for lane in w.lanes.values()
        ]
        return (
            name(w.holder),
            w.run,
            w.sequence,
            PLACE[w.priority],
            name(w.key),
            w.weight,
            w.submitted_at_ns - base,
            w.stopped,
            w.heard_ns - base,
            w.hungry_ns - base,
            w.aged,
            tuple(lanes),
            tuple([grant for grant in w.unseen if grant in self.limiter.leases]),
        )

    def lease(self, grant_id: int) -> LeaseRow:
        """The tokens of one grant."""
        name, base = self.name, self.base
        holder, key, weight, expires_ns, held = self.limiter.leases[grant_id]
        tokens = [
            (lane, at - base if at else None, KIND_PLACE[kind], name(user), name(spreadsheet), PLACE[served])
            for lane, at, kind, user, spreadsheet, served in held
        ]
        probes = [(lane, circuit) for (grant, lane), circuit in self.limiter.probes.items() if grant == grant_id]
        return (grant_id, name(holder), name(key), weight, expires_ns - base, tuple(tokens), tuple(probes))

    def place(self, booking_id: str, place: Place) -> PlaceRow:
        """One booking's place."""
        token, name, base = place.token, self.name, self.base
        return (
            booking_id,
            token.at_ns - base,
            KIND_PLACE[token.kind],
            name(token.user),
            name(token.spreadsheet),
            name(token.who),
            PLACE[token.served],
            name(place.key),
            place.lapses_ns - base,
            place.latency_ns,
            place.given,
            place.weight,
            place.probe,
        )

    def turns(self, kind: Kind) -> Iterable[TurnRow]:
        """The turns of one kind."""
        for (c, key), t in sorted(self.limiter.lines[kind].turns.turns.items()):
            counted = (t.passed, t.since, t.weight, t.owed, t.calls, t.calls_before)
            yield (KIND_PLACE[kind], PLACE[c], self.name(key), *counted)


def _together(limiter: Limiter, kind: str) -> list[int]:
    """The times of all users, rising: what the project has booked."""
    mine = f"user/{kind}/"
    return sorted(
        chain.from_iterable(bucket.times for name, bucket in limiter.buckets.quotas.items() if name.startswith(mine))
    )


def restore_buckets(limiter: Limiter, rows: LimiterRows) -> None:
    """What is booked, and the pace; whoever restores reckons the buckets anew once ceilings are there, too."""
    buckets, base = limiter.buckets, rows.base_ns
    for number, rushed in rows.rushed:
        buckets.project(KINDS[number]).rushed_until_ns = rushed + base
    merged: list[Kind] = []
    for number, user, paced, shut, worst, steps in rows.buckets:
        kind = KINDS[number]
        bucket = buckets.user(kind, rows.names[user]) if user >= 0 else buckets.project(kind)
        bucket.paced_until_ns, bucket.shut_until_ns, bucket.worst = paced + base, shut, worst
        if steps is None:
            merged.append(kind)
        else:
            bucket.times = list(accumulate(steps, initial=base))[1:]
    for kind in merged:
        buckets.project(kind).times = _together(limiter, kind)
    for name, starts, recent in rows.spacings:
        spacing = buckets.spacing(rows.names[name])
        spacing.starts = [
            (at + base, latency, f"{rows.names[holder]}/{rows.names[owner]}/{kind}")
            for at, latency, holder, owner, kind in starts
        ]
        spacing.recent = list(accumulate(recent, initial=base))[1:]
        spacing.reckon()


def restore_waiter(limiter: Limiter, row: WaiterRow, rows: LimiterRows) -> None:
    """A holder, and what its lanes want."""
    holder, run, sequence, priority, key, weight, submitted, stopped, heard, hungry, aged, lanes, unseen = row
    names, base = rows.names, rows.base_ns
    waiter = Waiter(names[holder], run, sequence, CLASSES[priority], weight, names[key], submitted + base, stopped)
    waiter.heard_ns, waiter.aged, waiter.unseen = heard + base, aged, list(unseen)
    limiter.enrol(waiter)
    for number, kind, user, spreadsheet, calls, latency, p95, free_at in lanes:
        lane = Lane(
            waiter, number, KINDS[kind], names[user], names[spreadsheet], min(calls, 0), latency, p95, free_at + base
        )
        waiter.lanes[number] = lane
        limiter.lines[lane.kind].want(lane, calls)
    waiter.hungry_ns = hungry + base
    if waiter.wants():
        limiter.ranks.hungry(waiter, waiter.hungry_ns)


def restore_turns(limiter: Limiter, saved: LimiterCheckpoint, rows: LimiterRows) -> None:
    """Credits of classes and turns of owners, once every lane has joined."""
    for kind, joined in zip(KINDS, saved.joined, strict=False):
        limiter.lines[kind].turns.joined = joined
    for kind_number, c, left in saved.credit:
        limiter.lines[KINDS[kind_number]].turns.credits[CLASSES[c]] = left
    for kind_number, c, passed in saved.virtual:
        limiter.lines[KINDS[kind_number]].turns.virtual[CLASSES[c]] = passed
    for kind_number, c, key, passed, since, weight, owed, calls, before in rows.turns:
        turns = limiter.lines[KINDS[kind_number]].turns
        turns.reinstate(CLASSES[c], rows.names[key], Turn(passed, since, weight, 0, owed, calls, before))


def restore_leases(limiter: Limiter, rows: LimiterRows) -> None:
    """What was granted and can still be handed back."""
    names, base = rows.names, rows.base_ns
    for grant_id, holder, key, weight, expires, tokens, probes in rows.leased:
        held: list[Held] = [
            (lane, 0 if at is None else at + base, KINDS[kind], names[user], names[spreadsheet], CLASSES[c])
            for lane, at, kind, user, spreadsheet, c in tokens
        ]
        limiter.leases[grant_id] = (names[holder], names[key], weight, expires + base, tuple(held))
        limiter.probes.update({(grant_id, lane): circuit for lane, circuit in probes})


def restore_places(limiter: Limiter, rows: LimiterRows) -> None:
    """What later attempts and scripts have booked."""
    names, base = rows.names, rows.base_ns
    for booking_id, at, kind, user, spreadsheet, who, c, key, lapses, latency, given, weight, probe in rows.booked:
        path = (KINDS[kind], names[user], names[spreadsheet], names[who])
        token = Token(at + base, *path, paced=False, served=CLASSES[c])
        place = Place(token, names[key], lapses + base, latency, given, weight, probe)
        limiter.bookings.places[booking_id] = place
    limiter.bookings.clocks = dict(rows.clocks)
