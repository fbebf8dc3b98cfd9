"""One request on a terminal: a panel with bars, counts, rate, when it is done, and what it waits for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from headgate.messages.views import ProgressView
from starter.render import COLOURS, OVER, cached_text, eta_text, hold, percent, plain, reason_text, remaining

REASONS_SHOWN: Final = 10
_LABEL: Final = 10


def first_calls(view: ProgressView) -> int:
    """How many of the planned calls were made: those that repeat one are not among them."""
    return max(0, min(view.calls.planned, view.calls.made - view.calls.retried))


def bar(completed: int, total: int, state: str, width: int | None = None) -> ProgressBar:
    """A bar in the colour of the state."""
    colour = COLOURS.get(state, "")
    return ProgressBar(max(total, 1), completed, width, complete_style=colour, finished_style=colour)


def progress_panel(
    view: ProgressView, note: str = "", *, now: datetime | None = None, reasons: int = REASONS_SHOWN
) -> RenderableType:
    """The request as a panel: bars, counts, rate, when it is done, what it waits for; `note` is what has to be said besides."""
    now = now or datetime.now(UTC)
    counts, calls = view.operations, view.calls
    head = Text.assemble((view.state, COLOURS.get(view.state, "")), f"  {percent(view)}%  priority {view.priority}")
    if view.owner:
        head.append(f"  owner {plain(view.owner)}")
    bars = Table.grid(padding=(0, 2), expand=True)
    bars.add_column(no_wrap=True, width=_LABEL)
    bars.add_column(ratio=1, min_width=4)
    bars.add_column(no_wrap=True)
    settled = counts.total - counts.remaining
    bars.add_row("operations", bar(settled, counts.total, view.state), f"{settled:,} of {counts.total:,}")
    bars.add_row("calls", bar(first_calls(view), calls.planned, view.state), f"{calls.made:,} of {calls.planned:,}")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True, width=_LABEL)
    facts.add_column(overflow="fold")
    facts.add_row(
        "outcomes",
        f"{counts.succeeded:,} succeeded, {counts.failed:,} failed, {counts.unprocessed:,} unprocessed, {counts.remaining:,} to go",
    )
    if calls.retried:
        facts.add_row("retried", f"{calls.retried:,}")
    if view.lanes.total and view.state not in OVER:
        facts.add_row("lanes", f"{view.lanes.active:,} under way, {view.lanes.done:,} of {view.lanes.total:,} done")
    if view.cached:
        facts.add_row("cache", cached_text(view))
    if view.state not in OVER:
        facts.add_row("rate", f"{view.rate_per_minute:,.0f} calls/min")
    if view.state not in OVER and view.state != "paused":
        facts.add_row("done", eta_text(view, now) or "not known yet")
    if reason := reason_text(view, now):
        left = remaining(view.waiting.until, now)
        facts.add_row(hold(view), Text(reason + (f" (in {left})" if left else ""), style="yellow"))
    most = sorted(view.failures.items(), key=lambda pair: (-pair[1], pair[0]))
    for reason, count in most[:reasons]:
        facts.add_row("failed", Text(f"{count:,} × {plain(reason)}", style="red"))
    if len(most) > reasons:
        facts.add_row("failed", Text(f"and for {len(most) - reasons} other reasons", style="red"))
    if note:
        facts.add_row("note", Text(plain(note), style="yellow"))
    return Panel(Group(head, bars, facts), title=Text(view.id), title_align="left")
