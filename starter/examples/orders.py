"""Hands in rows out of a Python program, waits for them, and says what became of each that failed.

    python -m starter.examples.orders --project shop --user alice

Run it twice: it is the same request, and nothing is written twice. Server, worker and emulator are those of the README.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from starter.client import bulk_requests
from starter.examples import run


def arguments() -> argparse.Namespace:
    """The command line, with an answer to --help."""
    parser = argparse.ArgumentParser(
        prog="python -m starter.examples.orders", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", default="shop", help="whose quota is spent (%(default)s)")
    parser.add_argument("--user", default="alice", help="who calls: the name that headgate knows (%(default)s)")
    parser.add_argument("--spreadsheet", default="shop", help="the spreadsheet's id (%(default)s)")
    parser.add_argument("--sheet", default="Sheet1", help="the sheet's title (%(default)s)")
    parser.add_argument("--id", default="orders-from-python", help="the request's id (%(default)s)")
    parser.add_argument("--rows", type=int, default=1_000, help="how many (%(default)s)")
    return parser.parse_args()


def operations(said: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One operation a row, made as it is read: a million need no more memory than one."""
    for number in range(1, said.rows + 1):
        yield {
            "id": f"order-{number}",
            "op": "append",
            "spreadsheet": said.spreadsheet,
            "range": f"{said.sheet}!A:C",
            "values": [[f"order-{number}", 9.5 * number, number % 2 == 0]],
        }


async def hand_in(said: argparse.Namespace) -> int:
    """Submit, wait, look at what failed."""
    async with bulk_requests() as requests:
        submitted = await requests.submit(operations(said), project=said.project, user=said.user, id=said.id)
        print(f"{'submitted' if submitted.first else 'already there:'} {submitted.id}")
        view = await requests.ended(submitted.id)
        print(f"{view.state}: {view.operations.succeeded:,} of {view.operations.total:,}, {view.calls.made:,} calls")
        async for result in requests.results(submitted.id, "failed"):
            print(f"{result['id']}: {result['reason']}")
        return 1 if view.operations.failed else 0


if __name__ == "__main__":
    said = arguments()
    run(lambda: hand_in(said))
