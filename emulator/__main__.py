"""`python -m emulator`: the emulator as a process of its own, with the flags of `headgate emulator`."""

from __future__ import annotations

import argparse
from pathlib import Path

from emulator.faults import read_rules
from emulator.server import EmulatorSettings, serve


def parser() -> argparse.ArgumentParser:
    defaults = EmulatorSettings()
    options = argparse.ArgumentParser(prog="python -m emulator", description=__doc__)
    options.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--no-quota", action="store_true")
    for kind in ("read", "write"):
        for level in ("project", "user"):
            name = f"{kind}_per_{level}"
            flag = f"--{kind}-per-{level}"
            options.add_argument(flag, type=int, default=getattr(defaults, name), metavar="N")
    options.add_argument("--window", type=float, default=defaults.window, metavar="SECONDS")
    options.add_argument("--window-mode", choices=("sliding", "fixed"), default=defaults.window_mode)
    options.add_argument("--latency-ms", type=float, default=0.0, metavar="N")
    options.add_argument("--jitter-ms", type=float, default=0.0, metavar="N")
    options.add_argument("--faults", type=Path, metavar="FILE", help="JSON rules, see emulator/faults.py")
    options.add_argument("--create-missing", action="store_true", help="an unknown id is created, not a 404")
    options.add_argument("--spreadsheet", action="append", default=[], metavar="ID")
    options.add_argument("--seed", type=int, default=0, metavar="N")
    return options


def settings_of(given: argparse.Namespace) -> EmulatorSettings:
    return EmulatorSettings(
        quota=not given.no_quota,
        read_per_project=given.read_per_project,
        read_per_user=given.read_per_user,
        write_per_project=given.write_per_project,
        write_per_user=given.write_per_user,
        window=given.window,
        window_mode=given.window_mode,
        latency_ms=given.latency_ms,
        jitter_ms=given.jitter_ms,
        faults=read_rules(given.faults) if given.faults else (),
        create_missing=given.create_missing,
        spreadsheets=tuple(given.spreadsheet),
        seed=given.seed,
    )


def main() -> None:
    given = parser().parse_args()
    serve(settings_of(given), given.port)


if __name__ == "__main__":
    main()
