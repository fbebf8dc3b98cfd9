"""What a holder says that it wants: the newest `(run, sequence)` replaces everything before.

Grants that it had not seen when it said so are subtracted, and one that ends hands them back. Repeated, late or reordered
messages change nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from headgate.leases import count
from headgate.messages.tokens import FINISHED, TokenRequest, Unused
from headgate.ordering import LEAST_WEIGHT
from headgate.settling import take_back
from headgate.standing import LANES_EACH
from headgate.waiting import Lane, Waiter

if TYPE_CHECKING:
    from headgate.limiter import Limiter


def take(limiter: Limiter, now: int, said: TokenRequest) -> bool:
    """Take a holder's demand; True if it deserves a round at once: a first demand or a control change."""
    known = limiter.waiters.get(said.holder)
    if known and (said.run, said.sequence) <= (known.run, known.sequence):
        return False
    if said.stopped == FINISHED:
        _finished(limiter, now, said, known)
        return False
    waiter = known or _new(limiter, said)
    before = (waiter.priority, waiter.stopped, waiter.wants()) if known else None
    seen = said.last_grant if said.epoch == limiter.epoch else 0
    waiter.unseen = [n for n in waiter.unseen if n > seen] if waiter.run == said.run else []
    limiter.ranks.take(waiter, said)
    waiter.run, waiter.sequence, waiter.stopped = said.run, said.sequence, said.stopped
    waiter.heard_ns = now
    limiter.rota.look_again()
    if said.lead_ns > limiter.settings.lead_ns and said.lanes:
        limiter.leads[said.holder] = said.lead_ns
    else:
        limiter.leads.pop(said.holder, None)
    _want(limiter, waiter, said)
    if waiter.wants() and not (before and before[2]):
        limiter.ranks.hungry(waiter, now)
    if before is None:
        return waiter.wants()
    return (waiter.wants() and not before[2]) or before[:2] != (waiter.priority, waiter.stopped)


def drop_lanes(limiter: Limiter, waiter: Waiter, keep: frozenset[int] = frozenset()) -> None:
    """A holder's lanes want nothing any more, but for those of `keep`."""
    for number in [n for n in waiter.lanes if n not in keep]:
        lane = waiter.lanes.pop(number)
        limiter.lines[lane.kind].want(lane, 0)


def _new(limiter: Limiter, said: TokenRequest) -> Waiter:
    waiter = Waiter(
        holder=said.holder,
        run=said.run,
        sequence=said.sequence,
        priority=said.priority,
        weight=max(said.weight, LEAST_WEIGHT),
        key=said.fairness_key,
        submitted_at_ns=said.submitted_at_ns,
    )
    limiter.enrol(waiter)
    return waiter


def _want(limiter: Limiter, waiter: Waiter, said: TokenRequest) -> None:
    """Take a holder's lanes and what they want, less the grants that it had not seen."""
    lines = limiter.lines
    lanes = () if said.stopped else said.lanes[:LANES_EACH]
    unseen = [limiter.leases[grant] for grant in waiter.unseen if grant in limiter.leases]
    drop_lanes(limiter, waiter, keep=frozenset(demand.lane for demand in lanes))
    for demand in lanes:
        lane = waiter.lanes.get(demand.lane)
        path = (demand.kind, demand.user, demand.spreadsheet)
        if lane is None or (lane.kind, lane.user, lane.spreadsheet) != path:
            free_at = lane.free_at_ns if lane else 0
            if lane is not None:
                lines[lane.kind].want(lane, 0)
            lane = waiter.lanes[demand.lane] = Lane(waiter, demand.lane, *path, free_at_ns=free_at)
        quicker = demand.latency_p95_ns < lane.latency_p95_ns
        lane.latency_ns, lane.latency_p95_ns = demand.latency_ns, demand.latency_p95_ns
        if quicker and lane.where == "parked":
            lines[lane.kind].free_from(lane, lane.free_at_ns)
        already = sum(count(lease, demand.lane) for lease in unseen)
        lines[lane.kind].want(lane, demand.calls - already)


def _finished(limiter: Limiter, now: int, said: TokenRequest, known: Waiter | None) -> None:
    """A holder says that it ends: it loses its place, and nobody will use the grants that cross its word."""
    seen = said.last_grant if said.epoch == limiter.epoch else 0
    unseen = [n for n in known.unseen if n > seen and n in limiter.leases] if known and said.gives_back else []
    limiter.forget(said.holder)
    for grant_id in unseen:
        for lane, calls in Counter(token[0] for token in limiter.leases[grant_id][4]).items():
            take_back(limiter, now, Unused(grant_id=grant_id, lane=lane, tokens=tuple(range(calls))))
