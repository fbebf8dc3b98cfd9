"""The tokens of every grant, as long as they can be handed back or are not seen yet by their holder.

A lease is a row of names and numbers, no object: thousands of them cost the garbage collector nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from headgate.messages.words import Kind, Priority
from headgate.waiting import Lane, Token, Waiter

#: A token of a lease: lane, at_ns (0: handed back), kind, user, spreadsheet, class that paid.
Held = tuple[int, int, Kind, str, str, Priority]
#: Holder, key, weight, expires_ns, tokens: those of one lane rising.
Lease = tuple[str, str, float, int, tuple[Held, ...]]
#: What a round gave, by the holder that waited for it.
Given = dict[Waiter, tuple[Held, ...]]
#: Shared by all leases that try no circuit, so never changed.
NO_PROBES: dict[int, str] = {}


class Fresh(NamedTuple):
    """A lease that a round has given just now, in the shape of the `Grant` that tells of it (`Limiter.message`)."""

    holder: str
    grant_id: int
    held: tuple[Held, ...]
    probes: dict[int, str]

    @property
    def tokens(self) -> dict[int, tuple[int, ...]]:
        """For each lane the times of its tokens, rising."""
        times: dict[int, tuple[int, ...]] = {}
        for lane, at, *_ in self.held:
            times[lane] = (*times[lane], at) if lane in times else (at,)
        return times

    @property
    def reads(self) -> tuple[int, ...]:
        """The lanes whose tokens are for reads."""
        return tuple(dict.fromkeys(token[0] for token in self.held if token[2] == "read"))


def held(lane: Lane, at_ns: int, served: Priority) -> Held:
    """A lane's token."""
    return (lane.number, at_ns, lane.kind, lane.user, lane.spreadsheet, served)


def count(lease: Lease, lane: int) -> int:
    """How many tokens the lane still has of a lease."""
    return sum(1 for token in lease[4] if token[0] == lane and token[1])


def take_out(lease: Lease, lane: int, position: int) -> tuple[Lease, Token | None]:
    """The lease without one token of a lane, by its position there, and that token; None if it is not there (any more)."""
    holder, key, weight, expires_ns, tokens = lease
    places = [n for n, token in enumerate(tokens) if token[0] == lane]
    if not 0 <= position < len(places):
        return lease, None
    n = places[position]
    _, at_ns, kind, user, spreadsheet, served = tokens[n]
    if not at_ns:
        return lease, None
    gone: Held = (lane, 0, kind, user, spreadsheet, served)
    token = Token(at_ns, kind, user, spreadsheet, f"{holder}/{user}/{kind}", served != "urgent", served)
    return (holder, key, weight, expires_ns, (*tokens[:n], gone, *tokens[n + 1 :])), token


def forget_old(leases: dict[int, Lease], now: int) -> None:
    """Forget the leases whose time is over; they lie in the order in which they end."""
    gone: list[int] = []
    for grant_id, lease in leases.items():
        if lease[3] > now:
            break
        gone.append(grant_id)
    for grant_id in gone:
        del leases[grant_id]
