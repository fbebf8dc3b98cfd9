"""What people say to a request: refused with a reason where it cannot come true, and done once, however often it arrives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.limiter import Limiter
from headgate.messages.carried import SteeringCheckpoint
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import Control
from headgate.steering import ANSWERS_KEPT, Command, Refused, Steering

NOW = 1_800_000_000_000_000_000


def say(
    steering: Steering, command: Command, command_id: str = "", failed: int = 0, over: str = "", **said: Any
) -> str:
    """The answer; raises `Refused`."""
    control = Control.model_validate(said)
    steering.check(command, control, command_id, over, failed)
    return steering.apply(command, control, command_id, failed, NOW)


def test_a_pause_holds_until_it_is_resumed_and_names_who_paused() -> None:
    """The first who paused it has paused it."""
    steering = Steering()
    assert say(steering, "pause", by="ana") == "paused by ana"
    assert say(steering, "pause", by="bob") == "it is paused already, by ana"
    assert (steering.held, steering.stopped()) == (True, "paused by ana")
    assert say(steering, "resume") == "it goes on"
    assert (steering.held, steering.stopped()) == (False, "")


@pytest.mark.parametrize(
    ("command", "said", "over", "why"),
    [
        ("pause", {}, "completed", "over (completed): nothing to pause"),
        ("cancel", {}, "completed", "over (completed): nothing to cancel"),
        ("reprioritise", {}, "", 'no priority was given: say {"to": "urgent"}'),
        ("reprioritise", {"to": "high"}, "", "'high' is no priority"),
        ("retry_failed", {}, "", "nothing has failed so far"),
    ],
)
def test_what_cannot_come_true_is_refused_with_the_reason(
    command: Command, said: dict[str, Any], over: str, why: str
) -> None:
    """And changes nothing."""
    steering = Steering()
    with pytest.raises(Refused, match=r"\w") as refused:
        say(steering, command, over=over, **said)
    assert why in str(refused.value)
    assert steering == Steering()


def test_a_cancelled_request_can_be_cancelled_and_nothing_else() -> None:
    """It ends; a pause that lay on it is gone."""
    steering = Steering()
    say(steering, "pause", by="ana")
    assert say(steering, "cancel", by="bob").startswith("cancelled by bob")
    assert say(steering, "cancel", by="eve").startswith("cancelled by bob")
    assert steering.stopped() == "cancelled"
    for command in ("pause", "resume", "reprioritise"):
        with pytest.raises(Refused, match="was cancelled by bob"):
            say(steering, command, to="urgent")


def test_a_command_that_comes_again_late_is_answered_as_before_and_changes_nothing() -> None:
    """Paused, resumed, and then the pause once more by another way: it goes on."""
    steering = Steering()
    first = say(steering, "pause", "c1", by="ana")
    say(steering, "resume", "c2")
    kept = Steering.restore(SteeringCheckpoint.model_validate_json(steering.checkpoint().model_dump_json()))
    assert kept == steering
    assert say(kept, "pause", "c1", by="ana") == first
    assert not kept.held
    assert say(kept, "pause", "c1", over="completed") == first


def test_a_bare_text_is_a_priority_and_a_name_has_a_length() -> None:
    """As people type it in the Web UI."""
    steering = Steering()
    control = Control.model_validate("urgent")
    steering.check("reprioritise", control, "", "", 0)
    assert steering.apply("reprioritise", control, "", 0, NOW) == "its priority is urgent now, it was normal"
    assert say(steering, "reprioritise", to="urgent") == "its priority is urgent already"
    assert len(say(steering, "pause", by="x" * 100_000)) < 1_000


def test_it_pauses_itself_once_for_so_many_failures() -> None:
    """And once more after each resume."""
    steering = Steering()
    steering.stop_after(3, 2, NOW)
    assert not steering.held
    steering.stop_after(3, 4, NOW)
    assert steering.paused_by is not None
    assert "--stop-after 3: 4 operations have failed" in steering.paused_by
    say(steering, "resume", failed=4)
    steering.stop_after(3, 6, NOW)
    assert not steering.held
    steering.stop_after(3, 7, NOW)
    assert steering.held


COMMANDS = st.tuples(
    st.sampled_from(["pause", "resume", "reprioritise", "cancel", "retry_failed"]),
    st.sampled_from(["", *(f"c{n}" for n in range(8))]),
    st.sampled_from([None, "urgent", "normal", "low", "high"]),
    st.integers(0, 1),
)


@given(st.lists(COMMANDS, max_size=60))
def test_what_holds_is_what_the_accepted_commands_imply(said: list[tuple[Any, ...]]) -> None:
    """A naive reference: the last of pause and resume, the last priority, any cancel; each id counts once; versions grow."""
    steering = Steering()
    paused, priority, cancelled, heard = False, "normal", False, set()
    for command, command_id, to, failed in said:
        before = steering.version
        try:
            say(steering, command, command_id, failed, to=to, by="ana")
        except Refused:
            assert steering.version == before
            assert command_id not in heard
            continue
        assert steering.version >= before
        if command_id and command_id in heard:
            assert steering.version == before
            continue
        heard |= {command_id} - {""}
        assert not cancelled or command in ("cancel", "retry_failed")
        if command in ("pause", "resume"):
            paused = command == "pause"
        elif command == "reprioritise":
            priority = to
        elif command == "cancel":
            cancelled, paused = True, False
    assert (steering.paused_by is not None, steering.priority, steering.cancelled_by is not None) == (
        paused,
        priority,
        cancelled,
    )


def test_answers_are_bounded() -> None:
    """However many commands there are, a checkpoint stays small."""
    steering = Steering()
    for n in range(10 * ANSWERS_KEPT):
        say(steering, ("pause", "resume")[n % 2], f"c{n}")
    assert len(steering.answers) == ANSWERS_KEPT
    assert len(steering.checkpoint().model_dump_json()) < 32_768


def test_what_people_type_is_told_in_one_printable_line_of_some_length() -> None:
    """Neither a terminal nor a checkpoint suffers from a name, a priority or an id that somebody pasted."""
    steering, limiter = Steering(), Limiter(LimiterSettings(), epoch=1)
    pasted = "ana\x1b[2J\r\n\u202e" + "x" * 1_000_000
    answer = say(steering, "pause", by=pasted)
    limiter.pause(pasted)
    for told in (answer, steering.stopped(), limiter.paused_by):
        assert told.isprintable()
        assert len(told) < 300
    with pytest.raises(Refused) as refused:
        say(steering, "reprioritise", to=pasted)
    assert len(str(refused.value)) < 500
    limiter.pause("\n")
    assert limiter.paused_by == "someone"


def test_long_ids_are_told_apart_and_carried_over_in_little_room() -> None:
    """A run could not continue as new with a checkpoint of megabytes."""
    steering = Steering()
    for n in range(ANSWERS_KEPT):
        say(steering, ("pause", "resume")[n % 2], "c" * 20_000 + str(n), by="y" * 20_000)
    assert len(steering.answers) == ANSWERS_KEPT
    assert len(steering.checkpoint().model_dump_json()) < 100_000
    before = steering.version
    say(steering, "pause", "c" * 20_000 + "0")
    assert steering.version == before


def test_a_command_that_comes_behind_a_later_one_is_refused_in_a_later_run_too() -> None:
    """What was said last holds; a repeat of what was carried out is answered as before, and one without a sequence is free."""
    steering = Steering()
    assert say(steering, "pause", "c2", by="ana", sequence=2) == "paused by ana"
    steering = Steering.restore(steering.checkpoint())
    with pytest.raises(Refused, match="a later command"):
        say(steering, "resume", "c1", sequence=1)
    assert say(steering, "pause", "c2", by="ana", sequence=2) == "paused by ana"
    assert say(steering, "resume") == "it goes on"
    assert say(steering, "pause", "c3", by="bob", sequence=3) == "paused by bob"
