"""The Edge Functions' own tests, under the Deno that the platform is compatible with and, as an early warning, the newest."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.eventually import eventually
from tests.supabase.platform import functions

NAMES = ("submit", "command", "history")


@pytest.fixture(scope="module", params=["2.1.4", "newest"])
def deno(request: pytest.FixtureRequest) -> Path:
    """Either Deno, with everything in its cache that the functions import."""
    try:
        program = functions.deno(request.param)
        functions.fill_cache(program)
    except functions.Unavailable as missing:
        pytest.skip(str(missing))
    return program


def test_types_hold_and_the_linter_has_nothing_to_say(deno: Path) -> None:
    # Which types of Node a Deno checks against is its own matter, and in no lock.
    check = ["check", "--no-lock", "--quiet", *functions.sources(), str(functions.SCRIPT)]
    for command in (check, ["lint", "--quiet"]):
        done = functions.run(deno, *command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_functions_pass_their_tests_without_a_registry(deno: Path) -> None:
    # Their types are what the test before checks, and may need a package of types.
    done = functions.run(deno, "test", "--cached-only", "--no-check", "--allow-net", "--allow-read", "--quiet", "tests")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert " 0 failed" in done.stdout, done.stdout[-1000:]


def test_the_lock_holds_every_package_by_its_hash_and_names_no_host() -> None:
    """In version 4, the last one that the platform's Deno reads; a newer Deno would write another."""
    text = functions.LOCK.read_text()
    lock = json.loads(text)
    pins = json.loads((functions.FUNCTIONS / "deno.json").read_bytes())["imports"]
    assert lock["version"] == "4"
    assert set(lock["specifiers"]) == set(pins.values())
    assert len(lock["npm"]) > len(pins), "what the packages need is not locked"
    assert all(package["integrity"].startswith("sha512-") for package in lock["npm"].values())
    assert "://" not in text


def test_what_the_lock_says_is_what_is_loaded(deno: Path, tmp_path: Path) -> None:
    """Another version than the cache has, of a package that is in no pin: neither Deno takes what it has in its place."""
    copy = tmp_path / "functions"
    shutil.copytree(functions.FUNCTIONS, copy)
    locked = functions.LOCK.read_text()
    for name in NAMES:
        command = ["run", "--cached-only", "--no-prompt", "--quiet", f"{copy}/{name}/index.ts"]
        (copy / "deno.lock").write_text(locked)
        assert "SUPABASE_URL" in functions.run(deno, *command).stderr, "with the lock as it is, it gets to the settings"
        (copy / "deno.lock").write_text(locked.replace("tslib@2.", "tslib@1."))
        done = functions.run(deno, *command)
        assert done.returncode, done.stdout
        assert "tslib" in done.stderr
        assert "SUPABASE_URL" not in done.stderr


def test_a_pin_that_is_not_locked_is_refused(deno: Path, tmp_path: Path) -> None:
    copy = tmp_path / "functions"
    shutil.copytree(functions.FUNCTIONS, copy)
    pins = copy / "submit" / "deno.json"
    pins.write_text(pins.read_text().replace("npm:jose@", "npm:jose@^"))
    done = functions.run(deno, "run", "--cached-only", "--no-prompt", "--quiet", str(copy / "submit" / "index.ts"))
    assert done.returncode
    assert "lockfile is out of date" in done.stderr, done.stderr


def test_the_format_is_that_of_the_platforms_deno() -> None:
    try:
        program = functions.deno()
    except functions.Unavailable as missing:
        pytest.skip(str(missing))
    done = functions.run(program, "fmt", "--check", "--quiet", ".", str(functions.SCRIPT))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
async def test_each_function_is_served_by_its_own_pins(deno: Path, name: str, tmp_path: Path) -> None:
    """As it is deployed: the folder's deno.json and index.ts alone."""
    variables = {
        "SUPABASE_URL": "http://127.0.0.1:9",
        "SUPABASE_PUBLISHABLE_KEYS": '{"default": "k"}',
        "SUPABASE_JWKS": '{"keys": [{"kty": "oct", "kid": "k", "k": "AAAA"}]}',
    }
    command = [
        "serve",
        "--cached-only",
        "--no-prompt",
        "--allow-net",
        "--allow-env",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
    ]
    with (tmp_path / "said").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            str(deno),
            *command,
            f"{name}/index.ts",
            env=functions.environment(**variables),
            cwd=functions.FUNCTIONS,
            stdout=said,
            stderr=said,
        )
    try:

        async def address() -> str:
            text = (tmp_path / "said").read_text()
            assert process.returncode is None, text
            return text.partition("Listening on ")[2].partition("/\n")[0]

        url = await eventually(address)
        async with httpx.AsyncClient(base_url=url) as http:
            answers = [await http.request(method, f"/{name}") for method in ("OPTIONS", "GET", "POST")]
        expected = [204, 401, 405] if name == "history" else [204, 405, 401]
        assert [answer.status_code for answer in answers] == expected
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def test_the_description_is_valid_openapi() -> None:
    described: Any = json.loads((functions.FUNCTIONS / "openapi.json").read_bytes())
    OpenAPIV31SpecValidator(described).validate()
    operations = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert sorted(operations) == ["command", "finalize", "list", "look", "submit"]
