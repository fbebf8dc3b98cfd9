"""A thousand reads of one spreadsheet, two in five repeated or inside others: calls, and whether each is answered as if alone."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from typing import Any

from benchmarks.applying import Core, alone, apply_planned, batches_of
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.reads import plan_reads
from headgate.messages.requests import BulkRequest

RENDERS = ("FORMATTED_VALUE", "UNFORMATTED_VALUE")
HEIGHT, WIDTH = 4, 5


def ranges(count: int, drawn: random.Random) -> list[str]:
    """Six in ten of their own, two repeated, two inside others; shuffled."""
    own = [f"Orders!A{HEIGHT * n + 1}:E{HEIGHT * n + HEIGHT}" for n in range(count * 6 // 10)]
    repeated = drawn.sample(own, count * 2 // 10)
    starts = [HEIGHT * drawn.randrange(len(own)) + 1 for _ in range(count - len(own) - len(repeated))]
    inside = [f"Orders!{drawn.choice('ABC')}{start}:D{start + drawn.randrange(HEIGHT)}" for start in starts]
    asked = [*own, *repeated, *inside]
    drawn.shuffle(asked)
    return asked


async def main(size: int = 1000) -> dict[str, Any]:
    """Planned and sent to the emulator's core, and each asked for alone as well."""
    drawn = random.Random(7)
    core = Core(["book"], ["Orders"], HEIGHT * size, 26)
    values = [[drawn.choice(("", "x", n, 0.5, None)) for _ in range(WIDTH)] for n in range(HEIGHT * size)]
    target = "/v4/spreadsheets/book/values/Orders!A1?valueInputOption=RAW"
    core.call("PUT", target, json.dumps({"values": values}).encode())
    lines = [
        {"op": "read", "spreadsheet": "book", "user": "u", "range": text, "render": drawn.choice(RENDERS)}
        for text in ranges(size, drawn)
    ]
    operations = [parse_line(json.dumps(line), number, "") for number, line in enumerate(lines, 1)]
    request = BulkRequest(id="reads", project="p")
    asked = [len(plan_reads(draft.operations).ranges) for draft in batches_of(request, operations)]
    before = core.calls.copy()
    began = time.perf_counter()
    results = apply_planned(core, request, operations)
    took = time.perf_counter() - began
    calls = core.calls - before
    return {
        "reads": size,
        "calls": calls.total(),
        "calls_by_kind": dict(calls),
        "ranges_asked_for": sum(asked),
        "outcomes": dict(Counter(result.outcome for result in results.values())),
        "answered_as_if_alone": all(results[one.id].reply == alone(core, one) for one in operations),
        "seconds_to_plan_send_and_deal_out": took,
    }
