"""Every example is run as its page says, in a process of its own; the emulator's cells say what it did."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

from emulator.grid import Sheet
from starter.client import BulkRequests
from starter.selection import Selection
from starter.service import TemporalService
from tests.eventually import eventually
from tests.integration.stack import NUMBER, Stack, append
from tests.integration.test_in_and_out import command


def bulk(stack: Stack) -> BulkRequests:
    return BulkRequests(TemporalService(stack.client), stack.store)


async def example(stack: Stack, name: str, *arguments: str | Path, expect: int = 0) -> list[str]:
    """The lines that it printed."""
    return (await command(stack, f"starter.examples.{name}", *arguments, expect=expect)).stdout.splitlines()


async def begun(stack: Stack, sheet: str, rows: int, **options: Any) -> str:
    """A request of so many rows, a call each, that has begun to send."""
    stack.spreadsheets(sheet)
    lines = [append(f"{sheet}/{n}", sheet) for n in range(rows)]
    project = await stack.project()
    name = f"example-{next(NUMBER)}"
    await bulk(stack).submit(lines, project=project, user="bot", id=name, operations_per_call=1, **options)
    await eventually(lambda: len(stack.calls(sheet)) > 3, timeout=30)
    return name


async def test_rows_of_a_database_are_the_sheets_rows(stack: Stack, tmp_path: Path) -> None:
    stack.spreadsheets("of-a-database")
    rows = [(n, f"item {n}", n / 4) for n in range(1, 60)]
    with sqlite3.connect(tmp_path / "orders.db") as database:
        database.execute("CREATE TABLE orders (number INTEGER, item TEXT, price REAL)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    arguments = ("--project", await stack.project(), "--spreadsheet", "of-a-database", "--sheet", "Orders")
    said = await example(stack, "rows", *arguments, "--database", tmp_path / "orders.db")
    assert said == ["completed: 59 rows in 2 calls"]
    assert stack.cells("of-a-database") == [list(row) for row in rows]


async def test_progress_is_drawn_until_the_end(stack: Stack) -> None:
    name = await begun(stack, "drawn", 45)
    said = await example(stack, "watching", "--id", name, "--width", "10")
    bars = [line.partition("]")[0].count("#") for line in said]
    assert bars == sorted(bars), "what is shown only grows newer"
    assert said[-1].startswith("[##########] completed, 0 failed")
    assert bars[0] < 10
    assert len(set(said)) == len(said)
    assert stack.counted("drawn") == {f"drawn/{n}": 1 for n in range(45)}


async def test_the_night_pauses_and_the_morning_resumes_what_the_night_has_paused(stack: Stack) -> None:
    requests = bulk(stack)
    ours, anas, theirs = [
        await begun(stack, sheet, 70, owner=owner)
        for sheet, owner in (("night-1", "night-owner"), ("night-2", "night-owner"), ("night-3", "day-owner"))
    ]
    selected = Selection(owner="night-owner", is_open=True)
    await eventually(lambda: _count(requests, selected, 2), timeout=10)
    await requests.pause(anas, by="ana")
    arguments = ("--owner", "night-owner", "--now")
    said = [await example(stack, "night", *arguments, "pause") for _ in range(2)]
    assert set(said[0]) == {f"{ours}: paused by the night", f"{anas}: it is paused already, by ana"}
    assert set(said[1]) == set(said[0]), "a timer may run twice"
    assert (await requests.progress(ours)).state == "paused"
    assert (await requests.progress(theirs)).state in ("running", "waiting", "completed")
    assert await example(stack, "night", *arguments, "resume") == [f"{ours}: it goes on"]
    assert (await requests.progress(anas)).waiting.reason == "paused by ana"
    await requests.cancel(anas)
    for name, sheet in ((ours, "night-1"), (theirs, "night-3")):
        await asyncio.wait_for(requests.ended(name), 60)
        assert stack.counted(sheet) == {f"{sheet}/{n}": 1 for n in range(70)}


async def test_one_goes_first(stack: Stack) -> None:
    name = await begun(stack, "first", 60, priority="low")
    said = await example(stack, "urgent", "--id", name, "--by", "ana")
    assert said[0] == f"{name}: its priority is urgent now, it was low"
    assert "to go, done at " in said[1]
    assert (await bulk(stack).progress(name)).priority == "urgent"
    assert (await asyncio.wait_for(bulk(stack).ended(name), 60)).operations.succeeded == 60
    await example(stack, "urgent", "--id", name, expect=2)


async def test_what_failed_is_handed_in_again_and_nothing_else(stack: Stack) -> None:
    stack.spreadsheets("anew")
    name = f"example-{next(NUMBER)}"
    lines = [append(f"n{n}", "anew", range=f"{'Orders' if n % 2 else 'Later'}!A:B") for n in range(20)]
    await bulk(stack).submit(lines, project=await stack.project(), user="bot", id=name)
    assert (await bulk(stack).ended(name)).operations.failed == 10
    stack.emulator.library.spreadsheets["anew"].sheets.append(Sheet(77, "Later"))
    said = await example(stack, "again", "--id", name)
    assert said[0].startswith("10 failed: no sheet named")
    assert said[1:] == [
        f"{name}: 10 operations go again as {name}.retry1",
        f"{name}.retry1 completed: 10 of 10",
    ]
    again = await example(stack, "again", "--id", name)
    assert again[1] == f"{name}: 10 operations go again as {name}.retry1 already"
    shown = stack.emulator.library.shown("anew")
    assert sorted(row[0] for title in ("Orders", "Later") for row in shown[title]) == sorted(f"n{n}" for n in range(20))


async def test_tenants_share_and_wait_for_something(stack: Stack) -> None:
    stack.spreadsheets("of-tenants")
    arguments = ("--project", await stack.project(), "--spreadsheet", "of-tenants", "--sheet", "Orders", "--rows", "30")
    said = await example(stack, "tenants", *arguments)
    assert {line.partition(":")[0] for line in said} == {"tenant-1", "tenant-2", "tenant-3"}
    assert stack.counted("of-tenants") == {f"tenant-{t}-{n}": 1 for t in (1, 2, 3) for n in range(30)}


async def test_a_nightly_job_that_is_started_twice_writes_once(stack: Stack) -> None:
    """At the same time, and once more afterwards; other rows for the same day are refused."""
    stack.spreadsheets("of-a-night")
    project = await stack.project()
    arguments = ("--project", project, "--spreadsheet", "of-a-night", "--sheet", "Orders")
    both = await asyncio.gather(*(example(stack, "nightly", *arguments) for _ in range(2)))
    assert sorted(said[0] for said in both) == [
        f"already there: nightly-{project}-2030-03-17",
        f"submitted nightly-{project}-2030-03-17",
    ]
    assert [said[1] for said in both] == ["completed: 4 of 4"] * 2
    await example(stack, "nightly", *arguments)
    await example(stack, "nightly", *arguments, "--regions", "5", expect=2)
    assert stack.counted("of-a-night") == {f"2030-03-17/{n}": 1 for n in range(4)}


async def _count(requests: BulkRequests, selected: Selection, wanted: int) -> bool:
    return len([row async for row in requests.list(selected)]) == wanted
