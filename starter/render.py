"""How a request and a limiter look to a person in lines, and the words that pictures of them share.

What others said (reasons of an API, owners) is shown as text: it colours nothing, breaks no line, moves no cursor.
"""

from __future__ import annotations

from datetime import UTC, datetime

from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import BucketView, LimiterView, ProgressView, WaiterView

OVER = frozenset({"completed", "cancelled", "failed"})
COLOURS = {
    "planning": "cyan",
    "running": "green",
    "waiting": "yellow",
    "paused": "yellow",
    "completed": "bold green",
    "cancelled": "magenta",
    "failed": "bold red",
}


def percent(view: ProgressView) -> int:
    """How much of the request has an outcome; 100 only when all of it has."""
    counts = view.operations
    if not counts.total:
        return 100 if view.state == "completed" else 0
    return (counts.total - counts.remaining) * 100 // counts.total


def progress_line(view: ProgressView) -> str:
    """The request in one line."""
    counts = view.operations
    parts = [
        f"{view.id}: {view.state} {percent(view)}%",
        f"{counts.succeeded:,} of {counts.total:,} operations succeeded",
    ]
    parts += [f"{counts.failed:,} failed"] if counts.failed else []
    parts += [f"{counts.unprocessed:,} unprocessed"] if counts.unprocessed else []
    parts.append(f"{view.calls.made:,} of {view.calls.planned:,} calls")
    parts += [cached_text(view)] if view.cached else []
    if view.state not in OVER:
        parts += [f"{view.rate_per_minute:,.0f}/min"] if view.rate_per_minute else []
        parts += [f"done about {clock_time(view.eta_at)}"] if view.eta_at else []
        parts += [f"{hold(view)}: {reason_text(view)}"] if reason_text(view) else []
    return ", ".join(parts)


def hold(view: ProgressView) -> str:
    """How to call what holds the request back: while it waits, and while it runs all the same."""
    return "held back" if view.state == "running" else "waiting"


def reason_text(view: ProgressView, now: datetime | None = None) -> str:
    """What holds the request back, and until when that is so; empty where the state says it already."""
    if view.waiting.reason in ("", view.state):
        return ""
    until = f" until {clock_time(view.waiting.until, now)}" if view.waiting.until else ""
    return plain(view.waiting.reason) + until


def cached_text(view: ProgressView) -> str:
    """How many reads the cache answered."""
    return f"{view.cached:,} reads from the cache ({view.cache_hit_rate:.0%} of those looked for)"


def eta_text(view: ProgressView, now: datetime) -> str:
    """When it will be done, by the clock and from now on; empty where nobody knows."""
    left = remaining(view.eta_at, now)
    return f"about {clock_time(view.eta_at, now)}{f', in {left}' if left else ', any moment'}" if view.eta_at else ""


def remaining(instant: str | None, now: datetime) -> str:
    """How long until an instant of a view; empty if it has passed, or is not known."""
    left_s = (datetime.fromisoformat(instant) - now).total_seconds() if instant else 0.0
    return duration(left_s) if left_s > 0 else ""


def settings_lines(settings: LimiterSettings) -> list[str]:
    """The quotas in words."""
    window = seconds(settings.window_ns)
    return [
        f"reads    {settings.read_per_project} a project, {settings.read_per_user} a user, in {window}",
        f"writes   {settings.write_per_project} a project, {settings.write_per_user} a user, in {window}",
        f"spacing  {seconds(settings.spreadsheet_spacing_ns)} between two writes to one spreadsheet",
        f"slack    a token is good for {seconds(settings.token_valid_for_ns)}, a call may travel {seconds(settings.network_spread_ns)}",
        f"floors   urgent {settings.floor_urgent:.0%}, normal {settings.floor_normal:.0%}, low {settings.floor_low:.0%}; "
        f"a class up after {seconds(settings.age_after_ns)} without a call"
        + (f"; {settings.urgent_budget} urgent calls an owner in 10 min" if settings.urgent_budget else ""),
        *(
            f"user     {name}: "
            + ", ".join(f"{limit} {kind}s" for kind, limit in (("read", own.read), ("write", own.write)) if limit)
            for name, own in sorted(settings.users.items())
        ),
    ]


