"""A limiter to its checkpoint and back: `restore(dump(limiter))` decides exactly as `limiter` would."""

from __future__ import annotations

from itertools import accumulate

from headgate.health import Pause
from headgate.limiter import Limiter
from headgate.models import (
    BucketCheckpoint,
    LaneDemand,
    LeaseCheckpoint,
    LimiterCheckpoint,
    PlaceCheckpoint,
    TokenCheckpoint,
    TokenRequest,
    WaiterCheckpoint,
)
from headgate.quota import Bucket
from headgate.waiting import Lane, Lease, Place, Token, Waiter


class _Names:
    """Every name once; elsewhere its place."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        return self.places.setdefault(name, len(self.places))


def dump(limiter: Limiter) -> LimiterCheckpoint:
    """Everything that a limiter knows, small."""
    intern = _Names()
    leases = tuple(
        LeaseCheckpoint(
            grant_id=grant_id,
            holder=intern(lease.holder),
            priority=lease.priority,
            key=intern(lease.key),
            weight=lease.weight,
            expires_ns=lease.expires_ns,
            tokens=tuple(
                (lane, position, _dump_token(token, intern))
                for lane, tokens in lease.tokens.items()
                for position, token in tokens.items()
            ),
        )
        for grant_id, lease in limiter.leases.items()
    )
    places = tuple(
        PlaceCheckpoint(
            booking_id=booking_id,
            token=_dump_token(place.token, intern),
            priority=place.priority,
            key=intern(place.key),
            lapses_ns=place.lapses_ns,
            latency_ns=place.latency_ns,
            given=place.given,
        )
        for booking_id, place in limiter.places.items()
    )
    spacings = {
        sheet: tuple((at, latency, intern(who)) for at, latency, who in spacing.starts)
        for sheet, spacing in limiter.buckets.spacings.items()
    }
    return LimiterCheckpoint(
        epoch=limiter.epoch,
        settings=limiter.settings,
        quiet_until_ns=limiter.quiet_until_ns,
        grants=limiter.grants,
        granted=limiter.granted,
        returned=limiter.returned,
        throttled=limiter.throttled,
        buckets=tuple(_dump_bucket(name, bucket) for name, bucket in limiter.buckets.quotas.items()),
        spacings=spacings,
        waiters=tuple(_dump_waiter(waiter) for waiter in limiter.waiters.values()),
        leases=leases,
        places=places,
        pauses={name: (pause.last_ns, pause.length_ns) for name, pause in limiter.pauses.items()},
        credits=dict(limiter.turns.credits),
        passes=dict(limiter.turns.passes),
        names=tuple(intern.places),
    )


def restore(saved: LimiterCheckpoint) -> Limiter:
    """The limiter that was dumped."""
    limiter = Limiter(saved.settings, saved.epoch, saved.quiet_until_ns, saved.grants)
    limiter.granted, limiter.returned, limiter.throttled = saved.granted, saved.returned, saved.throttled
    limiter.turns.credits, limiter.turns.passes = dict(saved.credits), dict(saved.passes)
    limiter.pauses = {name: Pause(last, length) for name, (last, length) in saved.pauses.items()}
    for kept in saved.buckets:
        bucket = limiter.buckets.quota(kept.name)
        bucket.times = list(accumulate(kept.deltas))
        bucket.paced_until_ns, bucket.shut_until_ns = kept.paced_until_ns, kept.shut_until_ns
    for sheet, starts in saved.spacings.items():
        limiter.buckets.spacing(sheet).starts = [(at, latency, saved.names[who]) for at, latency, who in starts]
    for waiter in saved.waiters:
        limiter.waiters[waiter.said.holder] = _restore_waiter(waiter)
    for lease in saved.leases:
        tokens: dict[int, dict[int, Token]] = {}
        for lane, position, token in lease.tokens:
            tokens.setdefault(lane, {})[position] = _restore_token(token, saved.names)
        limiter.leases[lease.grant_id] = Lease(
            saved.names[lease.holder], lease.priority, saved.names[lease.key], lease.weight, lease.expires_ns, tokens
        )
    for place in saved.places:
        limiter.places[place.booking_id] = Place(
            _restore_token(place.token, saved.names),
            place.priority,
            saved.names[place.key],
            place.lapses_ns,
            place.latency_ns,
            place.given,
        )
    return limiter


def _dump_bucket(name: str, bucket: Bucket) -> BucketCheckpoint:
    deltas = tuple(after - before for before, after in zip([0, *bucket.times], bucket.times, strict=False))
    return BucketCheckpoint(
        name=name, deltas=deltas, paced_until_ns=bucket.paced_until_ns, shut_until_ns=bucket.shut_until_ns
    )


def _dump_token(token: Token, intern: _Names) -> TokenCheckpoint:
    return TokenCheckpoint(
        at_ns=token.at_ns,
        kind=token.kind,
        user=intern(token.user),
        spreadsheet=intern(token.spreadsheet),
        who=intern(token.who),
        paced=token.paced,
    )


def _restore_token(kept: TokenCheckpoint, names: tuple[str, ...]) -> Token:
    return Token(kept.at_ns, kept.kind, names[kept.user], names[kept.spreadsheet], names[kept.who], kept.paced)


def _dump_waiter(waiter: Waiter) -> WaiterCheckpoint:
    said = TokenRequest(
        holder=waiter.holder,
        run=waiter.run,
        sequence=waiter.sequence,
        priority=waiter.priority,
        weight=waiter.weight,
        fairness_key=waiter.key,
        submitted_at_ns=waiter.submitted_at_ns,
        stopped=waiter.stopped,
        lanes=tuple(
            LaneDemand(
                lane=number,
                kind=lane.kind,
                user=lane.user,
                spreadsheet=lane.spreadsheet,
                calls=lane.calls,
                latency_ns=lane.latency_ns,
                latency_p95_ns=lane.latency_p95_ns,
            )
            for number, lane in waiter.lanes.items()
        ),
    )
    return WaiterCheckpoint(
        said=said,
        free_at_ns={number: lane.free_at_ns for number, lane in waiter.lanes.items()},
        unseen=tuple(waiter.unseen),
        heard_ns=waiter.heard_ns,
    )


def _restore_waiter(kept: WaiterCheckpoint) -> Waiter:
    said = kept.said
    lanes = {
        d.lane: Lane(
            d.kind, d.user, d.spreadsheet, d.calls, d.latency_ns, d.latency_p95_ns, kept.free_at_ns.get(d.lane, 0)
        )
        for d in said.lanes
    }
    return Waiter(
        said.holder,
        said.run,
        said.sequence,
        said.priority,
        said.weight,
        said.fairness_key,
        said.submitted_at_ns,
        said.stopped,
        lanes,
        [(grant, dict(counts)) for grant, counts in kept.unseen],
        kept.heard_ns,
    )
