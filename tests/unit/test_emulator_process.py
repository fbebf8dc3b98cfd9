"""The emulator's own command line makes settings, and reads its rules of faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.__main__ import parser, settings_of
from emulator.server import EmulatorSettings


def test_without_flags_the_settings_are_the_defaults() -> None:
    assert settings_of(parser().parse_args([])) == EmulatorSettings()


def test_every_flag_reaches_the_settings(tmp_path: Path) -> None:
    rules = [{"effect": "close", "when": "after"}]
    file = tmp_path / "faults.json"
    file.write_text(json.dumps({"faults": rules}), encoding="utf-8")
    text = (
        "--no-quota --read-per-project 1 --read-per-user 2 --write-per-project 3 --write-per-user 4 --window 5 "
        f"--latency-ms 6 --jitter-ms 7 --faults {file} --create-missing --spreadsheet A --spreadsheet B --seed 8"
    )
    assert settings_of(parser().parse_args(text.split())) == EmulatorSettings(
        quota=False,
        read_per_project=1,
        read_per_user=2,
        write_per_project=3,
        write_per_user=4,
        window=5.0,
        latency_ms=6.0,
        jitter_ms=7.0,
        faults=rules,
        create_missing=True,
        spreadsheets=("A", "B"),
        seed=8,
    )


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--quick"])
    assert "--quick" in capsys.readouterr().err
