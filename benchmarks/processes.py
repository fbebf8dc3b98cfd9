"""What the processes below this one have taken: processor time and, at most, memory, by what they were started as."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

SAMPLE_EVERY_S = 0.2


def seconds_of_processes() -> dict[str, float]:
    """Processor time so far, in seconds."""
    tick = os.sysconf("SC_CLK_TCK")
    seconds: dict[str, float] = {}
    for folder, name in _below_us():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        seconds[name] = seconds.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / tick
    seconds["benchmark"] = time.process_time()
    return seconds


@asynccontextmanager
async def watched_memory() -> AsyncIterator[dict[str, float]]:
    """The most that one process of each name ever had resident, in MiB, kept up to date inside the block and at its end."""
    peaks: dict[str, float] = {}

    async def watch() -> None:
        while True:
            _look(peaks)
            await asyncio.sleep(SAMPLE_EVERY_S)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
    finally:
        watching.cancel()
        _look(peaks)


def _look(peaks: dict[str, float]) -> None:
    for folder, name in _below_us():
        try:
            status = (folder / "status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                peaks[name] = max(peaks.get(name, 0.0), round(int(line.split()[1]) / 1024, 1))


def _below_us() -> Iterator[tuple[Path, str]]:
    """Every process below this one: its folder in /proc and its name."""
    parents: dict[int, int] = {}
    found: dict[int, tuple[Path, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found[int(folder.name)] = (folder, _name((folder / "cmdline").read_text().split("\0")))
        except OSError:
            continue
    for process, entry in found.items():
        if _below(process, os.getpid(), parents):
            yield entry


def _name(command: list[str]) -> str:
    if "emulator" in command:
        return "emulator"
    if "starter.cli" in command:
        return f"headgate {command[command.index('starter.cli') + 1]}"
    role = command[command.index("--role") + 1] if "--role" in command else ""
    if role:
        return f"worker {role}"
    if command[-3:-1] == ["-m", "worker"]:
        return "worker"
    return "temporal" if any("temporal" in word for word in command) and "server" in command else "others"


def _below(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process in parents and parents[process] != process:
        process = parents[process]
        if process == ancestor:
            return True
    return False
