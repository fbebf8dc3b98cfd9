"""Recorded histories of running workflows replay against today's code: the same commands, or a release would break them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

import worker
from tests.replay.record import KINDS
from workflows.bulk_request import BulkRequestWorkflow
from workflows.notice import NoticeWorkflow
from workflows.occurrence import OccurrenceWorkflow
from workflows.projection import ProjectionWorkflow
from workflows.rate_limiter import RateLimiterWorkflow
from workflows.retry_when_over import RetryWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def history_in(path: Path) -> WorkflowHistory:
    """The history under the id that its workflow had, which is part of what it decided by."""
    history = path.read_text()
    started = json.loads(history)["events"][0]["workflowExecutionStartedEventAttributes"]
    return WorkflowHistory.from_json(started["workflowId"], history)


def test_there_are_histories_of_every_kind() -> None:
    """A folder that was emptied by mistake must not pass."""
    assert {path.stem.rsplit("-", 1)[0] for path in HISTORIES} == KINDS


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    """Every workflow task of the run leads to the commands that it led to then."""
    replayer = Replayer(
        workflows=[
            BulkRequestWorkflow,
            RateLimiterWorkflow,
            NoticeWorkflow,
            OccurrenceWorkflow,
            ProjectionWorkflow,
            RetryWorkflow,
        ],
        data_converter=pydantic_data_converter,
        workflow_runner=worker.sandbox(),
    )
    await replayer.replay_workflow(history_in(path))
