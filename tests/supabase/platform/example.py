"""The example page, built: one folder that any server of static files can serve."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.supabase.platform.functions import NODE_MODULES, ROOT, Unavailable, deno, environment

EXAMPLE = ROOT / "supabase" / "example"
ESBUILD = NODE_MODULES / "@esbuild" / "linux-x64" / "bin" / "esbuild"
SERVED = ("index.html", "style.css", "mark.svg")


def build(folder: Path, url: str, publishable_key: str, *, sign_up: bool = False) -> Path:
    """The page in `folder`, for the project at `url`. Raises Unavailable where the program that builds it is missing."""
    if not ESBUILD.exists():
        raise Unavailable("esbuild is not installed: run tools/supabase.sh")
    folder.mkdir(parents=True, exist_ok=True)
    for name in SERVED:
        shutil.copyfile(EXAMPLE / name, folder / name)
    done = subprocess.run(
        [str(ESBUILD), "src/main.ts", "--bundle", "--minify", "--format=esm", f"--outfile={folder / 'app.js'}"],
        cwd=EXAMPLE,
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(f"the example page cannot be built:\n{done.stderr}")
    settings = {"url": url, "publishableKey": publishable_key, "signUp": sign_up}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def type_errors() -> str:
    """What the type checker says of the page; "" where it is content. Raises Unavailable."""
    done = subprocess.run(
        [str(deno()), "check", "--quiet", "--config", str(EXAMPLE / "deno.json"), "src/main.ts"],
        cwd=EXAMPLE,
        env=environment(),
        capture_output=True,
        text=True,
    )
    return "" if done.returncode == 0 else done.stderr
