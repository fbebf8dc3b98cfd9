"""How people steer a bulk request: each command as a signal, which is kept while no worker runs, and as an update, which answers.

Every handler can be called with nothing at all, as a person may from the Web UI, or with one small JSON object.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from headgate.models import Control, State
    from headgate.steering import Command, Refused, Steering

PAUSE = 'Send nothing more until resumed; calls under way end. Needs no data; {"by": "ana"} signs it.'
RESUME = 'Go on after a pause. Needs no data; {"by": "ana"} signs it.'
REPRIORITISE = 'Change the priority. Data: {"to": "urgent"}, {"to": "normal"} or {"to": "low"}'
CANCEL = 'End it: calls under way end, the rest is left unprocessed. Needs no data; {"by": "ana"} signs it.'


class Steered:
    """The commands of a workflow that people steer; it says how it ended, and acts on what `steering` holds once it is woken."""

    steering: Steering

    def over(self) -> State | None:
        """How it ended; None while it can be steered."""
        raise NotImplementedError

    def failed(self) -> int:
        """How many operations have failed so far."""
        raise NotImplementedError

    def steered(self) -> None:
        """Something was said: act on it."""
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


def _id(said: Control) -> str:
    """The command's own id, or that of the update that it came by."""
    update = workflow.current_update_info()
    return said.id or (update.id if update else "")
