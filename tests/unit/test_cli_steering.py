"""Steering from the command line: which requests are meant, what each answers, and when a person is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.errors import Unreachable
from headgate.messages.views import Control
from headgate.steering import Command
from starter.commands import RECORDED, Answered, CommandRefused
from starter.many import MOST, TOGETHER
from starter.selection import Selection
from starter.service import RequestRow
from tests.unit.fake_service import FakeService, one_sentence, ran, view


def row(request_id: str) -> RequestRow:
    return RequestRow(
        id=request_id,
        workflow_id=f"bulk/{request_id}",
        state="running",
        priority="normal",
        owner="team",
        project="p",
        percent=0,
        started_at="2030-01-01T00:00:00+00:00",
        closed_at=None,
    )


def several(*ids: str, **said: Any) -> FakeService:
    """A service with these requests; `said` is what each answers."""
    return FakeService(known=ids, rows=[row(request_id) for request_id in ids], said=said)


def asked(service: FakeService) -> list[str]:
    return [request_id for request_id, _, _ in service.controls]


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_the_requests_own_answer_is_said(command: str) -> None:
    service = several("r1", r1="paused by ana")
    found = ran(command, "r1", service=service, environ={"USER": "ana"})
    assert (found.code, found.out) == (0, "r1: paused by ana\n")
    assert [(said, control.by) for _, said, control in service.controls] == [(command, "ana")]


@pytest.mark.parametrize(("given", "by"), [((), "ana"), (("--by", "the night shift"), "the night shift")])
def test_who_says_so_can_be_named(given: tuple[str, ...], by: str) -> None:
    service = several("r1")
    assert ran("pause", "r1", *given, service=service, environ={"USER": "ana"}).code == 0
    assert service.controls[0][2].by == by


def test_reprioritising_names_the_new_priority() -> None:
    service = several("r1", "r2")
    assert ran("reprioritise", "r1", "r2", "--to", "urgent", service=service).code == 0
    assert [control.to for _, _, control in service.controls] == ["urgent"] * 2


@pytest.mark.parametrize("arguments", [("r1",), ("r1", "--to", "hurry")])
def test_reprioritising_needs_a_priority(arguments: tuple[str, ...]) -> None:
    assert ran("reprioritise", *arguments).code == 2


def test_one_that_refuses_stops_no_other_and_is_said_by_the_exit_code() -> None:
    service = several("a", "b", "c", a="paused by ana", b=CommandRefused("it is over"), c=Unreachable("no server"))
    found = ran("pause", "a", "b", "c", "nobody", "a", service=service)
    assert found.code == 2
    assert found.out.splitlines() == ["a: paused by ana"]
    assert found.err.splitlines() == [
        "headgate: b: it is over",
        "headgate: c: no server",
        "headgate: there is no request 'nobody'",
    ]
    assert ran("pause", "a", "c", service=several("a", "c", c=Unreachable("no server"))).code == 3


def test_programs_get_an_object_a_request() -> None:
    service = several("a", "b", "c", b=Answered("b", "bulk/b", RECORDED, heard=False), c=CommandRefused("it is over"))
    found = ran("pause", "a", "b", "c", "--json", service=service)
    assert found.documents == [
        {"id": "a", "workflow_id": "bulk/a", "asked": "pause", "answer": "asked to pause", "recorded": False},
        {"id": "b", "workflow_id": "bulk/b", "asked": "pause", "answer": RECORDED, "recorded": True},
        {"id": "c", "asked": "pause", "refused": "it is over"},
    ]
    assert (found.code, found.err) == (2, "")


@pytest.mark.parametrize("arguments", [(), ("r1", "--owner", "team"), ("--older-than", "soon"), ("--state", "tired")])
def test_what_is_meant_has_to_be_named_in_one_way(arguments: tuple[str, ...]) -> None:
    service = several("r1")
    found = ran("pause", *arguments, service=service)
    assert found.code == 2
    assert found.err.startswith("headgate: ")
    assert not service.controls


def test_a_selection_is_of_requests_that_are_not_over() -> None:
    """Except where what failed is retried."""
    service = several("a", "b")
    filters = ("--owner", "team", "--state", "running", "--priority", "low", "--project", "p", "--older-than", "2h")
    named: dict[str, Any] = {"owner": "team", "state": "running", "priority": "low", "project": "p"}
    expected = Selection(**named, older_than_s=7_200, is_open=True, limit=MOST)
    found = ran("pause", *filters, service=service)
    assert (found.code, asked(service)) == (0, ["a", "b"])
    assert service.selected == [expected]
    assert found.err == "2 requests are meant\n"
    again = several("a", a="1 operation goes again as a.retry1")
    again.state = None
    assert ran("retry-failed", "--owner", "team", service=again, environ={"HEADGATE_STORE": "memory://"}).code == 0
    assert again.selected == [Selection(owner="team", limit=MOST)]


def test_nothing_found_is_nothing_done() -> None:
    found = ran("cancel", "--owner", "nobody", service=several())
    assert (found.code, found.out, found.err) == (0, "", "0 requests are meant\n")


@pytest.mark.parametrize(
    ("command", "options", "typed", "stdin", "done"),
    [
        ("cancel", (), False, b"y\n", False),
        ("cancel", ("--yes",), False, b"", True),
        ("cancel", (), True, b"y\n", True),
        ("cancel", (), True, b"\n", False),
        ("cancel", ("--yes",), True, b"", True),
        ("pause", (), False, b"", True),
        ("pause", (), True, b"n\n", False),
        ("pause", (), True, b"yes\n", True),
    ],
)
def test_a_selection_is_confirmed(
    command: str, options: tuple[str, ...], typed: bool, stdin: bytes, done: bool
) -> None:
    """By a person, where one is there; a cancel is never made of what nobody has seen."""
    service = several("a", "b")
    found = ran(command, "--owner", "team", *options, service=service, typed=typed, stdin=stdin)
    assert (found.code, asked(service)) == ((0, ["a", "b"]) if done else (2, []))
    asks = typed and not options
    assert (f"{command} 2 requests: a, b? [y/N]" in found.err) == asks


def test_named_requests_are_not_asked_about() -> None:
    service = several("a")
    assert ran("cancel", "a", service=service, typed=True).code == 0
    assert asked(service) == ["a"]


@pytest.mark.parametrize("which", [("a", "b"), ("--owner", "team")])
def test_a_dry_run_shows_and_says_nothing_to_anybody(which: tuple[str, ...]) -> None:
    service = several("a", "b")
    found = ran("cancel", *which, "--dry-run", service=service)
    assert (found.code, found.out, found.err) == (0, "a\nb\n", "2 requests are meant\n")
    assert ran("cancel", *which, "--dry-run", "--json", service=service).documents == [
        {"id": "a", "would": "cancel"},
        {"id": "b", "would": "cancel"},
    ]
    assert not service.controls


def test_many_are_asked_side_by_side_and_not_all_at_once() -> None:
    under_way, most = 0, 0

    class Slow(FakeService):
        async def control(self, request_id: str, command: Command, control: Control) -> Answered:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= 1
            return await super().control(request_id, command, control)

    ids = [f"r{n}" for n in range(100)]
    service = Slow(known=tuple(ids))
    found = ran("pause", *ids, service=service)
    assert found.out.splitlines() == [f"{request_id}: asked to pause" for request_id in ids]
    assert most == TOGETHER


def test_a_name_is_not_obeyed_by_the_terminal() -> None:
    service = several("a", "b", a="paused by \x1b[2Jeve\nb: it goes on", b=CommandRefused("cancelled by \x1b[2Jeve\n"))
    found = ran("pause", "a", "b", service=service)
    assert found.out == "a: paused by  [2Jeve b: it goes on\n"
    assert found.err == "headgate: b: cancelled by  [2Jeve\n"


def test_retries_of_several_are_waited_for() -> None:
    said = {name: f"2 operations go again as {name}.retry1" for name in ("a", "b")}
    service = several("a", "b", **said)
    service.known, service.state = ("a", "b", "a.retry1", "b.retry1"), None
    service.answers = [view(), view(failed=1, succeeded=2)]
    found = ran("retry-failed", "a", "b", "--wait", service=service, environ={"HEADGATE_STORE": "memory://"})
    assert found.code == 1, "one of them has a failed operation"
    assert found.out.splitlines()[:2] == [f"a: {said['a']}", f"b: {said['b']}"]
    assert ["completed" in line for line in found.out.splitlines()[2:]] == [True, True]


def test_no_server_is_one_sentence() -> None:
    found = ran("pause", "a", "b", service=Unreachable("no server"))
    assert (found.code, one_sentence(found.err)) == (3, True)
