"""What comes of what happened to a row of the inbox. No clock, no database, no Temporal.

1. A start that cannot become a request is rejected at once. What Temporal has from an earlier try is started, whatever would
   be wrong with it now.
2. Nobody there is not an attempt: while Temporal or the store cannot be reached a row waits, longer the older it is.
3. Whatever else goes wrong is an attempt. After `MOST_ATTEMPTS` the row is given up, so that no row is tried for ever.
4. A command that no worker heard is recorded in Temporal and carried; what came of it is asked for until it is known.
5. A command ends as accepted, refused or failed, and always says in a sentence why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from headgate.absence import LONGEST_OUTAGE_S, Away
from headgate.errors import InvalidRequest, Unreachable
from headgate.inbox import Row
from headgate.steering import NotDone, Refused

MOST_ATTEMPTS: Final = 5
SHORTEST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
#: A row of this age waits a quarter of it before it is tried again.
_SHARE_OF_AGE: Final = 0.25


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


def untold(why: str) -> Answered:
    """Of a command that was recorded and cannot be told of any more."""
    return Answered("accepted", f"recorded; whether it took effect nobody can say any more: {why}")


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
