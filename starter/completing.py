"""What a shell is offered for a request's id: those that a server has, if it answers at once; never an error, never a wait."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import typer

from headgate.messages.words import NAME_PATTERN
from starter.selection import Selection
from starter.surroundings import Surroundings, of

WITHIN_S: Final = 1.5
OFFERED: Final = 200


def request_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Ids that begin like that, each with what it is: open ones, and then those that ended last."""
    if incomplete and not re.fullmatch(NAME_PATTERN, incomplete):
        return []
    try:
        return asyncio.run(_within(of(context), incomplete, WITHIN_S))
    except Exception:  # whatever is wrong, a person who presses a key is no one to tell it
        return []


async def _within(surroundings: Surroundings, begins: str, seconds: float) -> list[tuple[str, str]]:
    async with asyncio.timeout(seconds):
        service = await surroundings.service()
        rows = [row async for row in service.requests(Selection(begins=begins, limit=OFFERED))]
    return [(row.id, f"{row.state} {row.percent}%") for row in rows if row.id.startswith(begins)]
