"""Failures that are no defects reach people as a sentence; those that are keep their stack trace."""

from __future__ import annotations

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.client import WorkflowUpdateFailedError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from tests.integration.stack import Stack, append
from workflows.failures import PlainFailures


def travelled(error: Exception) -> Failure:
    """The failure that an activity or an update which raises the error is told as."""
    with pytest.raises(type(error)) as raised:
        raise error
    failure = Failure()
    PlainFailures().to_failure(raised.value, pydantic_data_converter.payload_converter, failure)
    return failure


@pytest.mark.parametrize("kind", ["Again", "NotUntil", "Refused", "InvalidRequest"])
def test_what_is_no_defect_has_a_sentence_and_no_trace(kind: str) -> None:
    failure = travelled(ApplicationError("it waits", type=kind))
    assert (failure.message, failure.stack_trace) == ("it waits", "")


def test_a_defect_keeps_its_trace() -> None:
    assert "raise error" in travelled(ZeroDivisionError("oops")).stack_trace


async def test_a_refused_update_says_why_without_a_trace(stack: Stack) -> None:
    """As the Web UI shows it below the dialog."""
    stack.spreadsheets("refusing")
    handle = await stack.submit(await stack.project(), [append(f"n{n}", "refusing") for n in range(200)])
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update("reprioritise")
    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    assert "no priority was given" in cause.message
    assert cause.failure is not None
    assert cause.failure.stack_trace == ""
    await handle.result()
