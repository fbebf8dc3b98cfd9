"""What open requests and their histories rely on is still there: handlers, activities, messages and their fields."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.replay.contract import RECORDED, Contract, broken, contract


def recorded() -> Contract:
    found: Contract = json.loads(RECORDED.read_text())
    return found


def test_nothing_that_was_promised_is_gone() -> None:
    """If this fails, a request that is open now breaks at the next deployment: add beside the old instead of changing it."""
    assert broken(recorded(), contract()) == []


def test_what_is_there_is_recorded() -> None:
    """`python -m tests.replay.contract` after something was added: or it could be taken away again unseen."""
    assert broken(contract(), recorded()) == []


def without(path: str) -> Contract:
    changed = copy.deepcopy(recorded())
    *parents, last = path.split("/")
    place: Any = changed
    for name in parents:
        place = place[name]
    if isinstance(place, list):
        place.remove(last)
    else:
        del place[last]
    return changed


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("workflows/BulkRequestWorkflow/update/pause", "BulkRequestWorkflow has no update pause any more"),
        ("workflows/BulkRequestWorkflow/signal/cancel_request", "BulkRequestWorkflow has no signal cancel_request"),
        ("activities/send_lease", "activity send_lease is gone"),
        ("messages/Grant/tokens", "Grant.tokens is gone"),
        ("messages/Settlement", "messages Settlement is gone"),
        ("names/SEND_QUEUE", "SEND_QUEUE is None now"),
    ],
)
def test_what_is_taken_away_is_named(path: str, said: str) -> None:
    """The guard guards."""
    assert any(said in sentence for sentence in broken(recorded(), without(path)))


def test_a_field_without_a_default_and_one_that_takes_less_are_named() -> None:
    """Old payloads do not have the one, and hold what the other refuses."""
    now = copy.deepcopy(recorded())
    now["messages"]["Grant"]["extra"] = {"required": True, "schema": {"type": "integer"}}
    now["messages"]["Control"]["by"] = {"required": False, "schema": {"type": "integer"}}
    assert broken(recorded(), now) == [
        "Control.by no longer takes what it took",
        "Grant.extra is new and has no default",
    ]


def test_more_alternatives_take_what_was_taken() -> None:
    """A state more, or a text where there was a choice."""
    now = copy.deepcopy(recorded())
    state = now["messages"]["ProgressView"]["state"]["schema"]
    state["enum"] = [*state["enum"], "resting"]
    assert broken(recorded(), now) == []
    now["messages"]["ProgressView"]["state"]["schema"] = {"type": "string"}
    assert broken(recorded(), now) == []
