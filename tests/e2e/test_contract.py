"""The command line against a real server, worker and emulator: what other programs rely on."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rig import PROJECT, Rig, Setting, rig, worst_windows
from headgate.senders import sender
from starter import connection
from tests.eventually import eventually

SETTING = Setting(per_project=60, per_user=30, window=5, spacing=0.05, latency_ms=30, users=3)
SHEETS = ("alpha", "beta", "gamma")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture(scope="session")
async def running() -> AsyncIterator[Rig]:
    """One rig for all tests of the contract."""
    async with rig(SETTING, SHEETS) as made:
        yield made


async def headgate(
    running: Rig, *arguments: str, stdin: bytes = b"", expect: int = 0
) -> subprocess.CompletedProcess[bytes]:
    """Run a command and check its exit code; errors are one sentence on stderr, never a traceback."""
    done = await asyncio.to_thread(running.headgate, *arguments, stdin=stdin)
    assert done.returncode == expect, (done.stdout[-500:], done.stderr[-2000:])
    assert b"Traceback" not in done.stderr + done.stdout
    if expect in (2, 3):
        assert done.stderr.strip()
    return done


def lines(*operations: dict[str, Any] | bytes) -> bytes:
    return b"".join((o if isinstance(o, bytes) else json.dumps(o).encode()) + b"\n" for o in operations)


def append(name: str, sheet: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "op": "append", "spreadsheet": sheet, "range": "Orders!A:B", "values": [[name, 1]], **more}


async def test_submit_status_and_results_keep_their_shape(running: Rig) -> None:
    """Every field of the contract is there, and results come as JSON Lines."""
    stdin = lines(append("s1", "alpha"), append("s2", "alpha"), append("s3", "beta", user="u1"))
    arguments = ("submit", "-", "--project", PROJECT, "--user", "u0", "--owner", "billing", "--id", "shape", "--json")
    done = await headgate(running, *arguments, "--wait", stdin=stdin)
    first = json.loads(done.stdout.splitlines()[0])
    assert first["id"] == "shape"
    assert first["workflow_id"] == "bulk/shape"
    status = json.loads((await headgate(running, "status", "shape", "--json")).stdout)
    assert status["state"] == "completed"
    assert status["operations"] == {"total": 3, "succeeded": 3, "failed": 0, "unprocessed": 0, "remaining": 0}
    assert set(status["calls"]) == {"planned", "made", "retried"}
    assert {"id", "state", "priority", "owner", "rate_per_minute", "eta_at", "waiting", "version"} <= set(status)
    assert status["owner"] == "billing"
    told = [json.loads(line) for line in (await headgate(running, "results", "shape", "--json")).stdout.splitlines()]
    assert [set(result) for result in told] == [{"id", "line", "outcome", "applied", "reason", "reply"}] * 3
    assert (await headgate(running, "results", "shape", "--outcome", "failed", "--json")).stdout == b""


async def test_the_history_of_a_request_that_is_over_says_who_submitted_it(
    running: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object a line from the submission to the end; and what workers did is signed by their roles."""
    monkeypatch.setitem(running.environ, "USER", "eve")
    arguments = ("submit", "-", "--project", PROJECT, "--user", "u0", "--id", "told", "--wait")
    await headgate(running, *arguments, stdin=lines(append("h1", "alpha"), b"{not json"), expect=1)
    told = [json.loads(line) for line in (await headgate(running, "history", "told", "--json")).stdout.splitlines()]
    assert [entry["kind"] for entry in told if entry["kind"] != "progress"] == [
        "submitted",
        "planned",
        "dead_letters",
        "state",
        "ended",
    ]
    assert all({"at", "kind", "by", "says", "so_far", "run", "event"} <= set(entry) for entry in told)
    assert (told[0]["sender"], told[0]["by"]) == (sender("eve", socket.gethostname()), "eve")
    assert told[-1]["operations"] == {"total": 2, "succeeded": 1, "failed": 1, "unprocessed": 0}
    client = await connection.connect(running.environ["TEMPORAL_ADDRESS"])
    signed = {
        event.activity_task_started_event_attributes.identity.partition("/")[0]
        async for event in client.get_workflow_handle("bulk/told").fetch_history_events()
        if event.HasField("activity_task_started_event_attributes")
    }
    assert signed == {"worker-plan", "worker-send"}


