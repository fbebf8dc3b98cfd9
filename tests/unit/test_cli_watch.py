"""`watch`: what is shown and asked of one request or many, how it ends, and what silence means."""

from __future__ import annotations

import asyncio
import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

from headgate.errors import HeadgateError, Unreachable
from headgate.messages.views import ProgressView, Waiting
from starter.following import Pace, exit_code, follow, follow_all, follow_on
from starter.looking import _in_words
from starter.selection import Selection
from starter.service import NoWorker, RequestRow
from starter.showing import Documents, Lines, Screen
from tests.unit.fake_service import FakeService, one_sentence, ran, view

ROW = RequestRow("r1", "bulk/r1", "running", "normal", "team", "p", 0, "2026-11-23T10:00:00+00:00", None)


def nothing(_: object) -> None:
    """Shows and notes nothing."""


def test_watch_shows_every_state_and_tells_failure_by_its_exit_code() -> None:
    service = FakeService([view("planning", succeeded=0), view("running", succeeded=1), view(succeeded=2, failed=1)])
    found = ran("watch", "r1", service=service)
    assert [line.split()[1] for line in found.out.splitlines()] == ["planning", "running", "completed"]
    assert found.code == 1


def test_watch_as_json_is_a_view_a_line() -> None:
    found = ran("watch", "r1", "--json", service=FakeService([view("running", succeeded=1), view()]))
    assert [document["state"] for document in found.documents] == ["running", "completed"]
    assert found.code == 0


def test_a_cancelled_request_is_no_failure() -> None:
    assert ran("watch", "r1", service=FakeService([view("cancelled", succeeded=1, unprocessed=2)])).code == 0


def test_a_cancelled_request_is_followed_until_its_last_calls_have_ended() -> None:
    """It says `cancelled` from the moment it is asked; the last word counts what was under way then."""
    service = FakeService([view("cancelled", succeeded=1), view("cancelled", succeeded=2, unprocessed=1)], state=None)

    def show(seen: ProgressView) -> None:
        if seen.operations.succeeded == 2:
            service.state = "cancelled"

    last = asyncio.run(follow(service, "r1", show=show, note=print, every_s=0.0))
    assert (last.operations.succeeded, last.operations.unprocessed) == (2, 1)


def test_following_gives_up_once_everything_has_been_silent() -> None:
    async def silent() -> None:
        await follow(
            FakeService([Unreachable("away")]), "r1", show=print, note=noted.append, every_s=0.0, patience_s=0.2
        )

    noted: list[str] = []
    began = time.monotonic()
    with pytest.raises(Unreachable):
        asyncio.run(silent())
    assert 0.2 <= time.monotonic() - began < 10
    assert len(noted) == 1


def test_the_view_shown_never_grows_older() -> None:
    """An answer that was overtaken on its way is not shown."""
    seen = [view("running", succeeded=n, version=v) for n, v in ((1, 4), (0, 3), (2, 5), (1, 4))]
    shown: list[ProgressView] = []
    service = FakeService([*seen, view(version=6)])
    asyncio.run(follow(service, "r1", show=shown.append, note=print, every_s=0.0))
    assert [one.version for one in shown] == [4, 5, 6]


def test_a_request_that_ends_without_a_last_word_keeps_the_counts_that_were_seen() -> None:
    last = view("running", succeeded=2, version=4, rate_per_minute=7.0, waiting=Waiting(reason="quota"))
    gone = view("failed", succeeded=0, total=0, version=0)
    found = ran("watch", "r1", "--json", service=FakeService([last, gone]))
    end = found.documents[-1]
    assert (end["state"], end["operations"]["succeeded"], end["waiting"]["reason"]) == ("failed", 2, "")
    assert found.code == 1


# --- silence ----------------------------------------------------------------------------------------------------------


def test_without_a_worker_a_person_sees_why_and_watching_goes_on() -> None:
    answers: list[ProgressView | HeadgateError] = [view("running", succeeded=1), NoWorker(), NoWorker(), view()]
    found = ran("watch", "r1", service=FakeService(answers), terminal=True)
    assert found.code == 0
    assert "start one with `headgate worker`" in " ".join(found.out.split())


