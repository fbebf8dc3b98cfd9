"""What the Web UI says of a request from the start."""

from __future__ import annotations

import pytest

from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.request_details import introduction


def test_an_introduction_says_what_was_asked_for_and_nothing_else() -> None:
    plain = BulkRequest(id="r-1", project="shop", owner="billing", input_sha256="ab" * 32, input_bytes=2_300_000)
    said = introduction(plain)
    for words in ("`shop`", "`billing`", "2.3 MB", "`abababababab…`", "`headgate results r-1`"):
        assert words in said
    for absent in ("User", "Order", "Reads", "Pauses", "Grows", "Operations in a call"):
        assert absent not in said
    asked = plain.model_copy(
        update={"user": "bot", "order": "strict", "operations_per_call": 1000, "max_age_ns": 60 * SECOND_NS,
                "stop_after": 20, "grow": True}
    )  # fmt: skip
    for words in ("`bot`", "one after the other", "1,000 at most", "60 s old", "20 operations have failed", "Grows"):
        assert words in introduction(asked)


@pytest.mark.parametrize("name", ["<img src=x>", "*bold*", "a`b", "[link](https://example.com)", "1AbC_dE_f"])
def test_what_others_wrote_stays_text(name: str) -> None:
    """It stands in a code span, in which Markdown and HTML mean nothing."""
    said = introduction(BulkRequest(id="r", project="p", owner=name))
    assert f"**Owner** `{name.replace('`', chr(39))}`," in said