async def test_the_same_request_twice_is_one_and_other_content_is_an_error(running: Rig) -> None:
    """Idempotent by id; another input, project, user, order or cap under the same id is the caller's mistake."""
    arguments = ("submit", "-", "--project", PROJECT, "--user", "u0", "--id", "twice", "--json")
    one = await headgate(running, *arguments, stdin=lines(append("t1", "gamma")))
    two = await headgate(running, *arguments, stdin=lines(append("t1", "gamma")))
    assert json.loads(one.stdout) == json.loads(two.stdout)
    await headgate(running, *arguments, stdin=lines(append("t2", "gamma")), expect=2)
    await headgate(running, *arguments, "--order", "strict", stdin=lines(append("t1", "gamma")), expect=2)
    await running.ended("twice", 60)
    await headgate(running, *arguments, stdin=lines(append("t1", "gamma")))
    await headgate(running, *arguments, "--operations-per-call", "1", stdin=lines(append("t1", "gamma")), expect=2)
    assert (await running.rows("gamma"))["t1"] == 1


async def test_bad_lines_become_dead_letters_and_the_good_lines_run(running: Rig) -> None:
    """Each with its line number and a sentence; --wait says 1 because operations failed."""
    stdin = lines(
        b"{not json",
        {"id": "b2", "op": "explode", "spreadsheet": "alpha"},
        {"id": "b3", "op": "append", "spreadsheet": "alpha", "values": [["x"]]},
        {"id": "b4", "op": "read", "spreadsheet": "alpha", "range": "Orders!ZZZZZZ1:A99999999999"},
        {"id": "b5", "op": "append", "spreadsheet": "alpha", "range": "Orders!A:A", "values": [["x" * 60_000]]},
        {"id": "b6", "op": "clear", "spreadsheet": "a/b", "range": "A1"},
        {"id": "b7", "op": "clear", "spreadsheet": "../other", "range": "A1"},
        append("b8", "alpha", user="nobody"),
        b'{"id": "b9", "op": "append", "spreadsheet": "alpha", "range": "A:A", "values": [[NaN]]}',
        b"\xff\xfe",
        append("good", "alpha"),
        append("good", "alpha"),
    )
    arguments = ("submit", "-", "--project", PROJECT, "--user", "u0", "--id", "bad", "--wait", "--json")
    await headgate(running, *arguments, stdin=stdin, expect=1)
    told = [json.loads(line) for line in (await headgate(running, "results", "bad", "--json")).stdout.splitlines()]
    failed = {result["line"]: result for result in told if result["outcome"] == "failed"}
    assert sorted(failed) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12]
    assert all(result["reason"] and result["applied"] == "no" for result in failed.values())
    assert [result["line"] for result in told if result["outcome"] == "succeeded"] == [11]
    assert (await running.rows("alpha"))["good"] == 1


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (("submit", "-", "--project", PROJECT), b""),
        (("submit", "-", "--project", PROJECT), b"\n\n"),
        (("submit", "/no/such/file", "--project", PROJECT), b""),
        (("submit", "-", "--project", PROJECT, "--user", "nobody"), b"{}\n"),
        (("submit", "-", "--project", PROJECT, "--user", "u0", "--priority", "huge"), b"{}\n"),
        (("submit", "-", "--project", "a/b", "--user", "u0"), b"{}\n"),
        (("submit", "-", "--project", PROJECT, "--user", "u0", "--id", "../x"), b"{}\n"),
        (("submit", "-", "--user", "u0"), b"{}\n"),
        (("status", "no-such-request", "--json"), b""),
        (("results", "no-such-request", "--json"), b""),
        (("history", "no-such-request", "--json"), b""),
        (("pause", "no-such-request"), b""),
        (("limiter", "show", "--project", "never-seen", "--json"), b""),
        (("limiter", "set", "--project", PROJECT, "--read-per-user", "0"), b""),
        (("no-such-command",), b""),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
async def test_the_callers_mistakes_exit_with_2_and_a_sentence(
    running: Rig, arguments: tuple[str, ...], stdin: bytes
) -> None:
    """Nothing is started, and the sentence says what is wrong."""
    await headgate(running, *arguments, stdin=stdin, expect=2)


async def test_no_server_exits_with_3_within_a_minute(running: Rig, tmp_path: Path) -> None:
    """The sentence names the address."""
    environ = {**running.environ, "TEMPORAL_ADDRESS": "127.0.0.1:9"}
    for arguments in (("status", "x"), ("submit", "-", "--project", PROJECT, "--user", "u0"), ("list",), ("doctor",)):
        command = [sys.executable, "-m", "starter.cli", *arguments]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            input=lines(append("x", "alpha")),
            env=environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 3, (arguments, done.stderr)
        assert b"Traceback" not in done.stderr
        assert b"127.0.0.1:9" in done.stderr + done.stdout


