"""`make front-door`, as a newcomer meets it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.supabase import show
from tests.supabase.person import signed_in
from tests.supabase.platform.postgres import Unavailable


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files: open to the user that Postgres runs as, which pytest's own folders are not."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def left(folder: Path) -> list[str]:
    """What lies in it."""
    return sorted(path.name for path in folder.iterdir())


async def test_it_opens_says_how_to_come_in_and_leaves_nothing(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.supabase.show",
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(120):
            async for line in process.stdout:
                said += line.decode()
                if "Ctrl-C" in said:
                    break
            else:
                if await process.wait() == show.MISSING:
                    pytest.skip((await process.stderr.read()).decode().strip())
                raise AssertionError(said + (await process.stderr.read()).decode())
        url = re.findall(r"(http://\S+)/example/", said)[0]
        config = json.loads(await asyncio.to_thread(_read, f"{url}/example/config.json"))
        for email in ("ana@example.com", "vera@example.com"):
            assert email in said
            person = await signed_in(url, config["publishableKey"], email, show.PASSWORD, "")
            [request] = (await person.invoke("history", method="GET"))["requests"]
            assert request["name"] == "Nightly prices"
        assert left(folder)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        rest = (await process.communicate())[0].decode()
    assert process.returncode == show.INTERRUPTED
    assert "nothing of it is left" in rest
    assert left(folder) == []


def test_what_is_missing_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def missing(*_: Any, **__: Any) -> AsyncIterator[None]:
        raise Unavailable("Postgres 15 is not installed: apt-get install postgresql-15")
        yield

    monkeypatch.setattr(show, "running_whole", asynccontextmanager(missing))
    monkeypatch.setattr(sys, "argv", ["show"])
    assert show.main() == show.MISSING
    assert capsys.readouterr().err == "front-door: Postgres 15 is not installed: apt-get install postgresql-15\n"


def _read(url: str) -> bytes:
    with urlopen(url) as answer:
        body: bytes = answer.read()
    return body
