"""The demo's verdict: it can tell a kept promise from a broken one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headgate.messages.views import ProgressView
from starter.demo import Scale
from starter.demo_script import BAD_LINES, SPREADSHEETS, Count, Script
from starter.verdict import judge, verdict_lines
from tests.unit.fake_service import view

COLUMNS = 6


def ledger(worst: int = 50, refused: int = 0) -> dict[str, Any]:
    bucket = {
        "level": "project",
        "name": "p",
        "kind": "write",
        "limit": 50,
        "worst_window": worst,
        "calls": 150,
        "refused": refused,
        "used_share": 0.96,
    }
    return {"window": 10.0, "calls": 150, "faults": {"close": 2}, "buckets": [bucket]}


def sheets_of(script: Script) -> dict[str, dict[str, list[list[object]]]]:
    """The spreadsheets as they are when each operation took effect exactly once."""
    found: dict[str, dict[str, list[list[object]]]] = {}
    for spreadsheet in SPREADSHEETS:
        cells = script.cells[spreadsheet]
        table: list[list[object]] = [[None] * COLUMNS for _ in range(max(row for row, _ in cells))]
        for (row, column), name in cells.items():
            table[row - 1][column] = name
        found[spreadsheet] = {"Log": [[name, 1] for name in script.appended[spreadsheet]], "Table": table}
    return found


def outcomes_of(script: Script) -> dict[str, str]:
    return {**dict.fromkeys(script.good, "succeeded"), **{f"bad-{n}": "failed" for n, _ in enumerate(BAD_LINES)}}


def kept(
    script: Script, count: Count, *, book: dict[str, Any] | None = None, seen: ProgressView | None = None
) -> set[str]:
    verdict = judge(script, book or ledger(), count, outcomes_of(script), seen or view())
    assert verdict_lines(verdict)[-1].endswith("kept" if verdict.kept else "BROKEN")
    assert json.loads(json.dumps(verdict.document()))["kept"] is verdict.kept
    return {promise.name for promise in verdict.promises if not promise.kept}


def test_the_script_has_thousands_of_operations_of_every_kind_and_two_bad_lines() -> None:
    script = Script()
    kinds = [json.loads(line)["op"] for line in script.lines if line not in BAD_LINES]
    assert set(kinds) == {"append", "update", "clear", "read", "request"}
    assert len(kinds) > 3_000
    assert len(script.lines) == len(kinds) + len(BAD_LINES)
    assert len(set(script.good)) == len(script.good)


def test_what_took_effect_once_is_found_once() -> None:
    script = Script()
    count = script.found_in(sheets_of(script))
    assert count.exact
    assert not kept(script, count)


def test_a_row_that_is_there_twice_is_doubled() -> None:
    script = Script()
    sheets = sheets_of(script)
    sheets["north"]["Log"].append(sheets["north"]["Log"][0])
    assert script.found_in(sheets).doubled == 1
    assert kept(script, script.found_in(sheets)) == {"applied exactly once"}


def test_a_row_that_is_missing_is_lost() -> None:
    script = Script()
    sheets = sheets_of(script)
    sheets["north"]["Log"].pop()
    assert script.found_in(sheets).lost == 1


def test_an_old_value_that_came_back_is_lost() -> None:
    script = Script()
    sheets = sheets_of(script)
    cleared = next(place for place, name in script.cells["north"].items() if name is None)
    sheets["north"]["Table"][cleared[0] - 1][cleared[1]] = "old"
    assert script.found_in(sheets).lost == 1


def test_a_row_that_nobody_asked_for_is_strange() -> None:
    script = Script()
    sheets = sheets_of(script)
    sheets["north"]["Log"].append(["who?"])
    assert kept(script, script.found_in(sheets)) == {"applied exactly once"}


def test_nothing_at_all_is_no_success() -> None:
    script = Script()
    assert "applied exactly once" in kept(script, script.found_in({}))


@pytest.mark.parametrize(
    ("book", "broken"),
    [
        (ledger(worst=51), "never over quota"),
        (ledger(refused=1), "no 429"),
        ({**ledger(), "buckets": []}, "never over quota"),
    ],
)
def test_the_ledger_convicts(book: dict[str, Any], broken: str) -> None:
    script = Script()
    assert kept(script, script.found_in(sheets_of(script)), book=book) == {broken}


def test_a_request_that_did_not_complete_breaks_a_promise() -> None:
    script = Script()
    assert kept(script, script.found_in(sheets_of(script)), seen=view("failed")) == {"completed"}


@pytest.mark.parametrize(("window", "per_project", "per_user"), [(10.0, 50, 10), (60.0, 300, 60)])
def test_quotas_shrink_with_the_window(window: float, per_project: int, per_user: int) -> None:
    scale = Scale(window)
    assert (scale.per_project, scale.per_user) == (per_project, per_user)
    assert scale.limiter["window_ns"] == window * 1e9


def test_a_real_window_is_filled_twice() -> None:
    script = Scale(60.0).script
    assert script.write_calls_a_lane * 6 * len(SPREADSHEETS) >= 2 * 300
