"""A plan is whole, the same however often it is asked for, and every line ends in a batch or in a refusal."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import layout, spill
from activities.batches import Batches
from activities.distinct import FirstLines
from activities.manifest import need_plan
from activities.plan import PlanActivities
from activities.planning import Interrupted, Planning
from activities.results import Results, read_results
from activities.store import Store
from activities.submission import store_input
from headgate.apis.sheets.operations import parse_line
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.carried import PageRequest
from headgate.messages.requests import BulkRequest, LaneEntry, Operation, PlannedBatch, PlanSummary
from headgate.messages.sending import AbandonLane, BatchDone


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open("memory://" if request.param == "memory" else str(tmp_path))


def append(number: int, sheet: str = "s0", **more: object) -> bytes:
    fields = {
        "id": f"o{number}",
        "op": "append",
        "spreadsheet": sheet,
        "range": "A:B",
        "values": [[number, "ä"]],
        "user": "ada",
    }
    return json.dumps({**fields, **more}).encode()


def read(number: int, sheet: str = "s0") -> bytes:
    return json.dumps({"id": f"o{number}", "op": "read", "spreadsheet": sheet, "range": "A1", "user": "ada"}).encode()


async def submitted(store: Store, text: bytes, request_id: str = "r", **more: Any) -> BulkRequest:
    stored = await store_input(store, request_id, [text])
    return BulkRequest(
        id=request_id, project="p", input_sha256=stored.sha256, input_bytes=stored.size, nonce="n", **more
    )


async def planned(store: Store, request: BulkRequest) -> PlanSummary:
    summary = await ActivityEnvironment().run(PlanActivities(store).plan, request)
    assert isinstance(summary, PlanSummary)
    return summary


async def lanes_of(store: Store, request_id: str, summary: PlanSummary) -> list[LaneEntry]:
    pages = [
        await ActivityEnvironment().run(PlanActivities(store).load_page, PageRequest(request_id=request_id, page=page))
        for page in range(summary.pages)
    ]
    assert all(len(page.lanes) == 64 for page in pages[:-1])
    return [lane for page in pages for lane in page.lanes]


async def test_every_line_ends_in_a_batch_or_in_a_refusal(store: Store) -> None:
    """Blank lines count for nothing but their number; refusals say their line and what to do."""
    lines = [
        b"\xef\xbb\xbf" + append(1),
        b"",
        append(2),
        b"not JSON",
        append(1),
        b'{"id": "\xff"}',
        b" \t\r",
        b"x" * 9_000_001,
        append(8, op="fly"),
        read(9),
        append(10),
    ]
    request = await submitted(store, b"\r\n".join(lines))
    summary = await planned(store, request)
    assert (summary.operations, summary.dead_letters, summary.lanes, summary.pages) == (9, 5, 2, 1)
    assert sum(summary.reasons.values()) == 5
    refused = [result async for result in read_results(store, "r")]
    assert [(one["line"], one["id"], one["outcome"], one["applied"]) for one in refused] == [
        (4, "4", "failed", "no"),
        (5, "o1", "failed", "no"),
        (6, "6", "failed", "no"),
        (8, "8", "failed", "no"),
        (9, "o8", "failed", "no"),
    ]
    assert "Line 1 has the same id" in refused[1]["reason"]
    assert "UTF-8" in refused[2]["reason"]
    assert "longer than 9,000,000 bytes" in refused[3]["reason"]
    record = await need_plan(store, "r")
    batches = await Batches(store).load_many("r", 0, record.batches)
    assert sorted(operation.line for batch in batches for operation in batch.operations) == [1, 3, 10, 11]
    assert summary.calls == record.batches


def test_open_batches_go_to_the_file_and_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What memory may hold changes nothing of the plan: as many calls, the same bytes."""
    lines = [append(number, f"s{number % 40}", values=[["x" * (number % 7), number]]) for number in range(2000)]
    lines += [json.dumps({"op": "request", "spreadsheet": "s0", "user": "ada", "request": {"addSheet": {}}}).encode()]
    made = []
    for most in (spill.MOST_WAITING, 1_000, 0):
        monkeypatch.setattr(spill, "MOST_WAITING", most)
        folder = tmp_path / str(most)
        folder.mkdir()
        planning = Planning(BulkRequest(id="r", project="p", nonce="n"), folder)
        for line in lines:
            planning.take(line + b"\n")
            assert sum(len(pile._waiting) for pile in planning._spill._open) <= most + len(line) + 100
        assert planning.finish().calls == 80
        made.append((planning.batches.read_bytes(), planning.index.read_bytes(), planning.pages.read_bytes()))
    assert made[0] == made[1] == made[2]
    batches = [PlannedBatch.model_validate_json(line) for line in made[0][0].splitlines()]
    planned = {operation.line: operation for batch in batches for operation in batch.operations}
    for number, line in enumerate(lines[:-1], 1):
        assert planned[number] == parse_line(line, number, "")


