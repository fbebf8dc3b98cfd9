"""How failures travel to people: one that is no defect brings its sentence and no stack trace.

The Web UI shows the last failure of an activity that waits, and why an update was refused; below a sentence a stack trace
is noise, and tells the paths of the worker's machine.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.converter import DefaultFailureConverter, PayloadConverter

#: The types of failures that are part of the work: another attempt, a wait, a refusal, the caller's mistake.
NO_DEFECTS: Final = frozenset({"Again", "NotUntil", "Refused", "InvalidRequest", "NotProjected"})


class PlainFailures(DefaultFailureConverter):
    """Temporal's own converter, but for the stack traces of what is no defect."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        super().to_failure(exception, payload_converter, failure)
        if failure.application_failure_info.type in NO_DEFECTS:
            failure.stack_trace = ""


def plainly(client: Client) -> Client:
    """The same client, for a worker whose failures travel like this."""
    config = client.config()
    config["data_converter"] = dataclasses.replace(config["data_converter"], failure_converter_class=PlainFailures)
    return Client(**config)
