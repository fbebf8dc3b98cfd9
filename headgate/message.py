"""What every message has in common."""

from __future__ import annotations

from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

SECOND_NS = 1_000_000_000


class Message(BaseModel):
    """A value that may be stored in a history and read by a later release."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def trusted(cls, fields: dict[str, Any]) -> Self:
        """A message of all its fields, checked before: at a third of the cost and half the size, for thousands of them."""
        message = cls.__new__(cls)
        _set(message, "__dict__", fields)
        _set(message, "__pydantic_fields_set__", _names(cls))
        _set(message, "__pydantic_extra__", None)
        _set(message, "__pydantic_private__", None)
        return message


_set = object.__setattr__


@cache
def _names(kind: type[BaseModel]) -> set[str]:
    return set(kind.model_fields)
