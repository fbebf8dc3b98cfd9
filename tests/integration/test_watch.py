"""`headgate watch` on a real terminal, of real requests: what is on it while they run, what stays, and the exit code."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from starter.connection import address_of
from tests.eventually import eventually
from tests.integration.stack import Stack, append

WIDTH: Final = 100
#: How rich goes back to the first line of what it drew before.
REDRAWN: Final = re.compile(r"(?:\r\x1b\[2K)(?:\x1b\[1A\x1b\[2K)*")
ESCAPES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass
class Terminal:
    """A process on a terminal of its own, and everything that it wrote there."""

    process: asyncio.subprocess.Process
    end: int
    written: bytearray = field(default_factory=bytearray)

    @property
    def frames(self) -> list[list[str]]:
        """Every picture that was drawn, as lines without colours."""
        text = self.written.decode("utf-8", "replace").replace("\r\n", "\n")
        return [ESCAPES.sub("", drawn).splitlines() for drawn in REDRAWN.split(text)]

    def press(self, keys: bytes) -> None:
        os.write(self.end, keys)

    def read(self) -> None:
        with suppress(OSError):  # the other side is closed
            self.written += os.read(self.end, 65_536)


@asynccontextmanager
async def on_a_terminal(stack: Stack, *arguments: str) -> AsyncIterator[Terminal]:
    """The command line on a terminal of 100 x 24."""
    end, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))

    def its_own() -> None:
        # A shell starts its background jobs, such as a test run's, with interrupts ignored; a terminal's programs hear them.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(other, termios.TIOCSCTTY, 0)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "starter.cli",
        *arguments,
        stdin=other,
        stdout=other,
        stderr=other,
        env=environ(stack),
        preexec_fn=its_own,
    )
    os.close(other)
    terminal = Terminal(process, end)
    loop = asyncio.get_running_loop()
    loop.add_reader(end, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(end)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        os.close(end)


def environ(stack: Stack) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "HEADGATE_"))}
    for colours in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        kept.pop(colours, None)
    return {**kept, "TERM": "xterm-256color", "TEMPORAL_ADDRESS": address_of(stack.client)}


def settled(frame: Sequence[str], request_id: str) -> tuple[int, int]:
    """The percentage and the length of the bar in a request's row."""
    for line in frame:
        found = re.match(rf"{re.escape(request_id)} +\w+ +(\d+)%  ([━╸]*)", line)
        if found:
            return int(found[1]), len(found[2])
    return -1, 0


async def test_two_requests_are_watched_until_both_are_over(stack: Stack) -> None:
    """Bars grow, the verdicts stay, and what they say is what the spreadsheets hold."""
    project = await stack.project()
    stack.spreadsheets("watch-a", "watch-b")
    good = [append(f"a{n}", "watch-a") for n in range(60)]
    mixed = [append(f"b{n}", "watch-b", user="other") for n in range(59)] + [{"id": "bad", "op": "upsert"}]
    one = await stack.submit(project, good, operations_per_call=1)
    other = await stack.submit(project, mixed, operations_per_call=1)
    names = [handle.id.removeprefix("bulk/") for handle in (one, other)]
    async with on_a_terminal(stack, "watch", *names) as terminal:
        assert await asyncio.wait_for(terminal.process.wait(), 90) == 1
        terminal.read()
    frames = terminal.frames
    for name in names:
        seen = [settled(frame, name) for frame in frames if settled(frame, name)[0] >= 0]
        percents, bars = [percent for percent, _ in seen], [length for _, length in seen]
        assert any(0 < percent < 100 for percent in percents)
        assert percents == sorted(percents)
        assert bars[-1] == max(bars) > 0
    last = "\n".join(frames[-1])
    assert re.search(rf"{names[0]} +completed +100%.* 60/60 +all succeeded", last)
    assert re.search(rf"{names[1]} +completed +100%.* 60/60", last)
    assert "1 failed (" in last
    assert "2 requests: 2 completed" in last
    assert sum(stack.counted("watch-a", "watch-b").values()) == 119
    assert max(len(line) for frame in frames for line in frame) <= WIDTH


async def test_ctrl_c_ends_the_watching_and_not_the_request(stack: Stack) -> None:
    """130, and a line that says so."""
    project = await stack.project()
    stack.spreadsheets("watch-c")
    handle = await stack.submit(project, [append(f"c{n}", "watch-c") for n in range(300)], operations_per_call=1)
    name = handle.id.removeprefix("bulk/")
    try:
        async with on_a_terminal(stack, "watch", name) as terminal:
            await eventually(lambda: "calls/min" in terminal.written.decode(errors="replace"), timeout=60)
            terminal.press(b"\x03")
            assert await asyncio.wait_for(terminal.process.wait(), 30) == 130
            terminal.read()
        text = terminal.written.decode()
        assert f"the request goes on; to watch again: headgate watch {name}" in text
        assert "Traceback" not in text
        assert "\x1b[?25h" in text, "the cursor is there again"
        before = len(stack.calls("watch-c"))
        await eventually(lambda: len(stack.calls("watch-c")) > before, timeout=30)
    finally:
        await handle.signal("cancel_request")
        await handle.result()
