"""The example page in a real browser, against everything that runs behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.supabase.platform.example import EXAMPLE, build, type_errors
from tests.supabase.platform.functions import Unavailable


def test_the_page_builds_and_its_types_hold(tmp_path: Path) -> None:
    try:
        folder = build(tmp_path, "https://project.supabase.co", "sb_publishable_key")
        errors = type_errors()
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert errors == ""
    assert {path.name for path in folder.iterdir()} == {"app.js", "config.json", "index.html", "mark.svg", "style.css"}


def test_the_page_has_no_way_to_take_data_for_html() -> None:
    sources = {path.name: path.read_text() for path in (EXAMPLE / "src").glob("*.ts")}
    assert sources
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "srcdoc", "eval("):
        assert not [name for name, source in sources.items() if way in source], way
