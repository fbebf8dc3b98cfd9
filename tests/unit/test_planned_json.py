"""A batch comes back from the store as it was planned, and as pydantic would read it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from activities.planned_json import batch_json, operation_json, read_batch
from headgate.messages.requests import Operation, PlannedBatch

cell = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
cells = cell | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rows = st.lists(st.lists(cells, max_size=3).map(tuple), max_size=3).map(tuple)
requests = st.dictionaries(st.sampled_from(["addSheet", "sortRange"]), st.integers() | st.just("request"), max_size=1)
operations = st.builds(
    Operation,
    line=st.integers(1, 10**9),
    id=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5) | st.just('"request":'),
    op=st.sampled_from(["append", "update", "clear", "read", "request"]),
    spreadsheet=st.sampled_from(["S", "T"]),
    user=st.sampled_from(["", "ada"]),
    range=st.sampled_from(["", "Orders!A:C", "'ä b'!A1"]),
    values=rows,
    input=st.sampled_from(["RAW", "USER_ENTERED"]),
    render=st.sampled_from(["", "FORMULA"]),
    major_dimension=st.sampled_from(["ROWS", "COLUMNS"]),
    placement=st.sampled_from(["", "table"]),
    request=st.just({}) | requests,
    sheet_id=st.none() | st.integers(0, 2**31 - 1),
    gone_sheets=st.lists(st.integers(0, 9), max_size=2).map(tuple),
)


@given(st.lists(operations, max_size=4), st.sampled_from(["fenced", "values_update", "read"]))
def test_a_batch_comes_back_as_it_was_planned(planned: list[Operation], form: Any) -> None:
    batch = PlannedBatch(number=7, lane=3, form=form, user="ada", spreadsheet="S", operations=tuple(planned))
    payload = batch_json(form, "ada", "S", b",".join(map(operation_json, planned)))
    line = b'{"number":7,"lane":3,' + payload[1:]
    assert read_batch(line) == batch
    assert repr(read_batch(line)) == repr(batch)
    assert PlannedBatch.model_validate_json(line) == batch
