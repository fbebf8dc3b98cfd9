"""Running the pgTAP files and the Supabase CLI against a database of `platform.postgres`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.supabase.platform.postgres import NODE_MODULES, ROOT, Postgres

FILES = ROOT / "supabase" / "tests" / "database"
CLI = NODE_MODULES / ".bin" / "supabase"


@dataclass(frozen=True)
class Assertions:
    """What one file said: descriptions of what held and of what did not; `whole` when it came to its end."""

    held: tuple[str, ...]
    failed: tuple[str, ...]
    whole: bool


def tap_files() -> list[Path]:
    return sorted(FILES.glob("*.sql"))


def assertions(url: str, file: Path) -> Assertions:
    """Runs one file by psql as the owner of a database and reads what it says; nothing of it stays in the database."""
    if not shutil.which("psql"):
        pytest.skip("psql is not installed: run tools/supabase.sh")
    said = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-f", str(file), url],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    held = re.findall(r"^ok \d+ - (.*)$", said, re.MULTILINE)
    failed = re.findall(r"^not ok \d+ - (.*)$", said, re.MULTILINE)
    plan = re.findall(r"^1\.\.(\d+)$", said, re.MULTILINE)
    return Assertions(tuple(held), tuple(failed), plan == [str(len(held) + len(failed))])


def prove(server: Postgres, database: str, files: Iterable[Path]) -> tuple[int, str]:
    """pg_prove over the files: how many assertions it counted, and all that it said; 0 when it was not content."""
    if not shutil.which("pg_prove"):
        pytest.skip("pg_prove is not installed: run tools/supabase.sh")
    command = ["pg_prove", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-d", database]
    ran = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    counted = re.search(r"Tests=(\d+)", ran.stdout)
    return int(counted[1]) if counted and ran.returncode == 0 else 0, ran.stdout + ran.stderr


def supabase(server: Postgres, database: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real CLI, as for a hosted project, with our database as the remote one."""
    if not CLI.exists():
        pytest.skip("the Supabase CLI is not installed: run tools/supabase.sh")
    return subprocess.run(
        [str(CLI), *arguments, f"--remote={server.url('postgres', database)}"],
        cwd=ROOT,
        env={**os.environ, "DO_NOT_TRACK": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
