"""Who did what and when with a bulk request: the facts of its history folded into entries, one for each thing worth telling.

1. Every entry says how far the request was; what the work for it left is told by `headgate.audit_work`.
2. What came of a signal, which nobody answers, follows from all that was said before: the rules of `headgate.steering` say it.
3. Nothing secret: what is told is named field by field, never a whole message, and every text goes through `headgate.wording`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, get_args

from headgate.audit_work import Work
from headgate.facts import (
    Answered,
    Asked,
    Attempted,
    Closed,
    Continued,
    Declared,
    Ended,
    Entry,
    EntryKind,
    Event,
    Fact,
    Ordered,
    Reported,
    Shown,
    Started,
    Told,
    Troubled,
)
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import SendLease
from headgate.messages.tokens import TokenRequest
from headgate.messages.views import Control
from headgate.messages.words import State
from headgate.senders import person_in
from headgate.steering import Command, Refused, Steering
from headgate.wording import cause, counted, options, words

_COMMANDS: Final[tuple[Command, ...]] = get_args(Command)
#: How the limiter is told that the request paused without being asked to.
BY_ITSELF: Final = "paused by --stop-after"
_SAID_AT_THE_END: Final = ("completed", "failed")


class Audit:
    """The fold. Facts come in the order of the history, runs one after the other; entries go out as soon as they are certain."""

    def __init__(self) -> None:
        self._run = 0
        self._work = Work()
        self._state: State | None = None
        self._percent = 0
        self._indexed = True
        self._steering = Steering()
        self._stopped = ""
        self._unanswered: dict[int, Asked] = {}

    def fold(self, fact: Fact) -> Iterator[Entry]:
        """The entries that this fact completes."""
        match fact:
            case Started():
                yield from self._started(fact)
            case Asked(via="update"):
                self._unanswered[fact.event] = fact
            case Asked():
                yield self._command(fact, None)
            case Answered():
                asked = self._unanswered.pop(fact.asked, None)
                if asked is not None:
                    yield self._command(asked, fact)
            case Ordered():
                self._work.ordered(fact)
                yield from self._ordered(fact)
            case Attempted():
                yield from self._told(fact, self._work.attempted(fact))
            case Ended():
                yield from self._told(fact, self._work.ended(fact))
            case Reported(report=report):
                yield from self._told(fact, self._work.reported(report.lanes))
            case Shown():
                yield from self._shown(fact)
            case Declared(stopped=stopped):
                yield from self._declared(fact, stopped)
            case Troubled():
                told = {"activity": "", "why": cause(fact.why), "worker": words(fact.sender)}
                yield self._entry(fact, "trouble", f"a decision of the request failed: {told['why']}", told)
            case Continued(run_id=run_id):
                yield from self.unanswered()
                says = f"goes on as run {self._run + 1} (continued as new)"
                yield self._entry(fact, "continued", says, {"next_run_id": run_id})
            case Closed():
                yield from self.unanswered()
                yield self._closed(fact)

    def unanswered(self) -> Iterator[Entry]:
        """The updates that nobody answered, or has not yet: told at the end of what there is of a run."""
        for asked in self._unanswered.values():
            yield self._command(asked, None)
        self._unanswered.clear()

    # --- a run's beginning, the request's end

    def _started(self, fact: Started) -> Iterator[Entry]:
        self._run += 1
        self._work.another_run()
        if fact.start is None:
            if self._run == 1:
                told = {"sender": words(fact.sender), "run_id": fact.run_id}
                yield self._entry(fact, "submitted", "submitted in a form that this release cannot read", told)
            return
        request, kept = fact.start.request, fact.start.checkpoint
        self._indexed = fact.start.indexed
        if kept is None:
            self._steering = Steering(request.priority)
            yield self._submitted(fact, request)
            return
        self._steering = Steering.carried(kept)
        self._stopped = self._steering.stopped()
        self._work.tally.carried(kept.progress)
        if self._run == 1:
            says = f"what was before is not known: the server's retention is over for it (project {request.project})"
            yield self._entry(fact, "gap", says, {"run_id": fact.run_id, **options(request)})

    def _submitted(self, fact: Started, request: BulkRequest) -> Entry:
        says = f"submitted to project {request.project}, priority {request.priority}"
        says += f", on behalf of {words(request.owner)}" if request.owner else ""
        told = {"sender": words(fact.sender), "run_id": fact.run_id, **options(request)}
        return self._entry(fact, "submitted", says, told, by=words(person_in(fact.sender)))

    def _closed(self, fact: Closed) -> Entry:
        told: dict[str, object] = {"state": fact.state, "how": fact.how}
        if fact.view is None:
            by, sender = words(person_in(fact.sender)), words(fact.sender)
            why = words(fact.why) if fact.how == "terminated" else cause(fact.why)  # whoever terminates types why
            says = fact.how + (f" by {by or sender}" if sender else "") + (f": {why}" if why else "")
            return self._entry(fact, "ended", says, {**told, "sender": sender, "why": why}, by=by)
        counts, calls = fact.view.operations, fact.view.calls
        self._work.tally.over(fact.view)
        parts = [f"{counts.succeeded:,} succeeded", f"{counts.failed:,} failed"]
        parts += [f"{counts.unprocessed:,} unprocessed"] if counts.unprocessed else []
        says = f"{fact.state}: of {counted(counts.total, 'operation')} {', '.join(parts)}, in {counted(calls.made, 'call')}"
        told["operations"] = counts.model_dump(exclude={"remaining"})
        return self._entry(fact, "ended", says, {**told, "calls": calls.model_dump()})

    # --- what people asked, and what came of it

    def _command(self, asked: Asked, answered: Answered | None) -> Entry:
        """What was asked, and what it was answered."""
        control, name = asked.control, words(asked.command)
        told: dict[str, object] = {"command": name, "via": asked.via, "sender": words(asked.sender)}
        says = name.replace("_", " ")
        if asked.command == "reprioritise":
            told |= {"to": words(control.to or ""), "from": self._steering.priority}
            says += f" to {told['to']}"
        if control.id:
            told |= {"id": words(control.id), "repeated": self._steering.known(control.id)}
            says += ", once more" if told["repeated"] else ""
        if asked.why:
            told["why"] = words(asked.why)
            says += f": {told['why']}"
        answer, refused = self._steered(asked, answered)
        if answer:
            told |= {"accepted": not refused, "answer": words(answer)}
            says += f"{', refused' if refused else ''}: {told['answer']}"
        elif asked.via != "temporal":
            says += ", not answered" if asked.via == "update" else ", which it does not know"
        return self._entry(asked, "command", says, told, by=words(control.by or person_in(asked.sender)))

    def _steered(self, asked: Asked, answered: Answered | None) -> tuple[str, bool]:
        """The answer (`""`: there is none), and whether it was refused; from here on the command holds."""
        said, refused = ("", "") if answered is None else (answered.answer, answered.refused)
        command = next((known for known in _COMMANDS if known == asked.command), None)
        control, failed = asked.control, self._work.tally.failed
        if asked.via == "temporal":
            if command == "cancel":  # which the request takes as one of its own
                self._steering.apply(command, Control(by=asked.why or "Temporal"), "", failed, asked.at_ns)
            return "", False
        if command is None or refused or (asked.via == "update" and not said):
            return refused or said, bool(refused)
        command_id = control.id or asked.update_id
        try:
            self._steering.check(command, control, command_id, "", failed)
        except Refused as why:
            return said or str(why), not said
        return said or self._steering.apply(command, control, command_id, failed, asked.at_ns), False

    def _declared(self, fact: Event, stopped: str) -> Iterator[Entry]:
        before, self._stopped = self._stopped, stopped
        if stopped != before and stopped.startswith(BY_ITSELF):
            self._steering.pause(stopped.removeprefix("paused by "), fact.at_ns)
            yield self._entry(fact, "paused_itself", words(stopped), {"why": words(stopped)})

    def _ordered(self, fact: Ordered) -> Iterator[Entry]:
        if isinstance(fact.order, TokenRequest):
            yield from self._declared(fact, fact.order.stopped)
        elif isinstance(fact.order, SendLease) and self._state is None and not self._indexed:
            self._state = "running"
            yield self._entry(fact, "state", "running", {"state": "running"})

    def _shown(self, fact: Shown) -> Iterator[Entry]:
        state, self._state = self._state, fact.state or self._state
        percent, self._percent = self._percent, max(self._percent, fact.percent)
        told = {"state": self._state, "percent": fact.percent}
        if self._state in _SAID_AT_THE_END:
            return
        if self._state != state:
            yield self._entry(fact, "state", f"{self._state}, {fact.percent}% done", told)
        elif fact.percent > percent:
            yield self._entry(fact, "progress", f"{fact.percent}% done", told)

    # --- entries

    def _told(self, fact: Event, lines: Iterator[Told]) -> Iterator[Entry]:
        for told in lines:
            yield self._entry(fact, told.kind, told.says, told.particulars)

    def _entry(self, fact: Event, kind: EntryKind, says: str, particulars: Mapping[str, object], by: str = "") -> Entry:
        return Entry(
            at_ns=fact.at_ns,
            kind=kind,
            says=says,
            run=self._run,
            event=fact.event,
            succeeded=self._work.tally.succeeded,
            failed=self._work.tally.failed,
            calls=self._work.tally.calls,
            by=by,
            particulars=particulars,
        )
