"""`python -m benchmarks.foreign_client URL SPREADSHEET --per-minute N --seconds N`: a client that knows nothing of headgate.

It appends at a steady pace with tokens of its own, in turn; a call that is refused is not repeated, and nothing that the
API answers changes the pace. Prints `{"status": count}` at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter

import httpx


async def burn(url: str, spreadsheet: str, per_minute: float, seconds: float, tokens: int) -> Counter[int]:
    """Calls at that pace for so long; how often each status was answered (0: none)."""
    statuses: Counter[int] = Counter()
    calls: set[asyncio.Task[None]] = set()

    async def call(client: httpx.AsyncClient, number: int) -> None:
        path = f"{url}/v4/spreadsheets/{spreadsheet}/values/Orders!A:A:append?valueInputOption=RAW"
        bearer = {"Authorization": f"Bearer foreign-{number % tokens}"}
        try:
            answer = await client.post(path, json={"values": [[number]]}, headers=bearer)
        except httpx.HTTPError:
            statuses[0] += 1
        else:
            statuses[answer.status_code] += 1

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        began = time.monotonic()
        number = 0
        while (at := number * 60 / per_minute) < seconds:
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            task = asyncio.create_task(call(client, number))
            calls.add(task)
            task.add_done_callback(calls.discard)
            number += 1
        await asyncio.gather(*calls)
    return statuses


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.foreign_client", description=__doc__)
    options.add_argument("url")
    options.add_argument("spreadsheet")
    options.add_argument("--per-minute", type=float, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--tokens", type=int, default=1, help="how many users it has")
    given = options.parse_args()
    statuses = asyncio.run(burn(given.url, given.spreadsheet, given.per_minute, given.seconds, given.tokens))
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
