"""`python -m benchmarks [NAME ...] [--minutes N]`: run benchmarks, JSON on stdout and in build/bench."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from benchmarks import continue_as_new, crash, lone_lane, usage

BENCHMARKS = {"usage": usage, "lone_lane": lone_lane, "crash": crash, "continue_as_new": continue_as_new}


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; default: all")
    options.add_argument("--minutes", type=float, help="how long each measures; default: as the promises say")
    given = options.parse_args()
    folder = Path("build/bench")
    folder.mkdir(parents=True, exist_ok=True)
    for name in given.names or BENCHMARKS:
        measure = BENCHMARKS[name].main
        figures = asyncio.run(measure(given.minutes) if given.minutes else measure())
        text = json.dumps({"benchmark": name, **figures}, indent=2)
        (folder / f"{name}.json").write_text(text + "\n")
        print(text, flush=True)


if __name__ == "__main__":
    main()
