"""When a request will be done, from what it still has to call, the rate it goes at, and what each user and lane can do.

Rules:

1. Users share the rate evenly and none exceeds its own quota: as the ones with little are done, the others go faster, up to
   that quota and no further. So a request in which one user has most of the calls takes as long as that user does.
2. A lane sends one call at a time: nothing is done before the longest lane that is under way.
"""

from __future__ import annotations

from collections.abc import Iterable

SECONDS_A_MINUTE = 60.0


def remaining_s(
    calls: int, rate_per_minute: float, by_user: Iterable[int], user_rate_per_minute: float, longest_lane_s: float
) -> float | None:
    """The seconds that `calls` take at a rate for all of them; None while there is no rate.

    `by_user`: calls left of each user that is known of;
    `user_rate_per_minute`: what one user may make (0: not known); `longest_lane_s`: what the longest lane under way takes.
    """
    if rate_per_minute <= 0:
        return None
    rate = rate_per_minute / SECONDS_A_MINUTE
    seconds = max(calls / rate, longest_lane_s)
    if user_rate_per_minute <= 0:
        return seconds
    return max(seconds, _shared(sorted(by_user), rate, user_rate_per_minute / SECONDS_A_MINUTE))


def _shared(rising: list[int], rate: float, most_each: float) -> float:
    """Until the last of the users is done that have so many calls left, the fewest first, at a rate a second for all together."""
    took, done = 0.0, 0
    for place, calls in enumerate(rising):
        if calls > done:
            took += (calls - done) / min(most_each, rate / (len(rising) - place))
            done = calls
    return took
