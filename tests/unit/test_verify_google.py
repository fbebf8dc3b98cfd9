"""`headgate verify-google` against the emulator: it passes as it is, and an API that behaves otherwise is found out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import starter.calling
from emulator.server import Emulator, EmulatorSettings
from emulator.spreadsheet import Spreadsheet
from headgate.errors import InvalidRequest
from headgate.settings import Settings
from starter.calling import calling
from starter.verifying import CHECKS, NOT_CHECKED, Finding, verify
from tests.unit.fake_service import one_sentence, ran


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter.calling, "PACE_S", 0.0)


async def findings(tmp_path: Path, other_user: str = "", **options: Any) -> dict[str, Finding]:
    """What is found at an emulator of its own, by number; it is left as it was."""
    async with Emulator(EmulatorSettings(spreadsheets=("S",), **options)) as emulator:
        settings = Settings(sheets_url=emulator.url, store=str(tmp_path), cache_dir=tmp_path)
        async with calling(settings, "ana", "S", None) as caller:
            found = await verify(caller, other_user)
        left = emulator.library.get("S")
        assert [sheet.title for sheet in left.sheets] == ["Sheet1"]
        assert left.metadata == {}
    assert len(found) == len(CHECKS) + len(NOT_CHECKED)
    return {one.number: one for one in found}


async def test_the_emulator_is_what_headgate_believes_of_google(tmp_path: Path) -> None:
    found = await findings(tmp_path, "eve", projects={"eve": "elsewhere"})
    assert {one.number: one.finding for one in found.values() if one.verdict == "differs"} == {}
    assert [one.number for one in found.values() if one.verdict == "not checked"] == ["5", "6", "8"]
    assert "already exists" in found["1"].finding
    assert found["7"].finding == "parsed"
    assert found["10"].finding == "200"


async def test_without_a_second_user_what_others_hide_is_not_checked(tmp_path: Path) -> None:
    assert (await findings(tmp_path))["9"].verdict == "not checked"


async def test_an_api_that_minds_deletions_without_a_match_is_all_right_too(tmp_path: Path) -> None:
    found = await findings(tmp_path, delete_without_match="error")
    assert found["3"].verdict == "as expected"
    assert found["3"].finding.startswith("400 ")


async def test_an_api_that_takes_an_id_twice_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing that rests on fences holds, and the sentence says which setting helps."""

    class Forgetful(dict[int, Any]):
        def __contains__(self, key: object) -> bool:
            return False

    original = Spreadsheet.fork

    def fork(self: Spreadsheet) -> Spreadsheet:
        draft = original(self)
        draft.metadata = Forgetful(draft.metadata)
        return draft

    monkeypatch.setattr(Spreadsheet, "fork", fork)
    found = await findings(tmp_path)
    assert found["1"].verdict == "differs"
    assert "HEADGATE_FENCES=off" in found["1"].otherwise
    assert "was applied" in found["1"].finding


async def test_a_spreadsheet_that_cannot_be_written_to_is_said_at_once(tmp_path: Path) -> None:
    async with Emulator(EmulatorSettings()) as emulator:
        settings = Settings(sheets_url=emulator.url, store=str(tmp_path), cache_dir=tmp_path)
        async with calling(settings, "ana", "nowhere", None) as caller:
            with pytest.raises(InvalidRequest, match="nowhere cannot be used"):
                await verify(caller)


async def test_the_command_prints_a_table_or_json_and_says_by_its_exit_code_if_something_differs(
    tmp_path: Path,
) -> None:
    async with Emulator(EmulatorSettings(spreadsheets=("S",), quota=False)) as emulator:
        environ = {"HEADGATE_SHEETS_URL": emulator.url, "HEADGATE_STORE": str(tmp_path)}
        asked = ("verify-google", "--spreadsheet", "S", "--user", "ana")
        found = await asyncio.to_thread(ran, *asked, "--json", environ=environ)
        assert (found.code, found.err) == (0, "")
        [document] = found.documents
        assert (document["spreadsheet"], document["differs"]) == ("S", 0)
        assert {check["verdict"] for check in document["checks"]} == {"as expected", "noted", "not checked"}
        table = (await asyncio.to_thread(ran, *asked, environ=environ)).out
        assert all(check["number"] in table for check in document["checks"])
        assert "as expected" in table
        nowhere = ("verify-google", "--spreadsheet", "nowhere", "--user", "ana")
        refused = await asyncio.to_thread(ran, *nowhere, environ=environ)
        assert refused.code == 2
        assert one_sentence(refused.err)
