"""How a Temporal CLI is found or fetched, and which address counts; no network."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from starter.devserver import ServerUnavailable, claim, configured_address, find_binary
from starter.temporal_cli import CLI_VERSION, FetchFailed, Progress, build_binary, guarded, silent
from tests.eventually import eventually

CLI = "#!/bin/sh\necho temporal version 0.0.0\n"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def refused(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    raise FetchFailed("the network says no")


def unexpected(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    raise AssertionError("must not be asked")


def brings_cli(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
    script(target, CLI)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with nothing on PATH and an empty cache."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "HEADGATE_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}


def cached(environ: Mapping[str, str]) -> Path:
    return Path(environ["HEADGATE_CACHE"]) / f"temporal-{CLI_VERSION}"


def test_path_comes_before_the_cache(environ: dict[str, str]) -> None:
    on_path = script(Path(environ["PATH"]) / "temporal", CLI)
    script(cached(environ), CLI)
    assert find_binary(silent, environ=environ, download=unexpected, build=unexpected) == on_path


def test_the_cache_comes_before_fetching(environ: dict[str, str]) -> None:
    script(cached(environ), CLI)
    assert find_binary(silent, environ=environ, download=unexpected, build=unexpected) == cached(environ)


def test_something_else_named_temporal_is_passed_over(environ: dict[str, str]) -> None:
    script(Path(environ["PATH"]) / "temporal", "#!/bin/sh\nexit 1\n")
    script(cached(environ), CLI)
    said: list[str] = []
    assert find_binary(said.append, environ=environ, download=unexpected, build=unexpected) == cached(environ)
    assert "looking further" in said[0]


def test_the_download_comes_before_the_build(environ: dict[str, str]) -> None:
    assert find_binary(silent, environ=environ, download=brings_cli, build=unexpected) == cached(environ)


def test_a_refused_download_leads_to_a_build(environ: dict[str, str]) -> None:
    said: list[str] = []
    assert find_binary(said.append, environ=environ, download=refused, build=brings_cli) == cached(environ)
    assert "the network says no" in said


def test_a_download_that_does_not_run_leads_to_a_build(environ: dict[str, str]) -> None:
    def brings_junk(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
        script(target, "not a program of this machine")

    assert find_binary(silent, environ=environ, download=brings_junk, build=brings_cli) == cached(environ)


def test_where_nothing_works_the_message_says_what_to_do(environ: dict[str, str]) -> None:
    with pytest.raises(ServerUnavailable) as raised:
        find_binary(silent, environ=environ, download=refused)
    message = str(raised.value)
    for part in ("the network says no", "no Go on PATH", "docs.temporal.io/cli", "TEMPORAL_ADDRESS"):
        assert part in message
    assert sorted(path.name for path in cached(environ).parent.iterdir()) == [f"{cached(environ).name}.lock"]


def test_a_cache_that_cannot_be_made_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environ["HEADGATE_CACHE"] = str(tmp_path / "file" / "cache")
    with pytest.raises(ServerUnavailable, match="HEADGATE_CACHE"):
        find_binary(silent, environ=environ)


def test_the_final_name_appears_only_when_the_file_is_whole(environ: dict[str, str]) -> None:
    seen: list[bool] = []

    def slow(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
        target.write_text("half")
        seen.append(cached(environ).exists())
        script(target, CLI)

    cached(environ).parent.mkdir()
    cached(environ).with_name(f"{cached(environ).name}.partial").write_text("left behind by a crash")
    find_binary(silent, environ=environ, download=slow)
    assert seen == [False]
    assert cached(environ).read_text() == CLI


async def test_two_at_once_fetch_once(environ: dict[str, str]) -> None:
    go_on = threading.Event()
    fetched: list[Path] = []
    said: list[str] = []

    def slow(target: Path, progress: Progress, environ: Mapping[str, str]) -> None:
        fetched.append(target)
        assert go_on.wait(10)
        script(target, CLI)

    def find() -> None:
        find_binary(said.append, environ=environ, download=slow)

    both = [threading.Thread(target=find) for _ in range(2)]
    for one in both:
        one.start()
    await eventually(lambda: any("another process" in line for line in said))
    go_on.set()
    for one in both:
        one.join(10)
    assert len(fetched) == 1
    assert cached(environ).is_file()


def test_a_build_shows_what_go_says_and_lets_it_fetch_a_newer_toolchain(
    environ: dict[str, str], tmp_path: Path
) -> None:
    script(
        Path(environ["PATH"]) / "go",
        f'#!/bin/sh\necho "$GOTOOLCHAIN $*" > {tmp_path}/called\necho no luck >&2\nexit 1\n',
    )
    with pytest.raises(FetchFailed, match="no luck"):
        build_binary(tmp_path / "out", silent, environ)
    called = (tmp_path / "called").read_text()
    assert called.startswith("auto build ")
    assert f"-o {tmp_path}/out" in called
    environ["GOTOOLCHAIN"] = "local"
    with pytest.raises(FetchFailed):
        build_binary(tmp_path / "out", silent, environ)
    assert (tmp_path / "called").read_text().startswith("local build ")


def test_a_configured_address_is_found(tmp_path: Path) -> None:
    profile = tmp_path / "temporal.toml"
    profile.write_text('[profile.default]\naddress = "from.profile:7233"\n')
    nothing = str(tmp_path / "nothing.toml")
    assert configured_address({"TEMPORAL_CONFIG_FILE": nothing}) is None
    assert configured_address({"TEMPORAL_CONFIG_FILE": str(profile)}) == "from.profile:7233"
    both = {"TEMPORAL_CONFIG_FILE": str(profile), "TEMPORAL_ADDRESS": "from.env:7233"}
    assert configured_address(both) == "from.env:7233"


def test_a_broken_configuration_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "temporal.toml"
    broken.write_text("[profile")
    with pytest.raises(ServerUnavailable, match="cannot be read"):
        configured_address({"TEMPORAL_CONFIG_FILE": str(broken)})


def test_free_ports_differ() -> None:
    assert len({claim("port", 0) for _ in range(20)}) == 20


async def test_a_guarded_command_ends_with_its_killed_owner(tmp_path: Path) -> None:
    """The owner gets no chance to say anything: the kernel closes the pipe."""
    command = guarded(["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"])
    code = f"import subprocess, time; p = subprocess.Popen({command!r}, stdin=subprocess.PIPE); time.sleep(60)"
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    pid_file = tmp_path / "pid"
    try:
        pid = int(await eventually(lambda: pid_file.exists() and pid_file.read_text().strip()))
        os.kill(pid, 0)
    finally:
        owner.kill()
        await owner.wait()
    await eventually(lambda: not running(pid), timeout=5)


def test_a_guard_hands_on_the_exit_code() -> None:
    for command, code in (("exit 7", 7), ("kill -9 $$", 137)):
        with subprocess.Popen(guarded(["sh", "-c", command]), stdin=subprocess.PIPE) as guarding:
            assert guarding.wait(10) == code


def running(pid: int) -> bool:
    """Whether the process exists and is no zombie, which nobody may have collected yet."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")
