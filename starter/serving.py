"""`headgate worker`, `server`, `emulator`, `demo`, `doctor`: what each needs is loaded only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headgate.errors import InvalidRequest, Unreachable
from starter.surroundings import of, waiting_for
from workflows.names import SEARCH_ATTRIBUTES


def worker_command(
    allow_foreign_host: Annotated[
        bool,
        typer.Option(
            "--allow-foreign-host", help="Let key files and not only static tokens go to a host that is not Google's."
        ),
    ] = False,
) -> None:
    """Run workflows, plans and calls until SIGTERM; then finish or hand back what is held.

    Example: HEADGATE_CREDENTIALS=credentials.toml headgate worker
    """
    import worker

    if allow_foreign_host:
        os.environ["HEADGATE_ALLOW_FOREIGN_HOST"] = "1"  # the worker's processes read their settings from it
    raise typer.Exit(worker.main([]))


def bridge_command(
    context: typer.Context,
    at_once: Annotated[
        int, typer.Option(min=1, max=64, help="So many starts, and as many commands, side by side.")
    ] = 4,
    poll: Annotated[
        float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="Between looks, beside what NOTIFY says.")
    ] = 2.0,
    sweep: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="Between searches for requests that ended without a word, and for leftover uploads.",
        ),
    ] = 60.0,
    once: Annotated[
        bool, typer.Option("--once", help="Do what is there, then end; exit 3 if something waits.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The log as JSON lines; --once ends with its counts.")
    ] = False,
) -> None:
    """Carry what Supabase's users submit and say, from Postgres to Temporal, until SIGTERM.

    Example: HEADGATE_INBOX_URL=postgresql://headgate_bridge:…@db.….supabase.co:5432/postgres headgate bridge
    """
    from starter.bridging import Wishes, bridge

    waiting_for(bridge(of(context), Wishes(at_once=at_once, poll_s=poll, sweep_s=sweep, once=once, as_json=as_json)))


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
    window_mode: Annotated[
        Literal["sliding", "fixed"], typer.Option(help="A window that slides, or a fixed minute.")
    ] = "sliding",
    latency_ms: Annotated[float, typer.Option(min=0, help="How long an answer takes.")] = 0.0,
    jitter_ms: Annotated[float, typer.Option(min=0, help="How much that varies.")] = 0.0,
    faults: Annotated[Path | None, typer.Option(help="Faults to inject: JSON rules, see emulator/faults.py.")] = None,
    spreadsheet: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A spreadsheet that is there at the start.")
    ] = None,
    create_missing: Annotated[
        bool, typer.Option("--create-missing", help="Create unknown ids instead of a 404.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed, the same faults.")] = 0,
) -> None:
    """Run the Sheets emulator, which enforces quotas and keeps a ledger of every call.

    Example: headgate emulator --port 8080 --create-missing
    """
    from emulator.faults import read_rules
    from emulator.server import EmulatorSettings, serve

    settings = EmulatorSettings(
        quota=not no_quota,
        read_per_project=read_per_project,
        read_per_user=read_per_user,
        write_per_project=write_per_project,
        write_per_user=write_per_user,
        window=window,
        window_mode=window_mode,
        latency_ms=latency_ms,
        jitter_ms=jitter_ms,
        faults=_rules(faults, read_rules),
        create_missing=create_missing,
        spreadsheets=tuple(spreadsheet or ()),
        seed=seed,
    )
    try:
        serve(settings, port)
    except OSError as error:
        raise Unreachable(f"port {port} on 127.0.0.1 cannot be used: {error.strerror}") from error


def _rules(file: Path | None, read: Callable[[Path], Sequence[Mapping[str, Any]]]) -> Sequence[Mapping[str, Any]]:
    if file is None:
        return ()
    try:
        return read(file)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"the faults in {file} cannot be read: {error}") from error


def demo_command(
    context: typer.Context,
    window: Annotated[
        float,
        typer.Option(
            min=5, max=60, metavar="SECONDS", help="The quota's window; Google's is 60, the rate is the same."
        ),
    ] = 10.0,
    faults: Annotated[
        bool, typer.Option(help="Lose 4 % of the answers to writes, and be busy for 2 % of the calls.")
    ] = True,
    stay: Annotated[bool, typer.Option("--stay", help="Keep everything up afterwards, to look around.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as one JSON object.")] = False,
) -> None:
    """Watch a bulk request run on a real server, a real worker and a Sheets emulator; exit 1 if a promise broke.

    Example: headgate demo --window 60
    """
    from starter.demo import Scale, interruptible, perform

    performance = perform(of(context), Scale(window), faults=faults, stay=stay, as_json=as_json)
    verdict = waiting_for(interruptible(performance))
    raise typer.Exit(0 if verdict.kept else 1)


def doctor_command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with every finding.")] = False,
) -> None:
    """Look at server, namespace, search attributes, worker, limiter, store and credentials; exit 3 if something is amiss.

    Example: headgate doctor
    """
    from starter.doctor import Examination, tell

    surroundings = of(context)
    findings = waiting_for(Examination(surroundings).findings())
    raise typer.Exit(tell(surroundings, findings, as_json=as_json))
