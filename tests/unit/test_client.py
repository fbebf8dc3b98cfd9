"""Operations out of Python: what becomes of each, and what starts nothing."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities import layout
from activities.store import Store
from headgate.apis.sheets.operations import parse_line
from headgate.errors import InvalidRequest
from starter.client import BulkRequests, bulk_requests
from tests.unit.fake_service import FakeService

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


def test_the_pages_example_is_python_that_this_release_takes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "in-and-out.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    tree = compile(block, "in-and-out.md", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    checked = 0
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            method = getattr(BulkRequests, call.func.attr)
            inspect.signature(method).bind(None, *call.args, **{str(word.arg): 0 for word in call.keywords})
            checked += 1
    assert checked == 3
    assert "bulk_requests" in block
    assert callable(bulk_requests)
