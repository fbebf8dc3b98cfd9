"""Whatever there is to show, in whatever terminal: it fits, and what has to be seen is seen."""

from __future__ import annotations

import io
import json
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from headgate.messages.views import CallCounts, LaneCounts, OperationCounts, ProgressView, Waiting
from headgate.messages.words import State
from starter import cli
from starter.board import Row, board
from starter.panel import progress_panel
from starter.render import eta_text, plain
from tests.unit.fake_service import view

NOW = datetime(2030, 3, 17, 12, 0, tzinfo=UTC)
STATES: tuple[State, ...] = ("planning", "running", "waiting", "paused", "completed", "cancelled", "failed")
IDS = st.text(string.ascii_letters + string.digits + "_.@-", min_size=1, max_size=128)
INSTANTS = st.none() | st.integers(-100, 10**6).map(lambda s: (NOW + timedelta(seconds=s)).isoformat())


@st.composite
def views(draw: st.DrawFn) -> ProgressView:
    """Any view that a request can have."""
    total = draw(st.sampled_from([0, 1, 3, 1_000, 1_000_000, 10**9]))
    done = draw(st.integers(0, total))
    failed = draw(st.integers(0, done))
    return ProgressView(
        id=draw(IDS),
        state=draw(st.sampled_from(STATES)),
        priority="normal",
        owner=draw(st.text(max_size=40)),
        operations=OperationCounts(total=total, succeeded=done - failed, failed=failed, remaining=total - done),
        calls=CallCounts(
            planned=draw(st.integers(0, 10**6)), made=draw(st.integers(0, 10**6)), retried=draw(st.integers(0, 99))
        ),
        rate_per_minute=draw(st.floats(0, 10_000)),
        eta_at=draw(INSTANTS),
        waiting=Waiting(reason=draw(st.text(max_size=200)), until=draw(INSTANTS)),
        failures=draw(st.dictionaries(st.text(max_size=80), st.integers(1, 99), max_size=12)),
        lanes=LaneCounts(total=draw(st.integers(0, 9_999))),
    )


ROWS = st.builds(
    lambda v, seen, note: Row(v.id, v if seen else None, note), views(), st.booleans(), st.text(max_size=80)
)


def drawn(picture: RenderableType, width: int, height: int = 50) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(picture)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=2, max_size=12), st.integers(24, 200), st.integers(4, 40))
def test_a_board_fits_and_says_what_all_of_them_make(rows: list[Row], width: int, height: int) -> None:
    lines = drawn(board(rows, width, height, NOW, "each asked every 1 s"), width)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= height
    assert lines[-2].startswith(f"{len(rows)} requests"[:width])
    if len(rows) <= height - 2:
        shown = [line for line in lines[:-2] if not line.startswith("  ")]
        assert len(shown) == len(rows)
        for row, line in zip(rows, shown, strict=True):
            assert line.startswith(row.id[:11])
    else:
        assert lines[-3].startswith("and ")


def test_those_that_are_over_make_room_for_the_others() -> None:
    rows = [Row(f"over{n}", view(id=f"over{n}")) for n in range(9)] + [Row("open", view("running", id="open"))]
    lines = drawn(board(rows, 80, 6, NOW), 80)
    assert [line.split()[0] for line in lines] == ["over0", "over1", "open", "and", "10", "30"]


@settings(max_examples=150, deadline=None)
@given(views(), st.text(max_size=80), st.integers(24, 200))
def test_a_panel_fits(seen: ProgressView, note: str, width: int) -> None:
    lines = drawn(progress_panel(seen, note, now=NOW), width)
    assert max(map(cell_len, lines)) <= width
    assert all(plain(line) == line for line in lines)
    assert seen.id[: width - 8] in lines[0]


def test_a_million_operations_are_read_at_a_glance() -> None:
    seen = view("running", succeeded=371_204, total=1_000_000, rate_per_minute=298.4, eta_at="2030-03-17T12:20:34Z")
    rows = [Row("orders-7", seen), Row("x", view())]
    wide = " ".join(drawn(board(rows, 120, 24, NOW), 120)[0].split())
    assert "orders-7 running 37%" in wide
    assert "371,204/1,000,000 298/min" in wide
    assert "in 20 min 34 s" in wide
    panel = " ".join(" ".join(drawn(progress_panel(seen, now=NOW), 80)).split())
    assert "371,204 of 1,000,000" in panel
    assert "298 calls/min" in panel
    assert "in 20 min 34 s" in panel


def test_a_bar_grows_with_what_is_done() -> None:
    lengths = []
    for done in (0, 250, 500, 1_000):
        rows = [Row("a", view("running", succeeded=done, total=1_000)), Row("b", view())]
        console = Console(file=io.StringIO(), width=100, force_terminal=True, no_color=True)
        console.print(board(rows, 100, 24, NOW))
        assert isinstance(console.file, io.StringIO)
        lengths.append(console.file.getvalue().splitlines()[0].count("━"))
    assert lengths[3] >= 10
    for length, part in zip(lengths, (0, 0.25, 0.5, 1), strict=True):
        assert abs(length - part * lengths[3]) <= 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_why_it_waits_and_until_when_is_whole_where_there_is_a_line_for_it(width: int) -> None:
    waiting = Waiting(reason="user bot is at its 60 writes a minute", until="2030-03-17T12:00:23Z")
    rows = [Row("a" * 60, view("waiting", succeeded=1, waiting=waiting)), Row("b", view())]
    text = "\n".join(drawn(board(rows, width, 24, NOW), width))
    assert waiting.reason in text
    assert "23 s" in text


def test_an_instant_that_has_passed_is_no_negative_span() -> None:
    assert "in " not in eta_text(view("running", succeeded=1, eta_at="2030-03-17T11:59:59Z"), NOW)
    assert eta_text(view("running", succeeded=1), NOW) == ""


@given(st.text())
def test_a_document_stays_whole_where_the_output_has_not_its_signs(said: str) -> None:
    document = json.dumps({"owner": said}, ensure_ascii=False)
    assert cli.app is not None
    read = json.loads(document.encode("ascii", "headgate.escaped").decode("ascii"))
    assert json.dumps(read) == json.dumps({"owner": said})
