"""What a token costs to decide, beside two limiters that keep the same two-level sliding windows in memory.

headgate: 10,000 waiters with a lane, a user and a spreadsheet each, 1,000 owners, three classes, driven as the workflow
does: rounds at `next_round`, standings every two seconds of simulated time. A first window fills the logs and is not
counted; after it the collector runs once, and then as it is by default. What the limiter computes is counted in parts:

- `us_per_token`: deciding who gets which token when, and when the next round is. It has a bar, and is set beside the peers.
- `us_per_message`: composing the signal that tells a holder of its lease, with its position and rate where they are news.
- `us_per_second_of_standings`: finding out why others wait, eight of them every two seconds whatever the number of tokens.
- `us_per_token_in_all`: all of these for each token.
- `us_per_request`, `us_per_settle`: a demand, and a token that comes back.

`limits` (moving window) and `pyrate-limiter` (in-memory bucket) answer yes or no for one caller, and keep no queue, no
order and no classes: to choose among waiters they would have to be asked by each. Counted is the cheapest case: only the
caller that is served asks, its answer is yes at both levels (10,000 users again). The clock is simulated for them too, so
their background expiry, which runs by the real one, is counted seldom.

Seconds are of `time.perf_counter`, the collector as it is; the median of the repeats. Memory is the peak of `tracemalloc`
in a pass of its own.
"""

from __future__ import annotations

import gc
import statistics
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import limits.storage.memory as limits_memory
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from pyrate_limiter import Duration, InMemoryBucket, Rate, RateItem

from benchmarks.simulated import Clockwork, Holder
from headgate.leases import Fresh
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings, Settlement, Unused
from headgate.ordering import CLASSES

OWNERS: Final = 1_000
REPEATS: Final = 3
SAMPLE: Final = 1_000
WINDOW_S: Final = 60
#: Project limit a minute -> (user limit, seconds counted after the first window).
PROJECTS: Final = {300: (60, 120), 8_000: (600, 60), 60_000: (600, 20)}
PEER_TOKENS: Final = 20_000


def _waiting(waiters: int) -> list[Holder]:
    return [
        Holder(f"bulk/{n:05}", f"owner-{n % OWNERS}", CLASSES[n % 3], user=f"user-{n}", spreadsheet=f"sheet-{n}")
        for n in range(waiters)
    ]


def _settings(per_minute: int) -> LimiterSettings:
    return LimiterSettings(write_per_project=per_minute, write_per_user=PROJECTS[per_minute][0])


def headgate(per_minute: int, waiters: int) -> dict[str, float]:
    """One run: microseconds a token, a request, a settlement."""
    counted = PROJECTS[per_minute][1]
    limiter = Limiter(_settings(per_minute), epoch=1)
    clockwork = Clockwork(limiter, _waiting(waiters), recording=False)
    clockwork.run(WINDOW_S)
    gc.collect()  # what the demands left behind is not the tokens' doing
    first_requests_s, first = clockwork.requesting_s, clockwork.requests
    before, messages, rounds = clockwork.tokens, clockwork.messages, len(clockwork.round_s)
    deciding_s, composing_s, standing_s = clockwork.deciding_s, clockwork.composing_s, clockwork.standing_s
    clockwork.run(WINDOW_S + counted)
    tokens = clockwork.tokens - before
    deciding_s, composing_s = clockwork.deciding_s - deciding_s, clockwork.composing_s - composing_s
    standing_s = clockwork.standing_s - standing_s
    figures = {
        "us_per_token": deciding_s / tokens * 1e6,
        "us_per_message": composing_s / (clockwork.messages - messages) * 1e6,
        "us_per_second_of_standings": standing_s / counted * 1e6,
        "us_per_token_in_all": (deciding_s + composing_s + standing_s) / tokens * 1e6,
        "us_per_first_request": first_requests_s / first * 1e6,
        "tokens": tokens,
        "rounds": len(clockwork.round_s) - rounds,
        "longest_round_ms": max(clockwork.round_s[rounds:]) * 1e3,
    }
    figures["us_per_settle"] = _settling(clockwork)
    figures["us_per_request"] = _asking_again(clockwork)
    return figures


def _settling(clockwork: Clockwork) -> float:
    """Hand back one token of each of the last grants, as far as tokens are still taken back."""
    fresh: list[Fresh] = []
    until_s = WINDOW_S + PROJECTS[clockwork.limiter.settings.write_per_project][1]
    while not fresh:  # urgent bursts leave seconds without a token
        until_s += 1
        clockwork.run(until_s)
        since = clockwork.now - 5 * SECOND_NS
        fresh = [lease for lease in clockwork.leases if _first(lease)[1] > since]
    said = [
        Settlement(
            holder=lease.holder,
            epoch=clockwork.limiter.epoch,
            unused=(Unused(grant_id=lease.grant_id, lane=_first(lease)[0], tokens=(0,)),),
        )
        for lease in fresh
    ]
    began = perf_counter()
    came_back = sum(clockwork.limiter.settle(clockwork.now, settlement) for settlement in said)
    took = perf_counter() - began
    if came_back < len(said):
        raise RuntimeError(f"only {came_back} of {len(said)} tokens came back")
    return took / len(said) * 1e6


