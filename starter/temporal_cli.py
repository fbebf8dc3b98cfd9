"""The Temporal CLI's binary: found, downloaded or built once.

1. It is looked for on PATH, then in the cache folder, then fetched into the cache: by the SDK's download, or, where that is
   refused, by a build with Go from the module pinned in tools/temporal.
2. Whatever appears in the cache under its final name is whole and has answered `--version`.
3. Several processes that need it at once fetch it once.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Final, TypeAlias

from temporalio.testing import WorkflowEnvironment

from headgate.errors import Unreachable
from headgate.settings import Settings
from starter import guard

CLI_VERSION: Final = "1.8.2"  # as pinned in tools/temporal/go.mod
CLI_PACKAGE: Final = "github.com/temporalio/cli/cmd/temporal"
CLI_MODULE: Final = Path(__file__).resolve().parent.parent / "tools" / "temporal"
PROGRESS_EVERY: Final = 5.0
DOWNLOAD_WITHIN: Final = 300.0
BUILD_TAKES: Final = "3 to 8 minutes on two cores"

Progress: TypeAlias = Callable[[str], None]
Fetch: TypeAlias = Callable[[Path, Progress, Mapping[str, str]], None]

INSTALL: Final = (
    "Do one of these and try again:\n"
    "  - install the Temporal CLI so that `temporal` is on PATH (https://docs.temporal.io/cli)\n"
    "  - install Go 1.26.4 or newer, or any Go from 1.21 on that may download a newer one\n"
    "  - set TEMPORAL_ADDRESS to a server that runs already"
)


class ServerUnavailable(Unreachable):
    """No Temporal server can be had; the message says what to do about it."""


class FetchFailed(Exception):
    """One way of getting the binary did not work; the message is a line that says why."""


def silent(line: str) -> None:
    """Progress that nobody wants to see."""


def find_binary(
    progress: Progress,
    *,
    environ: Mapping[str, str] = os.environ,
    download: Fetch | None = None,
    build: Fetch | None = None,
) -> Path:
    """A Temporal CLI that answers; fetched into the cache when there is none yet."""
    on_path = shutil.which("temporal", path=environ.get("PATH", ""))
    if on_path is not None:
        if answers(Path(on_path)):
            return Path(on_path)
        progress(f"{on_path} does not answer `--version` like a Temporal CLI: looking further")
    cached = Settings.from_environ(environ).cache_dir / f"temporal-{CLI_VERSION}"
    if not cached.is_file():
        fetch(cached, [download or download_binary, build or build_binary], progress, environ)
    return cached


def answers(binary: Path) -> bool:
    """Whether the file runs and says that it is a Temporal CLI."""
    try:
        shown = subprocess.run(
            [binary, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.returncode == 0 and b"temporal" in shown.stdout.lower()


def fetch(target: Path, ways: Sequence[Fetch], progress: Progress, environ: Mapping[str, str]) -> None:
    """The first way that works puts the binary at `target`, whole; several processes at once fetch it once."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServerUnavailable(
            f"the cache folder {target.parent} cannot be made ({error.strerror}): point HEADGATE_CACHE to one that can"
        ) from error
    with exclusive(target.with_name(f"{target.name}.lock"), progress):
        if target.is_file():
            return
        progress(f"no Temporal CLI found: fetching version {CLI_VERSION} into {target.parent}, once")
        partial = target.with_name(f"{target.name}.partial")
        failures = []
        for way in ways:
            partial.unlink(missing_ok=True)
            try:
                way(partial, progress, environ)
            except FetchFailed as error:
                failures.append(str(error))
                if way is not ways[-1]:
                    progress(str(error))
                continue
            if answers(partial):
                partial.replace(target)
                return
            failures.append("the Temporal CLI that came does not run on this machine")
        partial.unlink(missing_ok=True)
        raise ServerUnavailable("\n".join(["no Temporal server can be had:", *failures, INSTALL]))


@contextmanager
def exclusive(lock: Path, progress: Progress) -> Iterator[None]:
    """Held by one process at a time; the kernel frees it when that process ends, however that happens."""
    with lock.open("w") as file:
        started_at = tell_at = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= tell_at:
                    tell_at = time.monotonic() + PROGRESS_EVERY
                    progress(f"another process is fetching the Temporal CLI: waiting for it, {since(started_at)}")
                time.sleep(0.2)
        yield


