"""A batch applies as a whole or not at all, and its refusal names the request that is at fault.

Facts (reference: sheets, 1.4, 2.2): `replies` has one entry per request, `{}` where there is nothing to say; errors read
`Invalid requests[i].kind: ...`, except those of size, which carry no index; at most 100,000 requests.
"""

from __future__ import annotations

from typing import Any

from emulator import reading
from emulator.batch_update import (  # noqa: F401 - each registers its kinds
    cells,
    dimensions,
    formats,
    metadata,
    properties,
    ranges,
    typing_in,
    views,
)
from emulator.batch_update.kinds import APPLY, Draft
from emulator.errors import ApiError, Json, bad_field, invalid, not_emulated

MAX_REQUESTS = 100_000


def run(draft: Draft, body: Json) -> Json:
    """Applies every request to the draft; raises without a word of what was applied so far."""
    requests = requests_of(body)
    replies = [_apply(draft, index, *_read(index, request)) for index, request in enumerate(requests)]
    answer: Json = {"spreadsheetId": draft.spreadsheet.spreadsheet_id, "replies": replies}
    if body.get("includeSpreadsheetInResponse"):
        grid = bool(body.get("responseIncludeGridData"))
        answer["updatedSpreadsheet"] = reading.whole(
            draft.spreadsheet, None, grid, body.get("responseRanges") or [], draft.project
        )
    return answer


def requests_of(body: Json) -> list[Any]:
    requests = body.get("requests")
    if isinstance(requests, dict):
        # the transcoder takes one object for a list of one
        requests = [requests]
    if not requests:
        raise invalid("Must specify at least one request.")
    if not isinstance(requests, list):
        raise bad_field("requests", f"Invalid value at 'requests' (list), {requests!r}")
    if len(requests) > MAX_REQUESTS:
        raise invalid(f"Cannot exceed {MAX_REQUESTS} requests in a single batch.")
    return requests


def _read(index: int, request: Any) -> tuple[str, Json]:
    where = f"requests[{index}]"
    if not isinstance(request, dict):
        raise bad_field(where, f"Invalid value at '{where}' (Request), {request!r}")
    given = {name: body for name, body in request.items() if body is not None}
    if len(given) != 1:
        text = "no request is set" if not given else "more than one request is set"
        raise invalid(f"Invalid {where}: {text}.")
    [(name, body)] = given.items()
    if not isinstance(body, dict):
        raise bad_field(f"{where}.{name}", f"Invalid value at '{where}.{name}' (message), {body!r}")
    return name, body


def _apply(draft: Draft, index: int, name: str, body: Json) -> Json:
    apply = APPLY.get(name)
    if apply is None:
        raise not_emulated(f"requests[{index}].{name}")
    try:
        return apply(draft, body)
    except ApiError as refusal:
        if refusal.code != 400 or refusal.details or "50000 characters" in refusal.message:
            raise
        raise invalid(f"Invalid requests[{index}].{name}: {refusal.message}") from None
    except (TypeError, ValueError, AttributeError) as reason:
        raise invalid(f"Invalid requests[{index}].{name}: {reason}") from reason
