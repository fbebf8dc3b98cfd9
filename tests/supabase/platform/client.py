"""Our TypeScript client on the real supabase-js, in a Deno process that a test tells what to do."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.supabase.platform.functions import ROOT, Unavailable, deno, environment

CLIENT = ROOT / "supabase" / "client"
CONFIG = CLIENT / "deno.json"
PROGRAM = Path(__file__).with_name("client.ts")
Json = dict[str, Any]


class Refused(Exception):
    """The client threw: `code` is FrontDoorError's."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.error = error


@dataclass
class Watched:
    """What one watching has called back with, oldest first; `at` is the milliseconds since 1970 of each."""

    number: int
    requests: list[Json] = field(default_factory=list)
    lists: list[list[Json]] = field(default_factory=list)
    commands: list[Json] = field(default_factory=list)
    troubles: list[Json] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    @property
    def last(self) -> Json:
        """The request as it was told last; {} before that."""
        return self.requests[-1] if self.requests else {}

    @property
    def link(self) -> str:
        return self.links[-1] if self.links else ""

    def take(self, message: Json) -> None:
        """One callback."""
        if "request" in message:
            self.requests.append(message["request"])
            self.at.append(message["at"])
        elif "requests" in message:
            self.lists.append(message["requests"])
        elif "command" in message:
            self.commands.append(message["command"])
        elif "trouble" in message:
            self.troubles.append(message["trouble"])
        else:
            self.links.append(message["link"])


class DenoClient:
    """A client that runs; `errors` is what it printed to standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.errors = ""
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._watched: dict[int, Watched] = {}

    async def call(self, name: str, *given: Any) -> Any:
        """The answer of one call. Raises Refused."""
        number = next(self._numbers)
        return await self._call(number, name, given)

    async def watch(self, request: str, **pace: int) -> Watched:
        """Watches a request; `pace` as in reading.ts."""
        return await self._watch("watch", request, pace)

    async def watch_organisation(self, organisation: str, **pace: int) -> Watched:
        return await self._watch("watchOrganisation", organisation, pace)

    async def watch_on_page(self, request: str) -> Watched:
        """Watches a request as the example page does, at its pace."""
        return await self._watch("watchOnPage", request, {})

    async def watch_organisation_on_page(self, organisation: str) -> Watched:
        """The same for the page's list: `requests` are those of all its requests."""
        return await self._watch("watchOrganisationOnPage", organisation, {})

    async def end_of_input(self, seconds: float) -> int:
        """Says no more, and waits for the process to end by itself: it does once no timer and no channel is left."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def _watch(self, name: str, what: str, pace: dict[str, int]) -> Watched:
        number = next(self._numbers)
        watched = self._watched[number] = Watched(number)
        await self._call(number, name, (what, pace))
        return watched

    async def _call(self, number: int, name: str, given: tuple[Any, ...]) -> Any:
        assert self.process.stdin is not None
        self._answers[number] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"n": number, "call": name, "given": given}).encode() + b"\n")
        return await asyncio.wait_for(self._answers[number], 60)

    async def read(self) -> None:
        """Takes what the process says until it ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "watching" in message:
                self._watched[message["watching"]].take(message)
            elif "error" in message:
                self._answers.pop(message["n"]).set_exception(Refused(message["error"]))
            else:
                self._answers.pop(message["n"]).set_result(message["answer"])
        for answer in self._answers.values():
            answer.set_exception(RuntimeError(f"the client ended: {self.errors[-2000:]}"))


def prepare() -> list[str]:
    """The command that runs the client, with what it imports in Deno's cache. Raises Unavailable."""
    program = deno()
    done = subprocess.run(
        [str(program), "cache", "--quiet", "--config", str(CONFIG), str(PROGRAM)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Unavailable(f"supabase-js cannot be fetched: {done.stderr.strip()[-500:]}")
    return [
        str(program),
        "run",
        "--cached-only",
        "--quiet",
        "--allow-net",
        "--allow-env",
        "--config",
        str(CONFIG),
        str(PROGRAM),
    ]


@asynccontextmanager
async def deno_client(url: str, key: str, token: str) -> AsyncIterator[DenoClient]:
    """A client of the project for the user of the token."""
    command = await asyncio.to_thread(prepare)
    process = await asyncio.create_subprocess_exec(
        *command,
        url,
        key,
        token,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    client = DenoClient(process)

    async def errors() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            client.errors += line.decode()

    tasks = [asyncio.create_task(client.read()), asyncio.create_task(errors())]
    try:
        yield client
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.gather(*tasks, return_exceptions=True)