async def test_lanes_and_batches_are_numbered_without_gaps(store: Store) -> None:
    """Pages of 64 lanes, in order; each lane's batches are its own, consecutive, and in the order of its lines."""
    lines = [append(number, f"s{number % 150}") for number in range(1200)] + [
        read(2000 + number, f"s{number}") for number in range(3)
    ]
    request = await submitted(store, b"\n".join(lines), operations_per_call=3)
    summary = await planned(store, request)
    lanes = await lanes_of(store, "r", summary)
    assert [lane.lane for lane in lanes] == list(range(153)) == list(range(summary.lanes))
    assert sum(lane.batches for lane in lanes) == summary.calls
    assert sum(lane.operations for lane in lanes) == summary.operations == 1203
    batches = Batches(store)
    expected = 0
    for lane in lanes:
        assert lane.first_batch == expected
        expected += lane.batches
        own = await batches.load_many("r", lane.first_batch, lane.batches)
        assert [batch.number for batch in own] == list(range(lane.first_batch, expected))
        assert {(batch.lane, batch.user, batch.spreadsheet) for batch in own} == {
            (lane.lane, lane.user, lane.spreadsheet)
        }
        assert (own[0].form == "look_up") == lane.look_up
        told = [operation.line for batch in own for operation in batch.operations]
        assert told == sorted(told)
        assert len(told) == lane.operations
    assert await batches.load("r", expected - 1) == own[-1]


async def test_an_operation_comes_back_as_it_was_read(store: Store) -> None:
    """Numbers, booleans, null and text keep their kinds on the way through the store."""
    values = [[1, 1.0, True, None, "", "=A1", 1e300, -0.5, "2026-11-23", "\u2028ß"]]
    request = await submitted(store, append(1, values=values, range="Sheet1!B2:D9"))
    await planned(store, request)
    batches = await Batches(store).load_many("r", 0, (await need_plan(store, "r")).batches)
    (operation,) = batches[-1].operations
    assert isinstance(operation, Operation)
    assert [(type(cell), cell) for cell in operation.values[0]] == [(type(cell), cell) for cell in values[0]]


async def test_planning_again_finds_the_plan(store: Store) -> None:
    """A repeated plan reads nothing but the record; another request under the same id is refused for good."""
    request = await submitted(store, append(1))
    first = await planned(store, request)
    await store.delete(layout.input_path("r", request.input_sha256))
    assert await planned(store, request) == first
    with pytest.raises(ApplicationError, match="under a new id") as refused:
        await planned(store, request.model_copy(update={"input_sha256": "0" * 64}))
    assert refused.value.non_retryable
    assert refused.value.type == "InvalidRequest"


async def test_a_late_attempt_cannot_touch_a_valid_plan(store: Store) -> None:
    """Two attempts at once write apart; the first record counts, for both."""
    request = await submitted(store, b"\n".join(append(number, f"s{number}") for number in range(100)))
    summaries = await asyncio.gather(*(planned(store, request) for _ in range(3)))
    assert summaries[0] == summaries[1] == summaries[2]
    record = await need_plan(store, "r")
    assert len(await Batches(store).load_many("r", 0, record.batches)) == summaries[0].calls


async def test_an_input_that_was_changed_is_refused_and_a_missing_one_waited_for(store: Store) -> None:
    """Wrong bytes are final; no bytes may be a store that is not there yet."""
    request = await submitted(store, append(1))
    await store.put(layout.input_path("r", request.input_sha256), append(2))
    with pytest.raises(ApplicationError, match="was changed in the store") as refused:
        await planned(store, request)
    assert refused.value.non_retryable
    with pytest.raises(Unreachable, match="HEADGATE_STORE"):
        await planned(store, request.model_copy(update={"id": "other"}))
    with pytest.raises(Unreachable, match="The plan of request r is not in the store"):
        await ActivityEnvironment().run(PlanActivities(store).load_page, PageRequest(request_id="r", page=0))


