"""The schema table is what the discovery document says, and refuses what the transcoder refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import googleapiclient
import pytest

from emulator import schema
from emulator.errors import ApiError
from emulator.methods import ANSWERS

DISCOVERY = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "sheets.v4.json"


def _type(given: dict[str, Any]) -> str:
    if "$ref" in given:
        return str(given["$ref"])
    if given["type"] == "array":
        return "[" + _type(given["items"])
    if given["type"] == "object":
        return "{" + _type(given["additionalProperties"])
    if "enum" in given:
        return "enum:" + ",".join(given["enum"])
    form = given.get("format")
    return f"{given['type']}:{form}" if form else str(given["type"])


def table() -> dict[str, dict[str, str]]:
    """What `schema.json` has to hold: the schemas that a body or an answer of ours can reach."""
    schemas = json.loads(DISCOVERY.read_text(encoding="utf-8"))["schemas"]
    reached: dict[str, dict[str, str]] = {}
    waiting = sorted({root for root, _ in schema.ROOTS.values()} | set(ANSWERS.values()))
    while waiting:
        name = waiting.pop()
        if name in reached or name not in schemas:
            continue
        reached[name] = {field: _type(given) for field, given in schemas[name].get("properties", {}).items()}
        waiting += [kind.lstrip("[{") for kind in reached[name].values()]
    return dict(sorted(reached.items()))


def rendered(schemas: dict[str, dict[str, str]]) -> str:
    """One schema a line, so that a change shows in a diff."""
    lines = [f"{json.dumps(name)}: {json.dumps(fields, sort_keys=True)}" for name, fields in schemas.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def test_the_table_is_generated_from_the_discovery_document() -> None:
    """To generate it anew: write `rendered(table())` to emulator/schema.json."""
    assert table() == schema.SCHEMAS


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        (
            "batchUpdate",
            {"requests": [{"addSheet": {"foo": 1}}]},
            "Invalid JSON payload received. Unknown name \"foo\" at 'requests[0].add_sheet': Cannot find field.",
        ),
        (
            "batchUpdate",
            {"requests": [{"deleteSheet": {"sheetId": "x"}}]},
            "Invalid value at 'requests[0].delete_sheet.sheet_id' (TYPE_INT32), \"x\"",
        ),
        (
            "batchUpdate",
            {"requests": [{"mergeCells": {"mergeType": "MERGE_SOME"}}]},
            "Invalid value at 'requests[0].merge_cells.merge_type' "
            '(type.googleapis.com/google.apps.sheets.v4.MergeCellsRequest.MergeType), "MERGE_SOME"',
        ),
        (
            "values.update",
            {"valuez": []},
            "Invalid JSON payload received. Unknown name \"valuez\" at 'data': Cannot find field.",
        ),
    ],
)
def test_an_unknown_name_or_a_wrong_type_is_refused(method: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as refused:
        schema.check_body(method, body)
    assert refused.value.code == 400
    assert refused.value.message == message
    assert refused.value.details is not None


def test_null_means_unset_and_an_integer_may_come_as_text() -> None:
    schema.check_body("batchUpdate", {"requests": [{"deleteSheet": {"sheetId": "7"}, "addSheet": None}]})


def test_a_mask_path_that_leads_nowhere_is_named() -> None:
    assert schema.unknown_path({"sheets": {"properties": {"colour": {}}}}, "Spreadsheet") == "sheets.properties.colour"
    assert schema.unknown_path({"sheets": {"data": {"rowData": {"values": {"note": {}}}}}}, "Spreadsheet") is None