async def test_the_limiter_is_set_and_shown(running: Rig) -> None:
    """Before any request exists, and unset values keep what they were."""
    await headgate(running, "limiter", "set", "--project", "fresh", "--read-per-user", "7", "--window", "30", "--json")
    shown = json.loads((await headgate(running, "limiter", "show", "--project", "fresh", "--json")).stdout)
    assert shown["settings"]["read_per_user"] == 7
    assert shown["settings"]["write_per_project"] == 300
    assert shown["settings"]["window_ns"] == 30_000_000_000
    assert shown["quiet_until_ns"] == 0


async def test_pause_resume_and_cancel_from_the_command_line(running: Rig) -> None:
    """The states go by their names, and a cancelled request leaves the rest unprocessed."""
    stdin = lines(*(append(f"p{n}", "beta", user="u1") for n in range(300)))
    arguments = ("submit", "-", "--project", PROJECT, "--id", "steer", "--operations-per-call", "1", "--json")
    await headgate(running, *arguments, stdin=stdin)

    async def state() -> str:
        return (await running.progress("steer")).state

    async def sent() -> bool:
        return (await running.progress("steer")).calls.made > 5

    await eventually(sent, timeout=30)
    await headgate(running, "pause", "steer")
    assert await eventually(lambda: _is(state(), "paused"), timeout=10)
    listed = await headgate(running, "list", "--json")
    assert b"steer" in listed.stdout
    await headgate(running, "reprioritise", "steer", "--to", "urgent")
    await headgate(running, "resume", "steer")
    assert await eventually(lambda: _is(state(), "running"), timeout=10)
    await headgate(running, "cancel", "steer")
    view = await running.ended("steer", 30)
    assert view.state == "cancelled"
    assert view.priority == "urgent"
    told = [json.loads(line) for line in (await headgate(running, "results", "steer", "--json")).stdout.splitlines()]
    assert len(told) == 300
    assert sum(r["outcome"] == "unprocessed" for r in told) == view.operations.unprocessed > 0


async def test_status_always_ends_with_the_right_code(running: Rig) -> None:
    """Short-lived clients are known to crash at exit: not this one."""
    done = [await headgate(running, "status", "shape", "--json") for _ in range(10)]
    assert len({one.stdout for one in done}) == 1


async def test_the_worker_is_killed_and_nothing_is_lost_or_doubled(running: Rig) -> None:
    """SIGKILL to all its processes in the middle of a request, twice; the emulator's cells and ledger are the judges."""
    operations = [append(f"k{n}", SHEETS[n % 3], user=f"u{n % 3}") for n in range(240)]
    request_id = await running.submit(operations, "--operations-per-call=1", "--id=killed")

    for made in (40, 110):

        async def far(made: int = made) -> bool:
            return (await running.progress(request_id)).calls.made > made

        await eventually(far, timeout=60)
        running.kill_worker()
        running.start_worker()
    view = await running.ended(request_id, 150)
    assert view.operations.succeeded == 240
    rows = sum([await running.rows(sheet) for sheet in SHEETS], start=type(await running.rows("alpha"))())
    assert {rows[f"k{n}"] for n in range(240)} == {1}
    ledger = await running.ask_emulator("ledger")
    assert [c for c in ledger["calls"] if c["status"] == 429] == []
    worst = worst_windows(ledger, SETTING.window)
    assert worst["write_per_project"] <= SETTING.per_project
    assert worst["write_per_user"] <= SETTING.per_user


async def test_doctor_finds_everything_in_order(running: Rig) -> None:
    """With a server, a worker and credentials there is nothing to do."""
    done = await headgate(running, "doctor", "--json")
    assert done.stdout


def test_secrets_are_nowhere_in_the_store_or_the_log(running: Rig) -> None:
    """The emulator's tokens are the users' names here, so look for the header itself."""
    for path in running.folder.rglob("*"):
        if path.is_file() and path.name != "credentials.toml":
            assert b"Bearer " not in path.read_bytes(), path
    assert (running.folder / "worker.log").exists()


async def _is(state: Any, wanted: str) -> bool:
    return bool(await state == wanted)
