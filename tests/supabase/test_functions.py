"""The Edge Functions' own tests, under the Deno that the platform is compatible with and, as an early warning, the newest."""

from __future__ import annotations

import asyncio
import json
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
    for command in (["check", "--quiet", *functions.sources(), str(functions.SCRIPT)], ["lint", "--quiet"]):
        done = functions.run(deno, *command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_functions_pass_their_tests_without_a_registry(deno: Path) -> None:
    # Their types are what the test before checks, and may need a package of types.
    done = functions.run(deno, "test", "--cached-only", "--no-check", "--allow-net", "--allow-read", "--quiet", "tests")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert " 0 failed" in done.stdout, done.stdout[-1000:]


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
