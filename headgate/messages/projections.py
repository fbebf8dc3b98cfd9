"""What the read model is told of a request, and what is carried over of it; the rules are those of `headgate.projections`."""

from __future__ import annotations

from headgate.message import Message
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView


class Projection(Message):
    """The input of the activities `project` and `project_final`: how a request stood at its progress' version.

    `ended_ns` is when it was over (0: it is not), `error` why it failed ("": it has not).
    """

    request: BulkRequest
    progress: ProgressView
    ended_ns: int = 0
    error: str = ""


class ProjectionCheckpoint(Message):
    """What `Projections` carries into the next run: which version was handed out last and when, what people saw then, and
    when an activity of its own was last begun."""

    version: int = 0
    handed_ns: int = 0
    sight: tuple[str, str, str] | None = None
    own_ns: int = 0
