"""When a request will be done, from what it still has to call, the rate it goes at, and what each user and lane can do.

Rules:

1. Lanes share the rate evenly, so a user with more of them gets more, and none exceeds its own quota: what it leaves goes to
   the others. As the ones with little are done, the others go faster, up to that quota and no further.
2. A lane sends one call at a time: nothing is done before the longest lane that is under way.
"""

from __future__ import annotations

from collections.abc import Iterable

SECONDS_A_MINUTE = 60.0
NOTHING = 1e-6


def remaining_s(
    calls: int,
    rate_per_minute: float,
    by_user: Iterable[tuple[int, int]],
    user_rate_per_minute: float,
    longest_lane_s: float,
) -> float | None:
    """The seconds that `calls` take at a rate for all of them; None while there is no rate.

    `by_user`: calls left and lanes of each user that is known of;
    `user_rate_per_minute`: what one user may make (0: not known); `longest_lane_s`: what the longest lane under way takes.
    """
    if rate_per_minute <= 0:
        return None
    rate = rate_per_minute / SECONDS_A_MINUTE
    seconds = max(calls / rate, longest_lane_s)
    if user_rate_per_minute <= 0:
        return seconds
    users = [(float(left), max(1, lanes)) for left, lanes in by_user if left > 0]
    return max(seconds, _shared(users, rate, user_rate_per_minute / SECONDS_A_MINUTE))


def _shared(users: list[tuple[float, int]], rate: float, most_each: float) -> float:
    """Until the last of the users (calls left, lanes) is done, at a rate a second for all together."""
    took = 0.0
    while users:
        own = _rates([lanes for _, lanes in users], rate, most_each)
        span = min(left / mine for (left, _), mine in zip(users, own, strict=True))
        took += span
        after = ((left - mine * span, lanes) for (left, lanes), mine in zip(users, own, strict=True))
        users = [(left, lanes) for left, lanes in after if left > NOTHING]
    return took


def _rates(lanes: list[int], rate: float, most_each: float) -> list[float]:
    """What each of them gets of a rate that is shared by lanes, if none may have more than `most_each`."""
    own = [0.0] * len(lanes)
    sharing = set(range(len(lanes)))
    while sharing:
        each = rate / sum(lanes[n] for n in sharing)
        full = {n for n in sharing if lanes[n] * each >= most_each}
        for n in full or sharing:
            own[n] = most_each if full else lanes[n] * each
        rate = max(0.0, rate - most_each * len(full))
        if not full or not rate:
            break
        sharing -= full
    return [mine or NOTHING for mine in own]
