"""A recorded result never changes, and every operation of a request that is over has one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from activities import layout
from activities.batches import Batches
from activities.manifest import need_plan
from activities.results import Results, read_results
from activities.store import Store
from headgate.messages.sending import BatchDone
from tests.unit.test_plan_activity import append, planned, read, submitted


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open("memory://" if request.param == "memory" else str(tmp_path))


def line(number: int, outcome: str = "succeeded") -> bytes:
    result = {
        "line": number,
        "id": f"o{number}",
        "outcome": outcome,
        "applied": "yes",
        "reason": "",
        "values": "x" * 50,
    }
    return json.dumps(result).encode() + b"\n"


async def test_the_first_record_counts(store: Store) -> None:
    """Of several records of a batch, even at once, one is stored, and everybody hears it."""
    results = Results(store)
    assert await results.recorded("r", 5) is None
    said = [BatchDone(batch=5, succeeded=number, failed=0, reasons={"a\nb": 1}) for number in range(8)]
    heard = await asyncio.gather(*(results.record("r", 5, line(one.succeeded), one) for one in said))
    assert len(set(map(repr, heard))) == 1
    assert heard[0] in said
    assert await results.recorded("r", 5) == heard[0]
    payload = await store.get(layout.results_path("r", 5))
    assert payload is not None
    assert payload.split(b"\n", 1)[1] == line(heard[0].succeeded)


async def test_a_header_of_any_length_is_read(store: Store) -> None:
    """A result's first line is found however long it is, and however long what follows is."""
    done = BatchDone(batch=1, succeeded=0, failed=2000, reasons={f"reason {number:05d}": 1 for number in range(2000)})
    await Results(store).record("r", 1, line(1) * 1000, done)
    assert await Results(store).recorded("r", 1) == done


async def test_results_come_in_order_and_by_outcome(store: Store) -> None:
    """Refused lines first, then batches by number; one outcome alone if it is named."""
    lines = [append(number) for number in range(40)]
    request = await submitted(store, b"\n".join([*lines, b"bad"]), operations_per_call=1)
    await planned(store, request)
    results = Results(store)
    for number in (30, 2, 1, 17, 9, 25, 3, 4, 5, 6, 7):
        outcome = "failed" if number == 17 else "succeeded"
        await results.record("r", number, line(number, outcome), BatchDone(batch=number, succeeded=1, failed=0))
    told = [result["line"] async for result in read_results(store, "r")]
    assert told == [41, 1, 2, 3, 4, 5, 6, 7, 9, 17, 25, 30]
    assert [result["line"] async for result in read_results(store, "r", "failed")] == [41, 17]
    assert [result async for result in read_results(store, "r", "unprocessed")] == []


async def test_a_request_that_is_over_leaves_no_operation_without_a_result(store: Store) -> None:
    """What was never sent is unprocessed; what was begun may have been applied, unless it only reads."""
    lines = [append(number) for number in range(1, 21)] + [read(number) for number in range(21, 24)]
    request = await submitted(store, b"\n".join(lines), operations_per_call=2)
    await planned(store, request)
    batches, results = Batches(store), Results(store)
    planned_batches = await batches.load_many("r", 0, (await need_plan(store, "r")).batches)
    recorded, begun = planned_batches[1], planned_batches[4]
    text = b"".join(line(operation.line) for operation in recorded.operations)
    await results.record("r", recorded.number, text, BatchDone(batch=recorded.number, succeeded=2, failed=0))
    await batches.save_journal("r", begun.number, b"begun")
    for batch in planned_batches:
        if batch.form == "read":
            await batches.save_journal("r", batch.number, b"begun")
    told = [result async for result in read_results(store, "r", closed=True)]
    assert sorted(result["line"] for result in told) == list(range(1, 24))
    unsure = {operation.line for operation in begun.operations}
    for result in told:
        if result["line"] in {operation.line for operation in recorded.operations}:
            assert (result["outcome"], result["applied"]) == ("succeeded", "yes")
        else:
            assert (result["outcome"], result["applied"]) == (
                "unprocessed",
                "unknown" if result["line"] in unsure else "no",
            )
            assert result["reason"]
    assert len([result async for result in read_results(store, "r", "unprocessed", closed=True)]) == 21


async def test_a_request_that_ended_before_its_plan(store: Store) -> None:
    """Every line that is not blank is unprocessed, under the id that planning would have given it."""
    await submitted(store, append(1) + b"\n\nnot JSON\n" + append(4, id=77) + b"\n[1]")
    told = [
        (result["line"], result["id"], result["outcome"], result["applied"])
        async for result in read_results(store, "r", closed=True)
    ]
    assert told == [(line, name, "unprocessed", "no") for line, name in [(1, "o1"), (3, "3"), (4, "77"), (5, "5")]]
    assert [result async for result in read_results(store, "r")] == []
    assert [result async for result in read_results(store, "unknown", closed=True)] == []


async def test_a_result_that_names_nothing_else_is_left_alone(store: Store) -> None:
    """Reading may stop anywhere."""
    request = await submitted(store, b"\n".join(append(number) for number in range(60)), operations_per_call=1)
    await planned(store, request)
    for number in range(60):
        await Results(store).record("r", number, line(number), BatchDone(batch=number, succeeded=1, failed=0))
    reading = read_results(store, "r")
    assert (await anext(reading))["line"] == 0
    await reading.aclose()  # type: ignore[attr-defined]
