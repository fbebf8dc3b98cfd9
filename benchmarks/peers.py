"""The same rows by gspread's row-by-row loop, by gspread's batch form, and by headgate: calls and time, on the same emulator.

Google's default quotas and a latency of 1.2 s. The loop is bound by one call a row, so that it runs in scaled time: window and
latency are a tenth of Google's, and its time is told ten times over. The others run in real time.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import google.oauth2.credentials
import gspread

from benchmarks.rig import Rig, Setting, rig
from headgate.messages.views import ProgressView
from starter.temporal_cli import guarded
from workflows.names import bulk_request_id

SPREADSHEETS = 5
LATENCY_MS = 1200.0
SCALE = 10
#: What a script does that was told to retry: wait, twice as long each time.
LONGEST_PAUSE_S = 64.0


def row(spreadsheet: int, number: int) -> list[Any]:
    """One row of the work."""
    return [f"op-{spreadsheet}-{number}", number, number % 2 == 0]


@contextmanager
def emulator(scale: int) -> Iterator[str]:
    """An emulator in a process of its own, with Google's quotas; time runs `scale` times faster."""
    command = [
        *(sys.executable, "-m", "emulator", "--port=0", f"--window={60 / scale}"),
        *(f"--latency-ms={LATENCY_MS / scale}", "--create-missing"),
    ]
    process = subprocess.Popen(
        guarded(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate()


def told(url: str, path: str) -> Any:
    """An answer of the emulator's admin routes."""
    with urlopen(Request(f"{url}/admin/{path}"), timeout=60) as answer:
        return json.load(answer)


def client(url: str) -> gspread.Client:
    """gspread's own client, with Google's hosts replaced by the emulator."""

    class Local(gspread.HTTPClient):  # type: ignore[misc]
        def request(self, method: str, endpoint: str, *args: Any, **kwargs: Any) -> Any:
            for host in ("https://sheets.googleapis.com", "https://www.googleapis.com"):
                endpoint = endpoint.replace(host, url)
            return super().request(method, endpoint, *args, **kwargs)

    return gspread.Client(auth=google.oauth2.credentials.Credentials(token="u0"), http_client=Local)


def patiently(call: Callable[[], Any], scale: int) -> Any:
    """The call again after every 429, as gspread's users write it."""
    pause = 1.0
    while True:
        try:
            return call()
        except gspread.exceptions.APIError as refusal:
            if refusal.response.status_code != 429:
                raise
            time.sleep(pause / scale)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def by_gspread(rows: int, *, batch: bool, scale: int) -> dict[str, Any]:
    """Every spreadsheet opened, and its rows appended one by one or all at once."""
    with emulator(scale) as url:
        began = time.monotonic()
        for spreadsheet in range(SPREADSHEETS):
            sheet = patiently(lambda key=f"book-{spreadsheet}": client(url).open_by_key(key).sheet1, scale)  # type: ignore[misc]
            wanted = [row(spreadsheet, number) for number in range(rows)]
            if batch:
                patiently(lambda sheet=sheet, wanted=wanted: sheet.append_rows(wanted), scale)  # type: ignore[misc]
                continue
            for one in wanted:
                patiently(lambda sheet=sheet, one=one: sheet.append_row(one), scale)  # type: ignore[misc]
        seconds = time.monotonic() - began
        calls = Counter(f"{c['kind']}/{c['status']}" for c in told(url, "ledger")["calls"])
        found = [told(url, f"spreadsheets/book-{number}")["Sheet1"] for number in range(SPREADSHEETS)]
    return _figures(rows, seconds * scale, calls, found, scale)


async def by_headgate(rows: int) -> dict[str, Any]:
    """One request for all, from `submit` to its end."""
    books = [f"book-{number}" for number in range(SPREADSHEETS)]
    lines = [
        {"op": "append", "spreadsheet": book, "range": "Orders!A:C", "values": [row(spreadsheet, number)], "user": "u0"}
        for number in range(rows)
        for spreadsheet, book in enumerate(books)
    ]
    async with rig(Setting(latency_ms=LATENCY_MS), books) as running:
        await _completed(running, [{"op": "nothing, so that every process is up before time is taken"}])
        began = time.monotonic()
        await _completed(running, lines)
        seconds = time.monotonic() - began
        calls = Counter(f"{c['kind']}/{c['status']}" for c in (await running.ledger())["calls"])
        found = [(await running.ask_emulator(f"spreadsheets/{book}"))["Orders"] for book in books]
    return _figures(rows, seconds, calls, found, 1)


async def _completed(running: Rig, lines: list[dict[str, Any]]) -> None:
    """Submitted by the command line, and waited for."""
    handle = running.client.get_workflow_handle(bulk_request_id(await running.submit(lines)), result_type=ProgressView)
    view: ProgressView = await handle.result()
    assert view.state == "completed", view


def _figures(
    rows: int, seconds: float, calls: Counter[str], found: list[list[list[Any]]], scale: int
) -> dict[str, Any]:
    expected = [[row(spreadsheet, number) for number in range(rows)] for spreadsheet in range(SPREADSHEETS)]
    return {
        "rows": rows * SPREADSHEETS,
        "calls": calls.total(),
        "calls_by_kind_and_status": dict(calls),
        "seconds": seconds,
        "seconds_a_1000_rows": seconds * 1000 / (rows * SPREADSHEETS),
        "time_was_scaled_by": scale,
        "every_row_once_and_in_order": found == expected,
    }


async def main(size: int = 200) -> dict[str, Any]:
    """`size` rows for each of five spreadsheets, one user."""
    return {
        "gspread, row by row": await asyncio.to_thread(by_gspread, size, batch=False, scale=SCALE),
        "gspread, batch form": await asyncio.to_thread(by_gspread, size, batch=True, scale=1),
        "headgate": await by_headgate(size),
    }
