"""`headgate worker`, `server`, `emulator`: the processes that stay, each the same as the program that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workflows.names import SEARCH_ATTRIBUTES


def worker_command() -> None:
    """Run workflows, plans and calls until SIGTERM; then finish or hand back what is held.

    Example: HEADGATE_CREDENTIALS=credentials.toml headgate worker
    """
    import worker

    raise typer.Exit(worker.main([]))


def server_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0 is a free port.")] = 7233,
    ui_port: Annotated[int, typer.Option(min=0, max=65535, help="The Web UI; 0 is a free port.")] = 8233,
    db: Annotated[
        Path | None, typer.Option(help="Keep histories in this file; without it they end with the server.")
    ] = None,
    fetch_only: Annotated[bool, typer.Option("--fetch-only", help="Only make sure that the program is there.")] = False,
) -> None:
    """Find, download or build the Temporal dev server, and run it.

    Example: headgate server --db build/temporal.db
    """
    from starter.devserver import run_server

    run_server(SEARCH_ATTRIBUTES, port=port, ui_port=ui_port, db=db, fetch_only=fetch_only)


def emulator_command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens, on 127.0.0.1.")] = 8080,
    no_quota: Annotated[bool, typer.Option("--no-quota", help="Count, but never refuse.")] = False,
    read_per_project: Annotated[int, typer.Option(min=1)] = 300,
    read_per_user: Annotated[int, typer.Option(min=1)] = 60,
    write_per_project: Annotated[int, typer.Option(min=1)] = 300,
    write_per_user: Annotated[int, typer.Option(min=1)] = 60,
    window: Annotated[float, typer.Option(metavar="SECONDS", help="The window that they count in.")] = 60.0,
    latency_ms: Annotated[float, typer.Option(min=0, help="How long an answer takes.")] = 0.0,
    jitter_ms: Annotated[float, typer.Option(min=0, help="How much that varies.")] = 0.0,
    faults: Annotated[Path | None, typer.Option(help="Faults to inject, as JSON.")] = None,
) -> None:
    """Run the Sheets emulator, which enforces quotas and keeps a ledger of every call.

    Example: headgate emulator --port 8080 --window 10 --write-per-project 50 --write-per-user 10
    """
    from emulator.__main__ import main

    arguments = ["--port", str(port), "--window", str(window)]
    arguments += ["--read-per-project", str(read_per_project), "--read-per-user", str(read_per_user)]
    arguments += ["--write-per-project", str(write_per_project), "--write-per-user", str(write_per_user)]
    arguments += ["--latency-ms", str(latency_ms), "--jitter-ms", str(jitter_ms)]
    arguments += ["--no-quota"] if no_quota else []
    arguments += ["--faults", str(faults)] if faults is not None else []
    raise typer.Exit(main(arguments) or 0)
