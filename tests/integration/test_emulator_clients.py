"""Two clients that this project did not write do the same work, and leave the same spreadsheet behind.

The emulator runs in a process of its own, as `headgate emulator` runs it (reference: sheets, 9).
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import google.oauth2.credentials
import gspread
import pytest
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

ORDERS = [["id", "amount", "paid", "on"], ["o-1", 12.5, True, "2026-11-23"], ["o-2", "1,250.00", False, "text"]]
Work = Callable[[str, str, str], None]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "emulator", "--port", "0", "--read-per-user", "30", "--write-per-user", "30"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    yield line.split()[-1]
    process.terminate()
    assert process.wait(timeout=10) == 0


def admin(url: str, verb: str, path: str, body: Any = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/admin/{path}", data=content, method=verb)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def gspread_client(url: str, token: str) -> gspread.Client:
    class Local(gspread.HTTPClient):  # type: ignore[misc]
        """gspread's own client, with the hosts of Sheets and Drive replaced by the emulator."""

        def request(self, method: str, endpoint: str, *args: Any, **kwargs: Any) -> Any:
            for host in ("https://sheets.googleapis.com", "https://www.googleapis.com"):
                endpoint = endpoint.replace(host, url)
            return super().request(method, endpoint, *args, **kwargs)

    credentials = google.oauth2.credentials.Credentials(token=token)
    return gspread.Client(auth=credentials, http_client=Local)


def google_client(url: str, token: str) -> Any:
    credentials = google.oauth2.credentials.Credentials(token=token)
    options = {"api_endpoint": url}
    return build("sheets", "v4", credentials=credentials, static_discovery=True, client_options=options)


def work_with_gspread(url: str, spreadsheet_id: str, token: str) -> None:
    book = gspread_client(url, token).open_by_key(spreadsheet_id)
    orders = book.add_worksheet("Orders 2026", rows=10, cols=4)
    orders.update(ORDERS, "A1", value_input_option="USER_ENTERED")
    orders.append_row(["o-3", 7, "", "2026-11-24"], value_input_option="USER_ENTERED")
    orders.insert_row(["o-0", 1], index=2)
    orders.sort((1, "des"), range="A2:D5")
    orders.format("A1:D1", {"textFormat": {"bold": True}})
    orders.freeze(rows=1)
    book.sheet1.update_acell("B2", "=6*7")
    book.sheet1.batch_clear(["A1:A5"])
    orders.update_title("Orders")


def work_with_google(url: str, spreadsheet_id: str, token: str) -> None:
    sheets = google_client(url, token).spreadsheets()

    def batch(*requests: dict[str, Any]) -> Any:
        return sheets.batchUpdate(spreadsheetId=spreadsheet_id, body={"requests": list(requests)}).execute()

    grid = {"rowCount": 10, "columnCount": 4}
    made = batch({"addSheet": {"properties": {"title": "Orders 2026", "gridProperties": grid}}})
    sheet_id = made["replies"][0]["addSheet"]["properties"]["sheetId"]
    values = sheets.values()
    typed = {"valueInputOption": "USER_ENTERED", "spreadsheetId": spreadsheet_id}
    values.update(range="'Orders 2026'!A1", body={"values": ORDERS}, **typed).execute()
    last = [["o-3", 7, "", "2026-11-24"]]
    values.append(range="'Orders 2026'!A1:D1", body={"values": last}, **typed).execute()
    rows = {"sheetId": sheet_id, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}
    new = {"values": [{"userEnteredValue": v} for v in ({"stringValue": "o-0"}, {"numberValue": 1})]}
    start = {"sheetId": sheet_id, "rowIndex": 1, "columnIndex": 0}
    area = {"sheetId": sheet_id, "startRowIndex": 1, "endRowIndex": 5, "startColumnIndex": 0, "endColumnIndex": 4}
    bold = {"userEnteredFormat": {"textFormat": {"bold": True}}}
    header = {**area, "startRowIndex": 0, "endRowIndex": 1}
    frozen = {"sheetId": sheet_id, "title": "Orders", "gridProperties": {"frozenRowCount": 1}}
    batch(
        {"insertDimension": {"range": rows}},
        {"updateCells": {"start": start, "rows": [new], "fields": "userEnteredValue"}},
        {"sortRange": {"range": area, "sortSpecs": [{"dimensionIndex": 0, "sortOrder": "DESCENDING"}]}},
        {"repeatCell": {"range": header, "cell": bold, "fields": "userEnteredFormat.textFormat"}},
        {"updateSheetProperties": {"properties": frozen, "fields": "title,gridProperties.frozenRowCount"}},
    )
    values.update(range="Sheet1!B2", body={"values": [["=6*7"]]}, **typed).execute()
    values.batchClear(spreadsheetId=spreadsheet_id, body={"ranges": ["A1:A5"]}).execute()


