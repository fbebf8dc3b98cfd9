"""A bulk request at a glance: the Markdown that the Web UI shows of it. Cheap: made anew once a second."""

from __future__ import annotations

from headgate.models import ProgressView
from headgate.steering import Steering

BAR = 30
REASONS_SHOWN = 5
OVER = ("completed", "cancelled", "failed")


def details(view: ProgressView, steering: Steering) -> str:
    """State, bar, counts, rate, ETA, the reason for waiting, what failed, and what to press."""
    counts, calls = view.operations, view.calls
    total = counts.total or 1
    done = BAR * (counts.succeeded + counts.failed) // total
    percent = 100 * (counts.succeeded + counts.failed) // total
    head = f"### {_state(view, steering)}\n\n`{'█' * done}{'░' * (BAR - done)}` **{percent} %**"
    rows = [
        ("operations", f"{counts.total:,}: {_counts(view)}"),
        ("calls", f"{calls.made:,} of {calls.planned:,}, {calls.retried:,} of them again"),
        ("priority", f"{view.priority}, owner {_plain(view.owner or '-')}"),
    ]
    if view.state not in OVER:
        rows.append(("rate", f"{view.rate_per_minute:g} calls a minute"))
        rows.append(("done", f"about {view.eta_at}" if view.eta_at else "not known yet"))
    if view.lanes.total:
        rows.append(("lanes", f"{view.lanes.active} under way, {view.lanes.done:,} of {view.lanes.total:,} done"))
    if view.cached:
        rows.append(("cache", f"{view.cached:,} reads"))
    said = [head]
    if view.waiting.reason and view.waiting.cause not in ("paused", "planning"):
        said.append(f"**waits**: {_plain(view.waiting.reason)}{_until(view)}")
    said.append("\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]))
    if view.failures:
        most = sorted(view.failures.items(), key=lambda pair: (-pair[1], pair[0]))[:REASONS_SHOWN]
        said.append("\n".join(["| failed | why |", "|---|---|", *(f"| {n:,} | {_plain(why)} |" for why, n in most)]))
    if view.state not in OVER:
        said.append('Steer it by *Update*: `pause`, `resume`, `reprioritise` with `{"to": "urgent"}`, `cancel`.')
    return "\n\n".join(said)


def _state(view: ProgressView, steering: Steering) -> str:
    if view.state == "paused":
        return f"paused by {_plain(steering.paused_by or '')}"
    if view.state == "cancelled":
        return f"cancelled by {_plain(steering.cancelled_by or '')}"
    return view.state


def _counts(view: ProgressView) -> str:
    counts = view.operations
    named = {
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "unprocessed": counts.unprocessed,
        "to go": counts.remaining,
    }
    return ", ".join(f"{many:,} {name}" for name, many in named.items() if many or name == "succeeded")


def _until(view: ProgressView) -> str:
    if view.waiting.until is None:
        return ""
    return f"{', next probe at' if view.waiting.cause == 'circuit' else ' until'} {view.waiting.until}"


def _plain(text: str) -> str:
    """Text of other people's, without what Markdown would make something of."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#~" else " " if c in "\r\n" else c for c in text)
