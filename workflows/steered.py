"""How people steer a bulk request: each command as a signal, which is kept while no worker runs, and as an update, which answers.

Every handler can be called with nothing at all, as a person may from the Web UI, or with one small JSON object.
"""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from headgate.messages.views import Control
    from headgate.messages.words import State
    from headgate.steering import Command, NotDone, Refused, Steering

PAUSE = 'Send nothing more until resumed; calls under way end. Needs no data; {"by": "ana"} signs it.'
RESUME = 'Go on after a pause. Needs no data; {"by": "ana"} signs it.'
REPRIORITISE = 'Change the priority. Data: {"to": "urgent"}, {"to": "normal"} or {"to": "low"}'
CANCEL = 'End it: calls under way end, the rest is left unprocessed. Needs no data; {"by": "ana"} signs it.'
RETRY_FAILED = "What has failed so far goes again, as a request of its own. Needs no data."


class Steered:
    """The commands of a workflow that people steer; it says how it ended, and acts on what `steering` holds once it is woken.

    One retry is made at a time, under the lock `retrying`, so that the same command that comes twice is one retry.
    """

    steering: Steering
    retrying: asyncio.Lock

    def over(self) -> State | None:
        """How it ended; None while it can be steered."""
        raise NotImplementedError

    def failed(self) -> int:
        """How many operations have failed so far."""
        raise NotImplementedError

    def steered(self) -> None:
        """Something was said: act on it."""
        raise NotImplementedError

    async def retry(self) -> str:
        """What has failed so far goes again; the sentence says as what. Raises `Refused` and `NotDone`."""
        raise NotImplementedError

    # --- signals ------------------------------------------------------------------------------------------------------

    @workflow.signal(description=PAUSE)
    def pause(self, control: Control | None = None) -> None:
        self._said("pause", control)

    @workflow.signal(description=RESUME)
    def resume(self, control: Control | None = None) -> None:
        self._said("resume", control)

    @workflow.signal(description=REPRIORITISE)
    def reprioritise(self, control: Control | None = None) -> None:
        self._said("reprioritise", control)

    @workflow.signal(description=CANCEL)
    def cancel(self, control: Control | None = None) -> None:
        self._said("cancel", control)

    @workflow.signal(description="Older name of cancel")
    def cancel_request(self, control: Control | None = None) -> None:
        self._said("cancel", control)

    @workflow.signal(description=RETRY_FAILED)
    async def retry_failed(self, control: Control | None = None) -> None:
        try:
            self._check("retry_failed", control)
            await self._retried(control)
        except (Refused, NotDone) as why:
            workflow.logger.info("Command refused", extra={"command": "retry_failed", "why": str(why)})

    # --- updates ------------------------------------------------------------------------------------------------------

    @workflow.update(name="pause", description=PAUSE)
    def pause_and_answer(self, control: Control | None = None) -> str:
        return self._answered("pause", control)

    @pause_and_answer.validator
    def _check_pause(self, control: Control | None = None) -> None:
        self._check("pause", control)

    @workflow.update(name="resume", description=RESUME)
    def resume_and_answer(self, control: Control | None = None) -> str:
        return self._answered("resume", control)

    @resume_and_answer.validator
    def _check_resume(self, control: Control | None = None) -> None:
        self._check("resume", control)

    @workflow.update(name="reprioritise", description=REPRIORITISE)
    def reprioritise_and_answer(self, control: Control | None = None) -> str:
        return self._answered("reprioritise", control)

    @reprioritise_and_answer.validator
    def _check_reprioritise(self, control: Control | None = None) -> None:
        self._check("reprioritise", control)

    @workflow.update(name="cancel", description=CANCEL)
    def cancel_and_answer(self, control: Control | None = None) -> str:
        return self._answered("cancel", control)

    @cancel_and_answer.validator
    def _check_cancel(self, control: Control | None = None) -> None:
        self._check("cancel", control)

    @workflow.update(name="retry_failed", description=RETRY_FAILED)
    async def retry_failed_and_answer(self, control: Control | None = None) -> str:
        try:
            return await self._retried(control)
        except (Refused, NotDone) as why:
            raise ApplicationError(str(why), type=type(why).__name__, non_retryable=True) from why

    @retry_failed_and_answer.validator
    def _check_retry_failed(self, control: Control | None = None) -> None:
        self._check("retry_failed", control)

    # --- what they have in common -------------------------------------------------------------------------------------

    def _said(self, command: Command, control: Control | None) -> None:
        """By signal: what is refused changes nothing, and nobody hears of it but the log."""
        try:
            self._check(command, control)
        except Refused as refused:
            workflow.logger.info("Command refused", extra={"command": command, "why": str(refused)})
        else:
            self._answered(command, control)

    def _check(self, command: Command, control: Control | None) -> None:
        said = control or Control()
        self.steering.check(command, said, _id(said), self.over() or "", self.failed())

    def _answered(self, command: Command, control: Control | None) -> str:
        said = control or Control()
        answer = self.steering.apply(command, said, _id(said), self.failed(), workflow.time_ns())
        self.steered()
        return answer

    async def _retried(self, control: Control | None) -> str:
        said = control or Control()
        command_id = _id(said)
        try:
            async with self.retrying:
                answer = "" if self.steering.known(command_id) else await self.retry()
                return self.steering.apply("retry_failed", said, command_id, self.failed(), workflow.time_ns(), answer)
        finally:
            self.steered()


def _id(said: Control) -> str:
    """The command's own id, or that of the update that it came by."""
    update = workflow.current_update_info()
    return said.id or (update.id if update else "")
