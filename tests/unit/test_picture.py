"""The picture in the documents is what is drawn today of what a real run gave."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
TAKEN_AT = "2026-11-24T12:32:09Z"


def test_the_picture_of_watch_is_the_present_one() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "watch_picture.py", PICTURES / "watch.jsonl", TAKEN_AT],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    assert made.stdout == (PICTURES / "watch.svg").read_text(encoding="utf-8")
