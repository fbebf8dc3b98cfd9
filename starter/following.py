"""Staying with requests until they are over: live on a terminal, in lines elsewhere; an outage is waited out.

1. Every question is an action of the server's: a request is asked at most once in `LOOK_EVERY_S`, several together no more
   often than `TOGETHER` of them would be. The end needs no question: a long poll notices it, and nobody asks after it.
2. What is shown only grows newer: a view of a lower version than one before it is not shown.
3. Where no worker answers, a person at a terminal is told and goes on watching when one comes. Elsewhere, and where no server
   answers, silence is an error after `PATIENCE_S`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Console

from headgate.errors import Unreachable
from headgate.messages.views import ProgressView, Waiting
from starter.connection import unless_cancelled
from starter.render import OVER
from starter.service import NoWorker, Service
from starter.showing import Lines, Screen, Shown

PATIENCE_S: Final = 30.0
"""How long an unanswered question is repeated; with the last question's own timeout it is said within 60 s."""
LOOK_EVERY_S: Final = 1.0
LINE_LOOK_EVERY_S: Final = 2.0
TOGETHER: Final = 4
_NAMED: Final = 20


class Pace:
    """How often each request of a number is asked: the fewer are open, the more often."""

    def __init__(self, every_s: float, requests: int = 1) -> None:
        self.open = requests
        self._every_s = every_s
        self._asking = asyncio.Semaphore(2 * TOGETHER)

    @property
    def each_s(self) -> float:
        """The seconds between two questions to one request."""
        return self._every_s * max(1.0, self.open / TOGETHER)

    async def seen(self, service: Service, request_id: str) -> tuple[ProgressView, bool]:
        """A request's view, and whether it is over; a place is waited for while many others are asked."""
        async with self._asking:
            view = await service.progress(request_id)
            if view.state != "cancelled":
                return view, view.state in OVER
            # said as soon as it is asked for: calls under way have yet to end
            if await service.over(request_id) is None:
                return view, False
            return await service.progress(request_id), True


async def follow(
    service: Service,
    request_id: str,
    *,
    show: Callable[[ProgressView], None],
    note: Callable[[str], None],
    every_s: float = LOOK_EVERY_S,
    patience_s: float = PATIENCE_S,
    without_worker_s: float | None = None,
    pace: Pace | None = None,
) -> ProgressView:
    """The request's last view, when it is over. `Unreachable` only after everything was silent for `patience_s`, a worker for
    `without_worker_s` if that is another time. One of many is asked at their `pace`."""
    pace = pace or Pace(every_s)
    newest: ProgressView | None = None
    silent_since: float | None = None
    noted = ""
    while True:
        unless_cancelled()
        asked_at = time.monotonic()
        try:
            view, over = await pace.seen(service, request_id)
        except Unreachable as error:
            silent_since = asked_at if silent_since is None else silent_since
            if noted != str(error):
                noted = str(error)
                note(f"{error} (waiting for it; the request itself is safe)")
            waits = patience_s if without_worker_s is None or not isinstance(error, NoWorker) else without_worker_s
            if time.monotonic() - silent_since >= waits:
                raise
        else:
            silent_since, noted = None, ""
            if newest is None or view.version >= newest.version:
                newest = view
                show(view)
            elif over:  # it ended without a last word: what was seen before is as much as is known
                newest = newest.model_copy(
                    update={"state": view.state, "rate_per_minute": 0.0, "eta_at": None, "waiting": Waiting()}
                )
                show(newest)
            if over:
                pace.open -= 1
                return newest
        await service.ended(request_id, pace.each_s)


async def follow_all(
    service: Service, request_ids: Sequence[str], shown: Shown, *, every_s: float, without_worker_s: float | None = None
) -> list[ProgressView]:
    """The last views of them all, when the last one is over; what goes wrong with one ends it for all."""
    pace = Pace(every_s, len(request_ids))
    following = [
        asyncio.create_task(
            follow(
                service,
                request_id,
                show=shown.show,
                note=lambda sentence, of=request_id: shown.note(of, sentence),  # type: ignore[misc]
                pace=pace,
                without_worker_s=without_worker_s,
            )
        )
        for request_id in request_ids
    ]
    shown.paced(lambda: pace.each_s)
    try:
        return await asyncio.gather(*following)
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def follow_on(console: Console, service: Service, request_id: str) -> ProgressView:
    """One request's last view; see `follow_all_on`."""
    return (await follow_all_on(console, service, [request_id]))[0]


async def follow_all_on(console: Console, service: Service, request_ids: Sequence[str]) -> list[ProgressView]:
    """`follow_all`, shown as the console can show it. Whoever is interrupted is told that the requests go on."""
    try:
        if not console.is_interactive:
            lines = Lines(console)
            views = await follow_all(service, request_ids, lines, every_s=LINE_LOOK_EVERY_S)
            lines.end(views)
            return views
        async with Screen(console, request_ids) as screen:
            return await follow_all(service, request_ids, screen, every_s=LOOK_EVERY_S, without_worker_s=float("inf"))
    except asyncio.CancelledError:
        one = len(request_ids) == 1
        said = f"{'the request goes' if one else 'the requests go'} on; to watch again: headgate watch "
        console.print(said + " ".join(request_ids[:_NAMED]), markup=False, soft_wrap=True)
        raise


def exit_code(views: ProgressView | Iterable[ProgressView]) -> int:
    """0 if every operation succeeded or the caller cancelled the rest, 1 if a request or an operation failed."""
    seen = [views] if isinstance(views, ProgressView) else views
    return 1 if any(view.state == "failed" or view.operations.failed for view in seen) else 0
