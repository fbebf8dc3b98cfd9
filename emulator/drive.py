"""Just enough of Drive for a Sheets client: create, copy, delete, list and look at spreadsheet files.

Drive calls are not Sheets calls: they are neither counted nor in the ledger (reference: sheets, 9: gspread needs them).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from urllib.parse import unquote

from aiohttp import web

from emulator import entry, fields
from emulator.dispatch import json_response
from emulator.errors import Json, not_found
from emulator.grid import Cell, Value
from emulator.library import Library
from emulator.methods import decode
from emulator.routes import parse_query
from emulator.spreadsheet import Spreadsheet

MIME_TYPE = "application/vnd.google-apps.spreadsheet"
FILES = "/drive/v3/files"
UPLOAD = "/upload/drive/v2/files/"


def _instant(at: float) -> str:
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _file(spreadsheet: Spreadsheet, every: bool = False) -> Json:
    shown: Json = {
        "kind": "drive#file",
        "id": spreadsheet.spreadsheet_id,
        "name": spreadsheet.properties["title"],
        "mimeType": MIME_TYPE,
    }
    if every:
        shown["createdTime"] = _instant(spreadsheet.created_at)
        shown["modifiedTime"] = _instant(spreadsheet.modified_at)
    return shown


async def handle(request: web.BaseRequest, library: Library) -> web.StreamResponse:
    path, _, raw_query = request.raw_path.partition("?")
    query = parse_query(raw_query).given
    body = await request.read()
    if path.startswith(UPLOAD):
        return json_response(_upload(library, unquote(path.removeprefix(UPLOAD)), body))
    name, _, action = unquote(path.removeprefix(FILES).strip("/")).partition("/")
    match request.method, bool(name), action:
        case "POST", False, "":
            wanted = decode(body)
            made = library.create(wanted.get("id"), wanted.get("name") or "Untitled")
            return json_response(_file(made))
        case "GET", False, "":
            files = [_file(spreadsheet, True) for spreadsheet in library.spreadsheets.values()]
            shown: Json = {"kind": "drive#fileList", "incompleteSearch": False, "files": files}
            return json_response(_masked(shown, query))
        case "GET", True, "":
            return json_response(_masked(_file(library.get(name), True), query))
        case "DELETE", True, "":
            library.delete(name)
            return web.Response(status=204)
        case "POST", True, "copy":
            return json_response(_file(_copy(library, name, decode(body))))
        case "GET", True, "comments":
            library.get(name)
            return json_response({"comments": []})
    raise not_found()


def _masked(shown: Json, query: dict[str, str]) -> Json:
    if not query.get("fields"):
        return shown
    masked: Json = fields.project(shown, fields.parse(query["fields"]))
    return masked


def _copy(library: Library, name: str, wanted: Json) -> Spreadsheet:
    """The copy carries cells and formats; whether it carries developer metadata is not known [U], so it does."""
    source = library.get(name)
    made = library.create(wanted.get("id"), wanted.get("name") or f"Copy of {source.properties['title']}")
    copied = source.fork()
    copied.spreadsheet_id = made.spreadsheet_id
    copied.properties["title"] = made.properties["title"]
    copied.created_at = made.created_at
    library.put(copied)
    return copied


def _upload(library: Library, name: str, body: bytes) -> Json:
    """A CSV replaces everything: one sheet, titled as the file, in the time zone of Google's head office."""
    old = library.get(name)
    made = Spreadsheet(name, old.properties["title"], old.created_at)
    made.properties["timeZone"] = "America/Los_Angeles"
    sheet = made.sheets[0]
    sheet.sheet_id, sheet.title = made.draw_id(), made.properties["title"]
    for index, line in enumerate(csv.reader(io.StringIO(body.decode()))):
        cells = {column: Cell(*_typed(text)) for column, text in enumerate(line) if text}
        sheet.write(index, cells)
    library.put(made)
    return {"kind": "drive#file", "id": name, "title": sheet.title, "mimeType": MIME_TYPE}


def _typed(text: str) -> tuple[Value, Json | None]:
    value, number_format = entry.parse(text)
    return value, {"userEnteredFormat": {"numberFormat": number_format}} if number_format else None
