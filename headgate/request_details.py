"""A bulk request at a glance: the Markdown that the Web UI shows of it. Cheap: made anew once a second.

Rules, seen in the Web UI 2.50 (docs/web-ui.md):

1. Its box is narrow and its tables have no padding: a list instead.
2. What comes from others (owners, names, reasons) stands in code spans: the renderer passes HTML on, and ids are full of `_`.
3. It is made anew only when the page is opened or R is pressed: it says of which instant it is.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView
from headgate.progress import instant
from headgate.steering import Steering

BAR = 30
REASONS_SHOWN = 3
LONGEST = 300
OVER = ("completed", "cancelled", "failed")
PAGES = "namespaces/{namespace}/workflows"


def details(view: ProgressView, steering: Steering, workflow_id: str, limiter_id: str, now: int) -> str:
    """State, bar, ETA, rate, the reason for waiting, what failed, and what to press."""
    counts = view.operations
    done = counts.succeeded + counts.failed
    over = view.state in OVER
    head = f"**{view.state}** · {done:,} of {counts.total:,} operations done"
    head += f", **{counts.failed:,} failed**" if counts.failed else ""
    head += f", {counts.unprocessed:,} unprocessed" if counts.unprocessed else ""
    share = done / counts.total if counts.total else 0.0
    filled = int(BAR * share)
    parts = [head, f"`{'█' * filled}{'░' * (BAR - filled)}` {int(100 * share)} %", "\n".join(_facts(view, now))]
    if view.state == "paused":
        parts.append(f"> paused by {_quoted(steering.paused_by or '')}: send the update `resume` to go on")
    elif view.state == "cancelled":
        parts.append(f"> cancelled by {_quoted(steering.cancelled_by or '')}: what was not sent is unprocessed")
    if over:
        again = f", `headgate retry-failed {view.id}` sends again what failed" if counts.failed else ""
        parts.append(f"`headgate results {view.id}` has what became of every operation{again}.")
    else:
        parts.append(
            "**Steer it**: *More Actions > Send an Update*, no data needed: `pause`, `resume`, `cancel`, `retry_failed`. "
            '`reprioritise` takes `{"to": "urgent"}`.'
        )
        page, limiter = quote(workflow_id, safe=""), quote(limiter_id, safe="")
        parts.append(
            f"[What is being sent]({PAGES}/{page}/{{runId}}/pending-activities) · [the limiter]({PAGES}/{limiter})"
        )
    return "\n\n".join([*parts, f"*As of {_time(instant(now), now)}. Key R: anew.*"])


def introduction(request: BulkRequest, summary: str = "") -> str:
    """What was asked for and how to read the page: the same for as long as the request lives. `summary` comes first, if any."""
    facts = [
        *([_quoted(summary), ""] if summary else []),
        f"- **Project** {_quoted(request.project)}: its quota pays",
        f"- **Owner** {_quoted(request.owner)}, priority {request.priority} when it was submitted",
    ]
    if request.user:
        facts.append(f"- **User** {_quoted(request.user)}, for lines that name none")
    facts.append(f"- **Input** {_size(request.input_bytes)}, SHA-256 `{request.input_sha256[:12]}…`")
    if request.order == "strict":
        facts.append("- **Order** reads and writes of a spreadsheet go one after the other")
    if request.operations_per_call:
        facts.append(f"- **Operations in a call** {request.operations_per_call:,} at most")
    if request.max_age_ns:
        facts.append(f"- **Reads** may be {request.max_age_ns // SECOND_NS:,} s old")
    if request.stop_after:
        facts.append(f"- **Pauses** by itself once {request.stop_after:,} operations have failed")
    if request.grow:
        facts.append("- **Grows** a sheet that a write does not fit into")
    timeline = (
        "**On the timeline** `plan` reads the input, `send_lease` makes calls, `resend_batch` makes one again that went wrong; "
        "`request_tokens` asks the limiter, `grant` brings tokens, `settle` hands back what is not needed."
    )
    commands = ", ".join(f"`headgate {command} {request.id}`" for command in ("watch", "status", "results"))
    return "\n\n".join(["\n".join(facts), timeline, f"**In a terminal** {commands}"])


def _size(many: int) -> str:
    """Bytes as people say them."""
    if many < 1_000_000:
        return f"{max(1, round(many / 1000)):,} kB"
    return f"{many / 1_000_000:,.1f} MB"


def _facts(view: ProgressView, now: int) -> list[str]:
    """The list: what is known of the future only while there is one."""
    calls, facts = view.calls, []
    if view.state not in (*OVER, "paused"):
        ready = f"about {_time(view.eta_at, now)}" if view.eta_at else "not known yet"
        facts.append(f"- **Ready** {ready}, at {view.rate_per_minute:g} calls a minute")
    again = f", {calls.retried:,} of them again" if calls.retried else ""
    facts.append(f"- **Calls** {calls.made:,} of {calls.planned:,}{again}")
    if view.cached:
        facts.append(f"- **Cache** {view.cached:,} reads")
    if view.lanes.active:
        facts.append(f"- **Lanes** {view.lanes.active} under way, {view.lanes.done:,} of {view.lanes.total:,} done")
    facts.append(f"- **Priority** {view.priority}" + (f", owner {_quoted(view.owner)}" if view.owner else ""))
    waiting = view.waiting
    if waiting.reason and waiting.cause not in ("paused", "planning"):
        ends = ", next probe at" if waiting.cause == "circuit" else ", until"
        until = f"{ends} {_time(waiting.until, now)}" if waiting.until else ""
        facts.append(f"- **Waits** {_quoted(waiting.reason)}{until}")
    most = sorted(view.failures.items(), key=lambda pair: (-pair[1], pair[0]))[:REASONS_SHOWN]
    facts += [f"- **Failed** {count:,} × {_quoted(reason)}" for reason, count in most]
    return facts


def _quoted(text: str) -> str:
    """Other people's text as a code span, in which nothing means anything."""
    plain = " ".join(text.replace("`", "'").split())
    return f"`{plain[:LONGEST] or '-'}`"


def _time(iso: str, now: int) -> str:
    """An instant as a person says it: with the date unless it is today's."""
    at = datetime.fromisoformat(iso)
    today = datetime.fromisoformat(instant(now)).date()
    return at.strftime("%H:%M:%S UTC" if at.date() == today else "%Y-%m-%d %H:%M UTC")
