"""Requests about developer metadata, the fence among them (reference: sheets, 3)."""

from __future__ import annotations

from emulator import metadata
from emulator.batch_update.kinds import Draft, kind
from emulator.batch_update.properties import mask_of
from emulator.errors import Json, invalid


@kind("createDeveloperMetadata")
def create(draft: Draft, request: Json) -> Json:
    entry = metadata.create(draft.spreadsheet, request.get("developerMetadata") or {}, draft.project)
    return {"createDeveloperMetadata": {"developerMetadata": metadata.public(entry)}}


@kind("updateDeveloperMetadata")
def update(draft: Draft, request: Json) -> Json:
    mask = mask_of(request, "DeveloperMetadata")
    wanted = request.get("developerMetadata") or {}
    found = {
        entry["metadataId"]: entry
        for data_filter in request.get("dataFilters") or []
        for entry in metadata.matching(draft.spreadsheet, metadata.lookup_of(data_filter), draft.project)
    }
    changed = [metadata.change(draft.spreadsheet, entry, wanted, mask) for entry in found.values()]
    shown = [metadata.public(entry) for entry in changed]
    return {"updateDeveloperMetadata": {"developerMetadata": shown} if shown else {}}


@kind("deleteDeveloperMetadata")
def delete(draft: Draft, request: Json) -> Json:
    lookup = metadata.lookup_of(request.get("dataFilter") or {})
    found = metadata.matching(draft.spreadsheet, lookup, draft.project)
    if not found and draft.delete_without_match == "error":
        raise invalid("No developer metadata matches the filter.")
    for entry in found:
        draft.spreadsheet.drop_metadata(entry["metadataId"])
    shown = [metadata.public(entry) for entry in found]
    return {"deleteDeveloperMetadata": {"deletedDeveloperMetadata": shown} if shown else {}}