def _first(lease: Fresh) -> tuple[int, int]:
    """The first lane of a lease, and its first token."""
    lane, times = next(iter(lease.tokens.items()))
    return lane, times[0]


def _asking_again(clockwork: Clockwork) -> float:
    """Demands of holders that are known already."""
    before_s = clockwork.requesting_s
    asking = clockwork.holders[:SAMPLE]
    for holder in asking:
        clockwork.ask(holder, 1_000)
    return (clockwork.requesting_s - before_s) / len(asking) * 1e6


@contextmanager
def _at(module: ModuleType) -> Iterator[Callable[[float], None]]:
    """The module reads a clock that the caller sets: it offers no other way."""
    present, real = [1e9], module.__dict__["time"]
    module.__dict__["time"] = SimpleNamespace(time=lambda: present[0])
    try:
        yield lambda seconds: present.__setitem__(0, 1e9 + seconds)
    finally:
        module.__dict__["time"] = real


def limits_moving_window(per_minute: int, users: int) -> float:
    """Microseconds for both levels: test both, hit both."""
    with _at(limits_memory) as set_clock:
        storage = MemoryStorage()
        strategy = MovingWindowRateLimiter(storage)
        project, user = RateLimitItemPerMinute(per_minute), RateLimitItemPerMinute(PROJECTS[per_minute][0])

        def take(n: int, seconds: float) -> bool:
            set_clock(seconds)
            name = f"user-{n % users}"
            if not (strategy.test(project, "project") and strategy.test(user, name)):
                return False
            return strategy.hit(project, "project") and strategy.hit(user, name)

        cost = _peer(take, per_minute)
        storage.timer.join()
    return cost


def pyrate_in_memory(per_minute: int, users: int) -> float:
    """Microseconds for both levels: put both; what has left the window leaks every 10 s, as its own thread does it."""
    project = InMemoryBucket([Rate(per_minute, Duration.MINUTE)])
    own = [InMemoryBucket([Rate(PROJECTS[per_minute][0], Duration.MINUTE)]) for _ in range(users)]
    leaked = [0]

    def take(n: int, seconds: float) -> bool:
        now = int(1e9 + seconds * 1000)
        if now - leaked[0] > 10_000:
            leaked[0] = now
            for bucket in (project, *own):
                bucket.leak(now)
        name = f"user-{n % users}"
        return own[n % users].put(RateItem(name, now)) and project.put(RateItem(name, now))

    return _peer(take, per_minute)


def _peer(take: Callable[[int, float], bool], per_minute: int) -> float:
    """Microseconds a token at a pace just inside the limit, after a window that fills the log."""
    every = WINDOW_S / per_minute * 1.01
    counted = min(PEER_TOKENS, per_minute * PROJECTS[per_minute][1] // WINDOW_S)
    refused = sum(not take(n, n * every) for n in range(per_minute))
    began = perf_counter()
    for n in range(per_minute, per_minute + counted):
        refused += not take(n, n * every)
    took = perf_counter() - began
    if refused:
        raise RuntimeError(f"a peer refused {refused} calls inside the limit")
    return took / counted * 1e6


def _loaded(per_minute: int, holders: list[Holder]) -> None:
    """The same run without a record of what was given, which is no part of the limiter."""
    clockwork = Clockwork(Limiter(_settings(per_minute), epoch=1), holders, recording=False)
    clockwork.tell = lambda _: clockwork.leases.clear()
    clockwork.run(WINDOW_S + PROJECTS[per_minute][1])


def _peak_mib(run: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


async def main(size: int = 10_000) -> dict[str, Any]:
    """Every project limit with `size` waiters, the three beside each other in one run."""
    figures: dict[str, Any] = {"waiters": size, "bar_us_per_token": 20}
    for per_minute in PROJECTS:
        runs = [headgate(per_minute, size) for _ in range(REPEATS)]
        ours = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        peers = {
            "limits": statistics.median(limits_moving_window(per_minute, size) for _ in range(REPEATS)),
            "pyrate-limiter": statistics.median(pyrate_in_memory(per_minute, size) for _ in range(REPEATS)),
        }
        figures[f"{per_minute} a minute"] = {
            "headgate": ours,
            "us_per_token_of_peers": peers,
            "headgate_to_peer": {name: ours["us_per_token"] / cost for name, cost in peers.items()},
        }
    holders = _waiting(size)
    figures["peak_mib_at_8000"] = {
        "headgate": _peak_mib(lambda: _loaded(8_000, holders)),
        "limits": _peak_mib(lambda: limits_moving_window(8_000, size)),
        "pyrate-limiter": _peak_mib(lambda: pyrate_in_memory(8_000, size)),
    }
    return figures
