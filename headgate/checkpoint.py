"""A limiter to its checkpoint and back: `restore(dump(limiter))` decides exactly as `limiter` would.

What follows from the rest is not carried: the line is built anew from its lanes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from headgate.ceilings import Pressure
from headgate.circuits import Circuit
from headgate.health import KINDS
from headgate.limiter import Limiter
from headgate.models import (
    BucketCheckpoint,
    CircuitCheckpoint,
    LaneRow,
    LeaseRow,
    LimiterCheckpoint,
    PlaceCheckpoint,
    PressureCheckpoint,
    TokenRow,
    TurnRow,
    WaiterRow,
)
from headgate.ordering import CLASSES, PLACE, Budget, Turn
from headgate.quota import Bucket
from headgate.waiting import Lane, Lease, Place, Token, Waiter

_KIND = {kind: n for n, kind in enumerate(KINDS)}


class _Names:
    """Every name once; elsewhere its place."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))


def dump(limiter: Limiter) -> LimiterCheckpoint:
    """Everything that a limiter knows, small."""
    intern = _Names()
    health, buckets = limiter.health, limiter.buckets
    turns: list[TurnRow] = []
    credit: list[tuple[int, int, float]] = []
    virtual: list[tuple[int, int, int]] = []
    for kind, line in limiter.lines.items():
        k = _KIND[kind]
        turns += [
            (k, PLACE[c], intern(key), t.passed, t.since, t.weight, t.owed, t.calls, t.calls_before)
            for (c, key), t in sorted(line.turns.turns.items())
        ]
        credit += [(k, PLACE[c], left) for c, left in sorted(line.turns.credits.items())]
        virtual += [(k, PLACE[c], passed) for c, passed in sorted(line.turns.virtual.items())]
    return LimiterCheckpoint(
        epoch=limiter.epoch,
        settings=limiter.settings,
        quiet_until_ns=limiter.quiet_until_ns,
        grants=limiter.grants,
        granted=limiter.granted,
        returned=limiter.returned,
        throttled=health.throttled,
        overloads=health.overloads,
        paused_by=limiter.paused_by,
        buckets=tuple(
            _bucket_row(name, bucket)
            for name, bucket in buckets.quotas.items()
            if bucket.times or bucket.worst or bucket.paced_until_ns
        ),
        spacings={
            sheet: tuple((at, latency, intern(who)) for at, latency, who in spacing.starts)
            for sheet, spacing in buckets.spacings.items()
            if spacing.starts
        },
        recent={sheet: tuple(spacing.recent) for sheet, spacing in buckets.spacings.items() if spacing.recent},
        waiting=tuple(_waiter_row(waiter, intern) for waiter in limiter.waiters.values()),
        leased=tuple(_lease_row(grant_id, lease, intern) for grant_id, lease in limiter.leases.items()),
        booked=tuple(_place_row(booking_id, place, intern) for booking_id, place in limiter.bookings.places.items()),
        pressures=tuple(
            PressureCheckpoint(
                name=name,
                paused_ns=p.paused_ns,
                length_ns=p.length_ns,
                ceiling=p.ceiling,
                grows_from_ns=p.grows_from_ns,
                named=p.named,
                refused=p.refused,
                total=p.total,
                since_ns=p.since_ns,
                ceiled_until_ns=buckets.quota(name).ceiled_until_ns,
                interval_ns=buckets.quota(name).ceiling_interval_ns,
            )
            for name, p in health.pressures.items()
        ),
        circuits=tuple(
            CircuitCheckpoint(
                name=name,
                failures=tuple(c.failures),
                opened_ns=c.opened_ns,
                probe_at_ns=c.probe_at_ns,
                pause_ns=c.pause_ns,
                out_until_ns=c.out_until_ns,
            )
            for name, c in health.circuits.items()
        ),
        retries=health.retries.left,
        retries_at_ns=health.retries.at_ns,
        turns=tuple(turns),
        credit=tuple(credit),
        virtual=tuple(virtual),
        joined=tuple(limiter.lines[kind].turns.joined for kind in KINDS),
        clocks=dict(limiter.bookings.clocks),
        spent={key: tuple(budget.times) for key, budget in limiter.spent.items()},
        degraded=dict(limiter.degraded),
        counted_ns=limiter.counted_ns,
        names=tuple(intern.places),
    )


