"""Replies as tagged values: what an answer says about the call's effect, and about what to do next.

1. `read_reply` never raises, whatever came back: HTML, half a body, another envelope, nothing.
2. A reply that leaves the effect of a write open says so (`applied` is "unknown"); only what Google refuses before it
   looks at the request counts as not applied.
3. What is kept of the API's words is clipped, after it was read: they may quote a cell.
4. A quota error is Throttled in whatever dress it comes: 429, 403 with a rate reason, 500 with its text.
5. What the API did not say says nothing: a redirection, a page of somebody on the way, or a 200 that does not hold what
   was asked for is as good as no answer. Only the front of the API itself refuses without a reason what is malformed
   (400, with Google's own page) or too large (413, 414), and only what holds something of a user's.

Source: reference/sheets.md sections 1.2 and 2.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from headgate.message import SECOND_NS
from headgate.messages.words import Kind

Unsure = Literal["no", "unknown"]
Scope = Literal["operation", "spreadsheet", "batch"]


@dataclass(frozen=True, slots=True)
class Answered:
    """A good answer: the call took effect."""

    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Throttled:
    """Refused for rate: nothing took effect. `kind` None and `scope` "" when the answer named no quota."""

    scope: Literal["project", "user", ""] = ""
    kind: Kind | None = None
    quota_value: int = 0
    retry_after_ns: int = 0


@dataclass(frozen=True, slots=True)
class Busy:
    """An answer that says nothing about the effect, or that the API failed; `slow` when it ran out of time.

    `foreign`: it is not one that the API gives, so it says nothing about the API either, and may come for good.
    """

    why: str
    applied: Unsure = "unknown"
    slow: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer at all. `applied` "no" only if the request certainly never left; `slow` when the time for an answer was over."""

    why: str
    applied: Unsure = "unknown"
    slow: bool = False


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is larger than the API takes, or a read's answer than we do: nothing took effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unauthorised:
    """The credential was not accepted: nothing took effect, and a fresh one is worth one repeat."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Invalid: this call did not take effect. `index` and `kind` name the sub-request at fault; `range` a range it could not read.

    `crowded`: there is no room for another fence.
    """

    reason: str
    index: int | None = None
    kind: str = ""
    fence_refused: bool = False
    scope: Scope = "batch"
    status: int = 400
    range: str = ""
    crowded: bool = False


Reply = Answered | Throttled | Busy | Lost | TooLarge | Unauthorised | Refused

