"""`headgate plan`: numbers by hand, problems with their lines, and nothing sent, stored or asked of a worker."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from headgate.errors import Unreachable
from headgate.messages.tokens import LimiterSettings
from starter.render import duration
from tests.unit.fake_service import FakeService, lines, one_sentence, ran

AWAY = Unreachable("nobody there")


def row(number: int, sheet: str = "s0", **more: object) -> dict[str, object]:
    return {"id": f"o{number}", "op": "append", "spreadsheet": sheet, "range": "A:B", "values": [["x"]], **more}


GOOD = lines(
    *(row(n, f"s{n % 3}", user=f"u{n % 2}") for n in range(12)),
    {"id": "r", "op": "read", "spreadsheet": "s0", "range": "A1", "user": "u0"},
)


def test_the_numbers(tmp_path: Path) -> None:
    """12 appends over 6 pairs of user and spreadsheet are 6 lanes, each a look-up and a write; the read is a lane and a call."""
    environ = {"HEADGATE_STORE": str(tmp_path / "store")}
    found = ran("plan", "-", "--project", "p", "--json", service=AWAY, environ=environ, stdin=gzip.compress(GOOD))
    assert (found.code, found.err) == (0, "")
    (said,) = found.documents
    assert said["operations"] == 13
    assert said["calls"] == {"total": 13, "write": 6, "read": 7, "look_ups": 6}
    assert (said["merge_factor"], said["lanes"], said["spreadsheets"], said["users"]) == (1.0, 7, 3, ["u0", "u1"])
    assert (said["refused"], said["problems"], said["reasons"]) == (0, [], {})
    assert "Google's default quotas" in said["expected"]["basis"]
    assert said["expected"]["seconds"] > 0
    assert not (tmp_path / "store").exists(), "nothing is stored"


def test_a_limiter_that_answers_is_believed() -> None:
    """1,200 calls of one user: 20 minutes at 60 a minute, 40 at 30."""
    stdin = lines(*(row(n, f"s{n}", user="u") for n in range(1_200)))
    arguments = ("plan", "-", "--project", "p", "--json")
    service = FakeService(settings=LimiterSettings(write_per_user=30))
    slow = ran(*arguments, service=service, stdin=stdin).documents[0]["expected"]
    quick = ran(*arguments, service=AWAY, stdin=stdin).documents[0]["expected"]
    assert slow["basis"] == "at the share of project p that its limiter has for it now"
    assert slow["because"] == "the quota of writes of user u"
    assert slow["seconds"] == pytest.approx(40 * 60, rel=0.02)
    assert quick["seconds"] == pytest.approx(20 * 60, rel=0.02)
    assert not service.submitted


def test_problems_have_their_lines() -> None:
    bad = [row(n, op="explode") for n in range(30)]
    stdin = lines(row(100), *bad) + b"{\n" + lines(row(100))
    said = ran("plan", "-", "--project", "p", "--user", "u", "--json", service=AWAY, stdin=stdin)
    assert said.code == 1
    document = said.documents[0]
    assert document["refused"] == 32
    assert [one["line"] for one in document["problems"]] == list(range(2, 22))
    assert document["problems"][0]["id"] == "o0"
    assert sorted(document["reasons"].values()) == [1, 1, 30]
    nothing = ran("plan", "-", "--project", "p", "--user", "u", service=AWAY, stdin=lines(*bad)).out
    assert "30 lines refused" in nothing
    assert "expected" not in nothing, "where nothing is to be sent there is nothing to expect"
    shown = ran("plan", "-", "--project", "p", "--user", "u", service=AWAY, stdin=stdin).out
    assert "expected  about" in shown
    assert "line 2 (o0): op must be append" in shown
    assert "and 12 lines more" in shown
    assert "30 × op must be append" in shown
    assert shown.endswith("nothing was sent\n")


def test_a_long_plan_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the standard error, by lines; the answer stays one document."""
    monkeypatch.setattr("starter.preview.SAY_EVERY_S", 0.001)
    stdin = lines(*(row(n) for n in range(5_000)))
    found = ran("plan", "-", "--project", "p", "--user", "u", "--json", service=AWAY, stdin=stdin)
    assert found.documents[0]["operations"] == 5_000
    assert re.search(r"^standard input: [\d,]+ lines planned$", found.err, re.MULTILINE)


def test_csv_is_planned_as_it_would_be_submitted(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b\n" + "1,2\n" * 500, encoding="utf-8")
    table = ("--spreadsheet", "s", "--sheet", "Data", "--mode", "replace", "--user", "u")
    said = ran("plan", file, "--project", "p", *table, "--json", service=AWAY).documents[0]
    assert (said["operations"], said["calls"]["write"], said["calls"]["look_ups"]) == (502, 1, 1)


@pytest.mark.parametrize("stdin", [b"", b"\n \n"])
def test_an_empty_input_is_a_mistake(stdin: bytes) -> None:
    found = ran("plan", "-", "--project", "p", "--user", "u", service=AWAY, stdin=stdin)
    assert found.code == 2
    assert one_sentence(found.err)


def test_users_are_those_with_credentials(tmp_path: Path) -> None:
    file = tmp_path / "credentials.toml"
    file.write_text('[users.ana]\ntype = "static_token"\ntoken = "very-secret"\n')
    file.chmod(0o600)
    stdin = lines(row(1), row(2, user="bob"))
    found = ran(
        "plan", "-", "--project", "p", "--json", service=AWAY, stdin=stdin, environ={"HEADGATE_CREDENTIALS": str(file)}
    )
    assert found.code == 1
    assert json.loads(found.out)["users"] == ["ana"]
    assert "bob" in found.documents[0]["problems"][0]["reason"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (59.6, "1 min"), (101, "1 min 41 s"), (7_505, "2 h 5 min"), (86_400, "1 d"), (200_000, "2 d 7 h")],
)
def test_a_duration_has_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
