"""Fences: the id that makes a batch apply at most once, and the value by which we know our own.

1. The same nonce, spreadsheet, lane, batch, part and salt give the same fence, in any process.
2. Two parts of one batch never share an id except by collision, and then their values differ.

Source: reference/sheets.md section 3.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from headgate.apis.sheets.raw_requests import FENCE_KEY

BURNT = "burnt"
_IDS = 2**31 - 2
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Fence:
    """A developer-metadata id (a positive int32) and its value (at most 10 characters)."""

    id: int
    value: str

    @classmethod
    def of(cls, nonce: str, spreadsheet: str, lane: int, batch: int, part: str, salt: int = 0) -> Fence:
        """The fence of one part of a batch."""
        text = f"{nonce}/{spreadsheet}/lane-{lane}/batch-{batch}/part-{part}/salt-{salt}"
        digest = hashlib.sha256(text.encode()).digest()
        return cls(1 + int.from_bytes(digest[:8], "big") % _IDS, _base36(int.from_bytes(digest[8:14], "big")))

    def request(self) -> dict[str, object]:
        """The sub-request that creates it; refused, with its whole batch, when the id exists."""
        metadata = {
            "metadataId": self.id,
            "metadataKey": FENCE_KEY,
            "metadataValue": self.value,
            "location": {"spreadsheet": True},
            "visibility": "DOCUMENT",
        }
        return {"createDeveloperMetadata": {"developerMetadata": metadata}}


def removal(fence_id: int) -> dict[str, object]:
    """The sub-request that removes a fence; only for one that is known to exist."""
    return {"deleteDeveloperMetadata": {"dataFilter": {"developerMetadataLookup": {"metadataId": fence_id}}}}


def sheet_id_for(nonce: str, spreadsheet: str, line: int) -> int:
    """The id of a sheet that a line adds without naming one: stable, so that a resend adds no second sheet."""
    digest = hashlib.sha256(f"{nonce}/{spreadsheet}/sheet/line-{line}".encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % _IDS


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits
