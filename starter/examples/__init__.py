"""Programs to start from, one a use: each runs as `python -m starter.examples.NAME` and says --help.

Server, worker and API are those of the environment, as for the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from headgate.errors import HeadgateError, InvalidRequest


def options(text: str | None, **defaults: str | int) -> argparse.Namespace:
    """The command line of an example: an option for each name, with its default."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", default=default, type=type(default), help="%(default)s")
    return parser.parse_args()


def run(main: Callable[[], Coroutine[Any, Any, int | None]]) -> NoReturn:
    """Runs the program and ends the process with its exit code; what went wrong is one sentence, and a code in headgate's spelling.

    `os._exit`, because Python may crash when it finalises right after talking to Temporal
    (docs/decisions/the-process-ends-in-one-place.md).
    """
    try:
        code = asyncio.run(main()) or 0
    except HeadgateError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = 2 if isinstance(error, InvalidRequest) else 3
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