def test_a_terminal_waits_for_a_worker_as_long_as_its_person_does() -> None:
    async def watched(without_worker_s: float | None) -> ProgressView:
        service = FakeService([*[NoWorker()] * 5, view()])
        return await follow(
            service, "r1", show=nothing, note=nothing, every_s=0.0, patience_s=0.0, without_worker_s=without_worker_s
        )

    assert asyncio.run(watched(float("inf"))).state == "completed"
    with pytest.raises(NoWorker):
        asyncio.run(watched(None))


# --- many -------------------------------------------------------------------------------------------------------------


def two(**first: object) -> FakeService:
    return FakeService(
        of_each={
            "a": [view("running", succeeded=1, id="a"), view(id="a", **{"succeeded": 3, **first})],  # type: ignore[arg-type]
            "b": [view("waiting", succeeded=0, id="b", waiting=Waiting(reason="spacing")), view(id="b")],
        }
    )


def test_every_line_names_its_request_and_the_last_one_sums_up() -> None:
    found = ran("watch", "a", "b", service=two())
    assert found.code == 0
    *lines, last = found.out.splitlines()
    assert [line.split()[0] for line in lines if " completed " in line] == ["a:", "b:"]
    assert {line.split()[0] for line in lines} == {"a:", "b:"}
    assert last == "2 requests: 2 completed; 6 of 6 operations"


def test_one_failure_among_many_is_the_exit_code() -> None:
    assert ran("watch", "a", "b", service=two(succeeded=2, failed=1)).code == 1
    assert ran("watch", "a", "b", "--json", service=two(succeeded=2, failed=1)).code == 1
    assert exit_code([view(), view("failed")]) == 1
    assert exit_code([view(), view("cancelled", succeeded=1, unprocessed=2)]) == 0


def test_many_as_json_are_an_object_for_each_change() -> None:
    found = ran("watch", "a", "b", "--json", service=two())
    assert sorted((one["id"], one["state"]) for one in found.documents) == [
        ("a", "completed"),
        ("a", "running"),
        ("b", "completed"),
        ("b", "waiting"),
    ]


def test_what_only_flows_on_is_no_change() -> None:
    told: list[object] = []
    documents = Documents(told.append, print)
    for rate in (1.0, 2.0, 3.0):
        documents.show(view("running", succeeded=1, rate_per_minute=rate))
    documents.show(view("running", succeeded=1, waiting=Waiting(reason="quota")))
    documents.show(view("running", succeeded=2))
    assert len(told) == 3


def test_many_on_a_terminal_are_a_row_each_that_stays() -> None:
    found = ran("watch", "a", "b", service=two(succeeded=2, failed=1, failures={"bad [range]": 1}), terminal=True)
    last = found.out[found.out.rindex("2 requests: ") - 400 :]
    assert found.code == 1
    assert "1 failed (bad [range])" in last
    assert "all succeeded" in last


def test_the_same_id_twice_is_one_request() -> None:
    service = FakeService()
    assert ran("watch", "r1", "r1", service=service).code == 0
    assert service.asked == ["r1"]


def test_an_unknown_request_among_others_is_a_mistake() -> None:
    found = ran("watch", "r1", "nope", service=FakeService([view("running", succeeded=1)]))
    assert found.code == 2
    assert "there is no request 'nope'" in found.err


# --- which ones -------------------------------------------------------------------------------------------------------


def test_without_ids_those_that_are_open_and_meant_are_watched() -> None:
    service = two()
    service.rows = [replace(ROW, id="b"), replace(ROW, id="a", started_at="2026-11-22T10:00:00+00:00")]
    found = ran("watch", "--owner", "team", "--older-than", "2h", service=service)
    assert found.code == 0
    assert service.selected == [Selection(owner="team", older_than_s=7_200, is_open=True, limit=101)]
    assert set(service.asked) == {"a", "b"}


def test_nothing_to_watch_is_said_and_no_failure() -> None:
    found = ran("watch", "--owner", "nobody")
    assert (found.code, found.out, found.err) == (0, "", "no open requests like that\n")


def test_more_than_the_limit_is_told() -> None:
    service = two()
    service.rows = [replace(ROW, id=name) for name in ("a", "b", "c")]
    found = ran("watch", "--project", "p", "--limit", "2", service=service)
    assert set(service.asked) == {"a", "b"}
    assert "more than 2" in found.err


