"""`headgate bridge`: what the front door's users have written into the inbox is carried to Temporal.

1. A row is claimed, carried and recorded in one transaction. Killed at any moment, it is carried again by whoever comes next,
   and Temporal refuses the duplicate.
2. Starts and commands have hands of their own, so that no command that is waited for holds up a start, nor the other way round.
3. The database's NOTIFY is a hint; a look every few seconds and one at the beginning find what was not heard.
4. A database, a server or a store that is away is said once and waited for; nothing ends by it.
5. What runs under way may finish when the end is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

import psycopg

from activities.read_model import ROWS_FAULT
from headgate.databases import Database
from headgate.errors import Unreachable
from headgate.inbox import (
    LONGEST_PAUSE_S,
    Answered,
    Asked,
    Away,
    Dropped,
    Later,
    Outage,
    Outcome,
    Rejected,
    Row,
    Started,
    after,
)
from starter.carrying import Carrier
from starter.inbox import CHANNEL, Inbox, Which, connect

log = logging.getLogger("headgate.bridge")
T = TypeVar("T")

#: Requests that the sweep looks at in one go.
PAGE: Final = 200


@dataclass(frozen=True, kw_only=True)
class Pace:
    """So many rows of each kind at once; seconds between looks, between sweeps, and until silence makes a request stale."""

    at_once: int = 4
    poll_s: float = 2.0
    sweep_s: float = 60.0
    stale_s: float = 300.0


class Bell:
    """Wakes one who waits; rung again before anybody has heard it, it was rung once."""

    def __init__(self) -> None:
        self._rung: asyncio.Queue[None] = asyncio.Queue(maxsize=1)

    def ring(self) -> None:
        with suppress(asyncio.QueueFull):
            self._rung.put_nowait(None)

    async def heard(self) -> None:
        await self._rung.get()


@dataclass
class Side:
    """One kind of rows: how many are carried at once, its bell, and whether Temporal was there for the last of them."""

    name: Which
    hands: int
    bell: Bell = field(default_factory=Bell)
    outage: Outage = field(default_factory=Outage)


class Bridge:
    """One bridge; several may drain one inbox."""

    def __init__(self, database: Database, carrier: Carrier, pace: Pace) -> None:
        self._database = database
        self._carrier = carrier
        self._pace = pace
        self._asked = asyncio.Event()
        self._sides = (Side("start", pace.at_once), Side("command", pace.at_once), Side("recorded", 1))
        self._lost = Outage(longest_s=5.0)
        self._answered_at = 0.0
        self._store = Outage()
        self.counts: Counter[str] = Counter()

    def end(self) -> None:
        """Rows under way may finish, no other is taken."""
        self._asked.set()

    async def run(self) -> None:
        """Until the end is asked for."""
        hands = [self._hand(side) for side in self._sides for _ in range(side.hands)]
        beside = [asyncio.create_task(work) for work in (self._listen(), self._look(), self._sweep())]
        self._ring()
        try:
            await asyncio.gather(*hands)
        finally:
            for one in beside:
                one.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def drain(self) -> None:
        """Until no row is left whose turn it is. Raises Unreachable where the database or Temporal is away."""
        await asyncio.gather(*(self._drained(side) for side in self._sides for _ in range(side.hands)))

    # Hands

    async def _hand(self, side: Side) -> None:
        inbox: Inbox | None = None
        while not self._asked.is_set():
            await self._unless_asked(side.bell.heard())
            more = True
            while more and not self._asked.is_set():
                await self._unless_asked(asyncio.sleep(side.outage.left_s(time.monotonic())))
                try:
                    inbox = inbox or await Inbox.open(self._database)
                    more = await self._one(inbox, side)
                    self._database_answers()
                except (psycopg.Error, OSError) as error:
                    since, inbox = await self._dropped(inbox), None
                    await self._database_is_lost(error, since)
                except Exception:
                    log.exception("Row failed", extra={"side": side.name})
                    await self._unless_asked(asyncio.sleep(1))
        if inbox is not None:
            await inbox.close()

    async def _drained(self, side: Side) -> None:
        try:
            inbox = await Inbox.open(self._database)
            try:
                while not self._asked.is_set() and not side.outage.pause_s and await self._one(inbox, side):
                    pass
            finally:
                await inbox.close()
        except (psycopg.Error, OSError) as error:
            raise Unreachable(self._unreachable(error)) from None
        if side.outage.pause_s:
            raise Unreachable("Temporal cannot be reached: rows of the inbox wait for it, the log says why")

    async def _one(self, inbox: Inbox, side: Side) -> bool:
        """True if there was a row to take, and it was done or put off."""
        async with inbox.transaction():
            row = await inbox.claim(side.name)
            if row is None:
                return False
            side.bell.ring()  # there may be more: another hand looks
            taken_at = time.monotonic()
            outcome, error = await self._tried(inbox, row)
        if side.name == "start":
            self._ring()  # commands may have come while their request was being started
        self._tell(side, row, outcome, error, time.monotonic() - taken_at)
        return True

    async def _tried(self, inbox: Inbox, row: Row) -> tuple[Outcome, Exception | None]:
        """What came of the row, and is recorded of it."""
        failed: Exception | None = None
        asked: Asked | None = None
        try:
            async with inbox.transaction():
                if row.kind == "start":
                    asked = await inbox.asked(row.request_id)
                    outcome = await self._carrier.start(asked)
                else:
                    outcome = await self._carrier.tell(row)
                await inbox.record(row, outcome)
                return outcome, None
        except Exception as error:
            if inbox.lost:
                raise
            said = self._database.said(error)
            why = Unreachable(said) if isinstance(error, psycopg.Error) and not isinstance(error, ROWS_FAULT) else error
            failed, outcome = error, after(row, why, said)
        if asked is not None and isinstance(outcome, Rejected):
            outcome = await self._unless_held(row, asked, outcome)
        try:
            async with inbox.transaction():
                await inbox.record(row, outcome)
        except psycopg.Error as error:
            if inbox.lost:
                raise
            failed, outcome = error, Later(LONGEST_PAUSE_S, counted=True, why=self._database.said(error))
            await inbox.record(row, outcome)
        return outcome, failed

    async def _unless_held(self, row: Row, asked: Asked, rejected: Rejected) -> Outcome:
        """An earlier try may have come as far as Temporal, and what runs is not rejected."""
        try:
            return Started() if await self._carrier.holds(asked) else rejected
        except Exception as error:
            return after(row, error, self._database.said(error))

    # What the log says

    def _tell(self, side: Side, row: Row, outcome: Outcome, error: Exception | None, took_s: float) -> None:
        facts = {"request": row.request_id, "kind": row.kind, "sequence": row.sequence}
        self.counts[type(outcome).__name__.lower()] += 1
        if isinstance(outcome, Later):
            asyncio.get_running_loop().call_later(outcome.pause_s, side.bell.ring)
            if outcome.counted:
                log.error(
                    "Row failed", extra={**facts, "attempt": row.attempts + 1, "why": outcome.why}, exc_info=error
                )
            elif isinstance(error, psycopg.Error):
                log.warning("The database does not let a row pass", extra={**facts, "why": outcome.why})
            elif isinstance(error, Away):
                if side.outage.met(time.monotonic()):
                    log.warning("Temporal cannot be reached", extra={"why": outcome.why})
            elif side.name == "start":
                if self._store.met(time.monotonic()):
                    log.warning("The store cannot be reached", extra={"why": outcome.why})
            elif not row.recorded:
                log.info("Command under way", extra={**facts, "why": outcome.why})
            return
        if side.outage.passed():
            log.info("Temporal answers again")
        if side.name == "start" and self._store.passed():
            log.info("The store answers again")
        facts |= {"took_ms": round(1000 * took_s)}
        match outcome:
            case Started():
                log.info("Request started", extra=facts)
            case Answered(status, sentence):
                log.info("Command answered", extra={**facts, "status": status, "answer": sentence})
            case Rejected(why):
                given_up = error if row.attempts else None
                log.warning("Request rejected", extra={**facts, "why": why}, exc_info=given_up)
            case Dropped(why):
                log.warning("Row dropped", extra={**facts, "why": why})

    def _unreachable(self, error: Exception) -> str:
        return f"the database at {self._database.location} cannot be used: {self._database.said(error)}"

    async def _dropped(self, inbox: Inbox | None) -> float:
        """Since when there was a connection; it is closed."""
        if inbox is None:
            return time.monotonic()
        await inbox.close()
        return inbox.since

    async def _database_is_lost(self, error: Exception, since: float) -> None:
        if since < self._answered_at:
            return  # an older connection, which did not survive what has been said already
        if self._lost.met(time.monotonic()):
            log.warning(
                "The database cannot be used", extra={"at": self._database.location, "why": self._database.said(error)}
            )
        await self._unless_asked(asyncio.sleep(self._lost.left_s(time.monotonic())))

    def _database_answers(self) -> None:
        if self._lost.passed():
            self._answered_at = time.monotonic()
            log.info("The database answers again", extra={"at": self._database.location})

    # Beside the hands

    def _ring(self) -> None:
        for side in self._sides:
            side.bell.ring()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._pace.poll_s)
            self._ring()

    async def _listen(self) -> None:
        while True:
            since = time.monotonic()
            try:
                connection = await connect(self._database, listens=True)
                async with connection:
                    await connection.execute(f"listen {CHANNEL}")
                    self._ring()
                    async for _ in connection.notifies():
                        self._ring()
            except (psycopg.Error, OSError) as error:
                await self._database_is_lost(error, since)

    async def _sweep(self) -> None:
        """Requests that are open here and over in Temporal, and of which nothing is heard any more, are ended here."""
        last = ""
        while True:
            await asyncio.sleep(self._pace.sweep_s)
            try:
                last = await self.sweep(last)
            except (psycopg.Error, OSError) as error:
                await self._database_is_lost(error, time.monotonic())
            except Unreachable:
                pass  # whoever carries rows says so
            except Exception:
                log.exception("Sweep failed")

    async def sweep(self, last: str = "") -> str:
        """A page of those, from behind the id `last`; where the next one goes on (`""`: at the beginning)."""
        inbox = await Inbox.open(self._database)
        try:
            ids = await inbox.stale(self._pace.stale_s, last, PAGE)
            for request_id in ids:
                try:
                    how = await self._carrier.ended(request_id)
                    if how is not None and await inbox.end_stale(request_id, self._pace.stale_s, how):
                        facts = {"request": request_id, "status": how.status, "why": how.why}
                        log.warning("Request ended", extra=facts)
                except (psycopg.Error, OSError, Unreachable):
                    raise
                except Exception:  # one that cannot be read keeps none of the others
                    log.exception("Request cannot be looked at", extra={"request": request_id})
        finally:
            await inbox.close()
        return ids[-1] if len(ids) == PAGE else ""

    async def _unless_asked(self, work: Awaitable[T]) -> None:
        """The work, or its beginning, where the end is asked for first."""
        working = asyncio.ensure_future(work)
        waiting = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
            waiting.cancel()


async def until_told(bridge: Bridge, *, once: bool) -> None:
    """The bridge's work, in a process that SIGTERM or SIGINT end in good order, and a second SIGINT at once."""
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(bridge.drain() if once else bridge.run())
    interrupts = 0

    def interrupted() -> None:
        nonlocal interrupts
        interrupts += 1
        bridge.end()
        if interrupts > 1:
            work.cancel()

    loop.add_signal_handler(signal.SIGTERM, bridge.end)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        with suppress(asyncio.CancelledError):  # what was under way is undone, and done again by whoever comes next
            await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
