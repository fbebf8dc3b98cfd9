"""Titles that a lane's own lines make and unmake, followed in order: by `SheetNames` while planning, by `after` while sending.

1. A sheet that a line adds gets its id here, if the line names none: a resend then adds no second one.
2. An operation on a sheet that an earlier line of its lane added or renamed carries that sheet's id.
3. A sheet that an earlier line renamed or deleted no longer answers to the title that the look-up knows it by; one that it
   hid is not the first any more. One that it shows again is taken for the first only if the look-up says so.
4. Planning takes every request about sheets for done. One that fails puts the plan's ids in doubt (`counts_on`): the titles
   are looked up behind it, and `after` follows what succeeds from there on.

What other lanes, requests or people do to titles meanwhile is not seen. Source: reference/sheets.md sections 2.1 and 4.8.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from headgate.apis.sheets import a1
from headgate.apis.sheets.fences import sheet_id_for
from headgate.apis.sheets.titles import Sheet, Titles
from headgate.messages.requests import Operation

_ABOUT_SHEETS = frozenset({"addSheet", "duplicateSheet", "deleteSheet", "updateSheetProperties"})


@dataclass(slots=True)
class SheetNames:
    """What the lines so far say about one spreadsheet's sheets; empty for most lanes."""

    ids: dict[str, int] = field(default_factory=dict)
    gone: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    hidden: frozenset[int] = frozenset()
    first: int | None = None

    def settle(self, operation: Operation, nonce: str) -> Operation:
        """The operation with every sheet id that is known already; a raw request also changes what is known."""
        if operation.op == "request":
            return self._follow(operation, nonce)
        if not (self.ids or self.gone or self.moved or self.first is not None):
            return operation
        title = a1.parse(operation.range).title
        known = self.ids.get(title.casefold()) if title else self.first
        if known is not None:
            return operation.model_copy(update={"sheet_id": known})
        passed_over = self.gone if title else self.moved
        return operation.model_copy(update={"gone_sheets": passed_over}) if passed_over else operation

    def _follow(self, operation: Operation, nonce: str) -> Operation:
        kind, body = next(iter(operation.request.items()))
        fields: dict[str, Any] = dict(body) if isinstance(body, dict) else {}
        match kind:
            case "addSheet":
                properties = dict(fields.get("properties") or {})
                sheet_id = _whole(properties.get("sheetId"))
                if sheet_id is None:
                    sheet_id = sheet_id_for(nonce, operation.spreadsheet, operation.line)
                self._added(sheet_id, properties.get("title"), properties.get("index"))
                return _with(operation, kind, {**fields, "properties": {**properties, "sheetId": sheet_id}})
            case "duplicateSheet":
                sheet_id = _whole(fields.get("newSheetId"))
                if sheet_id is None:
                    sheet_id = sheet_id_for(nonce, operation.spreadsheet, operation.line)
                if (_whole(fields.get("sourceSheetId")) or 0) in self.hidden:
                    self.hidden = self.hidden | {sheet_id}
                at = -1 if sheet_id in self.hidden else fields.get("insertSheetIndex") or 0  # left out, it is the front
                self._added(sheet_id, fields.get("newSheetName"), at)
                return _with(operation, kind, {**fields, "newSheetId": sheet_id})
            case "deleteSheet":
                self._unnamed(_whole(fields.get("sheetId")) or 0)
                self._moved_away(_whole(fields.get("sheetId")) or 0)
            case "updateSheetProperties":
                self._updated(fields)
        return operation

    def _updated(self, fields: dict[str, Any]) -> None:
        properties = fields.get("properties") or {}
        mask = _mask(fields)
        sheet_id = _whole(properties.get("sheetId")) or 0
        if mask & {"title", "*"} and isinstance(properties.get("title"), str):
            self._unnamed(sheet_id)
            self.ids[properties["title"].casefold()] = sheet_id
        if mask & {"hidden", "*"}:
            self.hidden = self.hidden | {sheet_id} if properties.get("hidden") else self.hidden - {sheet_id}
        if mask & {"index", "*"}:
            if _whole(properties.get("index")) or "*" in mask:
                self._moved_away(sheet_id)
            elif sheet_id not in self.hidden:
                self.first = sheet_id
        if sheet_id in self.hidden:
            self._moved_away(sheet_id)

    def _added(self, sheet_id: int, title: object, index: object) -> None:
        if isinstance(title, str):
            self.ids[title.casefold()] = sheet_id
        if _whole(index) == 0:
            self.first = sheet_id

    def _unnamed(self, sheet_id: int) -> None:
        self.ids = {title: known for title, known in self.ids.items() if known != sheet_id}
        if sheet_id not in self.gone:
            self.gone = (*self.gone, sheet_id)

    def _moved_away(self, sheet_id: int) -> None:
        self.first = None if self.first == sheet_id else self.first
        if sheet_id not in self.moved:
            self.moved = (*self.moved, sheet_id)


