"""Staying with a request until it is over: live on a terminal, in lines elsewhere; a short outage is waited out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.live import Live

from headgate.errors import Unreachable
from headgate.models import ProgressView
from starter.render import OVER, percent, progress_line, progress_panel
from starter.service import Service

PATIENCE_S: Final = 30.0
"""How long an unanswered question is repeated; with the last question's own timeout it is said within 60 s."""
LOOK_EVERY_S: Final = 1.0
LINE_EVERY_S: Final = 5.0


class Lines:
    """One line when the state changes, and else at most every few seconds when something has moved."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ("", -1, "")
        self._at = float("-inf")

    def show(self, view: ProgressView) -> None:
        state, now = (view.state, percent(view), view.waiting.reason), time.monotonic()
        due = now - self._at >= LINE_EVERY_S and state != self._last
        if due or view.state != self._last[0]:
            self.note(progress_line(view))
            self._last, self._at = state, now

    def note(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, soft_wrap=True)


class Screen:
    """A panel that is redrawn in place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._view: ProgressView | None = None

    def show(self, view: ProgressView) -> None:
        self._view = view
        self._live.update(progress_panel(view), refresh=True)

    def note(self, sentence: str) -> None:
        self._live.update(progress_panel(self._view, sentence) if self._view else sentence, refresh=True)


async def follow(
    service: Service,
    request_id: str,
    *,
    show: Callable[[ProgressView], None],
    note: Callable[[str], None],
    every_s: float = LOOK_EVERY_S,
    patience_s: float = PATIENCE_S,
) -> ProgressView:
    """The request's last view, when it is over. `Unreachable` only after everything was silent for `patience_s`."""
    silent_since: float | None = None
    while True:
        asked_at = time.monotonic()
        try:
            view = await service.progress(request_id)
            over = view.state in OVER
            if view.state == "cancelled":  # said as soon as it is asked for: calls under way have yet to end
                over = await service.over(request_id) is not None
                view = await service.progress(request_id) if over else view
        except Unreachable as error:
            if silent_since is None:
                silent_since = asked_at
                note(f"{error} (waiting for it; the request itself is safe)")
            if time.monotonic() - silent_since >= patience_s:
                raise
        else:
            silent_since = None
            show(view)
            if over:
                return view
        await service.ended(request_id, every_s)


async def follow_on(console: Console, service: Service, request_id: str) -> ProgressView:
    """`follow`, shown as the console can show it."""
    if not console.is_terminal:
        lines = Lines(console)
        return await follow(service, request_id, show=lines.show, note=lines.note, every_s=2 * LOOK_EVERY_S)
    with Live(console=console, auto_refresh=False) as live:
        screen = Screen(live)
        return await follow(service, request_id, show=screen.show, note=screen.note)


def exit_code(view: ProgressView) -> int:
    """0 if every operation succeeded or the caller cancelled the rest, 1 if the request or an operation failed."""
    return 1 if view.state == "failed" or view.operations.failed else 0
