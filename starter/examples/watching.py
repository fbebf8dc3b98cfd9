"""Draws the progress of a request in a place of its own: here a line; it could be a web page, a chat, a row of lights.

python -m starter.examples.watching --id orders-7
"""

from __future__ import annotations

from headgate.messages.views import ProgressView
from starter.client import bulk_requests
from starter.examples import options, run

said = options(__doc__, id="orders-7", width=30)


def drawn(view: ProgressView) -> str:
    """A bar, and what a person wants to know beside it: how fast, until when, or what it waits for."""
    counts = view.operations
    full = said.width * (counts.total - counts.remaining) // max(1, counts.total)
    bar = "#" * full + "." * (said.width - full)
    beside = view.waiting.reason or f"{view.rate_per_minute:,.0f} calls a minute, done at {view.eta_at or '?'}"
    return f"[{bar}] {view.state}, {counts.failed} failed, {beside}"


async def main() -> int:
    """1 if something failed."""
    async with bulk_requests() as requests:
        async for view in requests.watch(said.id):  # each newer than the one before; the last one is that of its end
            print(drawn(view), flush=True)
        return 1 if view.operations.failed else 0


if __name__ == "__main__":
    run(main)
