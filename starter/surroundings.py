"""What a command of headgate stands on: environment, terminal, and the way to a server. Tests hand in their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO, TextIO, TypeVar

import typer
from rich.console import Console

from headgate.settings import Settings
from starter.connection import connect, person
from starter.render import plain
from starter.service import Service, TemporalService

Result = TypeVar("Result")


async def _connect() -> Service:
    return TemporalService(await connect())


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    """Colour as NO_COLOR, FORCE_COLOR and TERM say it; a picture is redrawn in place on a real terminal only."""
    return Console(stderr=stderr, highlight=False, force_interactive=None if stream.isatty() else False)


@dataclass(frozen=True)
class Surroundings:
    """`out` carries answers, `err` everything said on the way; both use colour only where the terminal can."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    service: Callable[[], Awaitable[Service]] = _connect
    out: Console = field(default_factory=lambda: _console(sys.stdout))
    err: Console = field(default_factory=lambda: _console(sys.stderr, stderr=True))
    stdin: BinaryIO = field(default_factory=lambda: sys.stdin.buffer)

    @cached_property
    def settings(self) -> Settings:
        """The project's settings, read once."""
        return Settings.from_environ(self.environ)

    @property
    def person(self) -> str:
        """Who commands are from, unless they say something else."""
        return person(self.environ)

    def say(self, sentence: str) -> None:
        """One line for the person, never for the program that reads the answer."""
        self.err.print(plain(sentence), markup=False, soft_wrap=True)

    def answer(self, value: object) -> None:
        """One JSON document on one line of the output, there at once."""
        self.out.file.write(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n")
        self.out.file.flush()

    def text(self, line: str) -> None:
        """One line of text, neither wrapped nor coloured."""
        self.out.file.write(line + "\n")


def of(context: typer.Context) -> Surroundings:
    """The surroundings that `run` was given."""
    found = context.find_object(Surroundings)
    return found if found is not None else Surroundings()


def waiting_for(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The coroutine's result; the one place where a command enters an event loop."""
    return asyncio.run(coroutine)
