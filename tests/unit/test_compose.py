"""The compose file: nothing is reachable from outside this machine, and everything is pinned."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import tomllib
from pathlib import Path

import pytest

from starter.devserver import claim
from starter.temporal_cli import CLI_VERSION
from tests.eventually import eventually
from workflows.names import SEARCH_ATTRIBUTES

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def entries(key: str) -> list[str]:
    """The items of every block list under this key, as they are written; no YAML reader is among the dependencies."""
    found = []
    for block in re.finditer(rf"^( +){key}:\n((?:\1 +.*\n)+)", COMPOSE, re.MULTILINE):
        lines = [line.strip() for line in block[2].splitlines() if not line.lstrip().startswith("#")]
        assert all(line.startswith("- ") for line in lines), f"{key}: not a plain list: {lines}"
        found += [line.removeprefix("- ").strip('"') for line in lines]
    return found


def values(key: str) -> list[str]:
    return re.findall(rf"^ +{key}: *(\S.*)$", COMPOSE, re.MULTILINE)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_every_published_port_is_bound_to_this_machine() -> None:
    published = entries("ports")
    assert len(published) == 3
    assert [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []
    assert len(re.findall("ports:", COMPOSE)) == len(re.findall(r"^    ports:$", COMPOSE, re.MULTILINE))
    assert "network_mode: host" not in COMPOSE.replace('"', "")


@pytest.mark.parametrize("image", [*values("image"), *re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)])
def test_every_image_has_a_full_version(image: str) -> None:
    assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+(-[a-z0-9-]+)?", image)


def test_every_service_is_watched() -> None:
    services = re.findall(r"^  ([a-z]+):$", COMPOSE.split("\nvolumes:")[0], re.MULTILINE)
    assert services == ["temporal", "emulator", "worker", "bridge"]
    assert COMPOSE.count("    healthcheck:") == len(services)


def test_the_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {*values("image")} == {f"temporalio/temporal:{CLI_VERSION}", f"headgate:{project}"}
    module = (ROOT / "tools" / "temporal" / "go.mod").read_text()
    assert f"github.com/temporalio/cli v{CLI_VERSION} " in module


def test_the_search_attributes_are_those_of_the_project() -> None:
    asked = re.findall(r"^ +- --search-attribute=(\w+)=(\w+)$", COMPOSE, re.MULTILINE)
    assert dict(asked) == SEARCH_ATTRIBUTES


async def test_the_emulators_command_serves_what_its_healthcheck_asks_for() -> None:
    folded = re.search(r">-\n((?: {8}.*\n)+)", COMPOSE)
    assert folded is not None
    code = " ".join(line.strip() for line in folded[1].splitlines())
    port = claim("port", 0)
    assert '"0.0.0.0", 8080' in code
    command = code.replace('"0.0.0.0", 8080', f'"127.0.0.1", {port}')
    emulator = await asyncio.create_subprocess_exec(sys.executable, "-c", command)
    try:
        await eventually(lambda: answers(port), timeout=30)
        assert emulator.returncode is None
    finally:
        emulator.kill()
        await emulator.wait()


def test_the_image_does_not_run_as_root_and_installs_by_hashes() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1] == "headgate"
    assert "pip install --require-hashes -r requirements.lock" in DOCKERFILE


def test_the_image_gets_every_folder_that_the_package_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    copied = [word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()]
    ignored_not = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()]
    assert [path for path in wanted if path not in copied or path not in ignored_not] == []