def about_sheets(operation: Operation) -> bool:
    """A raw request that may change which sheet a title means."""
    return not _ABOUT_SHEETS.isdisjoint(operation.request)


def touches_titles(operation: Operation) -> bool:
    """It changes titles, or planning has seen a request before it that does."""
    return operation.sheet_id is not None or bool(operation.gone_sheets) or about_sheets(operation)


def counts_on(operation: Operation, titles: Titles | None) -> bool:
    """Planning took requests about sheets for done to say which sheet the operation means, and it matters whether they were."""
    if operation.op == "request":
        return False
    if operation.sheet_id is not None or (titles is not None and titles.followed):
        return True
    if not operation.gone_sheets or titles is None:
        return bool(operation.gone_sheets)
    title = a1.parse(operation.range).title
    return titles.sheet_id(title) != titles.sheet_id(title, operation.gone_sheets)


def after(titles: Titles, operation: Operation) -> Titles:
    """The titles once the operation has taken effect, in the order that the API gives to the sheets."""
    if not about_sheets(operation):
        return titles
    kind, given = next(iter(operation.request.items()))
    body: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    sheets = list(titles.sheets)
    match kind:
        case "addSheet":
            properties = body.get("properties") or {}
            at = _whole(properties.get("index"))
            added = Sheet(
                sheet_id=_whole(properties.get("sheetId")) or 0,
                title=str(properties.get("title") or ""),
                hidden=properties.get("hidden") is True,
            )
            sheets.insert(len(sheets) if at is None else at, added)
        case "duplicateSheet":
            source = _place(sheets, body.get("sourceSheetId"))
            if source is not None:
                title = str(body.get("newSheetName") or f"Copy of {sheets[source].title}")
                copy = {"sheet_id": _whole(body.get("newSheetId")) or 0, "title": title}
                sheets.insert(_whole(body.get("insertSheetIndex")) or 0, sheets[source].model_copy(update=copy))
        case "deleteSheet":
            place = _place(sheets, body.get("sheetId"))
            if place is not None:
                sheets.pop(place)
        case "updateSheetProperties":
            _change(sheets, body)
    return titles.model_copy(update={"sheets": tuple(sheets)})


def _change(sheets: list[Sheet], body: dict[str, Any]) -> None:
    properties = body.get("properties") or {}
    mask = _mask(body)
    place = _place(sheets, properties.get("sheetId"))
    if place is None:
        return
    sheet = sheets[place]
    if mask & {"title", "*"} and properties.get("title"):
        sheet = sheet.model_copy(update={"title": str(properties["title"])})
    if mask & {"hidden", "*"}:
        sheet = sheet.model_copy(update={"hidden": properties.get("hidden") is True})
    sheets[place] = sheet
    if "index" in mask or ("*" in mask and properties.get("index") is not None):
        wanted = _whole(properties.get("index")) or 0  # it counts as before the move
        sheets.insert(wanted - 1 if wanted > place else wanted, sheets.pop(place))


def _place(sheets: list[Sheet], sheet_id: object) -> int | None:
    wanted = _whole(sheet_id) or 0
    return next((place for place, sheet in enumerate(sheets) if sheet.sheet_id == wanted), None)


def _mask(fields: dict[str, Any]) -> set[str]:
    return {path.strip().removeprefix("properties.") for path in str(fields.get("fields") or "").split(",")}


def _with(operation: Operation, kind: str, body: dict[str, Any]) -> Operation:
    return operation.model_copy(update={"request": {kind: body}})


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return int(value)
