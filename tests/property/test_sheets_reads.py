"""Whatever covers whatever: each read is served as if it had been asked for alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headgate.apis.sheets import a1
from headgate.apis.sheets.reads import deal_out, plan_reads
from headgate.messages.requests import Operation

ROWS, COLUMNS = 6, 5
rows = st.integers(0, ROWS - 1)
columns = st.integers(0, COLUMNS - 1)
areas = st.one_of(
    st.builds(
        lambda r, c, h, w: a1.GridRange("x", r, c, r + h, c + w),
        rows,
        columns,
        rows.map(lambda n: n + 1),
        columns.map(lambda n: n + 1),
    ),
    st.builds(lambda r, c, w: a1.GridRange("x", r, c, None, c + w), rows, columns, columns.map(lambda n: n + 1)),
    st.builds(lambda r, c, h: a1.GridRange("x", r, c, r + h, None), rows, columns, rows.map(lambda n: n + 1)),
    st.builds(lambda r, c: a1.GridRange("x", r, c, r + 1, c + 1, anchor=True), rows, columns),
    st.just(a1.GridRange("x", whole=True)),
)
grids = st.dictionaries(st.tuples(rows, columns), st.integers(1, 99), max_size=12)


def answer_for(grid: dict[tuple[int, int], int], text: str, by_columns: bool) -> dict[str, Any]:
    """What Sheets answers for one range: clipped to the grid, empty ends left out."""
    area = a1.parse(text)
    bottom = min(ROWS, area.bottom if area.bottom is not None else ROWS)
    right = min(COLUMNS, area.right if area.right is not None else COLUMNS)
    down, across = range(area.top, bottom), range(area.left, right)
    if by_columns:
        lines = [[grid.get((row, column), "") for row in down] for column in across]
    else:
        lines = [[grid.get((row, column), "") for column in across] for row in down]
    for line in lines:
        while line and line[-1] == "":
            line.pop()
    while lines and not lines[-1]:
        lines.pop()
    one_cell = bottom - area.top == right - area.left == 1
    shown = a1.GridRange("x", area.top, area.left, bottom, right, anchor=one_cell)
    answer = {"range": a1.format_range(shown), "majorDimension": "COLUMNS" if by_columns else "ROWS", "values": lines}
    return {name: value for name, value in answer.items() if value}


@given(grids, st.lists(areas, min_size=1, max_size=8), st.booleans(), st.booleans())
def test_a_read_is_served_as_if_it_had_been_asked_for_alone(
    grid: dict[tuple[int, int], int], asked: list[a1.GridRange], by_columns: bool, by_filter: bool
) -> None:
    reads = [
        Operation(
            line=line,
            id=str(line),
            op="read",
            spreadsheet="S",
            range=a1.format_range(area),
            major_dimension="COLUMNS" if by_columns else "ROWS",
        )
        for line, area in enumerate(asked, 1)
    ]
    plan = plan_reads(reads)
    assert len(set(plan.ranges)) == len(plan.ranges) <= len(reads)
    listed: list[dict[str, Any]] = [answer_for(grid, text, by_columns) for text in plan.ranges]
    if by_filter:
        listed = [
            {"valueRange": one, "dataFilters": [{"a1Range": text}]}
            for one, text in zip(listed, plan.ranges, strict=True)
        ][::-1]
    served = deal_out(reads, {"valueRanges": listed})
    assert served == [answer_for(grid, read.range, by_columns) for read in reads]
