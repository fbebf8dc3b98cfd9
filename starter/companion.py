"""Processes that a command starts beside itself: they end with it, however it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from headgate.errors import HeadgateError
from starter.temporal_cli import guarded

END_WITHIN_S: Final = 10.0
_SHOWN_LINES: Final = 5


class Companion:
    """A module run as a process of its own, its output in a file. Ending it is SIGTERM, then SIGKILL."""

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = guarded([sys.executable, "-m", *arguments])
        self._environ = dict(environ)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=self._environ
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()  # its guard takes that as the end of its owner
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def must_run(self) -> None:
        """Raises with the last lines of its output if it has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise HeadgateError(f"the {self.name} ended by itself: {self.last_lines()}")

    def last_lines(self) -> str:
        """What it said last."""
        return " | ".join(self._log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]) or "it said nothing"
