"""A round of every kind, and the leases that come of it: one for each holder that was given anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headgate.leases import NO_PROBES, Fresh, Given, Held
from headgate.message import SECOND_NS
from headgate.messages.words import Priority
from headgate.rounds import run_round
from headgate.waiting import Lane, Waiter

if TYPE_CHECKING:
    from headgate.limiter import Limiter

#: Tokens of an older lease are not taken back, and a demand has seen an older grant: messages are not that slow.
MESSAGES_TAKE_NS = 10 * SECOND_NS
#: Of so many grants that a holder has not seen some are too old to be in the books.
MANY_UNSEEN = 16

#: The circuits that this round's tokens try, by holder and lane.
Tried = dict[tuple[str, int], str]


def grant(limiter: Limiter, now: int) -> dict[str, Fresh]:
    """One round: tokens in [now + lead, now + reach] for whoever is next, one lease a holder."""
    health, ranks = limiter.health, limiter.ranks
    ranks.fall_due(now)
    for name in health.regrow(now):
        _grown(limiter, name)
    if now >= limiter.counted_ns + limiter.settings.window_ns:
        limiter.counted_ns = now
        for line in limiter.lines.values():
            line.turns.tidy()
    start = max(now + limiter.lead_ns, limiter.quiet_until_ns)
    end = now + limiter.reach_ns
    given: Given = {}
    tried: Tried = {}

    def served(lane: Lane, at: int, c: Priority) -> None:
        """A token may change its holder's rank, and where a circuit is open it is its probe."""
        ranks.served(now, lane.waiter, at, c)
        if health.circuits and (circuit := health.open_for(lane.spreadsheet)):
            health.probing(circuit, at, now)
            tried[lane.waiter.holder, lane.number] = circuit

    watched = bool(limiter.settings.urgent_budget or health.circuits)
    for line in limiter.lines.values():
        if line.behind.wasteful():
            line.rebuild(limiter.lanes(line.kind))
        run_round(line, start, end, given, served, all_served=watched)
    expires_ns = now + limiter.settings.furthest_ns + MESSAGES_TAKE_NS
    health.retries.earn([len(held) for held in given.values()])
    if given:
        limiter.rota.look_again()
    return {waiter.holder: _lease(limiter, waiter, held, expires_ns, tried) for waiter, held in given.items()}


def _grown(limiter: Limiter, name: str) -> None:
    if name.startswith("user/"):
        _, kind, user = name.split("/", 2)
        limiter.lines["read" if kind == "read" else "write"].recheck(user)


def _lease(limiter: Limiter, waiter: Waiter, held: tuple[Held, ...], expires_ns: int, tried: Tried) -> Fresh:
    """Keep what a holder was given until it can neither be handed back nor be unknown to the holder any more."""
    holder, leases, unseen = waiter.holder, limiter.leases, waiter.unseen
    grant_id = limiter.grants = limiter.grants + 1
    limiter.granted += len(held)
    unseen.append(grant_id)
    if len(unseen) > MANY_UNSEEN and unseen[0] not in leases:
        waiter.unseen = [grant for grant in unseen if grant in leases or grant == grant_id]
    probes = NO_PROBES
    if tried:
        probes = {token[0]: tried[holder, token[0]] for token in held if (holder, token[0]) in tried}
        limiter.probes.update({(grant_id, n): circuit for n, circuit in probes.items()})
    leases[grant_id] = (holder, waiter.key, waiter.weight, expires_ns, held)
    return Fresh(holder, grant_id, held, probes)
