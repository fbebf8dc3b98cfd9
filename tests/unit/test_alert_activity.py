"""An alert is told once in the log and the counts, and by webhook as often as it takes."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest
from aiohttp import web
from temporalio.common import MetricMeter
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import ActivityEnvironment

from activities.alerts import AlertActivities, document
from activities.webhook import WITHIN_S, Webhook
from headgate.errors import InvalidRequest, NotDelivered
from headgate.message import SECOND_NS
from headgate.messages.alerts import AlertEvent
from tests.unit.test_webhook import KEY, Receiver, receiver
from workflows import names, policies

__all__ = ["receiver"]

RAISED = AlertEvent(
    id="a1b2",
    project="p",
    condition="circuit",
    subject="S1",
    phase="raised",
    at_ns=1_900_000_000 * SECOND_NS,
    since_ns=1_899_999_990 * SECOND_NS,
    sentence="The circuit of S1 is open: timeouts.",
    numbers={"x": 1.5},
)
CLEARED = RAISED.model_copy(update={"phase": "cleared", "id": "c3d4"})


@pytest.fixture(scope="module")
def counted() -> tuple[MetricBuffer, MetricMeter]:
    """Where the counts of this module's activities arrive."""
    buffer = MetricBuffer(1000)
    return buffer, Runtime(telemetry=TelemetryConfig(metrics=buffer)).metric_meter


async def tell(
    activities: AlertActivities, event: AlertEvent, meter: MetricMeter | None = None, attempt: int = 1
) -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, attempt=attempt)
    environment.metric_meter = meter or environment.metric_meter
    await environment.run(activities.raise_alert, event)


async def test_a_line_and_a_count_for_each_event(
    caplog: pytest.LogCaptureFixture, counted: tuple[MetricBuffer, MetricMeter]
) -> None:
    """A beginning is a warning; the message is constant and the facts are beside it."""
    buffer, meter = counted
    with caplog.at_level(logging.INFO):
        await tell(AlertActivities(), RAISED, meter)
        await tell(AlertActivities(), CLEARED, meter)
    raised, cleared = (record for record in caplog.records if "Alert" in record.getMessage())
    assert (raised.levelno, cleared.levelno) == (logging.WARNING, logging.INFO)
    assert raised.getMessage().startswith("Alert raised")
    facts = vars(raised)
    assert (facts["project"], facts["condition"], facts["subject"]) == ("p", "circuit", "S1")
    assert (facts["since"], facts["event_id"]) == ("2030-03-17T17:46:30Z", "a1b2")
    assert facts["why"] == "The circuit of S1 is open: timeouts."
    counts = [
        (update.value, update.attributes["condition"], update.attributes["phase"])
        for update in buffer.retrieve_updates()
        if update.metric.name == "headgate_alerts"
    ]
    assert counts == [(1, "circuit", "raised"), (1, "circuit", "cleared")]


async def test_a_later_attempt_tells_the_receiver_only(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, counted: tuple[MetricBuffer, MetricMeter]
) -> None:
    """The event's id and document are the same in every attempt, so the receiver can drop a repeat."""
    activities = AlertActivities(Webhook(receiver.url, KEY, loopback=True))

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=503)

    receiver.answer = refuse
    with caplog.at_level(logging.INFO), pytest.raises(NotDelivered, match="503"):
        await tell(activities, RAISED, counted[1])
    assert len([record for record in caplog.records if "Alert" in record.getMessage()]) == 1
    counted[0].retrieve_updates()
    caplog.clear()
    receiver.answer = None
    with caplog.at_level(logging.INFO):
        await tell(activities, RAISED, counted[1], attempt=2)
    assert not [record for record in caplog.records if "Alert" in record.getMessage()]
    assert not counted[0].retrieve_updates()
    (_, first, body), (_, second, again) = receiver.requests
    assert first["Headgate-Event-Id"] == second["Headgate-Event-Id"] == "a1b2"
    assert body == again


def test_the_document_is_for_any_reader() -> None:
    """Instants are text: an integer of nanoseconds is more than most readers of JSON can hold."""
    assert json.loads(document(RAISED)) == {
        "type": "headgate.alert",
        "id": "a1b2",
        "project": "p",
        "condition": "circuit",
        "subject": "S1",
        "phase": "raised",
        "sentence": "The circuit of S1 is open: timeouts.",
        "numbers": {"x": 1.5},
        "at": "2030-03-17T17:46:40Z",
        "since": "2030-03-17T17:46:30Z",
    }


def test_the_policy_gives_an_attempt_the_time_that_a_delivery_may_take() -> None:
    """What may not be sent at all is not tried again."""
    assert policies.ALERT["task_queue"] == names.SEND_QUEUE
    assert policies.ALERT["start_to_close_timeout"].total_seconds() > WITHIN_S
    assert policies.ALERT["retry_policy"].non_retryable_error_types == [InvalidRequest.__name__]
