"""The bulky part of the limiter's checkpoint as text: JSON, deflated, in base 64. What comes back is what went in."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode

from headgate.messages.carried import LimiterRows


def pack(rows: LimiterRows) -> str:
    """The rows as one string."""
    return b64encode(zlib.compress(rows.model_dump_json().encode(), 6)).decode()


def unpack(packed: str) -> LimiterRows:
    """The rows that were packed; none, if nothing was."""
    return LimiterRows.model_validate_json(zlib.decompress(b64decode(packed))) if packed else LimiterRows()
