"""The line that the Web UI shows of an activity: it says for whom, and no server refuses it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.messages.requests import LaneEntry
from headgate.messages.sending import AbandonLane, ResendBatch
from headgate.summaries import giving_up, request_summary, sending, sending_again
from tests.unit.history_events import REQUEST, lease

#: What a Temporal server takes by default.
REFUSED_BEYOND = 400
ENTRY = LaneEntry(lane=3, kind="write", user="bot", spreadsheet="orders", first_batch=0, batches=9, operations=9)


def test_a_lane_alone_is_named() -> None:
    assert sending(lease(7, batches=(0, 1)).lanes) == "2 calls: user7 to sheet7"
    assert sending(lease(7).lanes) == "1 call: user7 to sheet7"
    assert sending(lease(1, 2, 3).lanes) == "3 calls to 3 spreadsheets"
    (lane,) = lease(7).lanes
    assert sending((lane, lane.model_copy(update={"user": "other"}))) == "2 calls to sheet7"


def test_a_batch_and_a_lane_that_cannot_go_on_are_named() -> None:
    again = ResendBatch(request=REQUEST, holder="bulk/r1", lane=ENTRY, batch=4)
    assert sending_again(again) == "batch 4 again: bot to orders"
    reason = "user 'bot' may not do this"
    assert giving_up(AbandonLane(request=REQUEST, lane=ENTRY, batch=4, reason=reason)) == (
        "fail lane 3 from batch 4 on: user … may not do this"
    )


@settings(deadline=None)
@given(st.text(max_size=500), st.text(max_size=500))
def test_no_server_refuses_it(name: str, reason: str) -> None:
    entry = ENTRY.model_copy(update={"spreadsheet": name, "user": name})
    (lane,) = lease(1).lanes
    for said in (
        sending((lane.model_copy(update={"spreadsheet": name, "user": name}),)),
        sending_again(ResendBatch(request=REQUEST, holder="bulk/r1", lane=entry, batch=4)),
        giving_up(AbandonLane(request=REQUEST, lane=entry, batch=4, reason=reason)),
    ):
        assert len(json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass")) <= REFUSED_BEYOND
        assert "\n" not in said


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127, "目" * 85, "orders.jsonl"])
def test_a_request_is_never_refused_for_the_length_of_its_names(name: str) -> None:
    """Nor by Temporal Cloud when the file has the longest name that there is, and the project too."""
    said = request_summary(name, 123_456_789, "p" * 128)
    assert len(said.encode()) <= 200
    assert name[-10:] in said
    assert ("…" in said) == (len(name) > 40)
