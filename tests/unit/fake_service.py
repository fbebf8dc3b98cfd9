"""A service that answers from memory, and a command line that stands on it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from headgate.errors import HeadgateError, InvalidRequest
from headgate.facts import Entry
from headgate.messages.requests import BulkRequest
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import CallCounts, Control, LimiterView, OperationCounts, ProgressView
from headgate.messages.words import State
from headgate.schedules import OccurrenceInput, iso
from headgate.steering import Command
from starter import cli
from starter.commands import Answered
from starter.schedules import Scheduled, ScheduleRow, Schedules, UnderWay, UnknownSchedule, refuse_other
from starter.selection import Selection
from starter.service import RequestRow, Service, Submitted, UnknownRequest, changed
from starter.surroundings import Surroundings
from workflows.starting import fingerprint


def view(
    state: State = "completed", *, succeeded: int = 3, failed: int = 0, total: int = 3, **more: Any
) -> ProgressView:
    """A request's progress."""
    unprocessed = more.pop("unprocessed", 0)
    remaining = total - succeeded - failed - unprocessed
    counts = OperationCounts(
        total=total, succeeded=succeeded, failed=failed, unprocessed=unprocessed, remaining=remaining
    )
    fields: dict[str, Any] = {
        "id": "r1",
        "priority": "normal",
        "owner": "",
        "calls": CallCounts(planned=1, made=1),
        **more,
    }
    return ProgressView(state=state, operations=counts, **fields)


@dataclass
class FakeSchedules:
    """`Schedules` from memory: `refuses` is what Temporal says of a new one, `starting` are occurrences without a request yet."""

    made: dict[str, OccurrenceInput] = field(default_factory=dict)
    paused: dict[str, str] = field(default_factory=dict)
    running: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    refuses: str = ""

    async def create(self, start: OccurrenceInput) -> Scheduled:
        if self.refuses:
            raise InvalidRequest(self.refuses)
        name = start.request.id
        first = name not in self.made
        earlier = self.made.setdefault(name, start)
        refuse_other(earlier, start)
        return Scheduled(name, f"schedule/{name}", self._next(name), first=first)

    async def known(self, schedule_id: str) -> OccurrenceInput | None:
        return self.made.get(schedule_id)

    async def show(self, schedule_id: str) -> ScheduleRow:
        self._must_know(schedule_id)
        start, request = self.made[schedule_id], self.made[schedule_id].request
        return ScheduleRow(
            id=schedule_id,
            state="paused" if schedule_id in self.paused else "active",
            when=start.timing.in_words,
            next_at=None if schedule_id in self.paused else self._next(schedule_id),
            overlap=start.timing.overlap,
            note=self.paused.get(schedule_id, ""),
            project=request.project,
            owner=request.owner,
            priority=request.priority,
            summary=start.summary,
            started=0,
            skipped=0,
            missed=0,
            requests=(),
        )

    async def all(self) -> AsyncIterator[ScheduleRow]:
        for name in sorted(self.made):
            yield await self.show(name)

    async def pause(self, schedule_id: str, note: str) -> None:
        self._must_know(schedule_id)
        self.paused[schedule_id] = note

    async def resume(self, schedule_id: str, note: str) -> ScheduleRow:
        self._must_know(schedule_id)
        self.paused.pop(schedule_id, None)
        return await self.show(schedule_id)

    async def remove(self, schedule_id: str) -> UnderWay:
        self._must_know(schedule_id)
        del self.made[schedule_id]
        return await self.under_way(schedule_id)

    async def under_way(self, schedule_id: str | None = None) -> UnderWay:
        return UnderWay(self.running, self.starting)

    def _next(self, name: str) -> str:
        return iso(self.made[name].timing.at_s or 1_900_000_000)

    def _must_know(self, name: str) -> None:
        if name not in self.made:
            raise UnknownSchedule(f"there is no schedule {name!r}")


