"""What a request's receiver is told, and what is carried over of it; the rules are those of `headgate.notices`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headgate.message import Message

End = Literal["completed", "cancelled", "failed"]
Happening = Literal["started", "paused", "resumed", "first_dead_letter", End]


class Notice(Message):
    """Something that happened to a request; told again it has the same `id`. Later ones have a larger `sequence`.

    `by`: who did it, `why`: what a person should know of it, both "" if there is nothing. `operations` and `calls` are
    counts by name, as `progress` has them.
    """

    id: str
    sequence: int
    event: Happening
    state: str
    at_ns: int
    by: str = ""
    why: str = ""
    operations: dict[str, int] = Field(default_factory=dict)
    calls: dict[str, int] = Field(default_factory=dict)


class NoticeCheckpoint(Message):
    """What `Notices` carries into the next run; `untold` in their order."""

    sequence: int = 0
    started: bool = False
    dead_letter: bool = False
    paused_by: str | None = None
    untold: tuple[Notice, ...] = ()


class TellNotice(Message):
    """The input of the activity `notify`: one notice, and where its receiver's address and key are found.

    The address itself lies in the store, under the request's id and nonce: it may hold a secret, and a history is read by many.
    """

    request_id: str
    nonce: str
    key: str
    project: str
    owner: str
    notice: Notice


class LastNotices(Message):
    """The input of `NoticeWorkflow`: what a request that is over has not told, in order; the last one is its last state."""

    orders: tuple[TellNotice, ...]
