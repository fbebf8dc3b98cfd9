"""What a receiver is to be told: each event once, in order, the end last, and never more than a few waiting."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.messages.notices import End, Notice, NoticeCheckpoint
from headgate.messages.views import CallCounts, OperationCounts, ProgressView
from headgate.notices import LONGEST_WHY, Notices

ENDS: tuple[End, ...] = ("completed", "cancelled", "failed")


def view(state: Any = "running", *, failed: int = 0, made: int = 0, **more: Any) -> ProgressView:
    return ProgressView(
        id="r",
        state=state,
        priority="normal",
        owner="",
        operations=OperationCounts(total=9, failed=failed),
        calls=CallCounts(planned=3, made=made),
        **more,
    )


def told(notices: Notices) -> list[str]:
    return [notice.event for notice in notices.untold]


def look(notices: Notices, now: int = 1, **seen: Any) -> None:
    shown = view(**{name: seen.pop(name) for name in ("state", "failed", "made", "failures") if name in seen})
    failed = shown.operations.failed
    notices.observe(now, lambda: shown, **{"sending": False, "paused_by": None, "failed": failed, **seen})


def test_a_request_from_start_to_end() -> None:
    """What each notice says: who, why, the counts of its moment."""
    notices = Notices("r", "n")
    look(notices, 1, state="planning")
    assert notices.next is None
    look(notices, 2, sending=True)
    look(notices, 3, sending=True, failed=2, made=1, failures={"no such sheet": 1, "too large": 1})
    look(notices, 4, state="paused", paused_by="ana", failed=2, made=1)
    assert told(notices) == ["started", "first_dead_letter", "paused"]
    dead, paused = notices.untold[1:]
    assert (dead.why, dead.operations["failed"], dead.at_ns) == ("no such sheet; too large", 2, 3)
    assert (paused.by, paused.state, paused.calls["made"]) == ("ana", "paused", 1)
    notices.settled(paused)
    look(notices, 5, paused_by=None, resumed_by="bob", failed=2, made=1)
    notices.ended(6, view("cancelled", failed=3, made=2), "cancelled", by="eve")
    assert told(notices) == ["started", "first_dead_letter", "resumed", "cancelled"]
    resumed, end = notices.untold[2:]
    assert (resumed.by, end.by, end.state, end.operations["failed"]) == ("bob", "eve", "cancelled", 3)


def test_a_request_that_ends_within_one_look_says_everything_that_was() -> None:
    notices = Notices("r", "n")
    notices.ended(1, view("completed", failed=1, made=1), "completed")
    assert told(notices) == ["started", "first_dead_letter", "completed"]


def test_one_that_sent_nothing_has_not_started() -> None:
    notices = Notices("r", "n")
    look(notices, paused_by="ana", state="paused")
    notices.ended(2, view("cancelled"), "cancelled")
    assert told(notices) == ["paused", "cancelled"]


def test_a_thousand_pauses_behind_a_receiver_that_is_away_are_one() -> None:
    """The latest of them is what waits, and the first notice still comes first."""
    notices = Notices("r", "n")
    look(notices, sending=True)
    for n in range(1000):
        look(notices, paused_by=f"ana{n}", state="paused")
        look(notices, paused_by=None)
    look(notices, paused_by="bob", state="paused")
    assert told(notices) == ["started", "paused"]
    assert notices.untold[1].by == "bob"
    assert notices.untold[1].sequence == 2002


def test_a_look_that_shows_nothing_new_costs_no_view() -> None:
    """A request of a million operations looks many times a second."""

    def never() -> ProgressView:
        raise AssertionError("asked for")

    notices = Notices("r", "n")
    look(notices, sending=True, failed=1, paused_by="ana", state="paused")
    notices.observe(2, never, sending=True, failed=7, paused_by="ana")


@pytest.mark.parametrize("state", ENDS)
def test_a_pause_that_an_end_lifts_is_no_resume(state: End) -> None:
    notices = Notices("r", "n")
    look(notices, paused_by="ana", state="paused")
    look(notices, paused_by=None, state=state)
    assert told(notices) == ["paused"]


def test_ids_follow_from_what_happened() -> None:
    """Decided anew, in a replay or in a run that was reset, a notice has the same id; another submission's has another."""

    def ids(request_id: str, nonce: str, end: End) -> list[str]:
        notices = Notices(request_id, nonce)
        look(notices, sending=True)
        notices.ended(7, view(made=1), end)
        return [notice.id for notice in notices.untold]

    assert ids("r", "n", "completed") == ids("r", "n", "completed")
    assert ids("r", "n", "completed")[0] == ids("r", "n", "failed")[0]
    every = {one for request in ("r", "s") for nonce in ("n", "m") for one in ids(request, nonce, "completed")}
    assert len(every | set(ids("r", "n", "failed"))) == 9


def test_what_is_said_is_bounded() -> None:
    notices = Notices("r", "n")
    look(notices, paused_by="x" * 9000, state="paused", failed=1, failures={"y" * 9000: 1})
    assert max(len(notice.by) + len(notice.why) for notice in notices.untold) == LONGEST_WHY


def test_a_checkpoint_that_knows_nothing_is_a_beginning() -> None:
    """A run that an earlier release continued as new carries none."""
    assert Notices("r", "n", NoticeCheckpoint()).checkpoint() == Notices("r", "n").checkpoint()


LOOKS = st.tuples(
    st.booleans(),  # sending
    st.sampled_from([None, "ana", "bob"]),  # paused by
    st.integers(0, 2),  # more failed operations
    st.sampled_from(["", "", "delivered", "given up", "next run"]),
)


@settings(deadline=None)
@given(st.lists(LOOKS, max_size=30), st.sampled_from(ENDS))
def test_every_course_of_a_request(course: list[tuple[bool, str | None, int, str]], end: End) -> None:
    """Against what a person would note down: each due event once, pauses as they changed, in order, the end last and once.

    The receiver may be there or away, and runs end between any two looks, then without the answer of what is under way.
    """
    notices = Notices("r", "n")
    due: list[str] = []  # what a person noted down: event and who
    arrived: list[Notice] = []
    failed, before = 0, None
    for now, (sending, paused_by, more, then) in enumerate(course):
        failed += more
        shown = partial(view, failed=failed, made=int(sending))
        notices.observe(now, shown, sending=sending, failed=failed, paused_by=paused_by)
        if sending and "started" not in due:
            due.append("started")
        if failed and "first_dead_letter" not in due:
            due.append("first_dead_letter")
        if paused_by != before:
            due.append(f"paused {paused_by}" if paused_by else "resumed")
            before = paused_by
        assert len(notices.untold) <= 3
        if then == "next run":
            kept = NoticeCheckpoint.model_validate_json(notices.checkpoint().model_dump_json())
            notices = Notices("r", "n", kept)
        elif then and (notice := notices.next) is not None:
            notices.settled(notice)
            arrived.append(notice)
    notices.ended(len(course), view(failed=failed), end)
    due.append(end)
    assert len(notices.untold) <= 4
    while (notice := notices.next) is not None:
        notices.settled(notice)
        arrived.append(notice)

    said = [f"paused {notice.by}" if notice.event == "paused" else notice.event for notice in arrived]
    sequences = [notice.sequence for notice in arrived]
    assert sequences == sorted(set(sequences)), "the order, and nothing twice"
    assert said == [due[sequence - 1] for sequence in sequences], "each says what happened then"
    once = [event for event in due if not event.startswith(("paused", "resumed"))]
    assert [event for event in said if not event.startswith(("paused", "resumed"))] == once
    assert said[-1] == end
    steered = [event for event in due if event.startswith(("paused", "resumed"))]
    if steered:
        assert [event for event in said if event.startswith(("paused", "resumed"))][-1] == steered[-1]
    assert len({notice.id for notice in arrived}) == len(arrived)
