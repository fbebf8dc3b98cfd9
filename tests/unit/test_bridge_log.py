"""What the bridge says of who is away and back, from what came of its rows."""

from __future__ import annotations

import logging

import pytest

from headgate.absence import Away, Outage, Slow
from headgate.databases import Database
from headgate.errors import Unreachable
from headgate.inbox import Row
from headgate.inbox_outcomes import after
from starter.bridge_log import BridgeLog

START = Row(id=1, request_id="a", sequence=0, kind="start")
PAUSE = Row(id=2, request_id="a", sequence=1, kind="pause", command_id="c")
RECORDED = Row(id=2, request_id="a", sequence=1, kind="pause", command_id="c", recorded=True)
AWAY = "Temporal cannot be reached"
BACK = "Temporal answers again"
NO_STORE = "The store cannot be reached"


def said(caplog: pytest.LogCaptureFixture, *happened: tuple[Row, Exception]) -> tuple[list[str], Outage]:
    """The messages about one side's rows that each ended in an error, and what is known of Temporal after them."""
    caplog.set_level(logging.INFO, "headgate.bridge")
    database = Database.from_environ({"X": "postgresql://b@127.0.0.1:1/x"}, "X")
    assert database is not None
    log, outage = BridgeLog(database), Outage()
    for row, error in happened:
        log.row(row, after(row, error, str(error)), error, 0.0, outage)
    return caplog.messages, outage


@pytest.mark.parametrize("row", [PAUSE, RECORDED])
def test_a_command_that_is_not_carried_out_yet_says_that_temporal_is_back(
    row: Row, caplog: pytest.LogCaptureFixture
) -> None:
    messages, outage = said(caplog, (row, Away("no")), (row, Unreachable("no worker")), (row, Unreachable("no worker")))
    assert [one for one in messages if one in (AWAY, BACK)] == [AWAY, BACK]
    assert not outage.pause_s


def test_a_store_that_is_away_says_nothing_of_temporal(caplog: pytest.LogCaptureFixture) -> None:
    messages, outage = said(caplog, (START, Away("no")), (START, Unreachable("no store")))
    assert messages == [AWAY, NO_STORE]
    assert outage.pause_s


@pytest.mark.parametrize("row", [START, PAUSE, RECORDED])
def test_who_is_slow_is_not_known(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    messages, outage = said(caplog, (row, Away("no")), (row, Slow("not carried in 90 s")))
    assert messages == [AWAY, "Row takes too long"]
    assert outage.pause_s
