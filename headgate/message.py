"""What every message has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

SECOND_NS = 1_000_000_000


class Message(BaseModel):
    """A value that may be stored in a history and read by a later release."""

    model_config = ConfigDict(frozen=True)