def limiter_lines(view: LimiterView) -> list[str]:
    """The limiter in a few lines."""
    lines = [f"limiter of project {view.project}", *settings_lines(view.settings)]
    if view.quiet_until_ns > view.now_ns:
        lines.append(
            f"quiet    for {seconds(view.quiet_until_ns - view.now_ns)}: the tokens of the limiter before it run out"
        )
    lines.append(
        f"tokens   {view.granted:,} granted, {view.returned:,} returned, {view.booked:,} booked now, {view.throttled:,} × 429"
    )
    if view.paused_by:
        lines.append(f"PAUSED   by {view.paused_by}: no token is given until `headgate limiter resume`")
    lines += [f"ALERT    {sentence}" for sentence in view.alerts]
    for circuit in view.circuits.values():
        rest = "one is out" if circuit.out else f"next in {seconds(max(0, circuit.next_probe_ns - view.now_ns))}"
        lines.append(f"CIRCUIT  {circuit.why}; since {seconds(view.now_ns - circuit.since_ns)}, {rest}")
    lines += [bucket_line(name, bucket, view.now_ns) for name, bucket in view.buckets.items()]
    lines += [
        f"class    {c.kind} {c.priority}: {c.share:.0%} of the quota now, {c.owners} owners, {c.lanes} lanes, "
        f"{c.calls} calls in the last window, Jain's index {c.jain:.3f}, longest wait {seconds(c.waits_ns)}"
        for c in view.classes
    ]
    lines += [waiter_line(waiter, view.now_ns) for waiter in view.waiters]
    lines += [
        f"booked   {held.holder}: {held.given} tokens taken in the last window, {held.places} booked ahead"
        for held in view.bookings
    ]
    if view.waiting > len(view.waiters):
        lines.append(f"         and {view.waiting - len(view.waiters):,} more")
    return lines


def bucket_line(name: str, bucket: BucketView, now_ns: int) -> str:
    """One bucket: use, what was learned, and until when it rests."""
    parts = [f"{bucket.used} of {bucket.limit} used", f"{bucket.booked} booked", f"{bucket.free} free"]
    parts.append(f"worst window {bucket.worst_window}")
    if bucket.used_by_others:
        parts.append(f"learned ceiling {bucket.ceiling}: {bucket.used_by_others} used by others")
    parts += [f"{bucket.throttled} × 429"] if bucket.throttled else []
    parts += [f"rests for {seconds(bucket.shut_until_ns - now_ns)}"] if bucket.shut_until_ns > now_ns else []
    return f"bucket   {name}: " + ", ".join(parts)


def waiter_line(waiter: WaiterView, now_ns: int) -> str:
    """One who waits, with the parts of its rank."""
    served: str = waiter.priority
    if waiter.aged:
        served += f" (aged: served as {waiter.served_as})"
    elif waiter.served_as != waiter.priority:
        served += f" (beyond its urgent budget: served as {waiter.served_as})"
    parts = [
        f"{waiter.holder}: {served}",
        f"owner {waiter.owner or '-'}",
        f"no. {waiter.position} of its class" if waiter.position else "wants nothing",
        f"share {waiter.share:.1%}",
        f"{waiter.deficit:g} calls behind" if waiter.deficit > 0 else f"{-waiter.deficit:g} calls ahead",
        f"{waiter.calls:,} calls in {waiter.lanes} lanes",
        f"last call {seconds(waiter.age_ns)} ago",
    ]
    parts += [f"stopped: {waiter.stopped}"] if waiter.stopped else []
    if waiter.waits_for:
        until = f" for {seconds(waiter.until_ns - now_ns)}" if waiter.until_ns > now_ns else ""
        parts.append(f"waits: {waiter.waits_for}{until}")
    return "waits    " + ", ".join(parts)


def seconds(span_ns: int) -> str:
    """A span, as short as it can be said."""
    return f"{round(span_ns / 1_000_000_000, 1):g} s" if span_ns >= 10**9 else f"{span_ns / 1_000_000_000:.3g} s"


def duration(span_s: float) -> str:
    """A span of seconds to days, in its two largest units."""
    rest = max(1, round(span_s))
    parts: list[str] = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, length)
        parts += [f"{count} {unit}"] if count or parts else []
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def clock_time(instant: str | None, now: datetime | None = None) -> str:
    """An instant of a view as a time of day in the reader's zone, with the date unless it is today."""
    if not instant:
        return "-"
    local = datetime.fromisoformat(instant).astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")


def plain(said: str) -> str:
    """A text without what could break a line or steer a terminal."""
    return said if said.isprintable() else "".join(sign if sign.isprintable() else " " for sign in said)
