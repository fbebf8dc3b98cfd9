"""The Edge Functions, served by Deno: the very code that is deployed, one process for all three.

1. Deno 2.1.4 is what the platform is compatible with, so it is the one that serves; a newer one is for early warning.
2. The npm packages come once, those of `deno.lock` and no others; afterwards nothing is asked of a registry.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[3]
FUNCTIONS = ROOT / "supabase" / "functions"
LOCK = FUNCTIONS / "deno.lock"
SCRIPT = Path(__file__).with_name("functions.ts")
CACHE = ROOT / "build" / "deno"
NODE_MODULES = ROOT / "tests" / "supabase" / "npm" / "node_modules"
#: Where npm puts the program, by the version that our package.json asks for under that name.
PROGRAMS = {
    "2.1.4": NODE_MODULES / "@deno" / "linux-x64-glibc" / "deno",
    "newest": NODE_MODULES / "deno-newest" / "node_modules" / "@deno" / "linux-x64-glibc" / "deno",
}
START_TIMEOUT_S = 60.0
_RUN = ("run", "--cached-only", "--quiet", "--no-prompt", "--allow-net", "--allow-env")


class Unavailable(Exception):
    """This Deno cannot be run here; says what is missing."""


def deno(version: str = "2.1.4") -> Path:
    """The program; `HEADGATE_DENO` names another one in place of 2.1.4. Raises Unavailable."""
    named = os.environ.get("HEADGATE_DENO") if version == "2.1.4" else None
    program = Path(named) if named else PROGRAMS[version]
    if not program.exists():
        raise Unavailable(f"Deno {version} is not installed: run tools/supabase.sh")
    return program


def environment(**variables: str) -> dict[str, str]:
    """What Deno is run with: its cache in `build/`, the certificates of this machine, no colours."""
    return {
        **os.environ,
        "DENO_DIR": str(CACHE),
        "DENO_TLS_CA_STORE": "system",
        "DENO_NO_UPDATE_CHECK": "1",
        "NO_COLOR": "1",
        **variables,
    }


def fill_cache(program: Path) -> None:
    """Fetches what the functions and their tests import, where it is not there yet. Raises Unavailable with Deno's words."""
    done = run(program, "cache", "--quiet", "--config", str(FUNCTIONS / "deno.json"), str(SCRIPT), *sources())
    if done.returncode:
        raise Unavailable(f"the functions' npm packages cannot be fetched: {done.stderr.strip()[-500:]}")


def sources() -> list[str]:
    """All files of TypeScript of the functions and their tests."""
    return sorted(str(path) for path in FUNCTIONS.glob("*/*.ts"))


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Deno with these arguments, in the functions' folder; its words are kept, whatever it ends with."""
    return subprocess.run(
        [str(program), *arguments], env=environment(), cwd=FUNCTIONS, capture_output=True, text=True, check=False
    )


@contextmanager
def serving(
    url: str,
    *,
    publishable_key: str,
    jwks: Sequence[Mapping[str, Any]] | None,
    port: int = 0,
    issuer: str | None = None,
    origins: str = "*",
    version: str = "2.1.4",
    variables: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address under which `/submit`, `/command` and `/history` answer (also with `/functions/v1` before them).

    `url`: the origin of /rest/v1, /auth/v1 and /storage/v1. `jwks`: the keys of users' tokens; None: fetched from /auth/v1.
    `issuer`: of the tokens, `<url>/auth/v1` unless given. `port` 0 takes a free one. Raises Unavailable.
    """
    program = deno(version)
    fill_cache(program)
    settings = {
        "SUPABASE_URL": url,
        "SUPABASE_PUBLISHABLE_KEYS": json.dumps({"default": publishable_key}),
        "HEADGATE_ALLOWED_ORIGINS": origins,
        **({} if jwks is None else {"SUPABASE_JWKS": json.dumps({"keys": list(jwks)})}),
        **({} if issuer is None else {"HEADGATE_JWT_ISSUER": issuer}),
        **(variables or {}),
    }
    process = subprocess.Popen(
        # What the platform lets a function do, and no more: the network and its variables.
        [str(program), *_RUN, "--config", str(FUNCTIONS / "deno.json"), str(SCRIPT), str(port)],
        env=environment(**settings),
        cwd=FUNCTIONS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log: list[str] = []
    reader = threading.Thread(target=_read, args=(process.stderr, log), daemon=True)
    reader.start()
    alarm = threading.Timer(START_TIMEOUT_S, process.kill)
    try:
        alarm.start()
        assert process.stdout is not None
        first = process.stdout.readline()
        alarm.cancel()
        if not first:
            process.wait()
            reader.join(5)
            raise RuntimeError("the functions did not start:\n" + "".join(log[-40:]))
        yield f"http://127.0.0.1:{json.loads(first)['port']}"
    finally:
        alarm.cancel()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(stream: IO[str] | None, log: list[str]) -> None:
    if stream is not None:
        log.extend(stream)
