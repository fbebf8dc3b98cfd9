"""What people are told of an alert: a line in the log, a count, and where one is configured a signed webhook.

Suggested policy: `workflows.policies.ALERT`. Repeating is the policy's; every delivery of an event carries its id, so
that the receiver can drop repeats.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio import activity

from activities.webhook import Webhook
from headgate.message import SECOND_NS
from headgate.messages.alerts import AlertEvent


@dataclass(frozen=True)
class AlertActivities:
    """Dependency: the webhook, if there is one."""

    webhook: Webhook | None = None

    @activity.defn
    async def raise_alert(self, event: AlertEvent) -> None:
        """Tell of an event; raises `NotDelivered` for another attempt, `InvalidRequest` where none would do better."""
        if activity.info().attempt == 1:  # one line and one count, however often the webhook has to be tried
            _log(event)
            counter = activity.metric_meter().create_counter("headgate_alerts", "Alerts that were raised or cleared")
            counter.add(1, {"condition": event.condition, "phase": event.phase})
        if self.webhook is not None:
            await self.webhook.deliver(event.id, document(event))


def document(event: AlertEvent) -> bytes:
    """The JSON that a receiver gets: instants in ISO 8601 and UTC, since few readers keep integers beyond 2^53."""
    said = {
        "type": "headgate.alert",
        **event.model_dump(exclude={"at_ns", "since_ns"}),
        "at": _instant(event.at_ns),
        "since": _instant(event.since_ns),
    }
    return json.dumps(said, ensure_ascii=False).encode()


def _log(event: AlertEvent) -> None:
    facts = {
        "project": event.project,
        "condition": event.condition,
        "subject": event.subject,
        "since": _instant(event.since_ns),
        "why": event.sentence,
        "event_id": event.id,
    }
    if event.phase == "raised":
        activity.logger.warning("Alert raised", extra=facts)
    else:
        activity.logger.info("Alert cleared", extra=facts)


def _instant(ns: int) -> str:
    return datetime.fromtimestamp(ns / SECOND_NS, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
