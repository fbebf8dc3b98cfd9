"""Normal and low keep their floors in every minute while urgent saturates, row by row of `benchmarks.scenarios`.

Measured on a limiter whose clock jumps, from the times of the tokens that it gave: for each class its least part of the
calls in any minute throughout which it has a backlog, minutes aligned to the clock and sliding ones. Bars: 19 % for normal,
9.5 % for low (floors of 20 % and 10 %, less what rounding to whole calls takes).
"""

from __future__ import annotations

from typing import Any

from benchmarks.scenarios import FLOOR_ROWS, floors


async def main() -> dict[str, Any]:
    """Every row, and those in which a class got less than its floor."""
    rows = {row.name: floors(row) for row in FLOOR_ROWS}
    missed = [
        f"{row.name}: {priority}, {kind}"
        for row in FLOOR_ROWS
        for priority, parts in rows[row.name].items()
        for kind, part in parts.items()
        if part < row.floors[priority]
    ]
    return {"rows": rows, "bars": dict(FLOOR_ROWS[0].floors), "missed": missed}
