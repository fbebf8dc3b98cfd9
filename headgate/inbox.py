"""What the inbox's rows mean, and what comes of what happened to one. No clock, no database, no Temporal.

1. A start becomes a `BulkRequest` whose project, users, owner and input come from what the operator and the database hold,
   never from the row's sender. What cannot become one is rejected at once, in a sentence for whoever submitted it.
   What Temporal has from an earlier try is started, whatever would be wrong with it now.
2. Nobody there is not an attempt: while Temporal or the store cannot be reached a row waits, longer the older it is.
3. Whatever else goes wrong is an attempt. After `MOST_ATTEMPTS` the row is given up, so that no row is tried for ever.
4. A command that no worker heard is recorded in Temporal and carried; what came of it is asked for until it is known.
5. A command ends as accepted, refused or failed, and always says in a sentence why.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast, get_args

from pydantic import ValidationError

from headgate.errors import InvalidRequest, Unreachable
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.views import Control, OperationCounts, ProgressView
from headgate.messages.words import NAME_PATTERN, State
from headgate.steering import Command, NotDone, Refused
from headgate.wording import words

MOST_ATTEMPTS: Final = 5
SHORTEST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
#: Of Temporal's absence all rows are told by few of them: those go on soon after it.
LONGEST_OUTAGE_S: Final = 10.0
#: A row of this age waits a quarter of it before it is tried again.
_SHARE_OF_AGE: Final = 0.25
#: So many commands in a row that no worker heard say that none runs.
SILENT_AFTER: Final = 3
OVER: Final = frozenset({"completed", "cancelled", "failed"})
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


# What a row means


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the inbox, as it was claimed. `age_s` is how long ago it arrived, by the database's clock.

    `recorded`: Temporal holds the command, its person was told that, and nobody has heard yet what came of it.
    """

    id: int
    request_id: str
    sequence: int
    kind: str
    command_id: str | None = None
    data: object = field(default_factory=dict)
    attempts: int = 0
    age_s: float = 0.0
    recorded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the database holds of a request that is to be started. `content` is its inline input, `input_path` where its upload
    lies; `project` is None where the organisation has no account."""

    id: str
    organisation_id: str
    status: str
    name: str
    priority: str
    ordering: str
    stop_after: int
    grow: bool
    created_at: datetime
    input_sha256: str | None
    input_bytes: int | None
    input_path: str | None
    content: str | None = field(repr=False)
    project: str | None
    default_user: str | None
    users: tuple[str, ...]


def inline_input(asked: Asked) -> bytes | None:
    """The input that came with the request, checked against what was announced; None where it was uploaded.

    Raises InvalidRequest where there is none, or another one.
    """
    if asked.content is None:
        if not asked.input_path:
            raise InvalidRequest("its input is not there: submit it again")
        return None
    content = asked.content.encode("utf-8", "surrogatepass")
    if asked.input_bytes is not None and asked.input_bytes != len(content):
        raise InvalidRequest(
            f"its input has {len(content):,} bytes where {asked.input_bytes:,} were announced: submit it again"
        )
    if asked.input_sha256 is not None and asked.input_sha256 != hashlib.sha256(content).hexdigest():
        raise InvalidRequest("its input has another SHA-256 than was announced: submit it again")
    return content


def bulk_request(asked: Asked, stored: tuple[str, int] | None, *, fences: bool = True) -> BulkRequest:
    """The request as Temporal takes it. `stored` is the SHA-256 and size of an input that is in the store; without it the
    input is taken from its upload. Raises InvalidRequest, with a sentence for whoever submitted it."""
    if asked.project is None or not asked.default_user:
        raise InvalidRequest("its organisation has no account: ask the operator for one, then submit it again")
    for name in (asked.project, asked.default_user, *asked.users):
        if not re.fullmatch(NAME_PATTERN, name):
            raise InvalidRequest("its organisation's account is not valid: ask the operator, then submit it again")
    sha256, size = stored if stored is not None else (asked.input_sha256 or "", asked.input_bytes or 0)
    if not _SHA256.fullmatch(sha256) or size < 1 or (stored is None and not asked.input_path):
        raise InvalidRequest("what its input is was not announced: submit it again")
    try:
        return BulkRequest(
            id=asked.id,
            project=asked.project,
            user=asked.default_user,
            owner=asked.organisation_id,
            priority=cast(Any, asked.priority),
            order=cast(Any, asked.ordering),
            input_sha256=sha256,
            input_bytes=size,
            submitted_at_ns=_ns(asked.created_at),
            nonce=_nonce(asked),
            stop_after=asked.stop_after,
            fences=fences,
            grow=asked.grow,
            organisation=asked.organisation_id,
            users=tuple(dict.fromkeys((asked.default_user, *asked.users))),
            uploaded=asked.input_path or "" if stored is None else "",
        )
    except ValidationError as error:
        named = ", ".join(str(one["loc"][0]) for one in error.errors() if one["loc"]) or "a field"
        raise InvalidRequest(f"it cannot be started: {named} is not valid") from None


def is_of(held: BulkRequest, asked: Asked) -> bool:
    """Whether what Temporal holds under the id was made of this row earlier, by whatever account its organisation had then."""
    made = (asked.organisation_id, _nonce(asked), _ns(asked.created_at))
    return (held.organisation, held.nonce, held.submitted_at_ns) == made and asked.input_sha256 in (
        None,
        held.input_sha256,
    )


def _nonce(asked: Asked) -> str:
    return hashlib.sha256(asked.id.encode()).hexdigest()[:16]


def _ns(at: datetime) -> int:
    """Nanoseconds since 1970; a float would lose some."""
    return (at - _EPOCH) // timedelta(microseconds=1) * (SECOND_NS // 1_000_000)


def control(row: Row) -> tuple[Command, Control]:
    """The command that a row is, with its id and its place among those of its request. Raises InvalidRequest for none."""
    if row.kind not in get_args(Command) or not row.command_id:
        raise InvalidRequest(f"{words(row.kind)!r} is no command that the bridge knows")
    data = row.data if isinstance(row.data, Mapping) else {}
    to, by = data.get("to"), data.get("by")
    said = Control(
        to=to if isinstance(to, str) else None,
        by=by if isinstance(by, str) else "",
        id=row.command_id,
        sequence=max(row.sequence, 0),
    )
    return cast(Command, row.kind), said


# What comes of it


def untold(why: str) -> Answered:
    """Of a command that was recorded and cannot be told of any more."""
    return Answered("accepted", f"recorded; whether it took effect nobody can say any more: {why}")


class Away(Unreachable):
    """Temporal cannot be reached."""


@dataclass(frozen=True, slots=True)
class Started:
    """Temporal holds the request."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a command, in a sentence; not `heard`: it is recorded, and asked about again."""

    status: Literal["accepted", "refused", "failed"]
    sentence: str
    heard: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request is over before it began: `why` is for whoever submitted it."""

    why: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """There is nothing to do, and nobody to tell."""

    why: str


@dataclass(frozen=True, slots=True)
class Later:
    """It is tried again after the pause; `counted` as an attempt, or not, where somebody was away."""

    pause_s: float
    counted: bool
    why: str


Outcome = Started | Answered | Rejected | Dropped | Later


def after(row: Row, error: Exception, said: str) -> Outcome:
    """What comes of a row that ended in an error; `said` is the error without secrets, for operators."""
    if isinstance(error, Unreachable):
        longest = LONGEST_OUTAGE_S if isinstance(error, Away) else LONGEST_PAUSE_S
        return Later(min(patience(row.age_s), longest), counted=False, why=said)
    start = row.kind == "start"
    if isinstance(error, InvalidRequest):
        return Rejected(said) if start else Answered("failed", said)
    if isinstance(error, Refused) and not start:
        return Answered("refused", said)
    if isinstance(error, NotDone) and not start:
        return Answered("failed", said)
    tried = row.attempts + 1
    if tried < MOST_ATTEMPTS:
        return Later(min(2.0**tried, LONGEST_PAUSE_S), counted=True, why=said)
    sentence = f"given up after {tried} attempts: the bridge's log says why, ask the operator"
    if row.recorded:
        return Dropped(sentence)  # its person knows that it is recorded, and that stays true
    return Rejected(sentence) if start else Answered("failed", sentence)


def patience(age_s: float) -> float:
    """How long (s) a row of this age waits for what cannot be reached."""
    return min(max(_SHARE_OF_AGE * age_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


@dataclass(slots=True)
class Outage:
    """Whether something can be reached, as far as is known. All times in seconds of one clock.

    While it cannot, whoever needs it tries again after pauses that double from `shortest_s` to `longest_s`.
    """

    shortest_s: float = 0.5
    longest_s: float = LONGEST_OUTAGE_S
    until: float = 0.0
    pause_s: float = 0.0

    def met(self, now: float) -> bool:
        """It could not be reached. True where that is news."""
        news = not self.pause_s
        if news or now >= self.until:  # several that went at once have met one outage
            self.pause_s = min(max(2 * self.pause_s, self.shortest_s), self.longest_s)
            self.until = now + self.pause_s
        return news

    def passed(self) -> bool:
        """It could be reached. True where that is news."""
        news = bool(self.pause_s)
        self.until = self.pause_s = 0.0
        return news

    def left_s(self, now: float) -> float:
        """How long nobody need try."""
        return max(0.0, self.until - now)


@dataclass(slots=True)
class Silence:
    """Whether workers answer commands. Where none does, the next one is not waited for as long: it is recorded all the same."""

    unheard: int = 0

    def met(self, *, heard: bool) -> None:
        """One more command was heard, or was not."""
        self.unheard = 0 if heard else self.unheard + 1

    def answer_within_s(self, usual_s: float) -> float:
        """How long to wait for an answer."""
        return usual_s if self.unheard < SILENT_AFTER else usual_s / 10


# What is said of a request that is open here and over in Temporal

#: Temporal's word for how a run ended -> what its people are told.
_ENDED: Final[Mapping[str, str]] = {
    "TERMINATED": "it was terminated by an operator: what was sent stays, the results say what is known",
    "TIMED_OUT": "it ran longer than it may: what was sent stays, the results say what is known",
    "FAILED": "it failed by a defect: what was sent stays, the results say what is known",
    "CANCELED": "it was cancelled from outside: what was sent stays, the results say what is known",
}
UNKNOWN: Final = "Temporal knows nothing of it: it was never started there, or ended longer ago than is kept"
UNTOLD: Final = "how it ended was told late: Temporal says it, the results say what became of each operation"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a request ended that could not say so itself, and what it counted last, where that is known."""

    status: State
    why: str
    counts: OperationCounts | None = None


def ended(status: str | None, last_word: ProgressView | None = None) -> Ended | None:
    """What is recorded of a request by Temporal's status of it (None: it knows none); None where the request runs."""
    if status is None:
        return Ended("failed", UNKNOWN)
    if status == "COMPLETED" and last_word is not None:
        return Ended(last_word.state if last_word.state in OVER else "failed", UNTOLD, last_word.operations)
    if status in _ENDED:
        return Ended("cancelled" if status == "CANCELED" else "failed", _ENDED[status])
    return None