def since(started_at: float) -> str:
    """The time gone by, for a person."""
    minutes, seconds = divmod(int(time.monotonic() - started_at), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def download_binary(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    """The prebuilt CLI, by the SDK's own download."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-") as folder:
        code = "import sys; from starter.temporal_cli import download_into; download_into(sys.argv[1])"
        said = attend(
            [sys.executable, "-c", code, folder],
            environ,
            CLI_MODULE.parent.parent,
            lambda lines, last, spent: progress(f"  downloading the Temporal CLI, {spent}"),
        )[1]
        binaries = [path for path in Path(folder).rglob("temporal*") if path.is_file() and answers(path)]
        if not binaries:
            raise FetchFailed(f"the Temporal CLI cannot be downloaded: {said[-1] if said else 'nothing came'}")
        binaries[0].replace(target)


def download_into(folder: str) -> None:
    """The SDK downloads only what it starts: so it starts a server, which ends at once."""

    async def start_once() -> None:
        async with asyncio.timeout(DOWNLOAD_WITHIN):
            environment = await WorkflowEnvironment.start_local(
                download_dest_dir=folder,
                dev_server_download_version=f"v{CLI_VERSION}",
                dev_server_log_level="error",
                dev_server_startup_timeout=timedelta(seconds=30),
            )
        await environment.shutdown()

    failure = ""
    try:
        asyncio.run(start_once())
    except TimeoutError:
        failure = f"it took more than {DOWNLOAD_WITHIN:g} s"
    except RuntimeError as error:
        failure = str(error)
    print(failure, flush=True)
    os._exit(1 if failure else 0)  # not sys.exit: the SDK may crash at exit, and the crash would be the last line


def build_binary(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    """The pinned CLI, compiled from the sources that the Go module proxy serves."""
    go = shutil.which("go", path=environ.get("PATH", ""))
    if go is None:
        raise FetchFailed("the Temporal CLI cannot be built: there is no Go on PATH")
    if not (CLI_MODULE / "go.sum").is_file():
        raise FetchFailed(f"the Temporal CLI cannot be built: {CLI_MODULE} is not part of this installation")
    progress(f"building the Temporal CLI with {go}: about {BUILD_TAKES}, once")
    linked = f"-s -w -X github.com/temporalio/cli/internal/temporalcli.Version={CLI_VERSION}"
    started_at = time.monotonic()
    code, said = attend(
        [go, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", linked, "-o", str(target), CLI_PACKAGE],
        # A toolchain that was told nothing may fetch the newer one that go.mod asks for.
        {"GOTOOLCHAIN": "auto", **environ, "GOWORK": "off"},
        CLI_MODULE,
        lambda lines, last, spent: progress(f"  {spent}: {lines} packages so far, now {last.removeprefix('go: ')}"),
    )
    if code != 0:
        raise FetchFailed("\n  ".join(["the Temporal CLI cannot be built:", *said]))
    progress(f"built the Temporal CLI in {since(started_at)}")


def attend(
    command: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    show: Callable[[int, str, str], None],
) -> tuple[int, list[str]]:
    """The exit code and the last lines of a command; `show` gets lines so far, the last one, and the time spent."""
    started_at = time.monotonic()
    said: deque[str] = deque(maxlen=5)
    lines = 0
    with subprocess.Popen(
        guarded(command),
        cwd=folder,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        reading: IO[str] = running.stdout

        def listen() -> None:
            nonlocal lines
            for line in reading:
                lines += 1
                if line.strip():
                    said.append(line.strip())

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        try:
            while running.poll() is None:
                try:
                    running.wait(PROGRESS_EVERY)
                except subprocess.TimeoutExpired:
                    show(lines, said[-1] if said else "at the start", since(started_at))
        finally:
            running.stdin.close()
        listening.join(timeout=5)
    return running.returncode, list(said)


def guarded(command: Sequence[str]) -> list[str]:
    """The command, run so that it ends with this process even if this process is killed."""
    return [sys.executable, "-I", "-S", str(Path(guard.__file__).resolve()), *command]
