"""Commands in bad moments: while a request plans, while its first demand is on its way, in its last task."""

from __future__ import annotations

import asyncio
import random

from headgate.models import Control
from tests.integration.stack import FAST, Stack, append

ROOMY = FAST.model_copy(
    update={"write_per_project": 600, "write_per_user": 600, "read_per_project": 600, "read_per_user": 600}
)
CANCELLED = 24


async def test_a_request_cancelled_at_any_moment_hands_back_every_token_that_was_not_used(stack: Stack) -> None:
    """The limiter's books against the emulator's ledger: what was given and not handed back is what arrived."""
    chance = random.Random(7)
    sheets = [f"moment{n}" for n in range(CANCELLED)]
    stack.spreadsheets(*sheets)
    project = await stack.project(ROOMY)

    async def cancelled(sheet: str, after: float) -> None:
        handle = await stack.submit(
            project, [append(f"{sheet}/{n}", sheet, user=f"{sheet}u{n % 4}") for n in range(200)], operations_per_call=1
        )
        await asyncio.sleep(after)
        await handle.signal("cancel", Control(by="ana"))
        view = await asyncio.wait_for(handle.result(), 30)
        assert view.state == "cancelled"

    for half in range(4):
        await asyncio.gather(*(cancelled(s, chance.uniform(0, 3.0)) for s in sheets[half::4]))
    await asyncio.sleep(1)
    shown = await stack.shown(project)
    assert shown.waiting == 0
    assert shown.granted - shown.returned == len(stack.calls(*sheets))


async def test_a_request_of_refused_lines_alone_ends_and_waits_for_nothing(stack: Stack) -> None:
    """Also where so many failures pause it: there is nothing left to pause."""
    handle = await stack.submit(await stack.project(), [b"no JSON", b"nor this"], stop_after=1)
    view = await asyncio.wait_for(handle.result(), 20)
    assert (view.state, view.operations.failed) == ("completed", 2)
    assert (view.waiting.reason, view.waiting.cause) == ("", "")
