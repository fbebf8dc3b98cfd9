"""What each request kind does is registered here; a kind of the API that is not answers 501 (reference: sheets, 2.1, 8.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from emulator.errors import Json
from emulator.spreadsheet import Spreadsheet


class Draft(NamedTuple):
    """What a request may change, and for whom."""

    spreadsheet: Spreadsheet
    project: str
    user: str
    delete_without_match: str


Apply = Callable[[Draft, Json], Json]
APPLY: dict[str, Apply] = {}


def kind(name: str) -> Callable[[Apply], Apply]:
    """Registers what a request kind does."""

    def register(apply: Apply) -> Apply:
        APPLY[name] = apply
        return apply

    return register
