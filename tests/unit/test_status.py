"""How a request stands, as people see it: its state, what it waits for, how much of it is done."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from headgate.lanes import Lane, Lanes
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, LaneEntry, PlanSummary
from headgate.messages.sending import BatchDone
from headgate.messages.tokens import Grant, Standing
from headgate.messages.views import Control
from headgate.progress import Progress, instant
from headgate.status import Status
from headgate.steering import Command, Steering

NOW = 1_000 * SECOND_NS
PLAN = PlanSummary(pages=1, lanes=1, operations=8, dead_letters=0, calls=2)
LANE = LaneEntry(lane=0, kind="write", user="bot", spreadsheet="s", first_batch=0, batches=2, operations=8)
QUOTA = "user bot is at its 60 writes a minute"


@dataclass
class Request:
    """A request that is planned, with a lane under way if need be."""

    status: Status = field(
        default_factory=lambda: Status(
            BulkRequest(id="r", project="p"),
            Steering(),
            Lanes(),
            Progress(),
            None,
            Standing(),
            far=False,
            resends=set(),
        )
    )

    def __post_init__(self) -> None:
        self.status.planned(PLAN, NOW)

    def says(self, command: Command) -> None:
        self.status.steering.apply(command, Control(by="ana"), "", 0, NOW)

    def hears(self, until_s: float, *, tokens: bool, reason: str = QUOTA) -> None:
        standing = Standing(reason=reason, cause="quota", until_ns=NOW + int(until_s * SECOND_NS))
        given = {0: (NOW,)} if tokens else {}
        self.status.heard(Grant(epoch=1, grant_id=1, tokens=given, standing=standing), NOW)

    def has_done(self, operations: int) -> None:
        self.status.progress.done(BatchDone(batch=0, succeeded=operations - 1, failed=1), 0, NOW)

    def calls(self) -> None:
        self.status.lanes.active[0] = Lane(LANE, under_way=1)


def test_before_the_plan_it_is_planning_whoever_cancels() -> None:
    """Unless it was given up: then it is cancelled, and nobody knows how many operations it had."""
    request = Request()
    request.status.plan = None
    request.says("cancel")
    assert (request.status.state, request.status.why(NOW).cause, request.status.percent) == ("planning", "planning", 0)
    request.status.unplanned = True
    assert (request.status.state, request.status.why(NOW).reason) == ("cancelled", "")
    assert not request.status.finished


@pytest.mark.parametrize(
    ("commands", "state"), [((), "running"), (("pause",), "paused"), (("pause", "cancel"), "cancelled")]
)
def test_what_a_person_said_comes_before_what_the_limiter_said(commands: tuple[Command, ...], state: str) -> None:
    """A paused request waits for that person alone, a cancelled one for nothing."""
    request = Request()
    request.hears(1, tokens=True)
    for command in commands:
        request.says(command)
    assert request.status.state == state
    assert request.status.why(NOW).reason == {"running": QUOTA, "paused": "paused by ana", "cancelled": ""}[state]


def test_a_cancelled_request_waits_for_what_is_sent_again() -> None:
    """What became of it has to be made certain, which takes tokens."""
    request = Request()
    request.status.resends = {0}
    request.hears(5, tokens=False)
    request.says("cancel")
    assert request.status.why(NOW).reason == QUOTA


@pytest.mark.parametrize(
    ("until_s", "tokens", "reason", "state"),
    [
        (2.1, True, QUOTA, "waiting"),
        (2.0, True, QUOTA, "running"),
        (1.0, False, QUOTA, "waiting"),
        (9.0, False, "", "running"),
    ],
)
def test_it_waits_where_its_next_token_is_far_away(until_s: float, *, tokens: bool, reason: str, state: str) -> None:
    """And has a reason to; but not while its calls are under way."""
    request = Request()
    request.hears(until_s, tokens=tokens, reason=reason)
    assert request.status.state == state
    request.calls()
    assert request.status.state == "running"


def test_the_instant_is_told_while_it_lies_ahead() -> None:
    """Nobody waits for what is past."""
    request = Request()
    request.hears(5, tokens=False)
    assert request.status.why(NOW).until == instant(NOW + 5 * SECOND_NS)
    assert request.status.why(NOW + 5 * SECOND_NS).until is None
    request.status.heard(Grant(epoch=1, grant_id=2, tokens={0: (NOW,)}), NOW)
    assert request.status.why(NOW).reason == QUOTA


def test_it_is_over_once_every_operation_has_an_outcome() -> None:
    """Then it waits for nothing, whoever has paused it."""
    request = Request()
    request.has_done(6)
    assert (request.status.finished, request.status.percent) == (False, 75)
    request.says("pause")
    request.has_done(2)
    assert (request.status.finished, request.status.percent) == (True, 100)
    assert (request.status.state, request.status.why(NOW).reason) == ("completed", "")
    view = request.status.view(NOW)
    assert (view.state, view.operations.succeeded, view.operations.failed) == ("completed", 6, 2)
    assert request.status.view(NOW, "failed").state == "failed"