#: An error may quote a cell's text: so much of it reaches a result, a history or a log.
LONGEST_REASON = 200
_LONGEST_READ = 2_000
_CULPRIT = re.compile(r"Invalid (?:requests|data)\[(\d+)\](?:\.(\w+))?:\s*(.*)", re.DOTALL)
_DUPLICATE_FENCE = re.compile(r"metadata with (?:that )?ID.*already exists|already exists.*metadata", re.IGNORECASE)
_NO_ROOM = re.compile(r"limit|exceed|maximum|too many|too large", re.IGNORECASE)
_BAD_RANGE = re.compile(r"Unable to parse range: (.*)|Range \((.*)\) exceeds grid limits", re.DOTALL)
_RATE_REASONS = frozenset(["rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "quotaExceeded"])
_TOO_LARGE = re.compile(r"payload size exceeds|in a single batch", re.IGNORECASE)
#: What a good answer holds, one of these at the least, by the form of a batch or the purpose of another call. A write's names
#: its spreadsheet, were there nothing to say of its parts; a mark without a value is a mark (JSON leaves "" out).
_HELD = {
    "read": ("valueRanges",),
    "look_up": ("sheets",),
    "title_look_up": ("sheets",),
    "fenced": ("replies", "spreadsheetId"),
    "values_update": ("responses", "spreadsheetId"),
    "values_append": ("updates", "spreadsheetId"),
    "burn": ("replies", "spreadsheetId"),
    "sweep": ("replies", "spreadsheetId"),
    "fence_look_up": ("metadataId", "metadataKey", "metadataValue"),
}
#: The title of the page with which Google's front refuses what is malformed, before the API has seen it.
_GOOGLES_PAGE = b"Error 400 (Bad Request)!!1"
#: Calls that hold nothing of a user's: not malformed, not too large, and what became of writes is decided by them.
_NEVER_AT_FAULT = frozenset(["look_up", "title_look_up", "fence_look_up", "burn", "sweep"])
_LONGEST_PAUSE_S = 3_600
_TRANSIENT = (408, 409, 500, 502, 503, 504)


def read_reply(status: int, headers: Mapping[str, str], body: bytes, asked: str = "") -> Reply:
    """What an answer means. `headers` may be in any case; `body` is the whole body, decompressed.

    `asked` is what the call was for: the form of the batch that it sends, or its purpose; "" for any other call.
    """
    parsed = _parsed(body)
    said = parsed.get("error") if isinstance(parsed, dict) else None
    error: dict[str, Any] = said if isinstance(said, dict) else {}
    message = _message(error, status)
    if 200 <= status < 300:
        if isinstance(parsed, dict) and "error" not in parsed:
            if not _holds(parsed, asked):
                return Busy("the answer does not hold what was asked for", foreign=True)
            return Answered(parsed)
        return Busy(clipped(message) if error else "the answer could not be read", foreign=True)
    reasons = _reasons(error)
    if _is_rate(status, message, reasons):
        return _throttled(error, message, headers)
    if status == 401:
        return Unauthorised(clipped(message))
    if status in _TRANSIENT or (status > 500 and status != 501):
        return Busy(clipped(message), slow=status in (408, 504))
    if not error and (asked in _NEVER_AT_FAULT or not _by_the_front(status, body)):
        return Busy(f"the answer is not the API's: {status} without a reason", foreign=True)
    if status in (413, 414) or (status == 400 and _TOO_LARGE.search(message)):
        return TooLarge(clipped(message))
    return _refused(status, error, message)


def outage(reply: Reply) -> bool:
    """Whether it is a sign that the API is out: a failure that it tells itself (5xx, 408, 409), or no answer at all."""
    return isinstance(reply, Lost) or (isinstance(reply, Busy) and not reply.foreign)


def _holds(body: Mapping[str, Any], asked: str) -> bool:
    return asked not in _HELD or any(body.get(name) is not None for name in _HELD[asked])


def _by_the_front(status: int, body: bytes) -> bool:
    """Whether the API's own front may have refused it, which gives no reason."""
    return status in (413, 414) or (status == 400 and _GOOGLES_PAGE in body)


def clipped(text: str) -> str:
    """The beginning of what the API said."""
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _message(error: dict[str, Any], status: int) -> str:
    message = error.get("message")
    if isinstance(message, str) and message.strip():
        return message.strip()[:_LONGEST_READ]
    return f"the API answered {status} without a reason"


def _reasons(error: dict[str, Any]) -> set[str]:
    listed = [*_dicts(error.get("errors")), *_dicts(error.get("details"))]
    return {entry["reason"] for entry in listed if isinstance(entry.get("reason"), str)}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _is_rate(status: int, message: str, reasons: set[str]) -> bool:
    if status == 429:
        return True
    if status == 403:
        return bool(reasons & _RATE_REASONS) or message.startswith(("Quota exceeded", "Rate Limit Exceeded"))
    return status in (500, 503) and "quota exceeded" in message.lower()


def _throttled(error: dict[str, Any], message: str, headers: Mapping[str, str]) -> Throttled:
    named, value = message, 0
    for entry in _dicts(error.get("details")):
        metadata = entry.get("metadata")
        if isinstance(metadata, dict):
            named = f"{metadata.get('quota_limit', '')} {metadata.get('quota_metric', '')} {message}"
            text = str(metadata.get("quota_limit_value", ""))
            value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    lowered = named.lower().replace(" ", "").replace("_", "")
    scope: Literal["project", "user", ""] = ""
    if "peruser" in lowered or "userratelimit" in "".join(_reasons(error)).lower():
        scope = "user"
    elif "perproject" in lowered or "perminute" in lowered:
        scope = "project"
    kind: Kind | None = "read" if "readrequests" in lowered else "write" if "writerequests" in lowered else None
    return Throttled(scope, kind, value, _retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> int:
    """The pause that was asked for in seconds, or until an instant: then from the answer's own date, by the same clock."""
    found = {name.lower(): value.strip() for name, value in headers.items()}
    asked = found.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return min(int(asked[:6]), _LONGEST_PAUSE_S) * SECOND_NS
    until, since = _instant(asked), _instant(found.get("date", ""))
    if until is None or since is None:
        return 0
    return min(max(int((until - since).total_seconds()), 0), _LONGEST_PAUSE_S) * SECOND_NS


def _instant(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return found if found.tzinfo is not None else None


def _refused(status: int, error: dict[str, Any], message: str) -> Refused:
    said = clipped(message)
    if found := _CULPRIT.search(message):
        index, kind = int(found[1][:9]), found[2] or ""
        at_the_fence = index == 0 and kind == "createDeveloperMetadata"
        fence = at_the_fence and bool(_DUPLICATE_FENCE.search(found[3]))
        crowded = at_the_fence and not fence and bool(_NO_ROOM.search(found[3]))
        return Refused(said, index, kind, fence, "operation", status, _bad_range(found[3]), crowded)
    if status in (403, 404) or error.get("status") == "FAILED_PRECONDITION":
        return Refused(said, scope="spreadsheet", status=status)
    return Refused(said, status=status, range=_bad_range(message))


def _bad_range(message: str) -> str:
    found = _BAD_RANGE.search(message)
    return (found[1] or found[2] or "").strip() if found else ""
