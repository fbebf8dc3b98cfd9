"""What people hand in and get out, through the command line and through Python, judged by the emulator's cells and ledger."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emulator.grid import Formula, Sheet
from headgate.errors import InvalidRequest
from starter.client import BulkRequests
from starter.connection import address_of
from starter.service import TemporalService
from tests.eventually import eventually
from tests.integration.stack import Stack, append


def environ(stack: Stack) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADGATE_", "TEMPORAL_"))}
    return {
        **kept,
        "TEMPORAL_ADDRESS": address_of(stack.client),
        "HEADGATE_SHEETS_URL": stack.emulator.url,
        "HEADGATE_STORE": stack.settings.store,
    }


async def command(
    stack: Stack, module: str, *arguments: str | Path, expect: int = 0
) -> subprocess.CompletedProcess[str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environ(stack),
        input="",
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == expect, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


async def headgate(stack: Stack, *arguments: str | Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    return await command(stack, "starter.cli", *arguments, expect=expect)


def requests(stack: Stack) -> BulkRequests:
    return BulkRequests(TemporalService(stack.client), stack.store)


async def test_csv_rows_are_the_emulators_cells_and_the_plan_foretold_the_calls(stack: Stack, tmp_path: Path) -> None:
    stack.spreadsheets("from-csv")
    project = await stack.project()
    rows = [[f"c{n}", f"{n:03}", str(n / 4), "true", f'=SUM(A1) "{n}"\n;', ""] for n in range(300)]
    file = tmp_path / "rows.csv"
    with file.open("w", newline="", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter=";").writerows([["name", "code", "sum", "on", "text", "nothing"], *rows])
    packed = tmp_path / "rows.of.any.name"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    table = ("--project", project, "--user", "bot", "--spreadsheet", "from-csv", "--sheet", "Orders")
    plan = json.loads((await headgate(stack, "plan", packed, *table, "--json")).stdout)
    assert stack.calls("from-csv") == [], "a plan sends nothing"
    await headgate(stack, "submit", packed, *table, "--id", "from-csv", "--wait")
    typed = [[name, code, float(number), True, text] for name, code, number, _, text, _ in rows]
    assert stack.cells("from-csv") == typed
    kinds = Counter(call["kind"] for call in stack.calls("from-csv"))
    assert kinds == {kind: plan["calls"][kind] for kind in ("read", "write")} == {"read": 1, "write": 1}
    assert plan["operations"] == 300
    assert "its limiter" in plan["expected"]["basis"]
    found = list(csv.DictReader((await headgate(stack, "results", "from-csv", "--csv")).stdout.splitlines()))
    assert [(one["id"], one["outcome"]) for one in found] == [(f"row-{n}", "succeeded") for n in range(2, 302)]


async def test_a_replace_leaves_the_new_table_alone_and_one_that_is_refused_the_old_one(
    stack: Stack, tmp_path: Path
) -> None:
    stack.spreadsheets("replaced")
    project = await stack.project()
    old = [append(f"old{n}", "replaced") for n in range(40)]
    await stack.completes(await stack.submit(project, old), old, 60)
    file = tmp_path / "new.csv"
    file.write_text("name,twice\na,=B2\nb,+1\n", encoding="utf-8")
    table = ("--project", project, "--user", "bot", "--spreadsheet", "replaced", "--mode", "replace", "--formulas")
    before = stack.cells("replaced")
    await headgate(stack, "submit", file, *table, "--sheet", "Nowhere", "--wait", expect=1)
    assert stack.cells("replaced") == before
    writes = len([call for call in stack.calls("replaced") if call["kind"] == "write"])
    await headgate(stack, "submit", file, *table, "--sheet", "Orders", "--wait")
    sheet = stack.emulator.library.spreadsheets["replaced"].sheets[0]
    kept = [[sheet.cell(row, column).value for column in range(3)] for row in range(len(sheet.rows))]
    assert kept == [["name", "twice", None], ["a", Formula("=B2"), None], ["b", "+1", None]]
    assert len([call for call in stack.calls("replaced") if call["kind"] == "write"]) == writes + 1


async def test_a_replace_that_is_cut_off_leaves_a_beginning_of_the_new_table(stack: Stack, tmp_path: Path) -> None:
    """Nothing of the old one, and no row behind one that is missing."""
    stack.spreadsheets("cut-off")
    project = await stack.project()
    old = [append(f"old{n}", "cut-off") for n in range(30)]
    await stack.completes(await stack.submit(project, old), old, 60)
    file = tmp_path / "new.csv"
    file.write_text("name,number\n" + "".join(f"new{n},{n}\n" for n in range(300)), encoding="utf-8")
    table = (
        "--project",
        project,
        "--user",
        "bot",
        "--spreadsheet",
        "cut-off",
        "--sheet",
        "Orders",
        "--mode",
        "replace",
    )
    await headgate(stack, "submit", file, *table, "--id", "cut-off", "--operations-per-call", "4")
    before = len(stack.calls("cut-off"))
    await eventually(lambda: len(stack.calls("cut-off")) > before + 6, timeout=30)
    await headgate(stack, "cancel", "cut-off")
    view = await requests(stack).ended("cut-off")
    assert view.operations.unprocessed > 100
    rows = [["name", "number"], *([f"new{n}", n] for n in range(300))]
    assert stack.cells("cut-off") == rows[: view.operations.succeeded - 1], "all that succeeded but the clear"


async def test_what_failed_is_written_once_when_its_cause_is_gone(stack: Stack, tmp_path: Path) -> None:
    """Two sheets, one of which is missing; the retry brings its rows, twice asked for is once done, and a purge ends it."""
    stack.spreadsheets("half")
    project = await stack.project()
    file = tmp_path / "half.jsonl"
    operations = [append(f"h{n}", "half", range=f"{'Orders' if n % 2 else 'Later'}!A:B") for n in range(20)]
    file.write_text("".join(json.dumps(one) + "\n" for one in operations) + "{bad\n", encoding="utf-8")
    arguments = ("--project", project, "--user", "bot", "--owner", "team", "--id", "half", "--wait")
    await headgate(stack, "submit", file, *arguments, expect=1)
    stack.emulator.library.spreadsheets["half"].sheets.append(Sheet(77, "Later"))
    made = [await headgate(stack, "retry-failed", "half", "--wait", "--json") for _ in range(2)]
    assert made[0].stdout == made[1].stdout, "the same command twice is one request"
    said = json.loads(made[0].stdout)
    assert (said["id"], said["operations"], said["left_out"]["refused"]) == ("half.retry1", 10, 1)
    shown = stack.emulator.library.shown("half")
    assert Counter(row[0] for title in ("Orders", "Later") for row in shown[title]) == {f"h{n}": 1 for n in range(20)}
    again = await TemporalService(stack.client).request("half.retry1")
    assert (again.owner, again.project, again.user) == ("team", project, "bot")

    folder = Path(stack.settings.store, "requests")
    done = json.loads((await headgate(stack, "purge", "half", "--yes", "--json")).stdout)
    assert done["purged"] == ["half"]
    assert done["objects"] > 5
    assert not (folder / "half").exists()
    assert (folder / "half.retry1").exists()
    assert (await headgate(stack, "results", "half", "--json")).stdout == ""
    await headgate(stack, "retry-failed", "half", expect=2)


async def test_a_cancelled_request_is_taken_up_again_without_a_row_twice(stack: Stack) -> None:
    stack.spreadsheets("taken-up")
    project = await stack.project()
    operations = [append(f"t{n}", "taken-up") for n in range(60)]
    bulk = requests(stack)
    made = await bulk.submit(operations, project=project, user="bot", id="taken-up", operations_per_call=1)
    await eventually(lambda: len(stack.calls("taken-up")) > 6, timeout=30)
    with pytest.raises(InvalidRequest, match="nothing has failed so far"):
        await bulk.retry_failed(made.id)
    with pytest.raises(InvalidRequest, match="not over"):
        await bulk.retry_failed(made.id, include_unprocessed=True)
    with pytest.raises(InvalidRequest, match="not over"):
        await bulk.purge(made.id)
    await bulk.cancel(made.id, by="test")
    first = await bulk.ended(made.id)
    assert first.operations.unprocessed > 0
    again = await bulk.retry_failed(made.id, include_unprocessed=True)
    assert again.operations == 60 - first.operations.succeeded
    second = await bulk.ended(again.submitted.id)
    assert second.operations.succeeded == again.operations
    assert stack.counted("taken-up") == {f"t{n}": 1 for n in range(60)}
    outcomes = Counter([one["outcome"] async for one in bulk.results(again.submitted.id)])
    assert outcomes == {"succeeded": again.operations}


async def test_an_iterable_becomes_a_request(stack: Stack) -> None:
    stack.spreadsheets("iterated")
    project = await stack.project()

    async def made() -> Any:
        for number in range(5):
            yield append(f"i{number}", "iterated")

    bulk = requests(stack)
    one = await bulk.submit(made(), project=project, user="bot", id="iterated")
    same = await bulk.submit(
        (append(f"i{number}", "iterated") for number in range(5)), project=project, user="bot", id="iterated"
    )
    assert (one.first, same.first) == (True, False)
    assert (await bulk.ended(one.id)).operations.succeeded == 5
    assert stack.counted("iterated") == {f"i{n}": 1 for n in range(5)}


async def test_the_example_runs_and_twice_is_once(stack: Stack) -> None:
    stack.spreadsheets("python-example")
    project = await stack.project()
    arguments = ("--project", project, "--spreadsheet", "python-example", "--sheet", "Orders", "--rows", "50")
    one = await command(stack, "starter.examples.orders", *arguments)
    two = await command(stack, "starter.examples.orders", *arguments)
    assert one.stdout.splitlines()[0] == "submitted orders-from-python"
    assert two.stdout.splitlines()[0] == "already there: orders-from-python"
    assert one.stdout.splitlines()[1].startswith("completed: 50 of 50, ")
    assert stack.cells("python-example") == [[f"order-{n}", 9.5 * n, n % 2 == 0] for n in range(1, 51)]
    await command(stack, "starter.examples.orders", "--project", "a/b", expect=2)
