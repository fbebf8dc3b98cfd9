"""Pauses what an owner has under way, and resumes it: for a timer in the evening and one in the morning.

python -m starter.examples.night --owner reports --now pause
python -m starter.examples.night --owner reports --now resume
"""

from __future__ import annotations

from datetime import UTC, datetime

from starter.client import bulk_requests
from starter.examples import options, run
from starter.selection import Selection

said = options(__doc__, owner="reports", now="pause")
BY = "the night"


async def main() -> None:
    """Whoever paused a request first has paused it: in the morning only what the night has paused goes on."""
    # A timer may run twice, and a command may be said twice: under one id it acts once.
    command_id = f"{said.now}-{datetime.now(UTC):%Y-%m-%d}"
    async with bulk_requests() as requests:
        async for row in requests.list(Selection(owner=said.owner, is_open=True, limit=10_000)):
            if said.now == "pause":
                answered = await requests.pause(row.id, by=BY, command_id=command_id)
            elif (await requests.progress(row.id)).waiting.reason == f"paused by {BY}":
                answered = await requests.resume(row.id, by=BY, command_id=command_id)
            else:
                continue
            print(f"{row.id}: {answered.sentence}")


if __name__ == "__main__":
    run(main)
