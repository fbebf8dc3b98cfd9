"""One round of one kind: tokens from `start` to `end` for whoever is next.

Rules:

1. Time only moves forward; at each instant at which the project has room, the lanes that could send then are there, and one
   of them is served.
2. A lane that turns out not to be ready leaves the line until it is: nobody waits behind it (`headgate.line`).
3. A token whose turn is a paced class's waits for the pace; it does not go to another class instead.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.line import Line, Next
from headgate.waiting import Token

Given = dict[str, dict[int, list[Token | None]]]


def run_round(line: Line, start: int, end: int, given: Given, served: Callable[[Next, Token], None]) -> None:
    """Add the tokens of one round to `given` (holder -> lane -> tokens, rising). They are booked; `served` hears of each."""
    project, turns = line.project, line.turns
    line.back_to(start)
    t = start
    while turns.waiting:
        t = project.earliest(t, paced=False)
        if t > end:
            return
        line.arrive(t)
        here = [c for c in turns.waiting if line.next(c, t) is not None]
        if not here:
            soon = line.next_at()
            if soon is None:
                return
            t = max(t, soon)
            continue
        c = turns.choose(here)
        if c != "urgent":
            paced = project.earliest(t, paced=True)
            if paced > t:
                soon = line.next_at()
                if soon is not None and soon <= paced:
                    t = soon
                    continue
                t = paced
                if t > end:
                    return
        chosen = line.ready(c, t)
        if chosen is None:
            continue
        waiter, number = chosen.lane.waiter, chosen.lane.number
        turns.charge(c, chosen.key, waiter.weight, here)
        token = line.serve(chosen, t)
        lanes = given.get(waiter.holder)
        if lanes is None:
            lanes = given[waiter.holder] = {}
        tokens = lanes.get(number)
        if tokens is None:
            tokens = lanes[number] = []
        tokens.append(token)
        served(chosen, token)
