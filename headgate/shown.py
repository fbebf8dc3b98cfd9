"""What a person may see of the limiter: buckets, classes, circuits, and each holder with the parts of its rank."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.health import KINDS
from headgate.messages.views import BucketView, CircuitView, ClassView, LimiterView, PlaceView, WaiterView
from headgate.ordering import CLASSES, stride
from headgate.standing import MOVING, standing
from headgate.waiting import Place, Waiter

if TYPE_CHECKING:
    from headgate.limiter import Limiter

#: More would not fit a query's answer, nor a person's eye.
SHOWN_WAITERS = 500
SHOWN_BUCKETS = 500


def view(limiter: Limiter, project: str, now: int) -> LimiterView:
    """The limiter in numbers and words; the first of its waiters, by class and submission."""
    holders = [holder for c in CLASSES for _, holder in limiter.queue.rows[c]]
    stopped = [w.holder for w in limiter.waiters.values() if w.stopped and not w.wants()]
    return LimiterView(
        project=project,
        epoch=limiter.epoch,
        now_ns=now,
        quiet_until_ns=limiter.quiet_until_ns,
        settings=limiter.settings,
        granted=limiter.granted,
        returned=limiter.returned,
        booked=sum(len(limiter.buckets.project(kind).times) for kind in KINDS),
        throttled=limiter.health.throttled,
        overloads=limiter.health.overloads,
        paused_by=limiter.paused_by,
        retry_budget=round(limiter.health.retries.left, 1),
        buckets=shown_buckets(limiter, now),
        classes=shown_classes(limiter, now),
        circuits=shown_circuits(limiter, now),
        waiters=tuple(
            shown_waiter(limiter, limiter.waiters[holder], now) for holder in (holders + stopped)[:SHOWN_WAITERS]
        ),
        waiting=len(holders),
        bookings=shown_places(limiter),
    )


def shown_buckets(limiter: Limiter, now: int) -> dict[str, BucketView]:
    """The buckets that are in use, in numbers; the project's first."""
    shown: dict[str, BucketView] = {}
    buckets, health = limiter.buckets, limiter.health
    for name in sorted(buckets.quotas)[: SHOWN_BUCKETS + 2]:
        bucket = buckets.quotas[name]
        if not (bucket.times or name.startswith("project") or name in health.pressures):
            continue
        pressure = health.pressures.get(name)
        ceiling = health.ceiling(name, now)
        shown[name] = BucketView(
            limit=bucket.limit,
            used=bucket.used(now),
            booked=len(bucket.times),
            free=max(0, bucket.limit - len(bucket.times)),
            worst_window=max(bucket.worst, bucket.fullest(limiter.settings.window_ns, now)),
            ceiling=ceiling,
            used_by_others=bucket.limit - ceiling,
            throttled=pressure.total if pressure else 0,
            shut_until_ns=bucket.shut_until_ns if bucket.shut_until_ns > now else 0,
        )
    return shown


def shown_classes(limiter: Limiter, now: int) -> tuple[ClassView, ...]:
    """Each class of each kind that anybody is in."""
    waits = longest_waits(limiter, now)
    rows: list[ClassView] = []
    for kind in KINDS:
        turns = limiter.lines[kind].turns
        for c in CLASSES:
            calls = sum(turn.calls_before for (other, _), turn in turns.turns.items() if other == c)
            if turns.wanting[c] or calls:
                rows.append(
                    ClassView(
                        kind=kind,
                        priority=c,
                        floor=turns.floors[c],
                        share=round(turns.shared().get(c, 0.0), 4),
                        owners=turns.owners(c),
                        lanes=turns.wanting[c],
                        calls=calls,
                        jain=round(turns.jain(c), 6),
                        waits_ns=waits[c],
                    )
                )
    return tuple(rows)


def longest_waits(limiter: Limiter, now: int) -> dict[str, int]:
    """For each class the longest time (ns) that a holder has wanted a call without getting one."""
    waits: dict[str, int] = dict.fromkeys(CLASSES, 0)
    for c in CLASSES:
        for _, holder in limiter.queue.rows[c]:
            waits[c] = max(waits[c], now - limiter.waiters[holder].hungry_ns)
    return waits


def shown_places(limiter: Limiter) -> tuple[PlaceView, ...]:
    """Who has booked, by holder."""
    found: dict[str, list[Place]] = {}
    for place in limiter.bookings.places.values():
        found.setdefault(place.holder, []).append(place)
    return tuple(
        PlaceView(
            holder=holder,
            places=sum(not place.given for place in places),
            given=sum(place.given for place in places),
            next_ns=min(place.token.at_ns for place in places),
        )
        for holder, places in sorted(found.items())[:SHOWN_WAITERS]
    )


def shown_circuits(limiter: Limiter, now: int) -> dict[str, CircuitView]:
    """The open circuits."""
    return {
        name: CircuitView(
            why=limiter.health.why(name),
            since_ns=circuit.opened_ns,
            next_probe_ns=circuit.probe_at_ns,
            out=circuit.out_until_ns > now,
        )
        for name, circuit in sorted(limiter.health.circuits.items())
        if circuit.open
    }


def shown_waiter(limiter: Limiter, waiter: Waiter, now: int) -> WaiterView:
    """One holder, with the parts of its rank."""
    waits = standing(limiter, waiter, now) if waiter.wants() else MOVING
    kinds = sorted({lane.kind for lane in waiter.lanes.values() if lane.calls > 0})
    turns = limiter.lines[kinds[-1] if kinds else "write"].turns
    turn = turns.turns.get((waiter.served, waiter.key))
    behind = turns.virtual[waiter.served] - turn.passed if turn is not None and turn.lanes else 0
    return WaiterView(
        holder=waiter.holder,
        owner=waiter.key,
        priority=waiter.priority,
        served_as=waiter.served,
        aged=waiter.aged,
        degraded_until_ns=limiter.ranks.degraded.get(waiter.key, 0) if waiter.priority == "urgent" else 0,
        age_ns=max(0, now - waiter.hungry_ns) if waiter.wants() else 0,
        share=round(turns.share(waiter.served, waiter.key, waiter.weight), 4),
        deficit=round(behind / stride(waiter.weight), 2),
        position=limiter.queue.position(waiter) + 1 if waiter.wants() else 0,
        lanes=sum(lane.calls > 0 for lane in waiter.lanes.values()),
        calls=sum(max(0, lane.calls) for lane in waiter.lanes.values()),
        stopped=waiter.stopped,
        waits_for=waits.reason,
        until_ns=waits.until_ns,
    )
