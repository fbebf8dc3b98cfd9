"""What the server and the worker count of themselves, read from their Prometheus pages."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import httpx

#: As the SDK names it by default, and as it does where it is told to add units: to seconds.
_TASKS: Final = {"": 0.001, "_milliseconds": 0.001, "_seconds": 1.0}


async def page(port: int) -> str:
    """The metrics page on this machine at that port; nothing where nobody answers."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx.HTTPError:
        return ""


def actions(text: str) -> Counter[str]:
    """Billable actions by type, as the server counts them (reference/temporal.md section 2)."""
    counted: Counter[str] = Counter()
    for labels, value in _samples(text, "action(?:_total)?"):
        counted[labels.get("action_type", "unnamed")] += value
    return counted


def task_seconds(text: str, workflow: str) -> dict[str, float | None] | None:
    """How long the worker computed at tasks of a workflow: upper bounds, as a histogram knows no more; None where none is shown.

    A rank that lies beyond the histogram's last bound is None.
    """
    bounds: Counter[float] = Counter()
    for unit, seconds in _TASKS.items():
        for labels, value in _samples(text, f"temporal_workflow_task_execution_latency{unit}_bucket"):
            if labels.get("workflow_type") == workflow:
                bounds[float(labels["le"].replace("+Inf", "inf")) * seconds] += value
    total = bounds[math.inf]
    if not total:
        return None
    ranks = {f"p{n}_at_most": min(b for b in bounds if bounds[b] >= n / 100 * total) for n in (50, 95, 99, 100)}
    return {"tasks": total, **{name: None if math.isinf(bound) else bound for name, bound in ranks.items()}}


def _samples(text: str, name: str) -> Iterator[tuple[dict[str, str], int]]:
    for labels, value in re.findall(rf"^{name}\{{([^}}]*)\}} ([0-9.e+]+)$", text, re.M):
        yield dict(re.findall(r'(\w+)="([^"]*)"', labels)), int(float(value))
