"""The picture of `headgate watch` in the documents, from the views that a real run gave at one moment.

headgate watch ID... --json > views.jsonl                        # the last view of each request is kept
python tools/watch_picture.py docs/pictures/watch.jsonl 2026-11-24T12:32:09Z > docs/pictures/watch.svg
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group
from rich.terminal_theme import MONOKAI
from rich.text import Text

from headgate.messages.views import ProgressView
from starter.board import Row, board
from starter.panel import progress_panel

WIDTH: Final = 100


def picture(views: Path, now: datetime) -> str:
    """An SVG of the board and of one request's panel, by the clock of UTC."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    last = {view.id: view for view in map(ProgressView.model_validate_json, views.read_text().splitlines())}
    rows = [Row(view.id, view) for view in last.values()]
    console = Console(
        record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor", highlight=False
    )
    one = rows[0].id
    console.print(
        Group(
            Text("$ headgate watch --project shop"), board(rows, WIDTH, len(rows) * 3, now, "each asked every 1.25 s")
        )
    )
    console.print(Group(Text(f"\n$ headgate watch {one}"), progress_panel(last[one], now=now)))
    own_fonts = re.sub(
        r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL
    )  # none is fetched for a look at it
    return console.export_svg(title="headgate watch", theme=MONOKAI, unique_id="watch", code_format=own_fonts)


if __name__ == "__main__":
    sys.stdout.write(picture(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])))
