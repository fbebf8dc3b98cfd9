"""When the read model is told: orders first, people's commands at once, the rest once it has settled."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.views import CallCounts, OperationCounts, ProgressView, Waiting
from headgate.projections import CALM_NS, SELDOM_NS, SETTLES_NS, Projections, sight

NEW = BulkRequest(id="r", project="p")
RUNNING = sight("running", "normal", "")


def view(version: int, state: str = "running", cause: str = "") -> ProgressView:
    return ProgressView.model_validate(
        {
            "id": "r", "state": state, "priority": "normal", "owner": "o", "version": version,
            "operations": OperationCounts(), "calls": CallCounts(), "waiting": Waiting(cause=cause),
        }
    )  # fmt: skip


def handed(at: int, version: int, state: str = "running") -> Projections:
    made = Projections()
    made.handed(at, view(version, state), own=False)
    return made


def test_orders_take_something_along_once_a_second() -> None:
    told = handed(5 * SECOND_NS, 1)
    assert not told.may_go_along(6 * SECOND_NS - 1)
    assert told.may_go_along(6 * SECOND_NS)


def test_what_was_said_is_told_at_once_and_once() -> None:
    told = handed(0, 1)
    told.said = True
    assert told.due_ns(7, 2, sight("paused", "normal", "paused"), ("running", "", 0), held=True) == 7
    told.handed(7, view(2, "paused", "paused"), own=True)
    assert told.due_ns(8, 2, sight("paused", "normal", "paused"), ("running", "", 0), held=True) == 0
    assert not told.said


def test_what_was_said_and_changed_nothing_is_not_told() -> None:
    told = handed(0, 1)
    told.said = True
    assert told.due_ns(7, 1, RUNNING, ("running", "", 0), held=False) == 0
    assert told.due_ns(8, 2, RUNNING, ("running", "", 0), held=False) == 0


def test_a_change_is_told_once_it_has_settled() -> None:
    told = handed(CALM_NS, 1)
    circuit = sight("waiting", "normal", "circuit")
    now = CALM_NS + 5
    assert told.due_ns(now, 2, circuit, ("running", "", 0), held=False) == now + SETTLES_NS
    assert told.due_ns(now + 9, 3, circuit, ("running", "", 0), held=False) == now + SETTLES_NS
    assert told.due_ns(now + 10, 4, RUNNING, ("running", "", 0), held=False) == 0
    assert told.due_ns(now + 11, 5, circuit, ("running", "", 0), held=False) == now + 11 + SETTLES_NS


def test_changes_are_told_at_most_once_in_ten_seconds() -> None:
    told = handed(0, 1)
    told.handed(9, view(2, cause="circuit"), own=True)
    assert told.due_ns(10, 3, RUNNING, ("running", "", 0), held=False) == 9 + CALM_NS


def test_waiting_and_running_in_turns_is_no_change() -> None:
    told = handed(0, 1, "waiting")
    assert told.due_ns(5, 2, RUNNING, ("running", "", 0), held=False) == 0
    assert told.due_ns(6, 3, sight("waiting", "normal", "behind"), ("running", "", 0), held=False) == 0


def test_counts_of_a_held_request_are_told_once_they_are_quiet() -> None:
    told = handed(0, 1, "paused")
    paused = sight("paused", "normal", "")
    assert told.due_ns(5, 2, paused, ("running", "", 0), held=True) == 5 + SETTLES_NS
    assert told.due_ns(9, 3, paused, ("running", "", 0), held=True) == 9 + SETTLES_NS
    told.handed(9 + SETTLES_NS, view(3, "paused"), own=True)
    assert told.due_ns(10 + SETTLES_NS, 3, paused, ("running", "", 0), held=True) == 0


def test_counts_of_one_that_sends_seldom_are_told_when_something_happens() -> None:
    told = handed(0, 1)
    assert told.due_ns(SELDOM_NS - 1, 2, RUNNING, ("running", "", 1), held=False) == 0
    assert told.due_ns(SELDOM_NS, 2, RUNNING, ("running", "", 1), held=False) == SELDOM_NS
    assert told.due_ns(SELDOM_NS, 2, RUNNING, ("waiting", "behind", 0), held=False) == SELDOM_NS
    assert told.due_ns(9 * SELDOM_NS, 3, RUNNING, ("running", "", 0), held=False) == 0, (
        "its place in the line is no news"
    )


def test_the_next_run_goes_on_and_repeats_what_was_under_way() -> None:
    now = CALM_NS + 5
    told = handed(now, 3)
    assert (
        Projections.restore(told.checkpoint(under_way=False), NEW).due_ns(
            now + 1, 3, RUNNING, ("running", "", 0), held=False
        )
        == 0
    )
    again = Projections.restore(told.checkpoint(under_way=True), NEW)
    assert again.due_ns(now + 1, 3, RUNNING, ("running", "", 0), held=False) == now + 1 + SETTLES_NS
    assert not again.may_go_along(now + 1)


def test_a_new_request_is_known_to_be_planned_but_a_retry_is_not_known_at_all() -> None:
    now = 2 * CALM_NS
    planning = sight("planning", "normal", "planning")
    assert Projections.restore(None, NEW).due_ns(now, 1, planning, ("planning", "planning", 0), held=False) == 0
    retry = BulkRequest(id="r.retry1", project="p")
    assert Projections.restore(None, retry).due_ns(now, 1, planning, ("running", "", 0), held=False) == now + SETTLES_NS


STEPS = st.lists(
    st.tuples(
        st.integers(1, 3 * SECOND_NS),
        st.sampled_from(["running", "waiting", "paused"]),
        st.sampled_from(["", "quota", "circuit"]),
        st.booleans(),
        st.booleans(),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_is_told_in_the_end_and_seldom(steps: list[tuple[int, str, str, bool, bool]]) -> None:
    """A naive request: what is due is told at once, orders come as they like; then nothing happens any more."""
    told, now, version = Projections(), 2 * CALM_NS, 0
    orders: list[int] = []
    own = 0
    seen, held, state, cause = RUNNING, False, "running", ""
    for wait, state, cause, said, order in steps:
        now, version = now + wait, version + 1
        seen, held = sight(state, "normal", cause), state == "paused"
        told.said |= said
        if order and told.may_go_along(now):
            told.handed(now, view(version, state, cause), own=False)
            orders.append(now)
        free = told.said or held
        if 0 < told.due_ns(now, version, seen, (state, cause, version), held=held) <= now:
            told.handed(now, view(version, state, cause), own=True)
            assert free or now - own >= CALM_NS
            own = now
    assert all(later - earlier >= SECOND_NS for earlier, later in itertools.pairwise(orders))
    due = told.due_ns(now, version, seen, (state, cause, version), held=held)
    assert due <= now + CALM_NS
    assert due > 0 or version == told.version or (told.sight == seen and not held)
