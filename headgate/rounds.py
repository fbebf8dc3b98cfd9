"""One round of one kind: tokens from `start` to `end` for whoever is next; and when the next one is worth having.

Rules:

1. Time only moves forward; at each instant at which the project has room, the lanes that could send then are there, and one
   of them is served.
2. A lane that turns out not to be ready leaves the line until it is: nobody waits behind it (`headgate.line`).
3. A token whose turn is a paced class's waits for the pace, and beside others an urgent one for the rush; it does not go to
   another class instead. Who could have sent while it waits could have sent it: so an instant at which nothing happens is as
   good as none.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.leases import Given, held
from headgate.line import Line
from headgate.messages.words import Priority
from headgate.waiting import Lane


def run_round(
    line: Line, start: int, end: int, given: Given, served: Callable[[Lane, int, Priority], None], *, all_served: bool
) -> None:
    """Add the tokens of one round to `given`. They are booked; `served` hears of each (`all_served`), or of raised holders'."""
    project, turns, coming = line.project, line.turns, line.coming
    heap = coming.heap
    coming.back_to(start)
    line.next_up.forget_all()
    t = start
    waited: tuple[Priority, ...] = ()
    while turns.waiting:
        t = project.earliest(t, paced=False)
        if t > end:
            return
        if heap and heap[0][0] <= t:
            line.arrive(t)
        here = line.here(t)
        if waited:
            here = tuple([c for c in turns.waiting if c in here or c in waited])
        if not here:
            soon = coming.next_at()
            if soon is None:
                return
            t = max(t, soon)
            continue
        c = turns.choose(here)
        if c != "urgent":
            ready = project.paced_from()
        elif len(turns.waiting) > 1:
            ready = project.rushed_from()
        else:
            ready = t
        if ready > t:
            ready = project.earliest(ready, paced=False)
            soon = coming.next_at()
            if soon is not None and soon <= ready:
                if len(here) < len(turns.waiting):
                    t, waited = soon, here
                    continue
                if ready > end:
                    return
                # No other class can come, so the choice stands; who is next in the class may be another.
                line.arrive(ready)
            t = ready
            if t > end:
                return
        waited = ()
        chosen = line.ready(c, t)
        if chosen is None:
            continue
        waiter = chosen.waiter
        turns.charge(c, chosen.turn, waiter.weight, here)
        token = held(chosen, t, c)
        line.serve(chosen, c, t)
        given[waiter] = (*given[waiter], token) if waiter in given else (token,)
        if t > waiter.hungry_ns:  # reads and writes are served one after the other
            waiter.hungry_ns = t
        if all_served or waiter.aged:
            served(chosen, t, c)


def soonest(line: Line, end: int) -> int | None:
    """After a round until `end`: the first instant from then on at which somebody could be served, but for the pace.

    None if nobody wants a call.
    """
    waiting = line.turns.waiting
    soon = end if waiting else None
    line.next_up.forget_all()
    while soon is not None:
        t = line.project.earliest(soon, paced=False)
        line.arrive(t)
        if any(line.ready(c, t) is not None for c in waiting):
            return t
        soon = line.coming.next_at()
    return None