def stored(url: str, spreadsheet_id: str) -> tuple[Any, Any]:
    """Every cell as entered, and everything else that a read with all grid data shows; drawn ids left out."""
    request = urllib.request.Request(
        f"{url}/v4/spreadsheets/{spreadsheet_id}?includeGridData=true&fields=sheets(properties,data.rowData)",
        headers={"Authorization": "Bearer referee"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        shown = json.load(answer)
    for sheet in shown["sheets"]:
        sheet["properties"].pop("sheetId")
    return admin(url, "GET", f"spreadsheets/{spreadsheet_id}"), shown


def test_two_clients_leave_the_same_spreadsheet(url: str) -> None:
    admin(url, "POST", "reset")
    admin(url, "PUT", "spreadsheets/by-gspread", {})
    admin(url, "PUT", "spreadsheets/by-google", {})
    work_with_gspread(url, "by-gspread", "one")
    work_with_google(url, "by-google", "two")
    cells, _ = stored(url, "by-gspread")
    assert cells["Sheet1"] == [[], [None, "=6*7"]]
    assert [row[:3] for row in cells["Orders"]] == [
        ["id", "amount", "paid"],
        ["o-3", 7, None],
        ["o-2", 1250, False],
        ["o-1", 12.5, True],
        ["o-0", 1],
    ]
    assert stored(url, "by-gspread") == stored(url, "by-google")


def read_with_gspread(url: str, spreadsheet_id: str, token: str) -> None:
    gspread_client(url, token).http_client.values_get(spreadsheet_id, "A1")


def read_with_google(url: str, spreadsheet_id: str, token: str) -> None:
    values = google_client(url, token).spreadsheets().values()
    values.get(spreadsheetId=spreadsheet_id, range="A1").execute()


@pytest.mark.parametrize(
    ("read", "refusal"),
    [(read_with_gspread, gspread.exceptions.APIError), (read_with_google, HttpError)],
)
def test_both_see_the_quota_as_a_429_that_names_it(url: str, read: Work, refusal: type[Exception]) -> None:
    admin(url, "POST", "reset")
    admin(url, "PUT", "spreadsheets/S", {})
    admin(url, "PUT", "quota", {"read_per_user": 3})
    try:
        for _ in range(3):
            read(url, "S", "me")
        with pytest.raises(refusal) as refused:
            read(url, "S", "me")
    finally:
        admin(url, "PUT", "quota", {"read_per_user": 30})
    assert "429" in str(refused.value)
    assert "Read requests per minute per user" in str(refused.value)
    [mine] = [b for b in admin(url, "GET", "verdict")["buckets"] if b["level"] == "user"]
    assert (mine["calls"], mine["passed"], mine["refused"]) == (4, 3, 1)


def test_the_client_that_resends_by_itself_is_caught_by_the_ledger(url: str) -> None:
    """One call of google-api-python-client writes twice when its answer is lost (reference: sheets, 6.1)."""
    admin(url, "POST", "reset")
    admin(url, "PUT", "spreadsheets/S", {})
    admin(url, "PUT", "faults", [{"kind": "write", "nth": 1, "effect": "close", "when": "after"}])
    values = google_client(url, "me").spreadsheets().values()
    row = {"values": [["x"]]}
    values.append(spreadsheetId="S", range="A1", valueInputOption="RAW", body=row).execute()
    assert len(admin(url, "GET", "ledger")["applies"]) == 2
    assert admin(url, "GET", "spreadsheets/S") == {"Sheet1": [["x"], ["x"]]}


def test_gspread_finds_and_makes_spreadsheets_through_the_stand_in_for_drive(url: str) -> None:
    admin(url, "POST", "reset")
    client = gspread_client(url, "me")
    made = client.create("Accounts")
    made.sheet1.update_acell("A1", "x")
    assert client.open("Accounts").id == made.id
    copied = client.copy(made.id, title="Accounts, again")
    assert copied.sheet1.acell("A1").value == "x"
    client.del_spreadsheet(made.id)
    assert [entry["name"] for entry in client.list_spreadsheet_files()] == ["Accounts, again"]
