"""What people have said to a bulk request, and what holds after it. No clock: `now` comes in.

Rules:

1. A command is refused, with a sentence that says why, where it cannot come true: nothing is steered that is over, a cancelled
   request ends, a new priority has to be one. Whatever else is said is accepted; said twice it changes nothing the second time.
2. A command has an id, if its sender gave it one. The same id again is answered as before and changes nothing, whatever was
   said in between: also when it comes by signal and by update, and in a later run.
3. A request that is paused by itself (`stop_after`) is paused like any other, and resumed by people alone.
4. `version` grows with every change that a person could see.
5. Commands that come in order carry a sequence. One that comes behind a later one is refused, in a later run too: what was
   said last holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal, get_args

from headgate.errors import HeadgateError
from headgate.messages.carried import BulkCheckpoint, SteeringCheckpoint
from headgate.messages.views import Control
from headgate.messages.words import Priority
from headgate.wording import words

Command = Literal["pause", "resume", "reprioritise", "cancel", "retry_failed"]
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
#: So many answers are kept for commands that come again.
ANSWERS_KEPT: Final = 200
#: A longer id is known by its digest.
LONGEST_ID: Final = 100
_OVERTAKEN: Final = "a later command (number "


class Refused(HeadgateError):
    """The command cannot come true, for the reason that it says."""


class NotDone(HeadgateError):
    """The command was accepted and could not be carried out, for the reason that it says; a new one may try again."""


@dataclass(slots=True)
class Steering:
    """The priority, who has paused, resumed or cancelled the request and when (ns), and the answers that were given."""

    priority: Priority = "normal"
    paused_by: str | None = None
    paused_at_ns: int = 0
    resumed_by: str = ""
    cancelled_by: str | None = None
    forgiven: int = 0
    version: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    sequence: int = 0

    def known(self, command_id: str) -> bool:
        """Whether a command of this id was accepted before."""
        return bool(command_id) and _known_as(command_id) in self.answers

    def check(self, command: Command, said: Control, command_id: str, over: str, failed: int) -> None:
        """Raises `Refused` for what cannot come true. `over` is how the request ended (`""`: it has not), `failed` how many
        operations have failed so far."""
        if self.known(command_id):
            return
        if 0 < said.sequence <= self.sequence:
            raise Refused(f"{_OVERTAKEN}{self.sequence}) was carried out already: say it anew if it is still meant")
        if over:
            raise Refused(f"the request is over ({over}): nothing to {spoken(command)}")
        if self.cancelled_by and command not in ("cancel", "retry_failed"):
            raise Refused(f"the request was cancelled by {self.cancelled_by}: nothing to {spoken(command)}")
        if command == "reprioritise" and said.to not in PRIORITIES:
            given = f"{words(said.to)!r} is no priority" if said.to else "no priority was given"
            raise Refused(f'{given}: say {{"to": "urgent"}}, "normal" or "low"')
        if command == "retry_failed" and not failed:
            raise Refused("nothing has failed so far: nothing to retry")

    def apply(self, command: Command, said: Control, command_id: str, failed: int, now: int, answer: str = "") -> str:
        """What holds from now on, in a sentence; `check` comes first. Retries are made elsewhere: `answer` says what came of one."""
        if self.known(command_id):
            return self.answers[_known_as(command_id)]
        by = words(said.by) or "someone"
        self.sequence = max(self.sequence, said.sequence)
        answer = answer or self._changed(command, said, by, failed, now)
        if command_id:
            while len(self.answers) >= ANSWERS_KEPT:
                del self.answers[next(iter(self.answers))]
            self.answers[_known_as(command_id)] = answer
        return answer

    def _changed(self, command: Command, said: Control, by: str, failed: int, now: int) -> str:
        if command == "pause":
            return self.pause(by, now)
        if command == "resume":
            if self.paused_by is None:
                return "it is not paused and goes on"
            self.paused_by, self.resumed_by, self.forgiven = None, by, failed
            self.version += 1
            return "it goes on"
        if command == "reprioritise":
            to = next(p for p in PRIORITIES if p == said.to)
            if to == self.priority:
                return f"its priority is {to} already"
            before, self.priority = self.priority, to
            self.version += 1
            return f"its priority is {to} now, it was {before}"
        if command == "cancel":
            if self.cancelled_by is None:
                self.cancelled_by, self.paused_by = by, None
                self.version += 1
            return f"cancelled by {self.cancelled_by}: calls under way end, what was not sent is left unprocessed"
        return f"what has failed so far ({failed:,} operations) goes again as a request of its own"

    def pause(self, by: str, now: int) -> str:
        """Nothing more is sent; whoever paused it first has paused it."""
        if self.paused_by is None:
            self.paused_by, self.paused_at_ns = by, now
            self.version += 1
            return f"paused by {by}"
        return f"it is paused already, by {self.paused_by}"

    def stop_after(self, most: int, failed: int, now: int) -> bool:
        """Pause once more operations have failed since the last resume than the request bears (0: any number); True if so."""
        if not 0 < most <= failed - self.forgiven or self.held:
            return False
        self.forgiven = failed
        self.pause(f"--stop-after {most}: {failed} operations have failed, look at `headgate results`", now)
        return True

    @property
    def held(self) -> bool:
        """Whether nothing may be sent."""
        return bool(self.paused_by or self.cancelled_by)

    def stopped(self) -> str:
        """What the limiter is told of a request that wants no tokens; `""` if it does."""
        return "cancelled" if self.cancelled_by else f"paused by {self.paused_by}" if self.paused_by else ""

    def checkpoint(self) -> SteeringCheckpoint:
        """What the next run goes on from."""
        return SteeringCheckpoint(
            priority=self.priority,
            paused_by=self.paused_by,
            paused_at_ns=self.paused_at_ns,
            resumed_by=self.resumed_by,
            cancelled_by=self.cancelled_by,
            forgiven=self.forgiven,
            version=self.version,
            answers=dict(self.answers),
            sequence=self.sequence,
        )

    @classmethod
    def carried(cls, kept: BulkCheckpoint) -> Steering:
        """What people have said to the runs before, also of a release that kept it in other fields."""
        older = SteeringCheckpoint(
            priority=kept.priority, paused_by=kept.paused_by, cancelled_by=kept.cancelled_by, forgiven=kept.forgiven
        )
        return cls.restore(kept.steering or older)

    @classmethod
    def restore(cls, kept: SteeringCheckpoint) -> Steering:
        """What people have said to the runs before."""
        fields: Mapping[str, object] = dict(kept)
        return cls(**{**fields, "answers": dict(kept.answers)})  # type: ignore[arg-type]


def _known_as(command_id: str) -> str:
    return command_id if len(command_id) <= LONGEST_ID else sha256(command_id.encode(errors="replace")).hexdigest()


def overtaken(refusal: str) -> bool:
    """Whether a command was refused for a later one. Said again it may have come true before: not all answers are kept."""
    return refusal.startswith(_OVERTAKEN)


def spoken(command: Command) -> str:
    """A command as people say it."""
    return command.replace("_failed", "")
