"""Reads a range of a spreadsheet a few times with plain httpx, each call with a token of the project's limiter.

    python -m starter.examples.outside --calls 5

It talks to the emulator unless HEADGATE_SHEETS_URL names another root of the API. Its bearer token is ACCESS_TOKEN, for
Google for instance from `gcloud auth print-access-token`; the emulator takes the user's name for one.
"""

from __future__ import annotations

import argparse
import os
from datetime import timedelta

import httpx

from headgate.errors import Unreachable
from headgate.message import SECOND_NS
from starter.examples import run
from starter.tokens import headgate_tokens


def arguments() -> argparse.Namespace:
    """The command line, with an answer to --help."""
    parser = argparse.ArgumentParser(
        prog="python -m starter.examples.outside", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--project", default="shop", help="whose quota is spent (%(default)s)")
    parser.add_argument("--user", default="alice", help="who calls: the name that headgate knows (%(default)s)")
    parser.add_argument("--owner", default="example", help="on whose behalf; stands in the history (%(default)s)")
    parser.add_argument("--spreadsheet", default="shop", help="the spreadsheet's id (%(default)s)")
    parser.add_argument("--range", default="Sheet1!A1:E5", help="what is read (%(default)s)")
    parser.add_argument("--calls", type=int, default=5, help="how often (%(default)s)")
    parser.add_argument("--wait-for", type=float, metavar="SECONDS", help="give up when a token takes longer")
    return parser.parse_args()


async def read(said: argparse.Namespace) -> None:
    """One GET a token."""
    root = os.environ.get("HEADGATE_SHEETS_URL") or "http://127.0.0.1:8080"
    url = f"{root.rstrip('/')}/v4/spreadsheets/{said.spreadsheet}/values/{said.range}"
    bearer = os.environ.get("ACCESS_TOKEN") or said.user
    wait_for = timedelta(seconds=said.wait_for) if said.wait_for else None
    async with (
        httpx.AsyncClient(headers={"Authorization": f"Bearer {bearer}"}, timeout=60) as http,
        headgate_tokens(
            said.project, said.user, "read", calls=said.calls, owner=said.owner, wait_for=wait_for
        ) as tokens,
    ):
        async for token in tokens:
            answer = await http.get(url)
            if answer.status_code == 429:
                await tokens.throttled("user")
            rows = len(answer.json().get("values", [])) if answer.is_success else 0
            at = token.at_ns / SECOND_NS
            print(f"call {token.number} of {said.calls}: token for {at:.3f}, status {answer.status_code}, {rows} rows")


async def main() -> None:
    """What the API does not answer is said in a sentence."""
    try:
        await read(arguments())
    except httpx.HTTPError as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    run(main)
