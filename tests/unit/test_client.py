"""Operations out of Python: what becomes of each, and what starts nothing."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities import layout
from activities.notices import address_of
from activities.store import Store
from headgate.apis.sheets.operations import parse_line
from headgate.errors import InvalidRequest
from headgate.settings import NotifySettings
from starter.client import BulkRequests, bulk_requests
from starter.selection import Selection
from starter.service import UnknownRequest
from tests.unit.fake_service import FakeService, view

ROW: dict[str, Any] = {
    "id": "a",
    "op": "append",
    "spreadsheet": "s",
    "range": "A:B",
    "values": [["x", 1.5, True, None]],
}


async def stored(operations: Any, **options: Any) -> bytes:
    """What is in the store once the operations are submitted."""
    service, store = FakeService(), Store.open("memory://")
    made = await BulkRequests(service, store).submit(operations, project="p", id="r", **options)
    assert made.first
    return await store.get(layout.input_path("r", service.submitted["r"].input_sha256)) or b""


CELL = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(CELL | st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=1), min_size=1))
async def test_a_mapping_is_a_line(values: list[list[Any]]) -> None:
    """Planning reads from it what the program meant."""
    (line,) = (await stored([{**ROW, "values": values}])).splitlines()
    assert parse_line(line, 1, "u").values == tuple(map(tuple, values))


async def test_what_planning_made_is_a_mapping_too() -> None:
    operation = parse_line(json.dumps({**ROW, "input": "FORMULAS"}), 7, "bot")
    (line,) = (await stored([operation])).splitlines()
    assert parse_line(line, 7, "") == operation


async def test_a_generator_is_taken_in_its_order() -> None:
    taken: list[int] = []

    def many() -> Iterator[dict[str, Any]]:
        for number in range(20_000):
            taken.append(number)
            yield {**ROW, "id": f"o{number}"}

    lines = (await stored(many())).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"o{number}" for number in taken]
    assert len(lines) == 20_000


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([ROW, 7], "operation 2 is a int and must be a mapping"),
        ([ROW, ROW, {**ROW, "values": [[object()]]}], "operation 3 cannot be written as JSON"),
        ([{**ROW, "values": [[float("nan")]]}], "operation 1 cannot be written as JSON"),
        ([{**ROW, "values": [["\ud800"]]}], "operation 1 cannot be written as JSON"),
        ([], "empty"),
    ],
)
async def test_what_is_no_operation_starts_nothing(operations: list[Any], says: str) -> None:
    service, store = FakeService(), Store.open("memory://")
    with pytest.raises(InvalidRequest, match=says):
        await BulkRequests(service, store).submit(operations, project="p")
    assert not service.submitted
    assert [path async for path in store.list("requests")] == []


async def test_an_iterable_that_raises_starts_nothing() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield ROW
        raise OSError("the database went away")

    service, store = FakeService(), Store.open("memory://")
    with pytest.raises(OSError, match="the database"):
        await BulkRequests(service, store).submit(broken(), project="p")
    assert not service.submitted
    assert [path async for path in store.list("requests")] == []


@pytest.mark.parametrize(
    "options", [{"project": "a/b"}, {"project": "p", "user": "eve"}, {"project": "p", "id": "../x"}]
)
async def test_names_are_checked_first(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        await BulkRequests(FakeService(), Store.open("memory://"), ("ana",)).submit([ROW], **options)


def test_the_pages_examples_are_python_that_this_release_takes() -> None:
    """Every block compiles, and every method of the client in it has these arguments."""
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "in-and-out.md").read_text(encoding="utf-8")
    checked = []
    for block in re.findall(
        r"```python\n(.*?)```", page + (docs / "scheduled.md").read_text(encoding="utf-8"), re.DOTALL
    ):
        tree = compile(block, "docs", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                method = getattr(BulkRequests, call.func.attr)
                inspect.signature(method).bind(None, *call.args, **{str(word.arg): 0 for word in call.keywords})
                checked.append(call.func.attr)
    told = {"ended", "list", "pause", "results", "submit", "watch"}
    assert set(checked) == told | {"schedule", "schedules", "pause_schedule", "resume_schedule", "remove_schedule"}
    named = set(
        re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]*\|$", page, re.MULTILINE)))
    )
    assert {name for name in vars(BulkRequests) if not name.startswith("_")} <= named
    assert callable(bulk_requests)


def watched(service: FakeService) -> BulkRequests:
    return BulkRequests(service, "memory://")


async def test_watching_shows_what_is_newer_and_ends_with_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeService, "ended", _soon)
    answers = [view("running", succeeded=n, total=3, version=n) for n in (0, 1, 1, 2)]
    service = FakeService(answers=[*answers, view("completed", succeeded=3, total=3, version=3)])
    seen = [one async for one in watched(service).watch("r1")]
    assert [(one.state, one.version) for one in seen] == [
        ("running", 0),
        ("running", 1),
        ("running", 2),
        ("completed", 3),
    ]


async def test_watching_what_is_over_is_one_view() -> None:
    assert [one.state async for one in watched(FakeService(answers=[view("failed", version=9)])).watch("r1")] == [
        "failed"
    ]


async def test_whoever_reads_slowly_sees_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeService, "ended", _at_once)
    running = [view("running", version=n) for n in range(50)]
    service = FakeService(answers=[*running, view("completed", version=50)])
    seen = []
    async for one in watched(service).watch("r1"):
        seen.append(one.version)
        await asyncio.sleep(0.05)
    assert seen == [0, 50]


async def test_whoever_looks_away_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeService, "ended", _at_once)
    service = FakeService(answers=[view("running", version=1)])
    async with aclosing(watched(service).watch("r1")) as views:
        async for _ in views:
            break
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [task for task in left if "follow" in repr(task.get_coro())]


async def test_what_goes_wrong_is_raised_from_the_watch() -> None:
    with pytest.raises(UnknownRequest):
        async for _ in watched(FakeService()).watch("nobody"):
            pass


async def test_commands_carry_who_and_under_which_id() -> None:
    service = FakeService()
    bulk = BulkRequests(service, "memory://")
    await bulk.pause("r1", by="ana", command_id="c1")
    await bulk.resume("r1", by="ana")
    await bulk.reprioritise("r1", "urgent", command_id="c2")
    assert (await bulk.cancel("r1")).sentence == "asked to cancel"
    assert [(command, said.to, said.by, said.id) for _, command, said in service.controls] == [
        ("pause", None, "ana", "c1"),
        ("resume", None, "ana", ""),
        ("reprioritise", "urgent", "", "c2"),
        ("cancel", None, "", ""),
    ]


async def test_listing_says_which_are_meant() -> None:
    service = FakeService()
    assert [row async for row in BulkRequests(service, "memory://").list(Selection(owner="team"))] == []
    assert [row async for row in BulkRequests(service, "memory://").list()] == []
    assert service.selected == [Selection(owner="team"), Selection()]


async def _at_once(self: FakeService, request_id: str, within_s: float) -> bool:
    await asyncio.sleep(0)
    return False


async def _soon(self: FakeService, request_id: str, within_s: float) -> bool:
    await asyncio.sleep(0.01)
    return False


async def test_a_program_names_who_is_told() -> None:
    """As the command line does, with the same checks."""
    service, store = FakeService(), Store.open("memory://")
    requests = BulkRequests(service, store)
    await requests.submit([ROW], project="p", id="r", notify="https://hooks.example/x", notify_key="ops")
    request = service.submitted["r"]
    assert request.notify == "ops"
    assert await address_of(store, "r", request.nonce) == "https://hooks.example/x"
    with pytest.raises(InvalidRequest, match="not public"):
        await requests.submit([ROW], project="p", id="s", notify="https://10.0.0.1")
    with pytest.raises(InvalidRequest, match="HEADGATE_NOTIFY_LOOPBACK"):
        await requests.submit([ROW], project="p", id="s", notify="http://localhost:9")
    local = BulkRequests(service, store, notify=NotifySettings(loopback=True))
    await local.submit([ROW], project="p", id="s", notify="http://localhost:9")
    assert service.submitted["s"].notify == "default"
