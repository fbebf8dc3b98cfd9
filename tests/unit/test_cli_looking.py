"""`status`, `list`, `results`, and the commands that steer: what they print, and their exit codes."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from headgate.messages.views import Waiting
from headgate.messages.words import State
from starter.listing import requests_table
from starter.selection import Selection
from starter.service import NoWorker, RequestRow
from tests.unit.fake_service import FakeService, one_sentence, ran, view

ROW = RequestRow("r1", "bulk/r1", "running", "urgent", "team", "p", 40, "2026-11-23T10:00:00+00:00", None)


def test_status_as_json_is_the_progress_view() -> None:
    seen = view("waiting", succeeded=1, waiting=Waiting(reason="quota of user ana", until="2026-11-23T10:00:00Z"))
    found = ran("status", "r1", "--json", service=FakeService([seen]))
    assert (found.code, found.documents) == (0, [seen.model_dump(mode="json")])
    assert {
        "id",
        "state",
        "priority",
        "owner",
        "operations",
        "calls",
        "rate_per_minute",
        "eta_at",
        "waiting",
        "version",
    } <= set(found.documents[0])


def test_status_is_one_line_where_output_is_lines() -> None:
    found = ran("status", "r1", service=FakeService([view("running", succeeded=1)]))
    assert found.out == "r1: running 33%, 1 of 3 operations succeeded, 1 of 1 calls\n"


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("waiting", "quota", "calls, waiting: quota\n"),
        ("running", "quota", "calls, held back: quota\n"),
        ("paused", "paused by ana", "calls, waiting: paused by ana\n"),
        ("planning", "planning", "calls\n"),
        ("running", "", "calls\n"),
    ],
)
def test_status_says_what_holds_it_back(state: State, reason: str, said: str) -> None:
    service = FakeService([view(state, succeeded=1, waiting=Waiting(reason=reason))])
    assert ran("status", "r1", service=service).out.endswith(said)
    assert (reason in ran("status", "r1", service=service, terminal=True).out) or not reason


def test_status_says_how_many_reads_the_cache_answered() -> None:
    seen = view(total=8, succeeded=8, cached=6, cache_hit_rate=0.75)
    assert "6 reads from the cache (75% of those looked for)" in ran("status", "r1", service=FakeService([seen])).out
    assert ran("status", "r1", "--json", service=FakeService([seen])).documents[0]["cached"] == 6


def test_status_on_a_terminal_says_what_it_waits_for() -> None:
    seen = view("waiting", succeeded=1, waiting=Waiting(reason="quota of user ana"), failures={"bad [range]": 2})
    found = ran("status", "r1", service=FakeService([seen]), terminal=True)
    assert "quota of user ana" in found.out
    assert "1 succeeded, 0 failed, 0 unprocessed, 2 to go" in found.out
    assert "bad [range]" in found.out


def test_markup_in_a_name_is_text() -> None:
    found = ran("status", "r1", service=FakeService([view(owner="[bold]x", id="[red]r1")]), terminal=True)
    assert "[red]r1" in found.out


@pytest.mark.parametrize("command", ["status", "watch", "pause", "resume", "cancel"])
def test_an_unknown_request_is_a_mistake(command: str) -> None:
    found = ran(command, "nope")
    assert (found.code, found.err) == (2, "headgate: there is no request 'nope'\n")


def test_a_worker_that_does_not_answer_is_said() -> None:
    found = ran("status", "r1", service=FakeService([NoWorker()]))
    assert found.code == 3
    assert "headgate worker" in found.err
    assert one_sentence(found.err)


def test_list_prints_a_row_a_request() -> None:
    found = ran("list", service=FakeService(rows=[ROW]))
    assert found.code == 0
    assert found.out.splitlines()[1].split()[:3] == ["r1", "running", "40%"]
    assert found.out.splitlines()[1].split()[-3:] == ["urgent", "team", "p"]


def test_an_id_is_whole_in_a_pipe_and_on_a_narrow_terminal() -> None:
    row = replace(ROW, id="r" * 128, owner="o" * 128)
    assert "r" * 128 in ran("list", service=FakeService(rows=[row])).out.splitlines()[1]
    shown = ran("list", service=FakeService(rows=[row]), terminal=True).out
    assert "".join(line.split()[0] for line in shown.splitlines()[1:]).replace(" ", "").count("r") >= 128


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
def test_a_list_fits_the_terminal(width: int) -> None:
    rows = [ROW, replace(ROW, id="night-" * 15, owner="チーム" * 9, project="p" * 60)]
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(requests_table(rows, width))
    shown = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(cell_len(line) for line in shown) <= width
    assert ("チーム" in "".join(shown)) == (width == 200)
    assert "40%" in "".join(shown) or width < 40


def test_list_as_json_is_an_object_a_line() -> None:
    found = ran("list", "--json", service=FakeService(rows=[ROW, ROW]))
    assert [document["id"] for document in found.documents] == ["r1", "r1"]


def test_list_filters_by_search_attributes() -> None:
    service = FakeService()
    narrowed = ("--state", "running", "--project", "p", "--owner", "team", "--priority", "low", "--older-than", "2h")
    ran("list", *narrowed, "--limit", "7", service=service)
    assert service.selected == [
        Selection(state="running", project="p", owner="team", priority="low", older_than_s=7_200, limit=7)
    ]


def test_list_shows_the_youngest_first() -> None:
    older = replace(ROW, id="r0", started_at="2026-11-22T10:00:00+00:00")
    found = ran("list", "--json", service=FakeService(rows=[older, ROW]))
    assert [document["id"] for document in found.documents] == ["r1", "r0"]


@pytest.mark.parametrize("age", ["soon", "2", "2y", "-2h", "0h", ""])
def test_an_age_that_is_none_is_a_mistake(age: str) -> None:
    found = ran("list", "--older-than", age)
    assert found.code == 2
    assert one_sentence(found.err)


def test_results_of_an_unknown_request_are_a_mistake(tmp_path: Path) -> None:
    found = ran("results", "nope", environ={"HEADGATE_STORE": str(tmp_path)})
    assert found.code == 2
    assert one_sentence(found.err)


def test_results_that_are_not_there_yet_are_none(tmp_path: Path) -> None:
    found = ran("results", "r1", "--json", service=FakeService(state=None), environ={"HEADGATE_STORE": str(tmp_path)})
    assert (found.code, found.out, found.err) == (0, "", "")


def test_results_as_csv_are_read_back_by_a_csv_reader(tmp_path: Path) -> None:
    """A request that ended before it was planned: every line is unprocessed, and an id begins no formula."""
    environ = {"HEADGATE_STORE": str(tmp_path)}
    service = FakeService(state="cancelled")
    file = tmp_path / "o.jsonl"
    file.write_text('{"id": "=1+1"}\n{"id": "b"}\n', encoding="utf-8")
    assert ran("submit", file, "--project", "p", "--id", "r1", service=service, environ=environ).code == 0
    found = ran("results", "r1", "--csv", service=service, environ=environ)
    rows = list(csv.reader(found.out.splitlines()))
    assert rows[0] == ["line", "id", "outcome", "applied", "reason"]
    assert [row[:4] for row in rows[1:]] == [["1", "'=1+1", "unprocessed", "no"], ["2", "b", "unprocessed", "no"]]
    none = ran("results", "r1", "--csv", "--outcome", "failed", service=service, environ=environ)
    assert none.out == found.out.splitlines()[0] + "\n"
    assert ran("results", "r1", "--csv", "--json", service=service, environ=environ).code == 2