async def test_planning_can_be_cancelled(tmp_path: Path) -> None:
    """Cancelling ends the thread as well, leaves no plan, and planning again succeeds; heartbeats told the lines read."""
    store = Store.open(str(tmp_path))
    request = await submitted(store, b"\n".join(append(number) for number in range(25_000)))
    environment = ActivityEnvironment()
    beats: list[int] = []

    def beat(said: str) -> None:
        lines = re.match(r"([\d,]+) lines read, ", said)
        assert lines, said
        beats.append(int(lines[1].replace(",", "")))
        if beats[-1]:
            environment.cancel()

    environment.on_heartbeat = beat
    with pytest.raises(asyncio.CancelledError):
        await environment.run(PlanActivities(store).plan, request)
    assert 0 < beats[-1] < 25_000
    assert not await store.exists(layout.plan_path("r"))
    assert (await planned(store, request)).operations == 25_000


def test_stopping_ends_a_thread_within_a_line(tmp_path: Path) -> None:
    """Nothing is taken after a stop."""
    planning = Planning(BulkRequest(id="r", project="p", user="ada"), tmp_path)
    planning.stop()
    with pytest.raises(Interrupted):
        planning.take(append(1) + b"\n")
    assert planning.lines == 0


async def test_a_lane_is_abandoned_once(store: Store) -> None:
    """What was recorded stays, the rest fails for the reason; what was begun may have been applied; again: the same sum."""
    request = await submitted(store, b"\n".join(append(number) for number in range(9)), operations_per_call=2)
    summary = await planned(store, request)
    (lane,) = await lanes_of(store, "r", summary)
    batches, results = Batches(store), Results(store)
    first = lane.first_batch + 1
    await results.record(
        "r", first, b'{"id":"o0","outcome":"succeeded"}\n', BatchDone(batch=first, succeeded=2, failed=0)
    )
    await batches.save_journal("r", first + 1, b"begun")
    order = AbandonLane(request=request, lane=lane, batch=first, reason="gone")
    done = await ActivityEnvironment().run(PlanActivities(store).abandon_lane, order)
    assert done == BatchDone(batch=first, succeeded=2, failed=7, calls=1, reasons={"gone": 7})
    assert await ActivityEnvironment().run(PlanActivities(store).abandon_lane, order) == done
    failed = [result async for result in read_results(store, "r", "failed")]
    assert [result["applied"] for result in failed] == ["unknown"] * 2 + ["no"] * 5
    assert await results.recorded("r", lane.first_batch) is None


async def test_a_batch_that_is_not_planned_is_refused(store: Store) -> None:
    """The sentence says which there are."""
    request = await submitted(store, append(1))
    await planned(store, request)
    with pytest.raises(InvalidRequest, match="has 2 batches"):
        await Batches(store).load("r", 2)


async def test_what_is_kept_for_a_batch(store: Store) -> None:
    """The last journal and the last titles are what counts; a journal can be dropped."""
    batches = Batches(store)
    assert await batches.journal("r", 0) is None
    for said in ("a", "b"):
        await batches.save_journal("r", 0, said.encode())
        await batches.save_titles("r", 0, Titles(sheets=(Sheet(sheet_id=7, title=said),)))
    assert (await batches.journal("r", 0), await batches.titles("r", 0)) == (
        b"b",
        Titles(sheets=(Sheet(sheet_id=7, title="b"),)),
    )
    assert (await batches.journal("r", 1), await batches.titles("r", 1)) == (None, None)


async def test_submission(store: Store, tmp_path: Path) -> None:
    """An input is named by its content, so that one id handed in twice keeps both; an empty one is refused."""
    (tmp_path / "orders").write_bytes(b"one\n\n \ntwo")
    with (tmp_path / "orders").open("rb") as file:
        stored = await store_input(store, "r", file)
    assert stored == (hashlib.sha256(b"one\n\n \ntwo").hexdigest(), 10, 2)
    others = await asyncio.gather(*(store_input(store, "r", [b"a", b"b\n", b"%d" % number]) for number in (1, 1, 2)))
    assert [other.lines for other in others] == [2, 2, 2]
    assert await store.get(layout.input_path("r", stored.sha256)) == b"one\n\n \ntwo"
    assert await store.get(layout.input_path("r", others[2].sha256)) == b"ab\n2"
    for empty in (b"", b"\n \r\n", b"\xef\xbb\xbf\n"):
        with pytest.raises(InvalidRequest, match="The input is empty"):
            await store_input(store, "r", [empty[:1], empty[1:]])
    with pytest.raises(InvalidRequest, match="request id"):
        await store_input(store, "../r", [b"one"])


def test_first_lines_remembers_every_id() -> None:
    """However many ids there are, each is the first one's."""
    seen = FirstLines()
    assert all(seen.first(f"o{number}", number) == number for number in range(1, 20_000))
    assert all(seen.first(f"o{number}", 7) == number for number in range(1, 20_000))
