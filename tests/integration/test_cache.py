"""Reads that were answered a moment ago cost no call, and a write of ours ends that: through Temporal, workers and the store."""

from __future__ import annotations

import asyncio
from typing import Any

from headgate.message import SECOND_NS
from headgate.messages.views import ProgressView
from tests.integration.stack import Handle, Stack, append

COUNT = 1000
AGE: dict[str, Any] = {"max_age_ns": 600 * SECOND_NS}


def reads(sheet: str) -> list[dict[str, Any]]:
    """600 ranges of their own, 200 of them repeated, and 200 that lie inside others."""
    own = [f"Orders!A{n + 1}:C{n + 2}" for n in range(600)]
    inside = [f"Orders!B{n + 1}" for n in range(200)]
    asked = [*own, *own[:200], *inside]
    return [{"id": f"r{n}", "op": "read", "spreadsheet": sheet, "range": text} for n, text in enumerate(asked)]


async def ended(handle: Handle) -> ProgressView:
    view = await asyncio.wait_for(handle.result(), 60)
    assert (view.state, view.operations.failed) == ("completed", 0)
    return view


async def replies(stack: Stack, handle: Handle) -> dict[str, Any]:
    return {name: result["reply"] for name, result in (await stack.results(handle)).items()}


async def test_reads_repeated_within_their_age_cost_no_call_until_something_is_written(stack: Stack) -> None:
    sheet = "kept"
    stack.spreadsheets(sheet)
    project = await stack.project()
    values = [[f"a{n}", n, n % 7] for n in range(600)]
    await ended(
        await stack.submit(project, [{"op": "update", "spreadsheet": sheet, "range": "Orders!A1", "values": values}])
    )

    before = len(stack.calls(sheet))
    first = await stack.submit(project, reads(sheet), **AGE)
    view = await ended(first)
    made = len(stack.calls(sheet)) - before
    assert made == view.calls.made <= 8
    assert (view.operations.succeeded, view.cached, view.cache_hit_rate) == (COUNT, 0, 0.0)
    answers = await replies(stack, first)
    assert answers["r900"]["values"] == [["100"]]

    again = await stack.submit(project, reads(sheet), **AGE)
    view = await ended(again)
    assert len(stack.calls(sheet)) - before == made
    assert (view.operations.succeeded, view.calls.made) == (COUNT, 0)
    assert (view.cached, view.cache_hit_rate) == (COUNT, 1.0)
    assert await replies(stack, again) == answers

    await ended(await stack.submit(project, [{**append("new", sheet), "op": "update", "range": "Orders!B101"}]))
    after = await stack.submit(project, reads(sheet), **AGE)
    view = await ended(after)
    assert (view.cached, view.calls.made) == (0, made)
    assert (await replies(stack, after))["r900"]["values"] == [["new"]]
