"""Owners share what there is: Jain's index over calls against shares, row by row of `benchmarks.scenarios`.

Measured on a limiter whose clock jumps, from the times of the tokens that it gave: for each row the index, the largest
relative error of an owner's part, and the calls a minute (300 is the quota). Bars: 0.999 for nine equal owners, 0.998 with
asymmetric load (published by Trigger.dev for nine tenants: 0.9999 and 0.9979).
"""

from __future__ import annotations

from typing import Any

from benchmarks.scenarios import FAIRNESS, fairness


async def main() -> dict[str, Any]:
    """Every row, with its bars beside what was measured."""
    rows = {row.name: {**fairness(row), "bars": {"jain": row.jain, "margin": row.margin}} for row in FAIRNESS}
    missed = [n for n, row in rows.items() if row["jain"] < row["bars"]["jain"]]
    return {"rows": rows, "missed": missed}
