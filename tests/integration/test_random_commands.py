"""A thousand commands at random times, by signals and updates, some of them twice: quotas hold, every row stands once, and
each request ends as the commands that it accepted imply.

Faults and runs that continue as new every few dozen events go on meanwhile. `HEADGATE_SEED` chooses another order of things.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import Control, ProgressView
from headgate.messages.words import Priority
from starter.devserver import DevServer
from tests.integration.stack import Handle, Stack, append, running_stack
from workflows import names

REQUESTS: Final = 12
COMMANDS: Final = 1_000
OPERATIONS: Final = 90
#: So many of the requests are cancelled some time.
CANCELLED: Final = 4
PAUSE_S: Final = 0.35
PRIORITIES: Final[Sequence[Priority]] = ("urgent", "normal", "low")
LIMITS: Final = LimiterSettings(
    read_per_project=60,
    read_per_user=60,
    write_per_project=50,
    write_per_user=10,
    window_ns=5 * SECOND_NS,
    spreadsheet_spacing_ns=20_000_000,
)


@dataclass
class Reference:
    """What holds after the commands that were accepted, in the order in which they were sent; naively."""

    paused: bool = False
    cancelled: bool = False
    priority: str = "normal"
    accepted: int = 0
    refused: int = 0

    def take(self, command: str, to: str | None, *, accepted: bool) -> None:
        """One command and its fate."""
        self.accepted += accepted
        self.refused += not accepted
        if not accepted:
            return
        if command in ("pause", "resume"):
            self.paused = command == "pause"
        elif command == "reprioritise" and to is not None:
            self.priority = to
        elif command == "cancel":
            self.cancelled, self.paused = True, False

    def may(self, command: str, to: str | None) -> bool:
        """Whether a running request accepts it."""
        return command == "cancel" or (not self.cancelled and (command != "reprioritise" or to in PRIORITIES))


async def update(handle: Handle, command: str, said: Control) -> bool:
    """Whether the command was accepted. Asked again under its id while the request continues as new under it."""
    for _ in range(100):
        try:
            await handle.execute_update(command, said, id=said.id)
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == "Refused":
                return False
            raise
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            await asyncio.sleep(0.1)
        else:
            return True
    raise AssertionError(f"{command} was never answered")


async def signal(handle: Handle, command: str, said: Control) -> bool:
    """Whether the request was there to hear it."""
    try:
        await handle.signal(command, said)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


async def steer(handle: Handle, commands: int, chance: random.Random, *, cancels: bool) -> Reference:
    """Send so many commands one after the other, at random times and in random ways; at last let it go on."""
    holds = Reference()
    cancel_at = chance.randrange(commands) if cancels else -1
    earlier: list[tuple[str, Control]] = []
    for n in range(commands):
        await asyncio.sleep(chance.expovariate(1 / PAUSE_S))
        command = "cancel" if n == cancel_at else chance.choice(["pause", "resume", "resume", "reprioritise"])
        to = chance.choice([*PRIORITIES, "high"]) if command == "reprioritise" else None
        said = Control(to=to, by=f"p{n}", id=f"{handle.id}-{n}")
        if chance.random() < 0.15 and earlier:
            repeated, again = chance.choice(earlier)  # it comes once more, late, by whatever way: it changes nothing
            await (signal if chance.random() < 0.5 else update)(handle, repeated, again)
        if chance.random() < 0.5:
            possible = await signal(handle, command, said) and holds.may(command, to)
            holds.take(command, to, accepted=possible)
        else:
            accepted = await update(handle, command, said)
            assert accepted <= holds.may(command, to)
            holds.take(command, to, accepted=accepted)
            possible = accepted
        earlier += [(command, said)] if possible else []
    if not holds.cancelled:
        await update(handle, "resume", Control(by="test"))
    return holds


async def judge(stack: Stack, number: int, handle: Handle, holds: Reference) -> ProgressView:
    """Against the emulator's cells, and against what the accepted commands imply."""
    view = await asyncio.wait_for(handle.result(), 180)
    counts, sheet = view.operations, f"random-{number}"
    assert view.state in (("cancelled", "completed") if holds.cancelled else ("completed",))
    assert counts.succeeded + counts.failed + counts.unprocessed == counts.total == OPERATIONS
    assert counts.failed == 0
    results = await stack.results(handle, closed=True)
    assert len(results) == OPERATIONS
    written = {name for name, result in results.items() if result["outcome"] == "succeeded"}
    assert stack.counted(sheet) == dict.fromkeys(written, 1)
    assert len(written) == counts.succeeded
    if not holds.cancelled:
        assert written == {f"{sheet}/{n}" for n in range(OPERATIONS)}
    return view


async def test_a_thousand_commands_at_random_times(tmp_path: Path) -> None:
    """Twelve requests side by side; the ledger holds no window over its limit at either level."""
    seed = int(os.environ.get("HEADGATE_SEED", "1"))
    chance = random.Random(seed)
    config = ["limit.historyCount.suggestContinueAsNew=200"]
    async with DevServer(names.SEARCH_ATTRIBUTES, ui_port=None, dynamic_config=config) as server:
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        async with running_stack(client, tmp_path) as stack:
            sheets = [f"random-{n}" for n in range(REQUESTS)]
            stack.spreadsheets(*sheets)
            project = await stack.project(LIMITS)
            faults = (
                {"kind": "write", "probability": 0.04, "effect": "close", "when": "after"},
                {"kind": "write", "probability": 0.04, "effect": "error", "status": 503, "when": "before"},
            )
            handles = [
                await stack.submit(
                    project,
                    [append(f"{sheet}/{n}", sheet, user=f"u{number}") for n in range(OPERATIONS)],
                    operations_per_call=1,
                    owner=f"o{number % 4}",
                )
                for number, sheet in enumerate(sheets)
            ]
            with stack.faults(*faults):
                each = COMMANDS // REQUESTS + 1
                held = await asyncio.gather(
                    *(
                        steer(handle, each, random.Random(chance.random()), cancels=number < CANCELLED)
                        for number, handle in enumerate(handles)
                    )
                )
            views = [await judge(stack, n, handle, held[n]) for n, handle in enumerate(handles)]
            stack.within(LIMITS, *sheets)
            runs = [run async for run in client.list_workflows("WorkflowType = 'BulkRequestWorkflow'")]
    for view, holds in zip(views, held, strict=True):
        if view.state == "completed":
            assert view.priority in ("urgent", "normal", "low")
        if not holds.cancelled:
            assert view.priority == holds.priority
    assert sum(holds.refused for holds in held) > 0
    assert sum(holds.accepted for holds in held) > COMMANDS / 2
    assert len(runs) > REQUESTS, "no request continued as new"
