"""A developer metadata id is taken once in a spreadsheet, whoever took it: the fence that makes a resent batch safe.

Facts (reference: sheets, 3.1, 3.3): the second creation of an id is refused with 400, and the whole batch with it; key and value
count against 30,000 characters, for the spreadsheet and for each sheet apart [U]; PROJECT entries are seen by their own
project only; AND inside a lookup, OR across filters; an entry on a sheet, row or column goes with it.
"""

from __future__ import annotations

from typing import Any

from emulator.a1 import Box
from emulator.errors import Json, invalid, not_found
from emulator.fields import Mask
from emulator.grid import Dimension, deleted, inserted
from emulator.spreadsheet import Spreadsheet, metadata_size

BUDGET = 30_000


def public(entry: Json) -> Json:
    return {name: value for name, value in entry.items() if name != "project"}


def create(draft: Spreadsheet, wanted: Json, project: str) -> Json:
    metadata_id = wanted.get("metadataId")
    if metadata_id is None:
        metadata_id = draft.draw_id()
    metadata_id = int(metadata_id)
    if metadata_id in draft.metadata:
        raise invalid(
            f"Cannot add developer metadata with ID [{metadata_id}] because developer metadata with that ID "
            "already exists."
        )
    if not 0 < metadata_id < 2**31:
        raise invalid(f"Developer metadata ID must be positive: {metadata_id}")
    if not wanted.get("metadataKey"):
        raise invalid("Developer metadata must have a key.")
    if wanted.get("visibility") not in ("DOCUMENT", "PROJECT"):
        raise invalid("Developer metadata must have a visibility.")
    entry: Json = {
        "metadataId": metadata_id,
        "metadataKey": str(wanted["metadataKey"]),
        "location": location(draft, wanted.get("location") or {}),
        "visibility": wanted["visibility"],
        "project": project,
    }
    if wanted.get("metadataValue"):
        entry["metadataValue"] = str(wanted["metadataValue"])
    _check_budget(draft, entry, None)
    draft.put_metadata(entry)
    return entry


def location(draft: Spreadsheet, wanted: Json) -> Json:
    """Exactly one of spreadsheet, sheet, a single row or a single column."""
    if wanted.get("spreadsheet"):
        return {"locationType": "SPREADSHEET", "spreadsheet": True}
    span = wanted.get("dimensionRange")
    if span is not None:
        sheet = draft.sheet(span.get("sheetId"))
        start, end = int(span.get("startIndex") or 0), int(span.get("endIndex") or 0)
        if end - start != 1:
            raise invalid("Developer metadata may be added to a single row or column only.")
        kept = {"dimension": span.get("dimension", "ROWS"), "startIndex": start, "endIndex": end}
        kind = "COLUMN" if kept["dimension"] == "COLUMNS" else "ROW"
        return {"locationType": kind, "dimensionRange": {"sheetId": sheet.sheet_id, **kept}}
    if wanted.get("sheetId") is not None:
        return {"locationType": "SHEET", "sheetId": draft.sheet(wanted["sheetId"]).sheet_id}
    raise invalid("Developer metadata must have a location.")


def sheet_of(place: Json) -> int | None:
    """The sheet that an entry is on; None for the spreadsheet."""
    if place.get("spreadsheet"):
        return None
    span = place.get("dimensionRange")
    return int(span["sheetId"]) if span else int(place["sheetId"])


def location_box(place: Json) -> tuple[int, Box] | None:
    sheet_id = sheet_of(place)
    if sheet_id is None:
        return None
    span = place.get("dimensionRange")
    if not span:
        return sheet_id, Box()
    start, end = span["startIndex"], span["endIndex"]
    by_columns = span["dimension"] == "COLUMNS"
    return sheet_id, Box(left=start, right=end) if by_columns else Box(top=start, bottom=end)


def _check_budget(draft: Spreadsheet, entry: Json, replaced: int | None) -> None:
    if draft.metadata_chars + metadata_size(entry) <= BUDGET:
        return  # the sum over all owners fits: no need to look at each
    owner = sheet_of(entry["location"])
    used = sum(
        metadata_size(other)
        for other_id, other in draft.metadata.items()
        if other_id != replaced and sheet_of(other["location"]) == owner
    )
    if used + metadata_size(entry) > BUDGET:
        raise invalid(f"The developer metadata exceeds the limit of {BUDGET} characters.")


