"""Where progress is shown: a picture redrawn in place on a terminal, lines elsewhere, JSON for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from headgate.messages.views import ProgressView
from starter.board import Row, board, total_text
from starter.panel import REASONS_SHOWN, progress_panel
from starter.render import OVER, duration, percent, plain, progress_line

LINE_EVERY_S: Final = 5.0
REDRAW_EVERY_S: Final = 1.0
#: Lines of a panel beside the reasons for failures.
_PANEL_LINES: Final = 13


class Shown(Protocol):
    """What is told of requests that somebody stays with."""

    def show(self, view: ProgressView) -> None:
        """A request's newest view."""

    def note(self, request_id: str, sentence: str) -> None:
        """Why a request cannot be seen just now; the next view takes it back."""

    def paced(self, each_s: Callable[[], float]) -> None:
        """How many seconds lie between two questions to one request."""


class Lines:
    """One line when a request's state changes, and else at most every few seconds when something of it has moved."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, tuple[str, int, str]] = {}
        self._at: dict[str, float] = {}

    def show(self, view: ProgressView) -> None:
        state, now = (view.state, percent(view), view.waiting.reason), time.monotonic()
        last = self._last.get(view.id, ("", -1, ""))
        due = now - self._at.get(view.id, float("-inf")) >= LINE_EVERY_S and state != last
        if due or view.state != last[0]:
            self._print(progress_line(view))
            self._last[view.id], self._at[view.id] = state, now

    def note(self, request_id: str, sentence: str) -> None:
        self._print(f"{request_id}: {sentence}")

    def paced(self, each_s: Callable[[], float]) -> None:
        """Lines come when there is something to say."""

    def end(self, views: Sequence[ProgressView]) -> None:
        """Everything is over: several requests are summed up."""
        if len(views) > 1:
            self._print("; ".join(total_text([Row(view.id, view) for view in views], datetime.now(UTC))))

    def _print(self, line: str) -> None:
        self._console.print(plain(line), markup=False, soft_wrap=True)


class Documents:
    """One object for each change of a request; what only flows on, rate and estimate, is no change."""

    def __init__(self, answer: Callable[[object], None], say: Callable[[str], None]) -> None:
        self._answer = answer
        self._say = say
        self._last: dict[str, ProgressView] = {}

    def show(self, view: ProgressView) -> None:
        still = view.model_copy(update={"rate_per_minute": 0.0, "eta_at": None})
        if self._last.get(view.id) != still:
            self._last[view.id] = still
            self._answer(view.model_dump(mode="json"))

    def note(self, request_id: str, sentence: str) -> None:
        self._say(f"{request_id}: {sentence}")

    def paced(self, each_s: Callable[[], float]) -> None:
        """A program sees when documents come."""


class Screen:
    """A picture that is redrawn in place: a panel for one request, a row each for several. The last one stays."""

    def __init__(self, console: Console, request_ids: Sequence[str]) -> None:
        self._console = console
        self._rows = {request_id: Row(request_id) for request_id in request_ids}
        self._width = console.width
        self._each_s: Callable[[], float] = lambda: 0.0
        self._ended = False
        self._ticking: asyncio.Task[None] | None = None
        self._live = Live(console=console, auto_refresh=False, get_renderable=self.picture)

    async def __aenter__(self) -> Self:
        self._live.start(refresh=True)
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        self._ended = True
        self._live.stop()

    def show(self, view: ProgressView) -> None:
        self._rows[view.id] = Row(view.id, view)
        self.redraw()

    def note(self, request_id: str, sentence: str) -> None:
        self._rows[request_id] = Row(request_id, self._rows[request_id].view, sentence)
        self.redraw()

    def paced(self, each_s: Callable[[], float]) -> None:
        self._each_s = each_s

    def redraw(self) -> None:
        """The picture as it is now. In a terminal that became narrower the old one has wrapped: it is wiped away."""
        if self._console.width < self._width:
            self._console.clear()
        self._width = self._console.width
        self._live.refresh()

    def picture(self) -> RenderableType:
        """What there is to see; everything of it once it is over, and else as much as the terminal has lines for."""
        now = datetime.now(UTC)
        height = 10**6 if self._ended else self._console.height
        rows = list(self._rows.values())
        if len(rows) > 1:
            return board(rows, self._console.width, height, now, f"each asked every {duration(self._each_s())}")
        row = rows[0]
        if row.view is None:
            return Text(f"{row.id}: {plain(row.note) or 'asked'}")
        reasons = min(REASONS_SHOWN, max(1, height - _PANEL_LINES))
        return progress_panel(row.view, row.note, now=now, reasons=reasons)

    async def _tick(self) -> None:
        """Countdowns go on also where nothing else does."""
        while not all(row.view and row.view.state in OVER for row in self._rows.values()):
            await asyncio.sleep(REDRAW_EVERY_S)
            self.redraw()
