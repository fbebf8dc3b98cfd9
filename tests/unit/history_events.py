"""Events of a bulk request's history as a server would write them, made by hand, and what the audit makes of them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from pydantic import BaseModel
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter

from headgate.audit import Audit
from headgate.facts import Entry
from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LaneSending, SendLease
from starter.history import Reader

RECORDED = Path(__file__).parents[1] / "replay" / "histories"
REQUEST = BulkRequest(id="r1", project="p", user="bot", owner="team", nonce="the-nonce", input_sha256="ab" * 32)


BEGAN = datetime(2026, 11, 24, 12, 0, 0, 250_000, UTC)


def payloads(*values: object) -> dict[str, Any]:
    """These values as JSON payloads."""
    texts = [value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value) for value in values]
    return {"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": _base64(text)} for text in texts]}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Run:
    """A run's events, numbered, a second apart."""

    def __init__(self, start: BulkInput | None = None, *, sender: str = "headgate/ana@laptop") -> None:
        self.events: list[HistoryEvent] = []
        start = start or BulkInput(request=REQUEST)
        self.add("workflowExecutionStarted", input=payloads(start), identity=sender)

    def add(self, kind: str, **attributes: Any) -> int:
        """Another event; returns its number."""
        number = len(self.events) + 1
        at = BEGAN + timedelta(seconds=number)
        event: dict[str, Any] = {"eventId": number, "eventTime": at.isoformat().replace("+00:00", "Z")}
        event[f"{kind}EventAttributes"] = attributes
        self.events.append(ParseDict(event, HistoryEvent()))
        return number

    def signal(self, name: str, *said: object, sender: str = "headgate/ana@laptop") -> int:
        """A signal with this input, or with none."""
        told = {"input": payloads(*said)} if said else {}
        return self.add("workflowExecutionSignaled", signalName=name, identity=sender, **told)

    def update(self, name: str, *said: object, sender: str = "headgate/bob@desk", id: str = "u") -> int:
        """An update that was accepted."""
        asked = {"meta": {"updateId": id, "identity": sender}, "input": {"name": name, "args": payloads(*said)}}
        return self.add("workflowExecutionUpdateAccepted", acceptedRequest=asked)

    def answer(self, accepted: int, said: str = "", refused: str = "") -> int:
        """The update's answer."""
        outcome = {"failure": {"message": refused}} if refused else {"success": payloads(said)}
        return self.add("workflowExecutionUpdateCompleted", acceptedEventId=accepted, outcome=outcome)

    def order(self, activity: str, *said: object) -> int:
        """An activity that was ordered."""
        return self.add("activityTaskScheduled", activityType={"name": activity}, input=payloads(*said))

    def attempt(self, ordered: int, attempt: int, failure: Mapping[str, Any]) -> int:
        """Another attempt of it, after one that failed like this."""
        return self.add(
            "activityTaskStarted",
            scheduledEventId=ordered,
            attempt=attempt,
            lastFailure=failure,
            identity="worker-send/1@h",
        )

    def end(self, ordered: int, result: object) -> int:
        """Its result."""
        return self.add("activityTaskCompleted", scheduledEventId=ordered, result=payloads(result))

    def close(self, kind: str, **attributes: Any) -> int:
        """The run's last event."""
        return self.add(f"workflowExecution{kind}", **attributes)


def lease(*lanes: int, batches: tuple[int, ...] = (0,)) -> SendLease:
    """A lease that sends these batches of each of these lanes."""
    sendings = tuple(
        LaneSending(
            lane=lane,
            kind="write",
            user=f"user{lane}",
            spreadsheet=f"sheet{lane}",
            grant_id=1,
            batches=batches,
            tokens=(0,) * len(batches),
            token_positions=(0,) * len(batches),
        )
        for lane in lanes
    )
    return SendLease(request=REQUEST, holder="bulk/r1", epoch=1, lanes=sendings)


async def audited(*runs: Run | Iterable[HistoryEvent]) -> list[Entry]:
    """The entries of a chain of runs."""
    return [entry async for entry in _audited(runs)]


async def _audited(runs: Iterable[Run | Iterable[HistoryEvent]]) -> AsyncIterator[Entry]:
    audit = Audit()
    for run in runs:
        reader = Reader(pydantic_data_converter, "run-1")
        for event in run.events if isinstance(run, Run) else run:
            fact = await reader.fact(event)
            for entry in audit.fold(fact) if fact is not None else ():
                yield entry
    for entry in audit.unanswered():
        yield entry


def recorded() -> list[History]:
    """The recorded runs of one bulk request, in their order."""
    found = sorted(RECORDED.glob("bulk-[0-9].json"))
    return [History(events=WorkflowHistory.from_json("recorded", path.read_text()).events) for path in found]
