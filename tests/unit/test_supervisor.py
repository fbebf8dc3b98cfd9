"""The supervisor of worker processes: restarts, a good end, and no process left behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from headgate.steering import Refused
from tests.eventually import eventually
from worker import Line, Supervisor

# A role as worker.py has it: watches its owner first of all, and takes a moment to finish when asked to.
ROLE = """
import os, signal, sys, time, worker
worker.end_with_owner()
def finish(signum, frame):
    time.sleep(0.2)
    open(sys.argv[1] + ".finished", "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, finish)
signal.signal(signal.SIGINT, signal.SIG_IGN)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""

SUPERVISE = "import asyncio, json, sys, worker; sys.exit(asyncio.run(worker.supervise(json.loads(sys.argv[1]))))"


def pid_in(file: Path) -> int:
    return int(file.read_text()) if file.exists() else 0


def finished(folder: Path) -> list[Path]:
    return [*folder.glob("*.finished")]


def running(pid: int) -> bool:
    """Whether the process exists and is no zombie, which nobody may have collected yet."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")


@asynccontextmanager
async def supervised(folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[int]]]:
    """A supervisor in a process and a group of its own, and the ids of its two running roles."""
    files = [folder / "one", folder / "two"]
    commands = {file.name: [sys.executable, "-c", ROLE, str(file)] for file in files}
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISE, json.dumps(commands), start_new_session=True
    )
    try:
        await eventually(lambda: all(map(pid_in, files)), timeout=30)
        yield supervisor, [pid_in(file) for file in files]
    finally:
        if supervisor.returncode is None:
            os.killpg(supervisor.pid, signal.SIGKILL)
            await supervisor.wait()


async def test_roles_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (supervisor, pids):
        assert {os.getpgid(pid) for pid in pids} == {supervisor.pid}
        supervisor.kill()
        await supervisor.wait()
        await eventually(lambda: not any(map(running, pids)), timeout=2)
    assert not finished(tmp_path)


@pytest.mark.parametrize(("signum", "send"), [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)])
async def test_a_signal_lets_every_role_finish(
    signum: signal.Signals, send: Callable[[int, int], None], tmp_path: Path
) -> None:
    """SIGTERM as a service manager sends it, to the one process; SIGINT as a terminal does, to the whole group."""
    async with supervised(tmp_path) as (supervisor, pids):
        send(supervisor.pid, signum)
        assert await asyncio.wait_for(supervisor.wait(), 10) == 0
        assert not any(map(running, pids))
    assert len(finished(tmp_path)) == 2


async def test_a_killed_role_is_started_again(tmp_path: Path) -> None:
    async with supervised(tmp_path) as (_, (one, two)):
        os.kill(one, signal.SIGKILL)
        again = await eventually(lambda: pid_in(tmp_path / "one") != one and pid_in(tmp_path / "one"), timeout=30)
        assert running(int(again))
        assert pid_in(tmp_path / "two") == two


async def run_until(supervisor: Supervisor, done: Callable[[], object]) -> tuple[int, float]:
    """The exit code, and how long the end took."""
    run = asyncio.create_task(supervisor.run())
    await eventually(done)
    asked_at = time.monotonic()
    os.kill(os.getpid(), signal.SIGTERM)
    return await asyncio.wait_for(run, 10), time.monotonic() - asked_at


async def test_the_pause_grows_while_a_role_keeps_ending(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor({"broken": ["sh", "-c", "exit 3"]}, shortest_pause=0.01, longest_pause=0.05)

    def ended() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.getMessage() == "Process ended unasked"]

    with caplog.at_level(logging.INFO, "headgate.worker"):
        assert (await run_until(supervisor, lambda: len(ended()) >= 5))[0] == 0
    assert [vars(record)["restart_in"] for record in ended()[:5]] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert {vars(record)["exit_code"] for record in ended()} == {3}


async def test_the_pause_is_short_again_after_a_settled_run(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor({"settled": ["sleep", "0.05"]}, shortest_pause=0.01, settled_after=0.04)

    def pauses() -> list[float]:
        return [vars(record)["restart_in"] for record in caplog.records if "restart_in" in vars(record)]

    with caplog.at_level(logging.INFO, "headgate.worker"):
        await run_until(supervisor, lambda: len(pauses()) >= 3)
    assert set(pauses()) == {0.01}


async def test_a_role_that_does_not_finish_is_killed(tmp_path: Path) -> None:
    stubborn = ["sh", "-c", f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.1; done"]
    code, took = await run_until(
        Supervisor({"stubborn": stubborn}, finish_within=0.3), lambda: (tmp_path / "up").exists()
    )
    assert code == 1
    assert 0.3 <= took < 3


async def test_a_pause_does_not_delay_the_end(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor({"broken": ["false"]}, shortest_pause=60)
    with caplog.at_level(logging.INFO, "headgate.worker"):
        code, took = await run_until(supervisor, lambda: "Process ended unasked" in caplog.text)
    assert code == 0
    assert took < 2


def test_a_line_has_a_constant_message_and_its_facts() -> None:
    record = logging.makeLogRecord(
        {"msg": "Call sent", "levelname": "INFO", "created": 0.0, "batch": "b-1", "why": "a reason\nof two lines"}
    )
    assert Line().format(record) == (
        r'1970-01-01T00:00:00.000+00:00 INFO Call sent batch=b-1 why="a reason\nof two lines"'
    )


def test_what_is_raised_for_another_attempt_is_a_line_and_a_defect_has_its_traceback() -> None:
    def logged(error: Exception) -> str:
        found = {"msg": "Activity failed", "levelname": "WARNING", "exc_info": (type(error), error, None)}
        return Line().format(logging.makeLogRecord(found))

    assert logged(ApplicationError("the API\nfails", type="Again")).endswith(
        r'Activity failed error="Again: the API\nfails"'
    )
    assert logged(ZeroDivisionError()).endswith("\nZeroDivisionError")
    assert logged(caused(ApplicationError("it is over"), Refused("it is over"))).endswith('error="it is over"')
    hidden = logged(caused(ApplicationError("headgate could not go on"), ZeroDivisionError("here")))
    assert "ZeroDivisionError: here" in hidden
    assert hidden.endswith("headgate could not go on")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


async def test_a_role_waits_for_a_server_that_is_away_and_still_ends_when_asked() -> None:
    role = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "--role", "send"),
        env={**os.environ, "TEMPORAL_ADDRESS": "127.0.0.1:1"},
        stderr=asyncio.subprocess.PIPE,
    )
    assert role.stderr is not None
    line = await asyncio.wait_for(role.stderr.readline(), 30)
    assert b"WARNING Waiting for the Temporal server address=127.0.0.1:1 error=" in line
    role.terminate()
    assert await asyncio.wait_for(role.wait(), 10) == 0
