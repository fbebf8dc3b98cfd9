"""Every call is classified by its method, never by its verb."""

from __future__ import annotations

import pytest

from emulator import fields, routes


@pytest.mark.parametrize(
    ("verb", "path", "method", "kind"),
    [
        ("POST", "", "create", "write"),
        ("GET", "/S", "get", "read"),
        ("GET", "/S/", "get", "read"),
        ("POST", "/S:getByDataFilter", "getByDataFilter", "read"),
        ("POST", "/S:batchUpdate", "batchUpdate", "write"),
        ("POST", "/S/:batchUpdate", "batchUpdate", "write"),
        ("POST", "/S%3AbatchUpdate", "batchUpdate", "write"),
        ("GET", "/S/developerMetadata/7", "developerMetadata.get", "read"),
        ("POST", "/S/developerMetadata:search", "developerMetadata.search", "read"),
        ("POST", "/S/sheets/0:copyTo", "sheets.copyTo", "write"),
        ("GET", "/S/values/A1:B2", "values.get", "read"),
        ("GET", "/S/values:batchGet", "values.batchGet", "read"),
        ("POST", "/S/values:batchGetByDataFilter", "values.batchGetByDataFilter", "read"),
        ("PUT", "/S/values/A1", "values.update", "write"),
        ("POST", "/S/values:batchUpdate", "values.batchUpdate", "write"),
        ("POST", "/S/values:batchUpdateByDataFilter", "values.batchUpdateByDataFilter", "write"),
        ("POST", "/S/values/A1:B2:append", "values.append", "write"),
        ("POST", "/S/values/%27A%2FB%27%21A1%3Aappend", "values.append", "write"),
        ("POST", "/S/values/A1:clear", "values.clear", "write"),
        ("POST", "/S/values:batchClear", "values.batchClear", "write"),
        ("POST", "/S/values:batchClearByDataFilter", "values.batchClearByDataFilter", "write"),
    ],
)
def test_a_path_is_one_of_the_seventeen_methods(verb: str, path: str, method: str, kind: str) -> None:
    route = routes.parse(verb, routes.PREFIX + path)
    assert route is not None
    assert (route.method_id, route.kind) == (f"spreadsheets.{method}", kind)


@pytest.mark.parametrize(("verb", "path"), [("DELETE", "/S"), ("GET", ""), ("POST", "/S/values/A1"), ("GET", "x")])
def test_what_is_no_method_has_no_route(verb: str, path: str) -> None:
    assert routes.parse(verb, routes.PREFIX + path) is None


def test_a_range_is_decoded_and_keeps_its_colons() -> None:
    route = routes.parse("POST", f"{routes.PREFIX}/S/values/%27my%20sheet%27!A1:B2:clear")
    assert route is not None
    assert route.argument == "'my sheet'!A1:B2"


@pytest.mark.parametrize("text", ["a(b,c/d),e", "a.b,a.c.d,e", "a/b,a(c(d)),e", "a.b, a.c.d ,e"])
def test_a_mask_means_the_same_in_every_spelling(text: str) -> None:
    assert fields.parse(text) == {"a": {"b": {}, "c": {"d": {}}}, "e": {}}


def test_a_mask_projects_lists_and_clears_what_the_update_lacks() -> None:
    shown = fields.project({"a": [{"b": 1, "c": 2}, {"c": 3}], "d": 4}, fields.parse("a.b"))
    assert shown == {"a": [{"b": 1}, {}]}
    merged = fields.merge({"x": {"y": 1, "z": 2}, "w": 3}, {"x": {"y": 5}}, fields.parse("x(y,z)"))
    assert merged == {"x": {"y": 5}, "w": 3}