def restore(saved: LimiterCheckpoint) -> Limiter:
    """The limiter that was dumped."""
    limiter = Limiter(saved.settings, saved.epoch, saved.quiet_until_ns, saved.grants)
    limiter.granted, limiter.returned, limiter.paused_by = saved.granted, saved.returned, saved.paused_by
    limiter.counted_ns = saved.counted_ns
    names, health, buckets = saved.names, limiter.health, limiter.buckets
    health.throttled, health.overloads = saved.throttled, saved.overloads
    if saved.retries >= 0:
        health.retries.left, health.retries.at_ns = saved.retries, saved.retries_at_ns
    for kept in saved.buckets:
        bucket = buckets.quota(kept.name)
        bucket.times = list(accumulate(kept.deltas))
        bucket.paced_until_ns, bucket.shut_until_ns, bucket.worst = kept.paced_until_ns, kept.shut_until_ns, kept.worst
    for sheet, starts in saved.spacings.items():
        buckets.spacing(sheet).starts = [(at, latency, names[who]) for at, latency, who in starts]
    for sheet, recent in saved.recent.items():
        buckets.spacing(sheet).recent = list(recent)
    for p in saved.pressures:
        health.pressures[p.name] = Pressure(
            p.paused_ns, p.length_ns, p.ceiling, p.grows_from_ns, p.named, p.refused, p.total, p.since_ns
        )
        buckets.kept.add(p.name)
        bucket = buckets.quota(p.name)
        bucket.ceiled_until_ns, bucket.ceiling_interval_ns = p.ceiled_until_ns, p.interval_ns
        bucket.shut_until_ns = max(bucket.shut_until_ns, health.pressures[p.name].until_ns)
    for c in saved.circuits:
        health.circuits[c.name] = Circuit(list(c.failures), c.opened_ns, c.probe_at_ns, c.pause_ns, c.out_until_ns)
    health.shut_anew(list(health.circuits), 0)
    limiter.spent = {key: Budget(saved.settings.urgent_budget, list(times)) for key, times in saved.spent.items()}
    limiter.degraded = dict(saved.degraded)
    limiter.look_at_budgets()
    for row in saved.waiting:
        _restore_waiter(limiter, row, names)
    _restore_turns(limiter, saved)
    for grant_id, holder, key, weight, expires_ns, rows, probes in saved.leased:
        tokens: dict[int, list[Token | None]] = {}
        for lane_row in rows:
            held = tokens.setdefault(lane_row[0], [])
            held += [None] * (lane_row[1] + 1 - len(held))
            held[lane_row[1]] = _restore_token(lane_row, names)
        limiter.leases[grant_id] = Lease(names[holder], names[key], weight, expires_ns, tokens, dict(probes))
    for place in saved.booked:
        token = Token(
            place.at_ns,
            place.kind,
            names[place.user],
            names[place.spreadsheet],
            names[place.who],
            paced=False,
            served=place.priority,
        )
        limiter.bookings.places[place.booking_id] = Place(
            token, names[place.key], place.lapses_ns, place.latency_ns, place.given, place.weight, place.probe
        )
    limiter.bookings.clocks = dict(saved.clocks)
    return limiter


def _bucket_row(name: str, bucket: Bucket) -> BucketCheckpoint:
    deltas = tuple(after - before for before, after in zip([0, *bucket.times], bucket.times, strict=False))
    return BucketCheckpoint(
        name=name,
        deltas=deltas,
        paced_until_ns=bucket.paced_until_ns,
        shut_until_ns=bucket.shut_until_ns,
        worst=bucket.worst,
    )


