"""What the rows of the inbox mean: a request that is to be started, a command that is to be told. No clock, no database.

1. A start becomes a `BulkRequest` whose project, users, owner and input come from what the operator and the database hold,
   never from the row's sender. What cannot become one is a sentence for whoever submitted it.
2. The same row becomes the same request, so that what Temporal has from an earlier try can be told.
3. A command's id and its place are those of its row, whatever its sender wrote.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, cast, get_args

from pydantic import ValidationError

from headgate.errors import InvalidRequest
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.views import Control
from headgate.messages.words import NAME_PATTERN
from headgate.steering import Command
from headgate.wording import words

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the inbox, as it was claimed. `age_s` is how long ago it arrived, by the database's clock.

    `recorded`: Temporal holds the command, its person was told that, and nobody has heard yet what came of it.
    """

    id: int
    request_id: str
    sequence: int
    kind: str
    command_id: str | None = None
    data: object = field(default_factory=dict)
    attempts: int = 0
    age_s: float = 0.0
    recorded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the database holds of a request that is to be started. `content` is its inline input, `input_path` where its upload
    lies; `project` is None where the organisation has no account."""

    id: str
    organisation_id: str
    status: str
    name: str
    priority: str
    ordering: str
    stop_after: int
    grow: bool
    created_at: datetime
    input_sha256: str | None
    input_bytes: int | None
    input_path: str | None
    content: str | None = field(repr=False)
    project: str | None
    default_user: str | None
    users: tuple[str, ...]


def inline_input(asked: Asked) -> bytes | None:
    """The input that came with the request, checked against what was announced; None where it was uploaded.

    Raises InvalidRequest where there is none, or another one.
    """
    if asked.content is None:
        if not asked.input_path:
            raise InvalidRequest("its input is not there: submit it again")
        return None
    content = asked.content.encode("utf-8", "surrogatepass")
    if asked.input_bytes is not None and asked.input_bytes != len(content):
        raise InvalidRequest(
            f"its input has {len(content):,} bytes where {asked.input_bytes:,} were announced: submit it again"
        )
    if asked.input_sha256 is not None and asked.input_sha256 != hashlib.sha256(content).hexdigest():
        raise InvalidRequest("its input has another SHA-256 than was announced: submit it again")
    return content


def bulk_request(asked: Asked, stored: tuple[str, int] | None, *, fences: bool = True) -> BulkRequest:
    """The request as Temporal takes it. `stored` is the SHA-256 and size of an input that is in the store; without it the
    input is taken from its upload. Raises InvalidRequest, with a sentence for whoever submitted it."""
    if asked.project is None or not asked.default_user:
        raise InvalidRequest("its organisation has no account: ask the operator for one, then submit it again")
    for name in (asked.project, asked.default_user, *asked.users):
        if not re.fullmatch(NAME_PATTERN, name):
            raise InvalidRequest("its organisation's account is not valid: ask the operator, then submit it again")
    sha256, size = stored if stored is not None else (asked.input_sha256 or "", asked.input_bytes or 0)
    if not _SHA256.fullmatch(sha256) or size < 1 or (stored is None and not asked.input_path):
        raise InvalidRequest("what its input is was not announced: submit it again")
    try:
        return BulkRequest(
            id=asked.id,
            project=asked.project,
            user=asked.default_user,
            owner=asked.organisation_id,
            priority=cast(Any, asked.priority),
            order=cast(Any, asked.ordering),
            input_sha256=sha256,
            input_bytes=size,
            submitted_at_ns=_ns(asked.created_at),
            nonce=_nonce(asked),
            stop_after=asked.stop_after,
            fences=fences,
            grow=asked.grow,
            organisation=asked.organisation_id,
            users=tuple(dict.fromkeys((asked.default_user, *asked.users))),
            uploaded=asked.input_path or "" if stored is None else "",
        )
    except ValidationError as error:
        named = ", ".join(str(one["loc"][0]) for one in error.errors() if one["loc"]) or "a field"
        raise InvalidRequest(f"it cannot be started: {named} is not valid") from None


def is_of(held: BulkRequest, asked: Asked) -> bool:
    """Whether what Temporal holds under the id was made of this row earlier, by whatever account its organisation had then."""
    made = (asked.organisation_id, _nonce(asked), _ns(asked.created_at))
    return (held.organisation, held.nonce, held.submitted_at_ns) == made and asked.input_sha256 in (
        None,
        held.input_sha256,
    )


def _nonce(asked: Asked) -> str:
    return hashlib.sha256(asked.id.encode()).hexdigest()[:16]


def _ns(at: datetime) -> int:
    """Nanoseconds since 1970; a float would lose some."""
    return (at - _EPOCH) // timedelta(microseconds=1) * (SECOND_NS // 1_000_000)


def control(row: Row) -> tuple[Command, Control]:
    """The command that a row is, with its id and its place among those of its request. Raises InvalidRequest for none."""
    if row.kind not in get_args(Command) or not row.command_id:
        raise InvalidRequest(f"{words(row.kind)!r} is no command that the bridge knows")
    data = row.data if isinstance(row.data, Mapping) else {}
    to, by = data.get("to"), data.get("by")
    said = Control(
        to=to if isinstance(to, str) else None,
        by=by if isinstance(by, str) else "",
        id=row.command_id,
        sequence=max(row.sequence, 0),
    )
    return cast(Command, row.kind), said
