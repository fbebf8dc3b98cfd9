"""What headgate raises.

HeadgateError            the docstring is the default message
  InvalidRequest         the caller's mistake: exit code 2, never retried
    InvalidOperation     one bad line of the input: it becomes a dead letter, the others go on
  Unreachable            a service could not be reached: exit code 3
  NoReply                a call ended without a readable answer: its effect is unknown
    NoReplyInTime        ... because the time for it was over
    AnswerTooLarge       ... because more came than is taken
  StaleToken             the token's time had passed before the request was written: nothing was sent
  NotDelivered           a notification did not arrive, or nobody knows: it is sent again under the same id
  NotProjected           the read model was not told of something: it is told again, and shows the newest
  NoToken                no token came within the time that the caller had for it; also a `TimeoutError`
"""

from __future__ import annotations


class HeadgateError(Exception):
    """Something went wrong in headgate."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())


class InvalidRequest(HeadgateError):
    """The request cannot be accepted as it is."""


class InvalidOperation(InvalidRequest):
    """The operation cannot be accepted as it is."""


class Unreachable(HeadgateError):
    """A service could not be reached."""


class NoReply(HeadgateError):
    """The call ended without a readable answer; whether it took effect is unknown."""


class NoReplyInTime(NoReply):
    """No answer came in the time that the API has for one, or one that does not end; whether the call took effect is unknown."""


class AnswerTooLarge(NoReply):
    """An answer came that is larger than any is taken; whether the call took effect is unknown, unless it was a read."""


class StaleToken(HeadgateError):
    """The token's time had passed before the request was written; nothing was sent."""


class NotDelivered(HeadgateError):
    """The notification did not arrive, or nobody knows whether it did."""


class NotProjected(HeadgateError):
    """The read model was not told."""


class NoToken(HeadgateError, TimeoutError):
    """No token came in time."""
