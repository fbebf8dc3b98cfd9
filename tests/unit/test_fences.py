"""Live fences across requests: who removes which, once, and what happens where there is no room for another."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.fences import FENCE_LIVES_NS, Fences
from activities.store import Store
from benchmarks.bad_operations import NOW_NS, TITLES, CountingEmulator, append, planned
from headgate.apis.sheets.compose import compose_requests
from headgate.apis.sheets.fences import Fence
from headgate.apis.sheets.replies import Answered, Lost
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.outcomes import MOST_CROWDED, BatchState
from tests.unit.fake_service import ran

LATER = NOW_NS + FENCE_LIVES_NS
REQUEST = BulkRequest(id="r", project="p", nonce="n")


def fences() -> Fences:
    return Fences(Store.open("memory://"))


async def test_a_fence_is_claimed_when_it_has_expired_and_not_before() -> None:
    kept = fences()
    await kept.put_down("s", [1, 2], NOW_NS, "r/1")
    await kept.put_down("s", [3], NOW_NS + 1, "r/2")
    await kept.put_down("other", [4], NOW_NS, "r/3")
    assert await kept.claim("s", "q/1", LATER - 1) == ()
    assert await kept.claim("s", "q/1", LATER) == (1, 2)
    assert await kept.claim("s", "q/2", LATER) == ()
    assert await kept.claim("s", "q/2", LATER + 1) == (3,)


async def test_what_was_removed_is_gone_and_what_was_given_up_is_claimed_again() -> None:
    kept = fences()
    await kept.put_down("s", [1, 2], NOW_NS, "r/1")
    assert await kept.claim("s", "q/1", LATER) == (1, 2)
    await kept.removed("s", [1])
    await kept.give_up("s", [2])
    assert [fence.id for fence in await kept.alive("s")] == [2]
    assert await kept.claim("s", "q/2", LATER) == (2,)
    await kept.removed("s", [2])
    assert await kept.alive("s") == []
    assert [name async for name in kept.store.list("fences")] == []


async def test_a_batch_that_asks_again_after_a_crash_gets_what_it_had_claimed() -> None:
    store = Store.open("memory://")
    await Fences(store).put_down("s", [1], NOW_NS, "r/1")
    assert await Fences(store).claim("s", "q/1", LATER) == (1,)
    assert await Fences(store).claim("s", "q/2", LATER) == ()
    assert await Fences(store).claim("s", "q/1", LATER) == (1,)


async def test_fences_that_come_later_are_found_without_looking_each_time() -> None:
    kept = fences()
    assert await kept.claim("s", "q/1", NOW_NS) == ()
    await kept.put_down("s", [1], NOW_NS + 5, "r/1")
    assert await kept.claim("s", "q/2", NOW_NS + SECOND_NS) == ()
    assert await kept.claim("s", "q/3", LATER + SECOND_NS) == (1,)


@settings(max_examples=60, deadline=None)
@given(
    ages=st.lists(st.integers(0, 5), max_size=30),
    sweepers=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30),
)
def test_whoever_sweeps_no_fence_is_removed_twice_and_none_too_early(
    ages: list[int], sweepers: list[tuple[int, bool]]
) -> None:
    """Three processes at once on one store; each removes what it claimed, or gives it up."""

    async def story() -> None:
        store = Store.open("memory://")
        processes = [Fences(store) for _ in range(3)]
        for number, age in enumerate(ages, 1):
            await processes[0].put_down("s", [number], LATER - age * FENCE_LIVES_NS // 3, "r/1")
        gone: list[int] = []

        async def sweep(turn: int, process: int, removes: bool) -> None:
            claimed = await processes[process].claim("s", f"q/{turn}", LATER)
            if removes:
                gone.extend(claimed)
                await processes[process].removed("s", claimed)
            else:
                await processes[process].give_up("s", claimed)

        await asyncio.gather(*(sweep(turn, *one) for turn, one in enumerate(sweepers)))
        assert len(gone) == len(set(gone))
        assert all(ages[number - 1] >= 3 for number in gone)
        left = {fence.id for fence in await processes[0].alive("s")}
        assert left == set(range(1, len(ages) + 1)) - set(gone)

    asyncio.run(story())


# --- no room ----------------------------------------------------------------------------------------------------------


def crowd(emulator: CountingEmulator) -> list[int]:
    """As many fences as the spreadsheet has room for."""
    ids: list[int] = []
    while isinstance(
        emulator.ask(compose_requests("S", [(fence := Fence.of("others", "S", 0, len(ids), "0")).request()])), Answered
    ):
        ids.append(fence.id)
    emulator.calls = 0
    return ids


def play(emulator: CountingEmulator, state: BatchState, sweeps: list[tuple[int, ...]], now: int = NOW_NS) -> list[int]:
    """Sends until it is over, with what there is to sweep each time; returns the waits."""
    waits = []
    while (step := state.next_step(TITLES, now, sweeps.pop(0) if state.crowded and sweeps else ())) is not None:
        state.sending(step, now)
        advice = state.learn(step, emulator.ask(step.call), now)
        assert advice.benign or not advice.wait_ns
        waits.append(advice.wait_ns)
        now += advice.wait_ns
    return waits


def test_a_spreadsheet_has_room_for_more_fences_than_one_batch_a_second_makes_in_their_life() -> None:
    """30,000 characters at 12 each are 2,500 fences; one a second for 15 minutes are 900."""
    emulator = CountingEmulator()
    room = len(crowd(emulator))
    assert 2_500 <= room < 2_600
    assert room // 2 > FENCE_LIVES_NS // SECOND_NS
    state = BatchState.fresh(planned([append(1)]), REQUEST)
    step = state.next_step(TITLES, NOW_NS)
    assert step is not None
    state.sending(step, NOW_NS)
    state.learn(step, emulator.ask(step.call), NOW_NS)
    assert state.crowded, "and not one more"


@pytest.mark.parametrize("lost", [False, True])
def test_no_room_is_no_dead_letter_old_fences_go_first(lost: bool) -> None:
    emulator = CountingEmulator()
    old = crowd(emulator)
    state = BatchState.fresh(planned([append(n) for n in range(5)]), REQUEST)
    if lost:
        step = state.next_step(TITLES, NOW_NS)
        assert step is not None
        state.sending(step, NOW_NS)
        state.learn(step, Lost("no answer"), NOW_NS)
    waits = play(emulator, state, [(), (), tuple(old[:200])])
    assert {result.outcome for result in state.results} == {"succeeded"}
    assert emulator.column() == list(range(5))
    assert sorted(state.swept) == sorted(old[:200])
    assert [wait // SECOND_NS for wait in waits] == [30, 30, 30, 0, 0]
    assert state.attempts == 0


def test_where_nobodys_fences_can_go_it_ends_with_a_sentence() -> None:
    emulator = CountingEmulator()
    crowd(emulator)
    state = BatchState.fresh(planned([append(1)]), REQUEST)
    waits = play(emulator, state, [])
    assert sum(waits) > FENCE_LIVES_NS, "until then the fences of others might have gone"
    assert len(waits) == MOST_CROWDED + 1
    assert [(result.outcome, result.applied) for result in state.results] == [("failed", "no")]
    assert "headgate fences clean" in state.results[0].reason


def test_a_crowded_batch_goes_on_after_a_restart() -> None:
    emulator = CountingEmulator()
    old = crowd(emulator)
    batch = planned([append(1)])
    state = BatchState.fresh(batch, REQUEST)
    for expected in ("send", "sweep", "send"):
        step = state.next_step(TITLES, NOW_NS, tuple(old[:3]) if state.crowded else ())
        assert step is not None
        assert step.purpose == expected
        state.sending(step, NOW_NS)
        if expected == "sweep":  # the answer never comes
            state = BatchState.resumed(batch, REQUEST, state.frozen())
            assert not state.parts[0].unknown
            again = state.next_step(TITLES, NOW_NS)
            assert again == step
            state.sending(step, NOW_NS)
        state.learn(step, emulator.ask(step.call), NOW_NS)
    assert [result.outcome for result in state.results] == ["succeeded"]
    assert sorted(state.swept) == sorted(old[:3])


async def test_the_command_lists_what_is_known_without_a_call(tmp_path: Path) -> None:
    known = Fences(Store.open(str(tmp_path)))
    await known.put_down("s1", [1, 2], 1_700_000_000 * SECOND_NS, "r/1")
    await known.put_down("s2", [3], time.time_ns(), "r/2")
    environ = {"HEADGATE_STORE": str(tmp_path), "HEADGATE_SHEETS_URL": "http://127.0.0.1:9"}
    found = await asyncio.to_thread(ran, "fences", "list", "--json", environ=environ)
    assert (found.code, found.err) == (0, "")
    assert [(one["spreadsheet"], one["alive"], one["expired"]) for one in found.documents] == [
        ("s1", 2, 2),
        ("s2", 1, 0),
    ]
    assert found.documents[0]["oldest_at"] == "2023-11-14T22:13:20Z"
    listed = await asyncio.to_thread(ran, "fences", "list", "--spreadsheet", "s1", environ=environ)
    assert listed.out == "s1: 2 marks, 2 of them expired\n"
    assert (await asyncio.to_thread(ran, "fences", "list", "--spreadsheet", "..", environ=environ)).code == 2
