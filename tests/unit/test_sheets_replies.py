"""Answers in every dress: both envelopes, HTML, half bodies, quota errors under three statuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.apis.sheets.replies import (
    Answered,
    Busy,
    Refused,
    Reply,
    Throttled,
    TooLarge,
    Unauthorised,
    read_reply,
)
from headgate.message import SECOND_NS


def error(message: str, **more: object) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


GOOGLES_PAGE = (
    b"<!DOCTYPE html><html lang=en><title>Error 400 (Bad Request)!!1</title>"
    b"<p>Your client has issued a malformed or illegal request.</html>"
)


def foreign(why: str) -> Busy:
    """What the API does not say."""
    return Busy(why, foreign=True)


QUOTA = (
    "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute per user' of service "
    "'sheets.googleapis.com' for consumer 'project_number:1'."
)
DETAILS = [
    {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "metadata": {
            "quota_limit": "WriteRequestsPerMinutePerProject",
            "quota_limit_value": "300",
            "quota_metric": "sheets.googleapis.com/write_requests",
        },
    }
]
DUPLICATE = (
    "Invalid requests[0].createDeveloperMetadata: Cannot add developer metadata with ID [5] because developer "
    "metadata with that ID already exists."
)
CULPRIT = 'Invalid requests[3].addSheet: A sheet with the name "x" already exists.'
NO_ACCESS = "The caller does not have permission"

MEANS: dict[str, tuple[int, bytes, Reply]] = {
    "a good answer": (200, b'{"replies": []}', Answered({"replies": []})),
    "an answer cut off": (200, b'{"replies": [', foreign("the answer could not be read")),
    "a page instead of an answer": (200, b"<html>ok</html>", foreign("the answer could not be read")),
    "an error that says 200": (200, error("x", code=503), foreign("x")),
    "a redirection": (302, b"", foreign("the answer is not the API's: 302 without a reason")),
    "a page that forbids": (403, b"<html>", foreign("the answer is not the API's: 403 without a reason")),
    "a page that knows no such page": (404, b"<html>", foreign("the answer is not the API's: 404 without a reason")),
    "a proxy that wants a password": (407, b"", foreign("the answer is not the API's: 407 without a reason")),
    "nothing at all": (200, b"", foreign("the answer could not be read")),
    "a 429 that names its quota in words": (429, error(QUOTA), Throttled("user", "read")),
    "a 429 that names its quota in details": (429, error("x", details=DETAILS), Throttled("project", "write", 300)),
    "a 429 as a page": (429, b"<html>Sorry</html>", Throttled()),
    "a 403 for rate": (403, error("x", errors=[{"reason": "userRateLimitExceeded"}]), Throttled("user")),
    "a 500 for quota": (500, error("Quota exceeded for quota metric 'Write requests'"), Throttled("", "write")),
    "no permission": (
        403,
        error(NO_ACCESS, status="PERMISSION_DENIED"),
        Refused(NO_ACCESS, scope="spreadsheet", status=403),
    ),
    "no spreadsheet": (404, error("gone"), Refused("gone", scope="spreadsheet", status=404)),
    "an expired credential": (401, error("expired"), Unauthorised("expired")),
    "a fence that exists": (
        400,
        error(DUPLICATE),
        Refused(DUPLICATE, 0, "createDeveloperMetadata", True, "operation"),
    ),
    "a culprit named": (400, error(CULPRIT), Refused(CULPRIT, 3, "addSheet", False, "operation")),
    "a bad range": (
        400,
        error("Unable to parse range: Nope!A1"),
        Refused("Unable to parse range: Nope!A1", range="Nope!A1"),
    ),
    "a bad range among values": (
        400,
        error("Invalid data[2]: Unable to parse range: Nope!A1"),
        Refused("Invalid data[2]: Unable to parse range: Nope!A1", 2, "", False, "operation", 400, "Nope!A1"),
    ),
    "a range beyond the grid": (
        400,
        error("Range (Orders!A2000) exceeds grid limits. Max rows: 1000"),
        Refused("Range (Orders!A2000) exceeds grid limits. Max rows: 1000", range="Orders!A2000"),
    ),
    "the page of Google's own front": (400, GOOGLES_PAGE, Refused("the API answered 400 without a reason")),
    "another's page with a 400": (
        400,
        b"<html><h1>400 Bad Request</h1></html>",
        foreign("the answer is not the API's: 400 without a reason"),
    ),
    "another's 400 in JSON": (
        400,
        b'{"message": "Bad Request"}',
        foreign("the answer is not the API's: 400 without a reason"),
    ),
    "too many bytes": (
        400,
        error("Request payload size exceeds the limit: 10485760 bytes."),
        TooLarge("Request payload size exceeds the limit: 10485760 bytes."),
    ),
    "a 413": (413, b"", TooLarge("the API answered 413 without a reason")),
    "an address too long": (414, b"", TooLarge("the API answered 414 without a reason")),
    "unavailable": (503, error("The service is currently unavailable."), Busy("The service is currently unavailable.")),
    "out of time": (504, b"<html>", Busy("the API answered 504 without a reason", slow=True)),
    "a conflict": (409, error("aborted"), Busy("aborted")),
    "not made for it": (501, error("no"), Refused("no", status=501)),
}


@pytest.mark.parametrize("name", MEANS)
def test_an_answer_means(name: str) -> None:
    status, body, meaning = MEANS[name]
    assert read_reply(status, {"content-type": "x"}, body) == meaning


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 500, 503, 504])
@pytest.mark.parametrize("before", ["", "Invalid requests[7].updateCells: ", "Unable to parse range: "])
def test_a_cell_that_an_error_quotes_is_clipped_and_what_it_says_is_not(status: int, before: str) -> None:
    """No more than 200 characters of it are kept; the sub-request and the range are read before."""
    cell = "secret " * 7_000
    reply = read_reply(status, {}, error(before + cell))
    assert isinstance(reply, Refused | Busy | TooLarge | Unauthorised)
    assert len(reply.why if isinstance(reply, Busy) else reply.reason) == 200
    if status == 400 and "requests" in before:
        assert isinstance(reply, Refused)
        assert (reply.index, reply.kind) == (7, "updateCells")


@pytest.mark.parametrize("asked", ["burn", "fence_look_up", "title_look_up", "look_up", "sweep"])
@pytest.mark.parametrize(("status", "body"), [(400, GOOGLES_PAGE), (413, b""), (414, b"<html>")])
def test_a_refusal_without_a_reason_decides_no_look_up_and_no_burn(asked: str, status: int, body: bytes) -> None:
    assert read_reply(status, {}, body, asked) == foreign(f"the answer is not the API's: {status} without a reason")
    assert not isinstance(read_reply(status, {}, body, "fenced"), Busy)


def test_a_long_range_is_read_whole() -> None:
    place = "'" + "x" * 400 + "'!A1"
    reply = read_reply(400, {}, error(f"Unable to parse range: {place}"))
    assert isinstance(reply, Refused)
    assert reply.range == place
    assert len(reply.reason) == 200


def test_retry_after_is_honoured_and_bounded() -> None:
    assert read_reply(429, {"Retry-After": "7"}, b"") == Throttled(retry_after_ns=7 * SECOND_NS)
    assert read_reply(429, {"retry-after": "999999999"}, b"") == Throttled(retry_after_ns=3_600 * SECOND_NS)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Date": "Wed, 21 Oct 2026 07:27:30 GMT", "Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"date": "Wed, 21 Oct 2026 07:28:30 GMT", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"date": "Wed, 21 Oct 2026 07:27:30 GMT", "retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, 3_600),
        ({"date": "yesterday", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"date": "Wed, 21 Oct 2026 07:27:30", "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"date": "Wed, 21 Oct 2026 07:27:30 GMT", "retry-after": "soon"}, 0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
    ],
)
def test_an_instant_to_try_again_counts_from_the_answer_s_own(headers: dict[str, str], seconds: int) -> None:
    assert read_reply(429, headers, b"") == Throttled(retry_after_ns=seconds * SECOND_NS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "status", "details", "errors", "reason", "metadata", "quota_limit_value"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=40) | json_values.map(lambda value: json.dumps({"error": value}).encode())


@given(st.integers(100, 599), st.dictionaries(st.just("Retry-After"), st.text(max_size=5)), bodies)
def test_no_answer_crashes_it(status: int, headers: dict[str, str], body: bytes) -> None:
    reply = read_reply(status, headers, body)
    assert isinstance(reply, Answered) == (200 <= status < 300 and _is_answer(body))


def _is_answer(body: bytes) -> bool:
    try:
        found = json.loads(body)
        return isinstance(found, dict) and "error" not in found
    except ValueError:
        return False
