"""Computing that takes milliseconds, beside the event loop: it must stay free to use every token in its time.

One thread does it all, piece after piece in the order of asking: Python runs one at a time anyway, and a call whose token is
due first should not wait for the others to be half done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")

Made = TypeVar("Made")


async def beside(work: Callable[[], Made]) -> Made:
    """What the work returns, or raises."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, work)
