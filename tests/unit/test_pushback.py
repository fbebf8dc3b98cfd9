"""What the API refuses or fails is told to the limiter at once, and keeps tokens from being used for a moment."""

from __future__ import annotations

import pytest

from activities.clock import ServerClock
from activities.pushback import HELD_NS, Pushback
from headgate.apis.sheets.replies import Answered, Busy, Throttled
from headgate.messages.requests import PlannedBatch
from headgate.messages.tokens import Settlement
from tests.eventually import eventually


def batch(spreadsheet: str = "s", user: str = "ana") -> PlannedBatch:
    return PlannedBatch(number=0, lane=0, form="fenced", user=user, spreadsheet=spreadsheet)


class Watch:
    """A monotonic clock that a test moves, and what the limiter was told."""

    def __init__(self) -> None:
        self.ns = 10**12
        self.told: list[Settlement] = []
        clock = ServerClock(monotonic_ns=lambda: self.ns)
        clock.between(self.ns, 10**18)
        self.pushback = Pushback(clock, self.tell)

    async def tell(self, project: str, said: Settlement) -> None:
        self.told.append(said)

    def held(self, kind: str = "write", user: str = "ana", spreadsheet: str = "s", project: str = "p") -> bool:
        return self.pushback.held(project, "read" if kind == "read" else "write", user, spreadsheet)


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def test_a_429_holds_the_bucket_that_it_names_and_no_other(watch: Watch) -> None:
    watch.pushback.heard("p", batch(), "write", Throttled("user", "write", 60))
    assert watch.held()
    assert not watch.held(user="bob")
    assert not watch.held(kind="read")
    assert not watch.held(project="q")
    watch.ns += HELD_NS + 1
    assert not watch.held()
    told = await eventually(lambda: watch.told)
    assert [(t.scope, t.user, t.quota_value, t.kind) for t in told[0].throttled] == [("user", "ana", 60, "write")]


async def test_a_429_of_the_project_holds_everybody(watch: Watch) -> None:
    watch.pushback.heard("p", batch(), "write", Throttled("project", None, 0))
    assert watch.held(user="bob", spreadsheet="other")


async def test_failures_in_a_row_hold_their_spreadsheet_and_many_hold_the_api(watch: Watch) -> None:
    for _ in range(3):
        watch.pushback.heard("p", batch("bad"), "write", Busy("503"))
    assert watch.held(spreadsheet="bad")
    assert not watch.held(spreadsheet="good")
    for n in range(3):
        watch.pushback.heard("p", batch(f"s{n}"), "write", Busy("503"))
    assert watch.held(spreadsheet="good")
    told = await eventually(lambda: watch.told)
    assert [overload.spreadsheet for overload in told[0].overloads] == ["bad", "bad", "bad", "s0", "s1", "s2"]


async def test_an_answer_ends_the_row_and_what_it_held(watch: Watch) -> None:
    for n in range(6):
        watch.pushback.heard("p", batch(f"s{n}"), "write", Busy("503"))
    assert watch.held(spreadsheet="x")
    watch.pushback.heard("p", batch("x"), "write", Answered({}))
    assert not watch.held(spreadsheet="x")


@pytest.mark.parametrize(("reply", "ok"), [(Busy("503"), False), (Answered({}), True), (Throttled("project"), True)])
async def test_what_became_of_a_probe_is_told_whatever_it_was(
    watch: Watch, reply: Busy | Answered | Throttled, ok: bool
) -> None:
    """An API that answers 429 is an API that answers."""
    watch.pushback.heard("p", batch(), "write", reply, "api")
    told = await eventually(lambda: watch.told)
    assert [(probed.circuit, probed.ok) for said in told for probed in said.probed] == [("api", ok)]


async def test_what_comes_together_is_told_together(watch: Watch) -> None:
    """A storm of failures is one signal a moment, not one each."""
    for n in range(50):
        watch.pushback.heard("p", batch(f"s{n}"), "write", Busy("503"))
    watch.pushback.unused("p", "bulk/r", "booking")
    told = await eventually(lambda: watch.told)
    assert len(told) == 1
    assert len(told[0].overloads) == 50
    assert told[0].unused_bookings == ("booking",)
