"""An answer is served only while it is young enough and nothing of ours was written since; what is kept stays bounded."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import cache as caching
from activities.cache import Cache, way_path
from activities.plan import PlanActivities
from activities.results import read_results
from activities.store import Store
from activities.submission import store_input
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.reads import Known
from headgate.message import SECOND_NS
from headgate.messages.requests import LONGEST_AGE_NS, BulkRequest, Operation, PlanSummary
from headgate.results import OperationResult

NOW = 1_700_000_000 * SECOND_NS
REQUEST = BulkRequest(id="r", project="p", owner="team", max_age_ns=60 * SECOND_NS)


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open("memory://" if request.param == "memory" else str(tmp_path))


def read(text: str = "Orders!A1:C3", **more: Any) -> Operation:
    fields = {"op": "read", "spreadsheet": "S", "user": "u", "range": text, **more}
    return parse_line(json.dumps(fields), 1, "")


def answered(operation: Operation, *rows: list[object]) -> tuple[Operation, OperationResult]:
    reply: dict[str, object] = {"range": operation.range, "majorDimension": "ROWS", "values": list(rows)}
    return operation, OperationResult(id="1", line=1, outcome="succeeded", applied="yes", reply=reply)


async def kept(cache: Cache, operation: Operation, sent_ns: int, *rows: list[object], owner: str = "team") -> None:
    edition = await cache.reading(operation.spreadsheet)
    await cache.keep(owner, edition, sent_ns, [answered(operation, *rows)])


async def found(cache: Cache, operation: Operation, now_ns: int = NOW, request: BulkRequest = REQUEST) -> object:
    known, _ = await cache.known(request, operation, now_ns)
    served = known.serve(operation)
    return None if served is None else served.get("values", [])


async def test_an_answer_is_served_until_it_is_too_old_by_the_instant_at_which_it_was_sent(store: Store) -> None:
    cache = Cache(store)
    await kept(cache, read(), NOW, [1])
    assert await found(cache, read(), NOW + 60 * SECOND_NS - 1) == [[1]]
    assert await found(cache, read(), NOW + 60 * SECOND_NS) is None


async def test_the_youngest_answer_counts_and_a_covered_range_is_served_out_of_it(store: Store) -> None:
    cache = Cache(store)
    await kept(cache, read(), NOW, [1, 2, 3], [4, 5])
    await kept(cache, read(), NOW + 1, [6, 7, 8], [9])
    assert await found(cache, read("orders!B1:C2")) == [[7, 8]]
    assert await found(cache, read("Orders!A1:D3")) is None
    assert await found(cache, read("A1:C3")) is None


async def test_what_is_taken_into_memory_is_bounded_and_the_youngest_goes_first(store: Store) -> None:
    cache = Cache(store)
    for number in range(3):
        await kept(cache, read("A1"), NOW + number, ["x" * 1000, number])
    known, size = await cache.known(REQUEST, read("A1"), NOW + 3, 2500)
    assert size > 2500
    assert (known.serve(read("A1")) or {})["values"] == [["x" * 1000, 2]]
    known, _ = await cache.known(REQUEST, read("A1"), NOW + 3, 500)
    assert known.serve(read("A1")) is None


@pytest.mark.parametrize(
    "other",
    [{"user": "v"}, {"spreadsheet": "T"}, {"render": "FORMULA"}, {"major_dimension": "COLUMNS"}],
    ids=lambda fields: next(iter(fields)),
)
async def test_another_way_of_reading_shares_nothing(store: Store, other: dict[str, Any]) -> None:
    cache = Cache(store)
    await kept(cache, read(), NOW, [1])
    assert await found(cache, read(render="FORMATTED_VALUE")) == [[1]]
    assert await found(cache, read(**other)) is None
    assert await found(cache, read(), request=REQUEST.model_copy(update={"owner": "another"})) is None


async def test_a_write_of_any_process_ends_what_was_read_before(store: Store) -> None:
    reader, writer = Cache(store), Cache(store)
    await writer.writing("S")  # nobody reads yet: nothing is stored for it
    assert [path async for path in store.list("cache")] == []
    await kept(reader, read(), NOW, [1])
    await writer.writing("T")
    assert await found(reader, read()) == [[1]]
    await writer.writing("S")
    assert await found(reader, read()) is None
    await kept(reader, read(), NOW + 1, [2])
    assert await found(writer, read()) == [[2]]


@pytest.mark.parametrize("moment", ["leaves", "is answered"])
async def test_an_answer_is_not_kept_if_a_write_came_between(store: Store, moment: str) -> None:
    """The write leaves, or is answered, while the read is under way: what was read may be from before it."""
    reader, writer = Cache(store), Cache(store)
    if moment == "is answered":
        await reader.reading("S")
        await writer.writing("S")
    edition = await reader.reading("S")
    await writer.writing("S")
    await reader.keep("team", edition, NOW, [answered(read(), [1])])
    assert await found(reader, read()) is None


async def test_a_write_that_began_before_anybody_read_still_ends_it(store: Store) -> None:
    """Its first look into the store found nothing; its second, after its answer, does."""
    reader, writer = Cache(store), Cache(store)
    await writer.writing("S")
    await kept(reader, read(), NOW, ["before the write"])
    await writer.writing("S")
    assert await found(reader, read()) is None


async def test_what_is_kept_is_bounded_and_goes_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(store)
    way = way_path("team", read())
    for number in range(caching.MOST_OF_A_WAY + 5):
        await kept(cache, read(f"A{number + 1}"), NOW + number, [number])
    assert len([path async for path in store.list(way)]) == caching.MOST_OF_A_WAY
    assert await found(cache, read("A1")) is None
    assert await found(cache, read("A21"), NOW + 30) == [[20]]
    await kept(cache, read(user="v"), NOW, [1])
    await kept(cache, read(), NOW + LONGEST_AGE_NS + 100, [1])
    assert len([path async for path in store.list(way)]) == 1
    await cache.clear_out(NOW + LONGEST_AGE_NS + 100)
    assert len([path async for path in store.list("cache") if path.endswith(".json")]) == 1
    assert len([path async for path in store.list("cache") if path.endswith("/edition")]) == 1
    await cache.clear_out(NOW + 3 * LONGEST_AGE_NS)
    assert [path async for path in store.list("cache")] == []
    monkeypatch.setattr(caching, "MOST_BYTES", 10)
    await kept(cache, read("Z1"), NOW + LONGEST_AGE_NS + 101, [1])
    assert await found(cache, read("Z1"), NOW + LONGEST_AGE_NS + 101) is None


def started_at(now_ns: int) -> ActivityEnvironment:
    environment = ActivityEnvironment()
    started = datetime.fromtimestamp(now_ns / SECOND_NS, UTC)
    environment.info = dataclasses.replace(environment.info, started_time=started)
    return environment


async def planned(store: Store, lines: list[dict[str, Any]], **more: Any) -> PlanSummary:
    text = b"".join(json.dumps({"spreadsheet": "S", "user": "u", **line}).encode() + b"\n" for line in lines)
    stored = await store_input(store, "r", [text])
    request = REQUEST.model_copy(update={"input_sha256": stored.sha256, **more})
    summary = await started_at(NOW).run(PlanActivities(store, None, Cache(store)).plan, request)
    assert isinstance(summary, PlanSummary)
    return summary


READ = {"op": "read", "range": "Orders!A1:C3"}
WRITE = {"op": "append", "range": "Orders!A:A", "values": [["x"]]}


async def test_reads_that_the_cache_answers_need_no_batch_and_have_their_results(store: Store) -> None:
    await kept(Cache(store), read(), NOW - SECOND_NS, [1, 2], [3, 4])
    summary = await planned(store, [READ, {**READ, "range": "Orders!B2:B3"}, {"op": "nonsense"}, READ])
    assert (summary.operations, summary.dead_letters, summary.calls, summary.lanes) == (4, 1, 0, 0)
    assert (summary.cached, summary.looked_for) == (3, 3)
    results = {result["line"]: result async for result in read_results(store, "r")}
    assert {line: result["outcome"] for line, result in results.items()} == {
        1: "succeeded",
        2: "succeeded",
        3: "failed",
        4: "succeeded",
    }
    assert results[2]["reply"] == {"range": "Orders!B2:B3", "majorDimension": "ROWS", "values": [[4]]}


async def test_strict_order_serves_no_read_behind_a_write_of_its_lane(store: Store) -> None:
    await kept(Cache(store), read(), NOW - SECOND_NS, [1])
    summary = await planned(store, [READ, WRITE, READ, {**READ, "user": "v"}], order="strict")
    assert (summary.cached, summary.looked_for) == (1, 2)


async def test_a_request_without_an_age_asks_nothing_of_the_cache(store: Store) -> None:
    await kept(Cache(store), read(), NOW - SECOND_NS, [1])
    summary = await planned(store, [READ], max_age_ns=0)
    assert (summary.cached, summary.looked_for, summary.calls) == (0, 0, 1)


async def test_planning_that_waits_for_the_cache_can_be_cancelled(tmp_path: Path) -> None:
    """The thread that waits must not keep the event loop that would answer it."""
    store = Store.open(str(tmp_path))
    stored = await store_input(store, "r", [json.dumps({"spreadsheet": "S", "user": "u", **READ}).encode()])
    asked = asyncio.Event()

    class Silent(Cache):
        async def known(self, *_: object, **__: object) -> tuple[Known, int]:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    environment = started_at(NOW)
    request = REQUEST.model_copy(update={"input_sha256": stored.sha256})
    planning = asyncio.create_task(environment.run(PlanActivities(store, None, Silent(store)).plan, request))
    await asked.wait()
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await planning
