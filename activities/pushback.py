"""What the API's refusals and failures mean for this process: who is told, and which tokens are better not used.

1. The limiter hears of every 429, of every failure and of what became of a probe, at once, in one signal a moment.
2. Until it has acted, tokens that it gave before would only meet the same: after a 429 those of its bucket are left unused for
   a moment, after several failures in a row those of the spreadsheet or of the whole API. A probe goes all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from activities.clock import ServerClock
from headgate.apis.sheets.replies import Busy, Lost, Reply, Throttled
from headgate.messages.requests import PlannedBatch
from headgate.messages.tokens import Overload, Probed, Settlement, Throttling
from headgate.messages.words import Kind

log = logging.getLogger("headgate.send")
GATHER_FOR_S = 0.02
#: As long as tokens reach ahead, so that those which were given before the limiter heard of it run out.
HELD_NS = 1_500_000_000
SHEET_FAILURES = 3
API_FAILURES = 5


@dataclass(slots=True)
class Pushback:
    """One for a process. `tell` delivers a settlement to a project's limiter."""

    clock: ServerClock
    tell: Callable[[str, Settlement], Awaitable[None]]
    _held: dict[str, int] = field(default_factory=dict)
    _in_a_row: dict[str, int] = field(default_factory=dict)
    _gathered: dict[str, Settlement] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def held(self, project: str, kind: Kind, user: str, spreadsheet: str) -> bool:
        """Whether a token is better not used just now."""
        if not self._held:
            return False
        now = self.clock.now_ns()
        self._held = {name: until for name, until in self._held.items() if until > now}
        names = (f"{project}/{kind}", f"{project}/{kind}/{user}", f"{project}/api", f"{project}/sheet/{spreadsheet}")
        return any(name in self._held for name in names)

    def heard(self, project: str, batch: PlannedBatch, kind: Kind, reply: Reply, probe: str = "") -> None:
        """Take what a call met."""
        failed = isinstance(reply, Busy | Lost)
        sheet, api = f"{project}/sheet/{batch.spreadsheet}", f"{project}/api"
        now = self.clock.now_ns()
        if isinstance(reply, Throttled):
            named: Kind = reply.kind or kind
            user = batch.user if reply.scope == "user" else ""
            self._held[f"{project}/{named}/{user}" if user else f"{project}/{named}"] = now + HELD_NS
            throttling = Throttling(
                kind=named, scope=reply.scope, user=batch.user, quota_value=reply.quota_value, at_ns=now
            )
            self._say(project, Settlement(holder="", epoch=0, throttled=(throttling,)))
        elif failed:
            self.failed(project, batch.spreadsheet)
        else:
            for name in (sheet, api):
                self._in_a_row.pop(name, None)
                self._held.pop(name, None)
        if probe:
            self._say(project, Settlement(holder="", epoch=0, probed=(Probed(circuit=probe, ok=not failed),)))

    def failed(self, project: str, spreadsheet: str) -> None:
        """A call was failed by the API, or it could not be reached."""
        now = self.clock.now_ns()
        for name, enough in ((f"{project}/sheet/{spreadsheet}", SHEET_FAILURES), (f"{project}/api", API_FAILURES)):
            self._in_a_row[name] = self._in_a_row.get(name, 0) + 1
            if self._in_a_row[name] >= enough:
                self._held[name] = now + HELD_NS
        overload = Overload(spreadsheet=spreadsheet, at_ns=now)
        self._say(project, Settlement(holder="", epoch=0, overloads=(overload,)))

    def unused(self, project: str, holder: str, booking_id: str) -> None:
        """A booked token was not used."""
        self._say(project, Settlement(holder=holder, epoch=0, unused_bookings=(booking_id,)))

    def _say(self, project: str, said: Settlement) -> None:
        known = self._gathered.get(project)
        if known is not None:
            self._gathered[project] = Settlement(
                holder=known.holder or said.holder,
                epoch=0,
                throttled=known.throttled + said.throttled,
                overloads=known.overloads + said.overloads,
                probed=known.probed + said.probed,
                unused_bookings=known.unused_bookings + said.unused_bookings,
            )
            return
        self._gathered[project] = said
        task = asyncio.create_task(self._flush(project))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self, project: str) -> None:
        await asyncio.sleep(GATHER_FOR_S)
        said = self._gathered.pop(project)
        try:
            await self.tell(project, said)
        except Exception as error:  # the server is away: the limiter will hear of what comes after
            log.warning("The limiter could not be told", extra={"project": project, "error": error})
