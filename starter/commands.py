"""One command to one request: asked by an update, which answers; told by a signal, which Temporal keeps, where nobody answers.

1. A command has an id, the same for every try and both ways, so that it acts once, whatever was lost on the way, and also
   when the request has continued as new in between.
2. An update that meets the end of a run is asked again of the next one.
3. Where no worker answers within `ANSWER_WITHIN`, or the server takes no more updates, the command is a signal: it is
   recorded, and acts as soon as a worker runs.
4. What the request refuses is said in its own sentence (`CommandRefused`), and nothing is recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from headgate.errors import HeadgateError, InvalidRequest, Unreachable
from headgate.messages.views import Control
from headgate.steering import Command, NotDone, Refused
from starter.connection import RPC_TIMEOUT, unless_cancelled
from workflows import names

ANSWER_WITHIN: Final = timedelta(seconds=5)
#: An accepted command is carried out; only `retry_failed`, which reads all results, may take as long as this.
DONE_WITHIN_S: Final = 600.0
RECORDED: Final = "recorded: no worker answers, it acts as soon as one runs"
#: Pauses between tries, in seconds: a run that ends and the next one are a moment apart.
PAUSES_S: Final = (0.1, 0.2, 0.5, 1.0)
#: Releases of workers that are older than the updates know these signals.
_SIGNALS: Final[Mapping[Command, str]] = {"cancel": "cancel_request"}
#: What the server says of an update that was accepted by a run that ended before it was carried out.
_RUN_ENDED: Final = "AcceptedUpdateCompletedWorkflow"
#: For these no other way would lead anywhere: nobody is there by that name, or the caller is not let in.
_FINAL: Final = {RPCStatusCode.NOT_FOUND, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED}


class CommandRefused(InvalidRequest):
    """The request refuses the command, for the reason that it says."""


class CommandNotDone(HeadgateError):
    """The request accepted the command and could not carry it out, for the reason that it says."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a worker's answer, and for a command that was accepted to be carried out (s).

    Not `records`: the command is recorded already, and is not told once more where nobody answers.
    """

    answer_within: timedelta = ANSWER_WITHIN
    done_within_s: float = DONE_WITHIN_S
    records: bool = True


PATIENT: Final = Patience()


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a command: the request's own sentence, or, where no worker `heard` it, that it is recorded."""

    id: str
    workflow_id: str
    sentence: str
    heard: bool = True


async def tell(
    client: Client, request_id: str, command: Command, control: Control, patience: Patience = PATIENT
) -> Answered:
    """The request's answer to a command with an id.

    Raises `CommandRefused`, `CommandNotDone`, Unreachable for one that is not carried out yet, and RPCError with NOT_FOUND
    where no request of this id runs.
    """
    workflow_id = names.bulk_request_id(request_id)
    handle = client.get_workflow_handle(workflow_id)
    sentence = await _asked(handle, command, control, patience)
    if sentence is not None:
        return Answered(request_id, workflow_id, sentence)
    if patience.records:
        await handle.signal(_SIGNALS.get(command, command), control, rpc_timeout=RPC_TIMEOUT)
    return Answered(request_id, workflow_id, RECORDED, heard=False)


async def _asked(
    handle: WorkflowHandle[Any, Any], command: Command, control: Control, patience: Patience
) -> str | None:
    """The answer of the update; None where nobody answers."""
    for pause in (*PAUSES_S, None):
        try:
            update = await handle.start_update(
                command,
                control,
                id=control.id,
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=str,
                rpc_timeout=patience.answer_within,
            )
        except WorkflowUpdateRPCTimeoutOrCancelledError:
            unless_cancelled()
            return None
        except RPCError as error:
            if error.status in _FINAL:
                raise
            return None
        try:
            async with asyncio.timeout(patience.done_within_s):
                answer: str = await update.result()
                return answer
        except WorkflowUpdateFailedError as failed:
            cause = failed.cause
            if not isinstance(cause, ApplicationError):
                return None
            if cause.type == Refused.__name__:
                raise CommandRefused(cause.message) from None
            if cause.type == NotDone.__name__:
                raise CommandNotDone(cause.message) from None
            if cause.type != _RUN_ENDED:  # a worker of a release that knows no such update
                return None
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError):
            unless_cancelled()
            raise Unreachable(f"the command {control.id} was accepted, and is not carried out yet") from None
        if pause is not None:
            await asyncio.sleep(pause)
    return None
