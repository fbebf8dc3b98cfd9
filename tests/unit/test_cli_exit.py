"""The one place that ends the process: every error is an exit code and a sentence, none is a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from headgate.messages.views import ProgressView
from starter.connection import person
from tests.unit.fake_service import FakeService, one_sentence, ran, view

COMMAND = [sys.executable, "-m", "starter.cli"]


class Broken(FakeService):
    """A service with a defect."""

    async def progress(self, request_id: str) -> ProgressView:
        raise ValueError("nobody thought of this\nat all")


class Interrupted(FakeService):
    """A service during whose answer the person presses Ctrl-C."""

    async def progress(self, request_id: str) -> ProgressView:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("error", "code"), [(InvalidRequest("a\nb"), 2), (Unreachable("a"), 3), (HeadgateError("a"), 3)]
)
def test_every_error_has_its_exit_code(error: HeadgateError, code: int) -> None:
    found = ran("status", "r1", service=error)
    assert found.code == code
    assert one_sentence(found.err)


def test_a_defect_is_one_sentence_too() -> None:
    found = ran("status", "r1", service=Broken())
    assert found.code == 70
    assert one_sentence(found.err)


def test_an_interrupt_is_130() -> None:
    assert ran("status", "r1", service=Interrupted()).code == 130


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("status",), ("status", "r1", "--unheard-of"), ("status", "a", "b")]
)
def test_usage_errors_are_mistakes(arguments: tuple[str, ...]) -> None:
    found = ran(*arguments)
    assert found.code == 2
    assert one_sentence(found.err)


def test_colour_only_where_a_terminal_can() -> None:
    assert "\x1b[" not in ran("status", "r1", service=FakeService([view("running", succeeded=1)])).out
    assert "\x1b[" in ran("status", "r1", service=FakeService([view("running", succeeded=1)]), terminal=True).out


def process(*arguments: str, tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HEADGATE_"))}
    environ = {**kept, "HEADGATE_STORE": str(tmp_path / "store"), "TEMPORAL_ADDRESS": "127.0.0.1:1", **more}
    return subprocess.run([*COMMAND, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_process_says_that_no_server_answers(tmp_path: Path) -> None:
    found = process("status", "r1", "--json", tmp_path=tmp_path)
    assert (found.returncode, found.stdout) == (3, "")
    assert "127.0.0.1:1" in found.stderr
    assert one_sentence(found.stderr)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    line = f"{' '.join(COMMAND)} --help | true; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_who_sits_there_is_the_environments_word_or_the_accounts_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container has an account and no USER; one whose account has no name says nothing."""
    assert person({"USER": "ana"}) == "ana"
    monkeypatch.setattr("getpass.getuser", lambda: "account")
    assert person({}) == "account"

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert person({}) == ""