def _place_row(booking_id: str, place: Place, intern: _Names) -> PlaceCheckpoint:
    token = place.token
    return PlaceCheckpoint(
        booking_id=booking_id,
        at_ns=token.at_ns,
        kind=token.kind,
        user=intern(token.user),
        spreadsheet=intern(token.spreadsheet),
        who=intern(token.who),
        priority=token.served,
        key=intern(place.key),
        lapses_ns=place.lapses_ns,
        latency_ns=place.latency_ns,
        given=place.given,
        weight=place.weight,
        probe=place.probe,
    )


def _lease_row(grant_id: int, lease: Lease, intern: _Names) -> LeaseRow:
    tokens: list[TokenRow] = [
        (
            lane,
            position,
            t.at_ns,
            _KIND[t.kind],
            intern(t.user),
            intern(t.spreadsheet),
            intern(t.who),
            t.paced,
            PLACE[t.served],
        )
        for lane, held in lease.tokens.items()
        for position, t in enumerate(held)
        if t is not None
    ]
    probes = tuple(lease.probes.items())
    return (grant_id, intern(lease.holder), intern(lease.key), lease.weight, lease.expires_ns, tuple(tokens), probes)


def _restore_token(row: TokenRow, names: Sequence[str]) -> Token:
    _, _, at, kind, user, spreadsheet, who, paced, served = row
    return Token(at, KINDS[kind], names[user], names[spreadsheet], names[who], paced, CLASSES[served])


def _waiter_row(w: Waiter, intern: _Names) -> WaiterRow:
    lanes: Iterable[LaneRow] = (
        (
            lane.number,
            _KIND[lane.kind],
            intern(lane.user),
            intern(lane.spreadsheet),
            lane.calls,
            lane.latency_ns,
            lane.latency_p95_ns,
            lane.free_at_ns,
        )
        for lane in w.lanes.values()
    )
    return (
        intern(w.holder),
        w.run,
        w.sequence,
        PLACE[w.priority],
        intern(w.key),
        w.weight,
        w.submitted_at_ns,
        w.stopped,
        w.heard_ns,
        w.hungry_ns,
        w.aged,
        tuple(lanes),
        tuple(w.unseen),
    )


def _restore_waiter(limiter: Limiter, row: WaiterRow, names: Sequence[str]) -> None:
    holder, run, sequence, priority, key, weight, submitted, stopped, heard, hungry, aged, lanes, unseen = row
    waiter = Waiter(names[holder], run, sequence, CLASSES[priority], weight, names[key], submitted, stopped)
    waiter.heard_ns, waiter.aged = heard, aged
    waiter.unseen = list(unseen)
    wanted: list[tuple[Lane, int]] = []
    for number, kind, user, spreadsheet, calls, latency, p95, free_at in lanes:
        lane = Lane(waiter, number, KINDS[kind], names[user], names[spreadsheet], 0, latency, p95, free_at)
        waiter.lanes[number] = lane
        wanted.append((lane, calls))
    limiter.stand(waiter, wanted, hungry)


def _restore_turns(limiter: Limiter, saved: LimiterCheckpoint) -> None:
    for kind, joined in zip(KINDS, saved.joined, strict=False):
        limiter.lines[kind].turns.joined = joined
    for kind_number, c, left in saved.credit:
        limiter.lines[KINDS[kind_number]].turns.credits[CLASSES[c]] = left
    for kind_number, c, passed in saved.virtual:
        limiter.lines[KINDS[kind_number]].turns.virtual[CLASSES[c]] = passed
    for kind_number, c, key, passed, since, weight, owed, calls, before in saved.turns:
        turns = limiter.lines[KINDS[kind_number]].turns
        turns.reinstate(CLASSES[c], saved.names[key], Turn(passed, since, weight, 0, owed, calls, before))
