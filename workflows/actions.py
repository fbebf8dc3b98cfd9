"""What a workflow does beside its loop, and what wakes the loop.

1. The end of every action wakes the loop; so does a timer, one at a time, moved only to the front.
2. No run ends or continues as new before the actions that count are over: a server drops an outgoing signal whose sender's run
   has closed.
3. The first failure of an action is the workflow's.
4. Temporal's own cancellation, as by *Request Cancellation*, is a word like another: it ends no waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from headgate.quota import SECOND_NS


class Actions:
    """The actions of one run; `cancelled` is told of Temporal's own cancellation. `woken`: something has changed."""

    def __init__(self, cancelled: Callable[[], None]) -> None:
        self.woken = True
        self._cancelled = cancelled
        self._pending: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._wakes_at_ns = 0

    @property
    def pending(self) -> bool:
        """Whether an action that counts is under way."""
        return bool(self._pending)

    def do(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run an action beside the loop."""
        task = self.aside(coroutine)
        self._pending.add(task)
        return task

    def aside(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run one that no end of a run waits for."""
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self._ended)
        return task

    def wake(self, at_ns: int, now: int) -> None:
        """Make sure of a step at that time (0: there need be none)."""
        if at_ns > 0 and not now < self._wakes_at_ns <= at_ns:
            self._wakes_at_ns = at_ns
            self.aside(self._sleep(at_ns, now))

    async def news(self) -> None:
        """Until something has changed."""
        try:
            await workflow.wait_condition(lambda: self.woken)
        except asyncio.CancelledError:
            self._cancelled()
        self.woken = False

    async def resolved(self) -> None:
        """Until every outgoing signal is resolved and every handler has finished."""
        while True:
            try:
                await workflow.wait_condition(lambda: not self._pending and workflow.all_handlers_finished())
            except asyncio.CancelledError:
                self._cancelled()
            else:
                return

    def check(self) -> None:
        """Raises `ApplicationError` where an action has failed."""
        if self._failure is not None:
            why = self._failure.__cause__ or self._failure
            raise ApplicationError(f"headgate could not go on: {why}", non_retryable=True) from self._failure

    async def _sleep(self, at_ns: int, now: int) -> None:
        await workflow.sleep(max(at_ns - now, 1_000_000) / SECOND_NS, summary="look again")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        self.woken = True
        if not task.cancelled() and task.exception() is not None and self._failure is None:
            self._failure = task.exception()
