"""Schedules of requests: what a person can ask of them, and what the answers hold.

1. A missed instant is made up for: a server that was away starts what was due meanwhile, as the overlap policy allows.
2. What falls into a pause is not made up for.
3. Removing a schedule leaves alone what it has started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from headgate.errors import InvalidRequest
from headgate.schedules import OccurrenceInput, Overlap
from workflows.starting import fingerprint

#: active, paused by somebody; a schedule that runs once is done after that, or missed where its instant fell into a pause.
ScheduleStanding = Literal["active", "paused", "done", "missed"]
#: A request's id -> its state; None if the server knows no such request.
StateOf = Callable[[str], Awaitable[str | None]]


class UnknownSchedule(InvalidRequest):
    """There is no such schedule."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule that Temporal holds durably; `first` is False where an equal one was there before."""

    id: str
    schedule_id: str
    next_at: str | None
    first: bool = True


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One request of a schedule. `state` is the request's; `starting` before there is one, `not started` where there never
    will be (the occurrence's history says why), `forgotten` where the server's retention is over."""

    request: str
    at: str
    state: str


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as it stands: `started`, `skipped` (overlap) and `missed` (server away too long) count its occurrences."""

    id: str
    state: ScheduleStanding
    when: str
    next_at: str | None
    overlap: Overlap
    note: str
    project: str
    owner: str
    priority: str
    summary: str
    started: int
    skipped: int
    missed: int
    requests: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What a schedule has started that is not over: requests, and occurrences that still need the schedule's input for one."""

    running: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()


class Schedules(Protocol):
    """Everything that the command line asks of schedules; a test answers it from memory."""

    async def create(self, start: OccurrenceInput) -> Scheduled: ...

    async def known(self, schedule_id: str) -> OccurrenceInput | None: ...

    async def show(self, schedule_id: str) -> ScheduleRow: ...

    def all(self) -> AsyncIterator[ScheduleRow]: ...

    async def pause(self, schedule_id: str, note: str) -> None: ...

    async def resume(self, schedule_id: str, note: str) -> ScheduleRow: ...

    async def remove(self, schedule_id: str) -> UnderWay: ...

    async def under_way(self, schedule_id: str | None = None) -> UnderWay: ...


def same(one: OccurrenceInput, other: OccurrenceInput) -> bool:
    """Whether two schedules of one id are the same: the same request at the same times."""
    return (fingerprint(one.request), one.timing) == (fingerprint(other.request), other.timing)


def refuse_other(earlier: OccurrenceInput, start: OccurrenceInput) -> None:
    """Raises InvalidRequest unless the two are the same."""
    if not same(earlier, start):
        raise InvalidRequest(
            f"schedule {start.request.id!r} exists already with another input, project, user, order, cap or other times: "
            "choose another --id, or remove it first with `headgate schedules remove`"
        )