def test_ids_and_filters_together_are_a_mistake() -> None:
    found = ran("watch", "r1", "--owner", "team")
    assert found.code == 2
    assert one_sentence(found.err)


# --- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("requests", "seconds"), [(1, 1.0), (4, 1.0), (5, 1.25), (8, 2.0), (100, 25.0)])
def test_many_are_asked_less_often(requests: int, seconds: float) -> None:
    assert Pace(1.0, requests).each_s == seconds


def test_one_that_is_over_is_not_asked_again_and_leaves_its_turns_to_the_others() -> None:
    running, over = view("running", succeeded=1), view()
    names = [f"r{n}" for n in range(8)]
    service = FakeService(
        of_each={
            name: [running.model_copy(update={"id": name}), over.model_copy(update={"id": name})] for name in names
        }
    )
    service.of_each["r0"][:0] = [running.model_copy(update={"id": "r0"})] * 20
    asyncio.run(follow_all(service, names, Documents(nothing, nothing), every_s=1.0))
    assert {name: service.asked.count(name) for name in names} == dict.fromkeys(names, 2) | {"r0": 22}
    assert max(service.pauses) == 2.0
    assert service.pauses[-1] == 1.0


# --- the screen -------------------------------------------------------------------------------------------------------


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=24, legacy_windows=False)


def text_of(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


async def test_a_terminal_that_became_narrower_is_wiped() -> None:
    console = terminal()
    async with Screen(console, ["r1"]) as screen:
        screen.show(view("running", succeeded=1))
        assert "\x1b[2J" not in text_of(console)
        console.width = 60
        screen.redraw()
        assert "\x1b[2J" in text_of(console)


async def test_countdowns_go_on_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starter.showing.REDRAW_EVERY_S", 0.01)
    console = terminal()
    async with Screen(console, ["r1"]) as screen:
        screen.show(view("running", succeeded=1))
        before = len(text_of(console))
        deadline = time.monotonic() + 10
        while len(text_of(console)) == before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


async def test_whoever_interrupts_is_told_that_requests_go_on() -> None:
    console = Console(file=io.StringIO(), width=80)
    service = FakeService([view("running", succeeded=1)])
    watching = asyncio.create_task(follow_on(console, service, "r1"))
    while not service.asked:
        await asyncio.sleep(0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert text_of(console).splitlines()[-1] == "the request goes on; to watch again: headgate watch r1"


def test_lines_come_at_a_change_of_state_only_when_nothing_is_due() -> None:
    console = Console(file=io.StringIO(), width=20)
    lines = Lines(console)
    for seen in (
        view("running", succeeded=0, id="a"),
        view("running", succeeded=1, id="a"),
        view("running", succeeded=1, id="b"),
        view("paused", succeeded=1, id="a"),
    ):
        lines.show(seen)
    assert [line.split()[:2] for line in text_of(console).splitlines()] == [
        ["a:", "running"],
        ["b:", "running"],
        ["a:", "paused"],
    ]


def test_what_an_api_said_is_one_line_of_the_results_and_of_an_error() -> None:
    hostile = "no\nsheet \x1b[2J"
    result = {"line": 1, "id": "a", "outcome": "failed", "applied": "no", "reason": hostile}
    assert _in_words(result) == "line 1 (a) failed, applied: no: no sheet  [2J"
    found = ran("status", "r1", service=Unreachable(hostile))
    assert one_sentence(found.err)
    assert "\x1b" not in found.err


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_an_api_said_steers_no_terminal(is_terminal: bool) -> None:
    hostile = "quota\x1b]0;owned\x07\x1b[2J\r\n of \u202euser"
    seen = view("waiting", succeeded=1, owner=hostile, waiting=Waiting(reason=hostile), failures={hostile: 2})
    for arguments in (("status", "r1"), ("watch", "r1")):
        found = ran(*arguments, service=FakeService([seen, view(failures={hostile: 1})]), terminal=is_terminal)
        for forbidden in ("\x1b]0", "\x07", "\x1b[2J", "\r\n of", "\u202e"):
            assert forbidden not in found.out, (arguments, forbidden)
