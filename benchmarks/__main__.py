"""`python -m benchmarks [NAME ...] [--minutes N] [--window S] [--size N]`: run benchmarks, JSON on stdout and in build/bench."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
from importlib import import_module
from pathlib import Path

BENCHMARKS = (
    "decision_cost",
    "fairness",
    "floors",
    "checkpoint",
    "bad_operations",
    "usage",
    "lone_lane",
    "crash",
    "continue_as_new",
    "arrivals",
    "foreign",
    "outage",
    "raised",
    "runtime_change",
    "mixed",
    "reads",
    "hostile",
    "peers",
    "million",
    "control",
    "eta",
    "projection",
    "submits",
    "bodies",
    "bridge",
    "realtime",
)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; default: all")
    options.add_argument("--minutes", type=float, help="how long each measures; default: as the promises say")
    options.add_argument("--window", type=float, metavar="S", help="scaled quotas with this window, for a quick look")
    options.add_argument(
        "--size", type=int, metavar="N", help="how many of what it counts: waiters, arrivals, operations"
    )
    given = options.parse_args()
    unknown = sorted(set(given.names) - set(BENCHMARKS))
    if unknown:
        options.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    folder = Path("build/bench")
    folder.mkdir(parents=True, exist_ok=True)
    for name in given.names or BENCHMARKS:
        measure = import_module(f"benchmarks.{name}").main
        taken = inspect.signature(measure).parameters
        chosen = {option: n for option, n in vars(given).items() if option in taken and n is not None}
        figures = asyncio.run(measure(**chosen))
        text = json.dumps({"benchmark": name, **({"given": chosen} if chosen else {}), **figures}, indent=2)
        (folder / f"{name}.json").write_text(text + "\n")
        print(text, flush=True)


if __name__ == "__main__":
    main()
