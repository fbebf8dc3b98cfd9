"""The server's time is never believed to be later than it is, and no step of the wall clock changes it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from activities.clock import RECENT_NS, TRUSTED_NS, WIDEST_NS, ServerClock

MS = 1_000_000
EPOCH = datetime(2026, 11, 23, tzinfo=UTC)
EPOCH_NS = int(EPOCH.timestamp()) * 1_000_000_000


class Host:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.ns = 5_000 * MS

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def clock(host: Host) -> ServerClock:
    return ServerClock(monotonic_ns=host)


def test_a_clock_that_was_never_sampled_says_so(clock: ServerClock) -> None:
    """There is no time to send by before the first sample."""
    with pytest.raises(RuntimeError, match="before it was ever sampled"):
        clock.now_ns()


def test_the_sample_that_lagged_least_counts(clock: ServerClock, host: Host) -> None:
    """A start that was delivered 40 ms late is corrected by one delivered 2 ms late, and not spoilt by one 90 ms late."""
    start = host.ns
    for true_ms, lag_ms in ((100, 40), (200, 2), (300, 90)):
        host.ns = start + (true_ms + lag_ms) * MS
        clock.started(datetime.fromtimestamp((EPOCH_NS + true_ms * MS) / 1e9, UTC))
    lag = EPOCH_NS + (host.ns - start) - clock.now_ns()
    assert 1 * MS <= lag <= 3 * MS


def test_a_two_sided_sample_is_trusted_only_if_it_is_narrow(clock: ServerClock, host: Host) -> None:
    """An answer that took more than 0.1 s does not make the clock trusted; one that took less does."""
    sent = host.ns
    host.ns += WIDEST_NS + MS
    assert not clock.between(sent, EPOCH_NS)
    assert not clock.trusted
    sent = host.ns
    host.ns += WIDEST_NS // 2
    assert clock.between(sent, EPOCH_NS)
    assert clock.trusted


def test_trust_ends_and_until_then_a_late_start_spoils_nothing(clock: ServerClock, host: Host) -> None:
    """After 100 s without a sample a start that was delivered 0.5 s late must not make tokens be used 0.5 s late."""
    begin = host.ns
    clock.between(host.ns, EPOCH_NS)
    host.ns += 100_000 * MS
    clock.started(datetime.fromtimestamp((EPOCH_NS + host.ns - begin - 500 * MS) / 1e9, UTC))
    assert clock.trusted
    assert 0 <= EPOCH_NS + host.ns - begin - clock.now_ns() <= WIDEST_NS
    host.ns = begin + TRUSTED_NS + MS
    assert not clock.trusted


def test_an_old_sample_is_forgotten(clock: ServerClock, host: Host) -> None:
    """Clocks drift: after a minute an earlier, better sample no longer counts."""
    clock.between(host.ns, EPOCH_NS)
    host.ns += RECENT_NS + MS
    clock.between(host.ns, EPOCH_NS + RECENT_NS)
    assert clock.now_ns() == EPOCH_NS + RECENT_NS
