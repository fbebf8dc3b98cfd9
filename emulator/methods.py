"""What each of the API's methods does to the library; a write works on a fork that is put back only when it held.

Facts (reference: sheets, 2): `fields` projects every answer; create takes a client's `spreadsheetId` here, which Google does not: an
extension, so that tests can name their spreadsheets.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from emulator import fields, metadata, reading, values, writes
from emulator.batch_update import run as run_batch
from emulator.batch_update.kinds import Draft
from emulator.batch_update.properties import new_sheet
from emulator.errors import ApiError, Json, bad_field, invalid, not_emulated, not_found
from emulator.library import Library
from emulator.routes import Query, Route
from emulator.schema import check_body, unknown_path
from emulator.settings import EmulatorSettings
from emulator.spreadsheet import Spreadsheet

MAX_PAYLOAD = 10_485_760


def decode(body: bytes) -> Json:
    if len(body) > MAX_PAYLOAD:
        raise invalid(f"Request payload size exceeds the limit: {MAX_PAYLOAD} bytes.")
    if not body.strip():
        return {}
    try:
        decoded: Any = json.loads(body)
    except ValueError as reason:
        raise invalid(f"Invalid JSON payload received. {reason}") from None
    if decoded is None:
        return {}
    if not isinstance(decoded, dict):
        raise invalid('Invalid JSON payload received. Unknown name "": Root element must be a message.')
    return decoded


ANSWERS = {
    "get": "Spreadsheet",
    "getByDataFilter": "Spreadsheet",
    "create": "Spreadsheet",
    "batchUpdate": "BatchUpdateSpreadsheetResponse",
    "developerMetadata.get": "DeveloperMetadata",
    "developerMetadata.search": "SearchDeveloperMetadataResponse",
    "sheets.copyTo": "SheetProperties",
    "values.get": "ValueRange",
    "values.append": "AppendValuesResponse",
    "values.update": "UpdateValuesResponse",
    "values.clear": "ClearValuesResponse",
    "values.batchGet": "BatchGetValuesResponse",
    "values.batchGetByDataFilter": "BatchGetValuesByDataFilterResponse",
    "values.batchUpdate": "BatchUpdateValuesResponse",
    "values.batchUpdateByDataFilter": "BatchUpdateValuesByDataFilterResponse",
    "values.batchClear": "BatchClearValuesResponse",
    "values.batchClearByDataFilter": "BatchClearValuesByDataFilterResponse",
}


def _check_mask(mask: fields.Mask, schema: str) -> None:
    """A path that no answer can have is an error, not an empty answer."""
    unknown = unknown_path(mask, schema)
    if unknown is not None:
        text = f"Error expanding 'fields' parameter. Cannot find matching fields for path '{unknown}'."
        raise bad_field(unknown, text, "Request contains an invalid argument.")


class Methods:
    """The methods by id."""

    def __init__(self, library: Library, settings: EmulatorSettings) -> None:
        self._library = library
        self._delete_without_match = settings.delete_without_match

    def call(self, route: Route, query: Query, body: bytes, project: str, user: str) -> Json:
        """The answer, applied already if it is a write."""
        given = query.given
        mask = fields.parse(given["fields"]) if given.get("fields") else None
        decoded = decode(body) if body else {}
        name = route.method_id.removeprefix("spreadsheets.")
        check_body(name, decoded)
        if mask is not None:
            _check_mask(mask, ANSWERS[name])
        if name == "create":
            answer = self._create(decoded, project, user)
        elif route.kind == "read":
            answer = self._read(name, route, query, decoded, mask, project)
        else:
            answer = self._write(name, route, query, decoded, project, user)
        if mask is not None and name not in ("get", "getByDataFilter"):
            answer = fields.project(answer, mask)
        return answer

    def _read(self, name: str, route: Route, query: Query, body: Json, mask: fields.Mask | None, project: str) -> Json:
        spreadsheet = self._library.get(route.spreadsheet_id)
        match name:
            case "get":
                grid = query.given.get("includeGridData", "").lower() == "true"
                return reading.whole(spreadsheet, mask, grid, query.ranges, project)
            case "getByDataFilter":
                return self._by_filter(spreadsheet, body, mask, project)
            case "values.get":
                return values.get(spreadsheet, route.argument, query.given)
            case "values.batchGet":
                return values.batch_get(spreadsheet, query.ranges, query.given)
            case "values.batchGetByDataFilter":
                return values.batch_get_by_filter(spreadsheet, body, project)
            case "developerMetadata.get":
                return metadata.get(spreadsheet, route.argument, project)
            case "developerMetadata.search":
                return metadata.search(spreadsheet, body, project)
        raise not_emulated(route.method_id)

    def _by_filter(self, spreadsheet: Spreadsheet, body: Json, mask: fields.Mask | None, project: str) -> Json:
        filters = body.get("dataFilters") or []
        located = [found for found, _ in values.filtered(spreadsheet, filters, project)]
        grid = bool(body.get("includeGridData")) or (mask is not None and "data" in mask.get("sheets", {}))
        return reading.of_ranges(spreadsheet, mask, grid, located if filters else None, project)

    def _write(self, name: str, route: Route, query: Query, body: Json, project: str, user: str) -> Json:
        draft = self._library.get(route.spreadsheet_id).fork()
        known: dict[str, Callable[[], Json]] = {
            "batchUpdate": lambda: run_batch(Draft(draft, project, user, self._delete_without_match), body),
            "values.update": lambda: writes.update(draft, route.argument, body, query.given),
            "values.append": lambda: writes.append(draft, route.argument, body, query.given),
            "values.clear": lambda: writes.clear(draft, route.argument),
            "values.batchUpdate": lambda: writes.batch_update(draft, body),
            "values.batchUpdateByDataFilter": lambda: writes.batch_update_by_filter(draft, body, project),
            "values.batchClear": lambda: writes.batch_clear(draft, body),
            "values.batchClearByDataFilter": lambda: writes.batch_clear_by_filter(draft, body, project),
            "sheets.copyTo": lambda: self._copy_sheet(draft, route.argument, body),
        }
        answer = known[name]()
        if name != "sheets.copyTo":
            self._library.put(draft)
        return answer

    def _copy_sheet(self, source: Spreadsheet, sheet_id: str, body: Json) -> Json:
        target = self._library.get(str(body.get("destinationSpreadsheetId") or "")).fork()
        sheet = source.sheet(int(sheet_id)).fork()
        sheet.sheet_id = target.draw_id()
        sheet.title = f"Copy of {sheet.title}"
        target.add(sheet, None)
        self._library.put(target)
        return reading.sheet_properties(sheet, len(target.sheets) - 1)

    def _create(self, body: Json, project: str, user: str) -> Json:
        wanted = body.get("properties") or {}
        spreadsheet_id = body.get("spreadsheetId")
        if spreadsheet_id and spreadsheet_id in self._library.spreadsheets:
            raise ApiError(409, f"A spreadsheet with the id {spreadsheet_id} exists.")
        spreadsheet = self._library.create(spreadsheet_id, wanted.get("title") or "Untitled spreadsheet")
        for name in ("locale", "timeZone", "autoRecalc"):
            if wanted.get(name):
                spreadsheet.properties[name] = wanted[name]
        try:
            self._fill(spreadsheet, body, project, user)
        except ApiError:
            self._library.delete(spreadsheet.spreadsheet_id)
            raise
        return reading.whole(spreadsheet, None, False, [], project)

    def _fill(self, spreadsheet: Spreadsheet, body: Json, project: str, user: str) -> None:
        """The sheets of a create; the first has id 0 unless it is given one."""
        draft = Draft(spreadsheet, project, user, self._delete_without_match)
        sheets = body.get("sheets") or []
        if sheets:
            spreadsheet.sheets = []
        for index, given in enumerate(sheets):
            wanted = dict(given.get("properties") or {})
            if index == 0:
                wanted.setdefault("sheetId", 0)
            spreadsheet.add(new_sheet(draft, wanted), None)

    def require(self, spreadsheet_id: str) -> Spreadsheet:
        if spreadsheet_id not in self._library.spreadsheets:
            raise not_found()
        return self._library.spreadsheets[spreadsheet_id]
