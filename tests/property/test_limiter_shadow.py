"""A limiter restored from its checkpoint decides as the one that was dumped, whatever happens from then on."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.tokens import LaneDemand, LimiterSettings, Settlement, Throttling, TokenRequest
from tests.property import random_driver
from tests.property.world import EPOCH, MS, World, through_json

SEEDS, STEPS = 300, 200


def run(rng: Random, steps: int, troubled: float) -> World:
    """Anything happens; every now and then the shadow is restored anew. What both answer is compared at every step."""
    world = World(random_driver.settings(rng))
    for _ in range(steps):
        if rng.random() < 0.1:
            world.shadow()
        random_driver.step(world, rng, troubled=troubled)
    return world


@pytest.mark.parametrize("block", range(6))
def test_a_shadow_restored_at_any_moment_decides_alike(block: int) -> None:
    """Tokens, probes and answers are equal, and every token is checked by the oracle; a failing seed is named."""
    given = 0
    for seed in range(block * SEEDS // 6, (block + 1) * SEEDS // 6):
        try:
            given += run(Random(seed), STEPS, troubled=0.04 if seed % 3 else 0.0).ledger.given
        except AssertionError as wrong:
            wrong.add_note(f"seed {seed}")
            raise
    assert given > 20 * SEEDS / 6, "too little happened"


@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_shadow_decides_alike_in_short_stories(rng: Random) -> None:
    """The same with Hypothesis as the source of chance, which tries to find short ones."""
    run(rng, 60, troubled=0.08)


def test_of_many_that_fall_due_at_once_the_same_are_raised() -> None:
    """Whoever got a call in between is looked at, too, but does not count among those that a round may raise."""
    limiter = Limiter(LimiterSettings(write_per_project=90, window_ns=4 * SECOND_NS, age_after_ns=5 * SECOND_NS), EPOCH)
    now = 1_000 * SECOND_NS
    for n in range(200):
        wanted = LaneDemand(lane=0, kind="write", user=f"u{n}", spreadsheet="", calls=2)
        name = f"h{n:03}"
        said = TokenRequest(
            holder=name, run=1, sequence=1, epoch=EPOCH, priority="low", fairness_key=name, lanes=(wanted,)
        )
        limiter.request(now, said)
    most = 0
    for _ in range(12):
        shadow = through_json(limiter)
        given, also = ({name: grant.tokens for name, grant in one.grant(now).items()} for one in (limiter, shadow))
        assert also == given
        raised, also_raised = ({name for name, w in one.waiters.items() if w.aged} for one in (limiter, shadow))
        assert also_raised == raised
        most = max(most, len(raised))
        now += 1200 * MS
    assert most > 64, "too few were raised"


def test_a_second_429_that_slows_a_user_down_keeps_nobody_waiting_for_the_pace_of_the_first() -> None:
    """A slower pace is counted from an earlier instant, so the door that the first one closed may open sooner."""
    limiter = Limiter(LimiterSettings(write_per_user=6, window_ns=20 * SECOND_NS), EPOCH)
    now = 1_000 * SECOND_NS
    wanted = LaneDemand(lane=0, kind="write", user="u", spreadsheet="", calls=99, latency_ns=1)
    limiter.request(now, TokenRequest(holder="h", run=1, sequence=1, epoch=EPOCH, priority="urgent", lanes=(wanted,)))
    slower = Settlement(holder="", epoch=EPOCH, throttled=(Throttling(kind="write", scope="user", user="u"),))
    for n in range(8):
        if n == 2:
            limiter.settle(now - 3 * SECOND_NS, slower)
        limiter.grant(now)
        now += 3 * SECOND_NS
    limiter.settle(now - SECOND_NS, slower)
    now += SECOND_NS
    shadow = through_json(limiter)
    given, also = ({name: grant.tokens for name, grant in one.grant(now).items()} for one in (limiter, shadow))
    assert also == given != {}
