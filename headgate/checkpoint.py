"""A limiter to its checkpoint and back: `restore(dump(limiter))` decides exactly as `limiter` would.

What follows from the rest is not carried: the line is built anew from its lanes, and the project's booked times are those of
its users.
"""

from __future__ import annotations

from headgate.ceilings import Pressure
from headgate.checkpoint_rows import (
    KIND_PLACE,
    Rows,
    restore_buckets,
    restore_leases,
    restore_places,
    restore_turns,
    restore_waiter,
)
from headgate.circuits import Circuit
from headgate.health import KINDS
from headgate.limiter import Limiter
from headgate.messages.carried import CircuitCheckpoint, LimiterCheckpoint, PressureCheckpoint
from headgate.ordering import PLACE, Budget
from headgate.packing import pack, unpack


def dump(limiter: Limiter) -> LimiterCheckpoint:
    """Everything that a limiter knows, small."""
    limiter.buckets.expire_all()
    health, buckets, lines = limiter.health, limiter.buckets, limiter.lines
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
                series_ns=p.series_ns,
                doubts=p.doubts,
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
        credit=tuple(
            (KIND_PLACE[k], PLACE[c], left) for k, line in lines.items() for c, left in line.turns.credits.items()
        ),
        virtual=tuple(
            (KIND_PLACE[k], PLACE[c], way) for k, line in lines.items() for c, way in line.turns.virtual.items()
        ),
        joined=tuple(lines[kind].turns.joined for kind in KINDS),
        degraded=dict(limiter.ranks.degraded),
        leads=dict(limiter.leads),
        counted_ns=limiter.counted_ns,
        packed=pack(Rows(limiter).all()),
    )


def restore(saved: LimiterCheckpoint, *, raises_to_a_floor: bool = True) -> Limiter:
    """The limiter that was dumped; `raises_to_a_floor` as that of `Limiter`."""
    limiter = Limiter(
        saved.settings, saved.epoch, saved.quiet_until_ns, saved.grants, raises_to_a_floor=raises_to_a_floor
    )
    limiter.granted, limiter.returned, limiter.paused_by = saved.granted, saved.returned, saved.paused_by
    limiter.counted_ns, limiter.leads = saved.counted_ns, dict(saved.leads)
    rows, health, buckets = unpack(saved.packed), limiter.health, limiter.buckets
    buckets.expired_ns = rows.base_ns
    health.throttled, health.overloads = saved.throttled, saved.overloads
    if saved.retries >= 0:
        health.retries.left, health.retries.at_ns = saved.retries, saved.retries_at_ns
    restore_buckets(limiter, rows)
    for p in saved.pressures:
        health.pressures[p.name] = Pressure(
            p.paused_ns, p.length_ns, p.ceiling, p.grows_from_ns, p.named, p.refused, p.total, p.series_ns, p.doubts
        )
        buckets.kept.add(p.name)
        bucket = buckets.quota(p.name)
        bucket.ceiled_until_ns, bucket.ceiling_interval_ns = p.ceiled_until_ns, p.interval_ns
        bucket.shut_until_ns = max(bucket.shut_until_ns, health.pressures[p.name].until_ns)
    for c in saved.circuits:
        health.circuits[c.name] = Circuit(list(c.failures), c.opened_ns, c.probe_at_ns, c.pause_ns, c.out_until_ns)
    health.shut_anew(list(health.circuits), 0)
    for bucket in buckets.quotas.values():
        bucket.reckon()
    limiter.ranks.spent = {key: Budget(saved.settings.urgent_budget, list(times)) for key, times in rows.spent.items()}
    limiter.ranks.degraded = dict(saved.degraded)
    limiter.ranks.look_at_budgets()
    for row in rows.waiting:
        restore_waiter(limiter, row, rows)
    restore_turns(limiter, saved, rows)
    restore_leases(limiter, rows)
    restore_places(limiter, rows)
    return limiter
