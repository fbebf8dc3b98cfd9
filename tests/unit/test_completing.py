"""Completion in a shell: it offers what there is, is quick, and never says that something is wrong."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import typer

from headgate.errors import HeadgateError, Unreachable
from starter import completing
from starter.completing import request_ids
from starter.selection import Selection
from starter.service import RequestRow, Service
from starter.surroundings import Surroundings
from tests.unit.fake_service import FakeService

ROWS = [
    RequestRow(name, f"bulk/{name}", "running", "normal", "", "p", 40, "2026-11-23T10:00:00+00:00", None)
    for name in ("orders-1", "orders-2", "night")
]


@dataclass(frozen=True)
class Pressed:
    """What typer hands to a completion, as far as it is used."""

    surroundings: Surroundings

    def find_object(self, _: object) -> Surroundings:
        return self.surroundings


def offered(incomplete: str, service: FakeService | BaseException) -> list[str]:
    async def connected() -> Service:
        if isinstance(service, BaseException):
            raise service
        return service

    context = cast(typer.Context, Pressed(Surroundings(environ={}, service=connected)))
    return [id_ for id_, _ in request_ids(context, incomplete)]


def test_ids_that_begin_like_that_are_offered() -> None:
    service = FakeService(rows=ROWS)
    assert offered("", service) == ["orders-1", "orders-2", "night"]
    assert offered("ord", service) == ["orders-1", "orders-2"]
    assert service.selected[-1] == Selection(begins="ord", limit=completing.OFFERED)


@pytest.mark.parametrize("trouble", [Unreachable("away"), HeadgateError("no"), ValueError("defect"), OSError()])
def test_trouble_offers_nothing(trouble: Exception) -> None:
    assert offered("", trouble) == []


@pytest.mark.parametrize("incomplete", ['"', "a b", "a/b", "ä", 'x" OR WorkflowId != "'])
def test_what_no_id_begins_with_asks_nobody(incomplete: str) -> None:
    service = FakeService(rows=ROWS)
    assert offered(incomplete, service) == []
    assert service.selected == []


def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(FakeService):
        async def requests(self, selection: Selection) -> AsyncIterator[RequestRow]:
            await asyncio.sleep(3_600)
            yield ROWS[0]

    monkeypatch.setattr(completing, "WITHIN_S", 0.1)
    began = time.monotonic()
    assert offered("", Silent()) == []
    assert time.monotonic() - began < 10


def completed(line: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """What bash offers after a line, by the script that headgate gives it."""
    words = shlex.split(line) + [""] * line.endswith(" ")
    script = f"""
        eval "$(_HEADGATE_COMPLETE=source_bash headgate)"
        complete -p headgate >/dev/null || exit 9
        COMP_WORDS=({" ".join(map(shlex.quote, words))})
        COMP_CWORD={len(words) - 1}
        _headgate_completion headgate
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HEADGATE_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
    return subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**kept, "PATH": path, "TEMPORAL_ADDRESS": "127.0.0.1:1", "HOME": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("headgate wat", ["watch"]),
        ("headgate list --state p", ["planning", "paused"]),
        ("headgate reprioritise r1 --to ", ["urgent", "normal", "low"]),
        ("headgate watch --prio", ["--priority"]),
        ("headgate watch ", [""]),  # no server: nothing, and no word about it
        ("headgate watch no/id", [""]),
    ],
)
def test_bash_is_offered_words_and_nothing_else(line: str, expected: list[str], tmp_path: Path) -> None:
    found = completed(line, tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == expected


def test_the_script_for_the_shell_that_asks_is_shown(tmp_path: Path) -> None:
    found = subprocess.run(
        ["bash", "--norc", "-c", f"{shlex.quote(sys.executable)} -m starter.cli --show-completion; exit $?"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "_headgate_completion" in found.stdout
