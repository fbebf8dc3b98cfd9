"""The demo's verdict: what the emulator's ledger and spreadsheets say about each promise. headgate's own word counts for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headgate.messages.views import ProgressView
from starter.demo_script import BAD_LINES, Count, Script


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise, and whether it was kept."""

    name: str
    kept: bool
    said: str


@dataclass(frozen=True, slots=True)
class BucketUse:
    """One quota: its limit, the most that any window saw, what part of it was used over the time (None: less than a window)."""

    bucket: str
    limit: int
    worst_window: int
    calls: int
    refused: int
    used: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All promises and the numbers that they rest on."""

    window: float
    calls: int
    faults: int
    buckets: tuple[BucketUse, ...]
    promises: tuple[Promise, ...]

    @property
    def kept(self) -> bool:
        return all(promise.kept for promise in self.promises)

    def document(self) -> dict[str, object]:
        """The verdict as JSON."""
        return {"kept": self.kept, **asdict(self)}


def buckets_of(ledger: Mapping[str, Any]) -> tuple[BucketUse, ...]:
    """The buckets of the emulator's verdict, the projects' first."""
    found = [
        BucketUse(
            bucket=f"{bucket['kind']}s of {bucket['level']} {bucket['name']}",
            limit=bucket["limit"],
            worst_window=bucket["worst_window"],
            calls=bucket["calls"],
            refused=bucket["refused"],
            used=bucket["used_share"],
        )
        for bucket in sorted(ledger["buckets"], key=lambda one: (one["level"] != "project", one["kind"], one["name"]))
    ]
    return tuple(found)


def judge(
    script: Script, ledger: Mapping[str, Any], count: Count, outcomes: Mapping[str, str], view: ProgressView
) -> Verdict:
    """`outcomes` are the result lines: operation id -> outcome; a line without a readable id goes by its number."""
    buckets = buckets_of(ledger)
    over = [use.bucket for use in buckets if use.worst_window > use.limit]
    refused = sum(use.refused for use in buckets)
    succeeded = sum(1 for name in script.good if outcomes.get(name) == "succeeded")
    dead = sum(1 for outcome in outcomes.values() if outcome == "failed")
    told = len(outcomes)
    promises = (
        Promise("completed", view.state == "completed", f"the request is {view.state}"),
        Promise(
            "never over quota",
            bool(buckets) and not over,
            f"over in {', '.join(over)}"
            if over
            else f"the worst window of all {len(buckets)} buckets is within its limit",
        ),
        Promise("no 429", not refused, f"{refused} calls refused"),
        Promise(
            "applied exactly once",
            count.exact and count.right > 0,
            f"{count.right:,} writes found once, {count.lost:,} lost, {count.doubled:,} doubled, {count.strange:,} unknown",
        ),
        Promise(
            "one outcome each",
            succeeded == len(script.good) and told == len(script.lines),
            f"{succeeded:,} of {len(script.good):,} good operations succeeded, {told:,} of {len(script.lines):,} have an outcome",
        ),
        Promise("dead letters", dead == len(BAD_LINES), f"{dead} of {len(BAD_LINES)} bad lines, each with its reason"),
    )
    return Verdict(ledger["window"], ledger["calls"], sum(ledger["faults"].values()), buckets, promises)


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict for a person."""
    lines = [f"{'bucket':<40}{'worst window':>16}{'calls':>8}{'429s':>6}{'used':>8}"]
    for use in verdict.buckets:
        used = f"{use.used:.1%}" if use.used is not None else "-"
        lines.append(
            f"{use.bucket:<40}{f'{use.worst_window} of {use.limit}':>16}{use.calls:>8}{use.refused:>6}{used:>8}"
        )
    lines.append(
        f"{verdict.calls:,} calls counted in windows of {verdict.window:g} s; {verdict.faults} faults were injected"
    )
    lines += [
        f"{'kept  ' if promise.kept else 'BROKEN'}  {promise.name}: {promise.said}" for promise in verdict.promises
    ]
    lines.append("verdict: every promise was kept" if verdict.kept else "verdict: a promise was BROKEN")
    return lines
