"""Many requests on one screen: a row each, and two lines for all of them together. No clock: `now` comes in.

1. Columns have the width that their widest cell needs; on a narrow terminal rate, counts, bar and state go, in that order.
2. What there is to say of a request stands behind its columns, else, where the screen has lines for it, whole below them.
3. Where there are more requests than lines, those that are over make room for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from headgate.messages.views import ProgressView
from starter.panel import bar
from starter.render import COLOURS, OVER, clock_time, eta_text, percent, plain, remaining

#: The least that the last column needs to say something; narrower, and other columns go.
_WORDS: Final = 24
_BAR: Final = range(6, 21)
_GAP: Final = 2
_INDENT: Final = "  "
_TOTAL_LINES: Final = 2
_STATES: Final = ("planning", "running", "waiting", "paused", "completed", "cancelled", "failed")


@dataclass(frozen=True, slots=True)
class Row:
    """One request as it was last seen; None: not yet. `note` is why it cannot be seen just now."""

    id: str
    view: ProgressView | None = None
    note: str = ""

    @property
    def state(self) -> str:
        return self.view.state if self.view else "…"

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def counts(self) -> str:
        if self.view is None:
            return ""
        counts = self.view.operations
        return f"{counts.total - counts.remaining:,}/{counts.total:,}"

    @property
    def rate(self) -> str:
        return f"{self.view.rate_per_minute:,.0f}/min" if self.view and not self.is_over else ""


def board(rows: Sequence[Row], width: int, height: int, now: datetime, asked: str = "") -> RenderableType:
    """The rows in `width` cells and `height` lines; `asked` is said of those that are not over."""
    room = max(1, height - _TOTAL_LINES)
    shown = list(rows)
    if len(rows) > room:
        kept = sorted(range(len(rows)), key=lambda place: (rows[place].is_over, place))[: max(1, room - 1)]
        shown = [rows[place] for place in sorted(kept)]
    left_out = len(rows) - len(shown)
    lines = _lines(shown, width, now, room - len(shown) - bool(left_out))
    if left_out:
        lines.append(Text(f"and {left_out:,} more", style="dim"))
    states, sums = total_text(rows, now)
    open_ones = any(not row.is_over for row in rows)
    said = f"{sums}; {asked}" if asked and open_ones and cell_len(sums) + cell_len(asked) + 2 <= width else sums
    return Group(*lines, _cut(Text(states, style="bold"), width), _cut(Text(said), width))


def total_text(rows: Sequence[Row], now: datetime) -> tuple[str, str]:
    """All of them: how many are in which state, and what they make together."""
    views = [row.view for row in rows if row.view is not None]
    states = Counter(view.state for view in views)
    named = ", ".join(f"{states[state]:,} {state}" for state in _STATES if states[state])
    done = sum(view.operations.total - view.operations.remaining for view in views)
    sums = f"{done:,} of {sum(view.operations.total for view in views):,} operations"
    still_on = [view for view in views if view.state not in OVER]
    if still_on:
        sums += f", {sum(view.rate_per_minute for view in still_on):,.0f} calls/min"
        etas = [view.eta_at for view in still_on]
        last = max((eta for eta in etas if eta), key=datetime.fromisoformat, default=None)
        if last and len(views) == len(rows) and all(etas):
            left = remaining(last, now)
            sums += f"; all done about {clock_time(last, now)}" + (f", in {left}" if left else "")
    return f"{len(rows):,} requests: {named or 'asked'}", sums


def verdict(view: ProgressView) -> str:
    """What became of a request that is over."""
    counts = view.operations
    if not counts.total:
        return "nothing of it is known" if view.state == "failed" else "no operations"
    parts = [f"{counts.failed:,} failed" + _most_often(view.failures)] if counts.failed else []
    parts += [f"{counts.unprocessed:,} unprocessed"] if counts.unprocessed else []
    return ", ".join(parts) or "all succeeded"


def _most_often(failures: Mapping[str, int]) -> str:
    if not failures:
        return ""
    reason = max(failures, key=lambda reason: (failures[reason], reason))
    return f" ({plain(reason)})"


def _lines(rows: Sequence[Row], width: int, now: datetime, spare: int) -> list[RenderableType]:
    widths = _widths(rows, width)
    room = max(1, width - sum(widths.values()) - _GAP * len(widths))
    lines: list[RenderableType] = []
    for row in rows:
        said, below = _said(row, room, width - len(_INDENT) if spare else 0, now)
        lines.append(_line(row, widths, said, room))
        if below is not None:
            spare -= 1
            lines.append(Text(_INDENT).append(below))
    return lines


def _said(row: Row, room: int, width_below: int, now: datetime) -> tuple[Text, Text | None]:
    """What there is to say of a request: behind its columns, and below them what has no room there (0: nothing may)."""
    reason, eta = _words(row, now)
    both = [f"{reason[0]}; {eta[0]}"] if reason and eta else []
    if both and cell_len(both[0]) > room and width_below:
        return _styled(row, _fitting(eta, room)), _styled(row, _fitting(reason, width_below))
    matters = both + (eta if both and row.state == "running" else reason or eta)
    if width_below and matters and all(cell_len(form) > room for form in matters):
        return Text(), _styled(row, _fitting(matters, width_below))
    return _styled(row, _fitting(matters, room)), None


def _fitting(forms: Sequence[str], width: int) -> str:
    """The longest form that fits, else as much of the shortest as does."""
    fitting = [form for form in forms if cell_len(form) <= width]
    return fitting[0] if fitting else _cut(Text(forms[-1]), width).plain if forms else ""


def _styled(row: Row, said: str) -> Text:
    if row.note or row.state in ("waiting", "paused"):
        return Text(said, style="yellow")
    bad = row.view is not None and row.is_over and (row.view.operations.failed or row.state == "failed")
    return Text(said, style="red" if bad else "")


def _widths(rows: Sequence[Row], width: int) -> dict[str, int]:
    widths = {
        "id": min(max(cell_len(row.id) for row in rows), max(12, width * 2 // 7)),
        "state": max(len(row.state) for row in rows),
        "percent": 4,
        "bar": _BAR.start,
        "counts": max(len(row.counts) for row in rows),
        "rate": max(len(row.rate) for row in rows),
    }
    for dropped in ("", "rate", "counts", "bar", "state"):
        widths.pop(dropped, None)
        words = width - sum(widths.values()) - _GAP * len(widths)
        if words >= _WORDS:
            break
    if "bar" in widths and words > _WORDS:
        widths["bar"] += min(_BAR[-1] - _BAR.start, (words - _WORDS) // 3)
    return widths


def _line(row: Row, widths: Mapping[str, int], words: Text, room: int) -> Table:
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for name, wide in widths.items():
        right = name in ("percent", "counts", "rate")
        table.add_column(width=wide, no_wrap=True, justify="right" if right else "left")
    table.add_column(width=room, no_wrap=True)
    settled = row.view.operations.total - row.view.operations.remaining if row.view else 0
    cells: dict[str, RenderableType] = {
        "id": _cut(Text(row.id), widths["id"]),
        "state": Text(row.state, style=COLOURS.get(row.state, "")),
        "percent": f"{percent(row.view)}%" if row.view else "",
        "bar": bar(settled, row.view.operations.total, row.state, widths.get("bar")) if row.view else "",
        "counts": row.counts,
        "rate": row.rate,
    }
    table.add_row(*(cells[name] for name in widths), words)
    return table


def _words(row: Row, now: datetime) -> tuple[list[str], list[str]]:
    """Why a request waits, or what became of it, and when it is done, each in forms that grow shorter."""
    view = row.view
    if row.note or view is None:
        return [plain(row.note) or "asked"], []
    if row.is_over:
        return [verdict(view)], []
    eta = eta_text(view, now)
    etas = [f"done {eta}", eta, eta.removeprefix("about "), clock_time(view.eta_at, now)] if eta else []
    if not view.waiting.reason or view.waiting.reason == view.state:
        return [], etas
    reason, left = plain(view.waiting.reason), remaining(view.waiting.until, now)
    if not left:
        return [reason], etas
    until = clock_time(view.waiting.until, now)
    return [f"{reason} until {until}, in {left}", f"{reason}, {left}", f"{left}: {reason}"], etas


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text
