"""The limiter at a glance: the Markdown that the Web UI shows, and the readings that alerts are made of. Cheap: asked for often."""

from __future__ import annotations

from headgate.health import API, KINDS
from headgate.limiter import Limiter
from headgate.message import SECOND_NS
from headgate.messages.alerts import Readings
from headgate.shown import longest_waits, shown_circuits, shown_classes

#: A bucket that holds less than this part of its limit cannot be hot.
WORTH_READING = 0.5


def readings(limiter: Limiter, now: int) -> Readings:
    """What alerts are to know of this moment (`headgate.alerts`)."""
    buckets, health = limiter.buckets, limiter.health
    used = {
        name: bucket.used(now) / bucket.limit
        for name, bucket in buckets.quotas.items()
        if len(bucket.times) >= WORTH_READING * bucket.limit
    }
    return Readings(
        used=used,
        throttled={name: pressure.total for name, pressure in health.pressures.items()},
        circuits={
            name if name == API else name.removeprefix("sheet/"): health.why(name)
            for name, circuit in health.circuits.items()
            if circuit.open
        },
        waits_ns=longest_waits(limiter, now),
    )


def details(limiter: Limiter, now: int, alerts: tuple[str, ...]) -> str:
    """Quotas, classes, what is wrong, in Markdown."""
    lines = []
    if limiter.paused_by:
        lines.append(f"**paused by {limiter.paused_by}**: signal `resume` to go on")
    if limiter.quiet_until_ns > now:
        lines.append(
            f"**quiet** for {(limiter.quiet_until_ns - now) / SECOND_NS:.0f} s: an earlier limiter's tokens run out"
        )
    lines += [f"**alert**: {sentence}" for sentence in alerts]
    for circuit in shown_circuits(limiter, now).values():
        lines.append(f"**{circuit.why}**, for {(now - circuit.since_ns) / SECOND_NS:.0f} s")
    lines.append(
        f"{limiter.granted} tokens granted, {limiter.returned} returned, {limiter.health.throttled} × 429, "
        f"{limiter.health.overloads} failures, {len(limiter.queue)} requests wait for tokens"
    )
    rows = head("quota", "used", "limit", "learned", "free")
    for kind in KINDS:
        name = f"project/{kind}"
        bucket, ceiling = limiter.buckets.project(kind), limiter.health.ceiling(name, now)
        rows.append(
            f"| {name} | {bucket.used(now)} | {bucket.limit} | {ceiling} | {max(0, bucket.limit - len(bucket.times))} |"
        )
    lines.append("\n".join(rows))
    classes = shown_classes(limiter, now)
    if classes:
        rows = head("class", "share", "owners", "lanes", "calls/window", "Jain", "waits")
        rows += [
            f"| {c.kind} {c.priority} | {c.share:.0%} | {c.owners} | {c.lanes} | {c.calls} | {c.jain:.3f} | {c.waits_ns / SECOND_NS:.0f} s |"
            for c in classes
        ]
        lines.append("\n".join(rows))
    lines.append("Signals: `pause`, `resume`, `configure`. Query: `show`.")
    return "\n\n".join(lines)


def head(first: str, *others: str) -> list[str]:
    """A table's first two lines. The Web UI pads no cell: no-break spaces in the head hold the columns apart."""
    cells = [f"{first}\u00a0", *(f"\u00a0\u00a0\u00a0{other}" for other in others)]
    return [f"| {' | '.join(cells)} |", "|:--|" + "--:|" * len(others)]