def matching(spreadsheet: Spreadsheet, lookup: Json, project: str) -> list[Json]:
    """The entries of a lookup that this project may see."""
    wanted_id = lookup.get("metadataId")
    if wanted_id is not None:
        one = spreadsheet.metadata.get(int(wanted_id))
        candidates = [one] if one else []
    else:
        candidates = list(spreadsheet.metadata.values())
    return [entry for entry in candidates if _visible(entry, project) and _agrees(entry, lookup)]


def _visible(entry: Json, project: str) -> bool:
    return bool(entry["visibility"] == "DOCUMENT" or entry["project"] == project)


def _agrees(entry: Json, lookup: Json) -> bool:
    for name in ("metadataKey", "metadataValue", "visibility"):
        if lookup.get(name) is not None and entry.get(name) != lookup[name]:
            return False
    kind = lookup.get("locationType")
    if kind is not None and entry["location"]["locationType"] != kind:
        return False
    place = lookup.get("metadataLocation")
    return place is None or _at(entry["location"], place, lookup.get("locationMatchingStrategy"))


def _at(actual: Json, place: Json, strategy: str | None) -> bool:
    if place.get("spreadsheet"):
        return bool(actual.get("spreadsheet")) or strategy == "INTERSECTING_LOCATION"
    sheet_id = sheet_of(actual)
    span = place.get("dimensionRange")
    if span is None:
        same = sheet_id == int(place.get("sheetId") or 0)
        return same and (strategy == "INTERSECTING_LOCATION" or actual["locationType"] == "SHEET")
    mine = actual.get("dimensionRange")
    if mine is None or mine["sheetId"] != int(span.get("sheetId") or 0):
        return False
    return all(mine[name] == span.get(name) for name in ("dimension", "startIndex", "endIndex"))


def get(spreadsheet: Spreadsheet, metadata_id: str, project: str) -> Json:
    try:
        number = int(metadata_id)
    except ValueError:
        raise not_found() from None
    entry = spreadsheet.metadata.get(number)
    if entry is None or not _visible(entry, project):
        raise not_found()
    return public(entry)


def search(spreadsheet: Spreadsheet, body: Json, project: str) -> Json:
    found: dict[int, tuple[Json, list[Json]]] = {}
    for data_filter in body.get("dataFilters") or []:
        for entry in matching(spreadsheet, lookup_of(data_filter), project):
            found.setdefault(entry["metadataId"], (entry, []))[1].append(data_filter)
    shown = [{"developerMetadata": public(entry), "dataFilters": by} for entry, by in found.values()]
    return {"matchedDeveloperMetadata": shown} if shown else {}


def lookup_of(data_filter: Json) -> Json:
    lookup: Any = data_filter.get("developerMetadataLookup")
    if lookup is None:
        raise invalid("Only a developerMetadataLookup is emulated in a metadata filter.")
    return dict(lookup)


def change(draft: Spreadsheet, entry: Json, wanted: Json, mask: Mask) -> Json:
    """The entry with the masked fields as wanted; its id may not change."""
    names = ("metadataKey", "metadataValue", "visibility", "location")
    chosen = names if "*" in mask else tuple(name for name in names if name in mask)
    new = dict(entry)
    for name in chosen:
        value = wanted.get(name)
        if name == "location":
            new[name] = location(draft, value or {})
        elif value:
            new[name] = value
        else:
            new.pop(name, None)
    if "metadataKey" not in new:
        raise invalid("Developer metadata must have a key.")
    _check_budget(draft, new, entry["metadataId"])
    draft.put_metadata(new)
    return new


def drop_sheet(draft: Spreadsheet, sheet_id: int) -> None:
    for metadata_id, entry in list(draft.metadata.items()):
        if sheet_of(entry["location"]) == sheet_id:
            draft.drop_metadata(metadata_id)


def shift(draft: Spreadsheet, sheet_id: int, where: Dimension, insertion: bool) -> None:
    """Entries on rows or columns move with them, and go with them."""
    dimension = "ROWS" if where.rows else "COLUMNS"
    for metadata_id, entry in list(draft.metadata.items()):
        span = entry["location"].get("dimensionRange")
        if span is None or span["sheetId"] != sheet_id or span["dimension"] != dimension:
            continue
        old = (span["startIndex"], span["endIndex"])
        new = inserted(old, where.start, where.size) if insertion else deleted(old, where)
        if new is None:
            draft.drop_metadata(metadata_id)
        elif new != old:
            place = {**span, "startIndex": new[0], "endIndex": new[1]}
            draft.metadata[metadata_id] = {**entry, "location": {**entry["location"], "dimensionRange": place}}
