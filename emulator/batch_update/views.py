"""Requests about what lies over a sheet: filter views, banding, conditional formats. They are kept and shown, never evaluated.

Facts (reference: sheets, 2.1): an id that is taken is refused; a conditional format goes by its index.
"""

from __future__ import annotations

from typing import Any

from emulator import fields
from emulator.a1 import from_grid_range, to_grid_range
from emulator.batch_update.cells import area_of
from emulator.batch_update.kinds import Draft, kind
from emulator.batch_update.properties import mask_of
from emulator.errors import Json, invalid
from emulator.grid import Sheet

FILTER_VIEWS = ("filterViews", "filterViewId", "filter view")
BANDED_RANGES = ("bandedRanges", "bandedRangeId", "banded range")
RULES = "conditionalFormats"
Family = tuple[str, str, str]


def _find(draft: Draft, family: Family, wanted: Any) -> tuple[Sheet, int] | None:
    folder, id_name, _ = family
    for sheet in draft.spreadsheet.sheets:
        for index, entry in enumerate(sheet.opaque.get(folder, [])):
            if entry[id_name] == wanted:
                return sheet, index
    return None


def _add(draft: Draft, family: Family, given: Json) -> Json:
    folder, id_name, word = family
    given_id = given.get(id_name)
    entry_id = draft.spreadsheet.draw_id() if given_id is None else int(given_id)
    if _find(draft, family, entry_id) is not None:
        raise invalid(f"Cannot add {word} with ID [{entry_id}] because one with that ID already exists.")
    sheet, area = area_of(draft, given.get("range"))
    shown = {name: value for name, value in given.items() if value is not None}
    entry = {**shown, id_name: entry_id, "range": to_grid_range(sheet.sheet_id, area)}
    sheet.opaque[folder] = [*sheet.opaque.get(folder, []), entry]
    return entry


def _existing(draft: Draft, family: Family, entry_id: Any) -> tuple[Sheet, int]:
    found = _find(draft, family, int(entry_id or 0))
    if found is None:
        raise invalid(f"No {family[2]} with id: {entry_id}")
    return draft.spreadsheet.edit(found[0].sheet_id), found[1]


def _update(draft: Draft, family: Family, given: Json, mask: fields.Mask) -> None:
    folder, id_name, _ = family
    sheet, index = _existing(draft, family, given.get(id_name))
    entry = sheet.opaque[folder][index]
    new = fields.merge(entry, given, mask)
    new[id_name] = entry[id_name]
    new["range"] = to_grid_range(sheet.sheet_id, from_grid_range(new.get("range") or entry["range"]))
    sheet.opaque[folder][index] = new


def _delete(draft: Draft, family: Family, entry_id: Any) -> Json:
    sheet, index = _existing(draft, family, entry_id)
    del sheet.opaque[family[0]][index]
    return {}


@kind("addFilterView")
def add_filter_view(draft: Draft, request: Json) -> Json:
    return {"addFilterView": {"filter": _add(draft, FILTER_VIEWS, request.get("filter") or {})}}


@kind("updateFilterView")
def update_filter_view(draft: Draft, request: Json) -> Json:
    _update(draft, FILTER_VIEWS, request.get("filter") or {}, mask_of(request, "FilterView"))
    return {}


@kind("deleteFilterView")
def delete_filter_view(draft: Draft, request: Json) -> Json:
    return _delete(draft, FILTER_VIEWS, request.get("filterId"))


@kind("addBanding")
def add_banding(draft: Draft, request: Json) -> Json:
    return {"addBanding": {"bandedRange": _add(draft, BANDED_RANGES, request.get("bandedRange") or {})}}


@kind("updateBanding")
def update_banding(draft: Draft, request: Json) -> Json:
    _update(draft, BANDED_RANGES, request.get("bandedRange") or {}, mask_of(request, "BandedRange"))
    return {}


@kind("deleteBanding")
def delete_banding(draft: Draft, request: Json) -> Json:
    return _delete(draft, BANDED_RANGES, request.get("bandedRangeId"))


def _rule(draft: Draft, given: Json | None) -> tuple[Sheet, Json]:
    ranges = (given or {}).get("ranges") or []
    if not ranges:
        raise invalid("A conditional format rule must have a range.")
    sheet = area_of(draft, ranges[0])[0]
    shown = [to_grid_range(sheet.sheet_id, from_grid_range(grid_range)) for grid_range in ranges]
    return sheet, {**(given or {}), "ranges": shown}


def _index(sheet: Sheet, request: Json, most: int) -> int:
    index = int(request.get("index") or 0)
    if not 0 <= index <= most:
        raise invalid(f"No conditional format on sheet: {sheet.sheet_id} at index: {index}")
    return index


@kind("addConditionalFormatRule")
def add_conditional_format_rule(draft: Draft, request: Json) -> Json:
    sheet, rule = _rule(draft, request.get("rule"))
    rules = list(sheet.opaque.get(RULES, []))
    rules.insert(_index(sheet, request, len(rules)), rule)
    sheet.opaque[RULES] = rules
    return {}


@kind("updateConditionalFormatRule")
def update_conditional_format_rule(draft: Draft, request: Json) -> Json:
    if request.get("rule") is not None:
        sheet, rule = _rule(draft, request["rule"])
    else:
        sheet, rule = draft.spreadsheet.edit(request.get("sheetId")), None
    rules = list(sheet.opaque.get(RULES, []))
    index = _index(sheet, request, len(rules) - 1)
    old = rules[index]
    if rule is not None:
        rules[index] = rule
        answer: Json = {"newRule": rule, "newIndex": index, "oldRule": old, "oldIndex": index}
    else:
        new_index = int(request.get("newIndex") or 0)
        rules.insert(new_index, rules.pop(index))
        answer = {"newRule": old, "newIndex": new_index, "oldIndex": index}
    sheet.opaque[RULES] = rules
    shown = {name: value for name, value in answer.items() if value != 0}
    return {"updateConditionalFormatRule": shown}


@kind("deleteConditionalFormatRule")
def delete_conditional_format_rule(draft: Draft, request: Json) -> Json:
    sheet = draft.spreadsheet.edit(request.get("sheetId"))
    rules = list(sheet.opaque.get(RULES, []))
    gone = rules.pop(_index(sheet, request, len(rules) - 1))
    sheet.opaque[RULES] = rules
    return {"deleteConditionalFormatRule": {"rule": gone}}
