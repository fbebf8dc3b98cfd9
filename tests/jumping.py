"""An event loop whose time jumps to the next timer: minutes pass in milliseconds, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        assert timeout is not None, "everybody waits, and nothing will ever wake anybody"
        self.now += max(timeout, 0)
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """Its `time` moves only when nobody has anything to do, or when a test blocks it."""

    def __init__(self) -> None:
        self.jumping = _Jumping()
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.jumping.now

    def block(self, seconds: float) -> None:
        """Time passes, and nobody gets to run: a busy process, a slow callback."""
        self.jumping.now += seconds


def run_jumping(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; what it left running is an error."""
    loop = JumpingLoop()
    try:
        result = loop.run_until_complete(asyncio.wait_for(coroutine, 3600))
        loop.run_until_complete(asyncio.sleep(0))
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        assert not left, f"still running: {left}"
        return result
    finally:
        loop.close()


def jumping_loop() -> JumpingLoop:
    """The loop that the caller runs in."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    return loop
