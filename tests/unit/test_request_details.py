"""What the Web UI shows of a request: right in every state, short, and nothing of other people's becomes markup."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from headgate.message import SECOND_NS
from headgate.messages.views import CallCounts, LaneCounts, OperationCounts, ProgressView, Waiting
from headgate.messages.words import State
from headgate.request_details import details
from headgate.steering import Steering

NOW = 1_800_000_000 * SECOND_NS  # 2027-01-15 08:00:00 UTC


def view(state: State = "running", **more: object) -> ProgressView:
    fields: dict[str, object] = {
        "id": "orders-7",
        "state": state,
        "priority": "normal",
        "owner": "billing",
        "operations": OperationCounts(total=20_002, succeeded=571, failed=2, remaining=19_429),
        "calls": CallCounts(planned=20_004, made=575),
        "rate_per_minute": 221.0,
        "eta_at": "2027-01-15T09:25:00Z",
        "lanes": LaneCounts(total=64, active=60, done=3),
        "failures": {"no such sheet": 1, "not an operation": 1},
    }
    return ProgressView.model_validate({**fields, **more})


def shown(seen: ProgressView, steering: Steering | None = None) -> str:
    return details(seen, steering or Steering(), "bulk/orders-7", "limiter/sheets/p", NOW)


def test_a_running_request_says_how_far_when_and_what_it_waits_for() -> None:
    """Times as people say them, the instant that it is of, and links that the Web UI resolves."""
    waits = Waiting(reason="user a_b is at its 60 writes a minute", until="2027-01-15T08:00:41Z", cause="quota")
    text = shown(view("waiting", waiting=waits))
    assert "**waiting** · 573 of 20,002 operations done, **2 failed**" in text
    assert "- **Ready** about 09:25:00 UTC, at 221 calls a minute" in text
    assert "- **Waits** `user a_b is at its 60 writes a minute`, until 08:00:41 UTC" in text
    assert "- **Failed** 1 × `no such sheet`" in text
    assert "(namespaces/{namespace}/workflows/bulk%2Forders-7/{runId}/pending-activities)" in text
    assert text.endswith("*As of 08:00:00 UTC. Key R: anew.*")


def test_an_open_circuit_says_when_it_is_tried_next() -> None:
    """Not until when it stays open: nobody knows that."""
    waits = Waiting(reason="the API fails: circuit open", until="2027-01-15T08:00:08Z", cause="circuit")
    assert "circuit open`, next probe at 08:00:08 UTC" in shown(view("waiting", waiting=waits))


def test_a_paused_and_a_finished_request_say_who_and_what_next() -> None:
    """A finished one offers nothing that can no longer be pressed, and has no future."""
    steering = Steering(paused_by="ana")
    assert "> paused by `ana`: send the update `resume`" in shown(view("paused", eta_at=None), steering)
    over = shown(view("completed", eta_at=None, lanes=LaneCounts(total=64, done=64)))
    for word in ("Ready", "Steer", "pending-activities"):
        assert word not in over
    assert "`headgate results orders-7`" in over
    assert "> cancelled by `bob`" in shown(view("cancelled"), Steering(cancelled_by="bob"))


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_what_others_wrote_stands_in_code_spans(owner: str, reason: str, by: str) -> None:
    """Markup of theirs would be shown as such, and HTML even run: outside of code spans nothing of it is left."""
    seen = view(
        "paused",
        owner=f"<b>{owner}`</b>",
        failures={f"<i>{reason}": 3},
        waiting=Waiting(reason=f"<u>{reason}", cause="quota"),
    )
    text = shown(seen, Steering(paused_by=f"<s>{by}"))
    assert not re.search("<[bius]>", re.sub("`[^`]*`", "", text))


def test_it_is_short_whatever_is_in_it() -> None:
    """It travels in the address of a page."""
    failures = {"x" * 5_000 + str(n): n for n in range(20)}
    assert len(shown(view(failures=failures, owner="o" * 5_000))) < 3_000
