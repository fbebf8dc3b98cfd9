"""What one event of a bulk request's history says, in the words of headgate; and an entry of the audit made of such facts.

Every fact has the server's instant and the number of its event. What a history of another release says in another form, and
cannot be read, is None or empty here: reading a history never fails for what stands in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple, get_args

from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.sending import AbandonLane, BatchDone, LeaseReport, ResendBatch, ResendReport, SendLease
from headgate.messages.tokens import TokenRequest
from headgate.messages.views import Control, ProgressView
from headgate.messages.words import State

Via = Literal["signal", "update", "temporal"]
EntryKind = Literal[
    "submitted",
    "planned",
    "state",
    "progress",
    "command",
    "paused_itself",
    "retry",
    "dead_letters",
    "trouble",
    "continued",
    "gap",
    "ended",
]
ENTRY_KINDS: tuple[EntryKind, ...] = get_args(EntryKind)
Order = BulkRequest | SendLease | ResendBatch | AbandonLane | TokenRequest
Result = PlanSummary | LeaseReport | ResendReport | BatchDone


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """When (ns, the server's clock), and the event's number in its run."""

    at_ns: int
    event: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A run began; the first one of a request has no checkpoint."""

    start: BulkInput | None
    sender: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Event):
    """A command reached the request: of headgate by a signal or an update, or one of Temporal's own."""

    command: str
    via: Via
    sender: str
    control: Control
    update_id: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Event):
    """What the update that was accepted by event `asked` was answered, or why it was refused."""

    asked: int
    answer: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered(Event):
    """An activity was ordered."""

    activity: str
    order: Order | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted(Event):
    """An activity's last attempt began: its number, by whom, and what became of the one before it (`lost`: nobody knows)."""

    ordered: int
    attempt: int
    sender: str
    why: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """An activity ended: with a result, or with `why` it has none."""

    ordered: int
    result: Result | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Event):
    """Lanes of a lease that were done before the others."""

    report: LeaseReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Event):
    """The search attributes that the request set."""

    state: State | None
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared(Event):
    """What the request told its limiter: why it wants nothing ("": it does)."""

    stopped: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubled(Event):
    """A workflow task of the request failed, or no worker answered in time."""

    why: str
    sender: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued(Event):
    """The run ended and goes on as another one."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The request is over; `view` is its last word, if it had one."""

    state: State
    how: Literal["completed", "failed", "terminated", "cancelled", "timed out"]
    view: ProgressView | None = None
    sender: str = ""
    why: str = ""


Fact = (
    Started
    | Asked
    | Answered
    | Ordered
    | Attempted
    | Ended
    | Reported
    | Shown
    | Declared
    | Troubled
    | Continued
    | Closed
)


class Told(NamedTuple):
    """What is worth telling of a fact: the kind of entry, for people, for programs."""

    kind: EntryKind
    says: str
    particulars: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the audit: `says` is for people, `particulars` for programs, by the names in docs/audit.md.

    `run` counts the request's runs from 1, or from the first one that the server still has; with `event` it says where to look
    in Temporal's Web UI. `succeeded`, `failed` and `calls` are how far the request was.
    """

    at_ns: int
    kind: EntryKind
    says: str
    run: int
    event: int
    succeeded: int
    failed: int
    calls: int
    by: str = ""
    particulars: Mapping[str, object] = field(default_factory=dict)

    @property
    def at(self) -> str:
        """ISO 8601 in UTC, to the millisecond."""
        at = datetime.fromtimestamp(self.at_ns // 1_000_000 / 1000, UTC)
        return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def document(self) -> dict[str, object]:
        """The entry as one JSON object."""
        return {
            "at": self.at,
            "kind": self.kind,
            "by": self.by,
            "says": self.says,
            **self.particulars,
            "so_far": {"succeeded": self.succeeded, "failed": self.failed, "calls": self.calls},
            "run": self.run,
            "event": self.event,
        }