@dataclass
class FakeService:
    """`Service` from memory: `answers` are progress views or errors in turn, the last one stays; `of_each` are those of requests
    that have their own. `asked` are the questions after progress, `pauses` the seconds between two of them."""

    answers: list[ProgressView | HeadgateError] = field(default_factory=lambda: [view()])
    of_each: dict[str, list[ProgressView | HeadgateError]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    rows: list[RequestRow] = field(default_factory=list)
    submitted: dict[str, BulkRequest] = field(default_factory=dict)
    summaries: list[str] = field(default_factory=list)
    controls: list[tuple[str, Command, Control]] = field(default_factory=list)
    said: dict[str, str | Answered | HeadgateError] = field(default_factory=dict)
    limiter_controls: list[tuple[str, str, Control]] = field(default_factory=list)
    selected: list[Selection] = field(default_factory=list)
    settings: LimiterSettings = field(default_factory=LimiterSettings)
    entries: list[Entry] = field(default_factory=list)
    followed: bool = False
    state: State | None = "completed"
    states: list[State | None] = field(default_factory=list)
    known: tuple[str, ...] = ("r1",)
    scheduled: FakeSchedules = field(default_factory=FakeSchedules)

    @property
    def schedules(self) -> Schedules:
        return self.scheduled

    async def submit(self, request: BulkRequest, *, summary: str) -> Submitted:
        earlier = self.submitted.setdefault(request.id, request)
        if fingerprint(earlier) != fingerprint(request):
            raise InvalidRequest("exists already with another input")
        self.summaries.append(summary)
        return Submitted(request.id, f"bulk/{request.id}", first=earlier is request)

    async def fingerprint(self, request_id: str) -> str | None:
        return fingerprint(self.submitted[request_id]) if request_id in self.submitted else None

    async def request(self, request_id: str) -> BulkRequest:
        if request_id not in self.submitted:
            raise UnknownRequest(f"there is no request {request_id!r}")
        return self.submitted[request_id]

    async def progress(self, request_id: str) -> ProgressView:
        self._must_know(request_id)
        self.asked.append(request_id)
        answers = self.of_each.get(request_id, self.answers)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, HeadgateError):
            raise answer
        return answer

    async def over(self, request_id: str) -> State | None:
        self._must_know(request_id)
        return self.states.pop(0) if self.states else self.state

    async def ended(self, request_id: str, within_s: float) -> bool:
        self.pauses.append(within_s)
        await asyncio.sleep(0)
        return False

    async def requests(self, selection: Selection) -> AsyncIterator[RequestRow]:
        self.selected.append(selection)
        for row in self.rows[: selection.limit]:
            yield row

    async def history(self, request_id: str, *, follow: bool = False) -> AsyncIterator[Entry]:
        self._must_know(request_id)
        self.followed = follow
        for entry in self.entries:
            yield entry

    async def control(self, request_id: str, command: Command, control: Control) -> Answered:
        self._must_know(request_id)
        self.controls.append((request_id, command, control))
        said = self.said.get(request_id, f"asked to {command}")
        if isinstance(said, HeadgateError):
            raise said
        return said if isinstance(said, Answered) else Answered(request_id, f"bulk/{request_id}", said)

    async def limiter_set(self, project: str, changes: Mapping[str, object]) -> LimiterSettings:
        self.settings = changed(self.settings, changes)
        return self.settings

    async def limiter_control(self, project: str, action: Literal["pause", "resume"], control: Control) -> None:
        self.limiter_controls.append((project, action, control))

    async def limiter_show(self, project: str) -> LimiterView:
        return LimiterView(
            project=project,
            epoch=1,
            now_ns=5,
            quiet_until_ns=0,
            settings=self.settings,
            granted=7,
            returned=1,
            booked=6,
            throttled=0,
        )

    def _must_know(self, request_id: str) -> None:
        if request_id not in (*self.known, *self.submitted, *self.of_each):
            raise UnknownRequest(f"there is no request {request_id!r}")


@dataclass(frozen=True)
class Ran:
    """What a command line left behind."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Keyboard(io.BytesIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


def ran(
    *arguments: str | Path,
    service: Service | HeadgateError | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    terminal: bool = False,
    typed: bool = False,
) -> Ran:
    """The command line, run in this process on a fake service; a `HeadgateError` as service is a server out of reach.

    `typed`: a person is there, and types `stdin`.
    """

    async def connected() -> Service:
        if isinstance(service, HeadgateError):
            raise service
        return service if service is not None else FakeService()

    out, err = io.StringIO(), io.StringIO()
    surroundings = Surroundings(
        environ=dict(environ or {}),
        service=connected,
        out=Console(file=out, force_terminal=terminal, width=100, highlight=False),
        err=Console(file=err, force_terminal=False, highlight=False),
        stdin=Keyboard(stdin) if typed else io.BytesIO(stdin),
    )
    code = cli.run([str(argument) for argument in arguments], surroundings)
    return Ran(code, out.getvalue(), err.getvalue())


def one_sentence(said: str) -> bool:
    """Whether the standard error holds one line by headgate and no traceback."""
    return said.startswith("headgate: ") and said.count("\n") == 1 and "Traceback" not in said


def lines(*operations: Mapping[str, object]) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(operation).encode() + b"\n" for operation in operations)
