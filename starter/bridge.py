"""`headgate bridge`: what the front door's users have written into the inbox is carried to Temporal.

1. A row is claimed, carried and recorded in one transaction. Killed at any moment, it is carried again by whoever comes next,
   and Temporal refuses the duplicate.
2. Starts and commands have hands of their own, so that no command that is waited for holds up a start, nor the other way round.
   One more hand asks what came of commands that Temporal holds and no worker had answered.
3. The database's NOTIFY is a hint; a look every few seconds and one at the beginning find what was not heard.
4. A database, a server or a store that is away is said once and waited for; nothing ends by it.
5. What runs under way may finish when the end is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import psycopg

from activities.read_model import ROWS_FAULT
from headgate.absence import Outage, Slow
from headgate.databases import Database
from headgate.errors import Unreachable
from headgate.inbox import Asked, Row
from headgate.inbox_outcomes import LONGEST_PAUSE_S, Later, Outcome, Rejected, Started, after
from starter.bridge_log import BridgeLog, log
from starter.carrying import Carrier
from starter.inbox import CHANNEL, Inbox, Which, connect
from starter.sweeping import sweep
from worker import unless

#: The database ends a transaction in which nothing is said for two minutes.
CARRIED_WITHIN_S: Final = 90.0


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
        self._log = BridgeLog(database)

    @property
    def counts(self) -> Mapping[str, int]:
        """How often rows ended in which way."""
        return self._log.counts

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
        """Until no row is left whose turn it is; one that was put off is not waited for, however often its turn comes again.

        Raises Unreachable where the database or Temporal is away.
        """
        met: dict[Which, set[int]] = {side.name: set() for side in self._sides}
        await asyncio.gather(*(self._drained(side, met[side.name]) for side in self._sides for _ in range(side.hands)))

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
                    more = await self._one(inbox, side) is not None
                    self._log.database_answers()
                except (psycopg.Error, OSError) as error:
                    since, inbox = await _dropped(inbox), None
                    await self._database_is_lost(error, since)
                except Exception:
                    log.exception("Row failed", extra={"side": side.name})
                    await self._unless_asked(asyncio.sleep(1))
        if inbox is not None:
            await inbox.close()

    async def _drained(self, side: Side, met: set[int]) -> None:
        """`met` are the rows of this side that came up so far: what is put off comes behind all that was due before."""
        try:
            inbox = await Inbox.open(self._database)
            try:
                while not self._asked.is_set() and not side.outage.pause_s:
                    row = await self._one(inbox, side)
                    if row is None or row.id in met:
                        break
                    met.add(row.id)
            finally:
                await inbox.close()
        except (psycopg.Error, OSError) as error:
            raise Unreachable(self._log.unreachable(error)) from None
        if side.outage.pause_s:
            raise Unreachable("Temporal cannot be reached: rows of the inbox wait for it, the log says why")

    async def _one(self, inbox: Inbox, side: Side) -> Row | None:
        """The row that was taken, if there was one: it was done or put off."""
        async with inbox.transaction():
            row = await inbox.claim(side.name)
            if row is None:
                return None
            side.bell.ring()  # there may be more: another hand looks
            taken_at = time.monotonic()
            outcome, error = await self._tried(inbox, row)
        if side.name == "start":
            self._ring()  # commands may have come while their request was being started
        if isinstance(outcome, Later):
            asyncio.get_running_loop().call_later(outcome.pause_s, side.bell.ring)
        self._log.row(row, outcome, error, time.monotonic() - taken_at, side.outage)
        return row

    async def _tried(self, inbox: Inbox, row: Row) -> tuple[Outcome, Exception | None]:
        """What came of the row, and is recorded of it."""
        failed: Exception | None = None
        asked: Asked | None = None
        try:
            async with inbox.transaction():
                if row.kind == "start":
                    asked = await inbox.asked(row.request_id)
                    outcome = await _in_time(self._carrier.start(asked))
                else:
                    outcome = await _in_time(self._carrier.tell(row))
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

    async def _database_is_lost(self, error: Exception, since: float) -> None:
        await self._unless_asked(asyncio.sleep(self._log.database_is_lost(error, since)))

    async def _unless_asked(self, work: Awaitable[object]) -> None:
        await unless(self._asked, work)

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
                last = await sweep(self._database, self._carrier, self._pace.stale_s, last)
            except (psycopg.Error, OSError) as error:
                await self._database_is_lost(error, time.monotonic())
            except Unreachable:
                pass  # whoever carries rows says so
            except Exception:
                log.exception("Sweep failed")


async def _in_time(carrying: Awaitable[Outcome]) -> Outcome:
    """What came of a row. Raises `Slow` where several that are slow would together keep it for longer than it may be."""
    try:
        async with asyncio.timeout(CARRIED_WITHIN_S) as limit:
            return await carrying
    except TimeoutError:
        if not limit.expired():
            raise
    raise Slow(f"not carried in {CARRIED_WITHIN_S:g} s: Temporal or the store is slow")


async def _dropped(inbox: Inbox | None) -> float:
    """Since when there was a connection; it is closed."""
    if inbox is None:
        return time.monotonic()
    await inbox.close()
    return inbox.since
