"""Uploads that nobody needs any more are removed from their bucket, beside a bridge that runs.

1. Which ones is the database's to say (`private.leftover_uploads`). They go by the bucket's own API: a file whose row is
   deleted by SQL stays for ever.
2. Of several bridges one removes at a time: a file is put once, and the next one at its place may be the right one.
3. What cannot be reached is said once and waited for; one file that cannot be removed keeps none of the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg

from activities.store import Store
from headgate.absence import Outage
from headgate.databases import Database
from headgate.errors import Unreachable
from headgate.settings import Settings
from starter.inbox import connect

log = logging.getLogger("headgate.bridge")

#: Files that are looked at in one go.
PAGE: Final = 200
#: Held by the connection, and gone with it.
_ALONE: Final = "select pg_try_advisory_lock(hashtextextended('headgate: leftover uploads', 0)) as alone"
_LEFT_OVER: Final = "select path, why from private.leftover_uploads(%s, %s)"


@asynccontextmanager
async def removing_leftover_uploads(settings: Settings, every_s: float) -> AsyncIterator[None]:
    """Meanwhile they are removed, a page every so many seconds, where `HEADGATE_UPLOADS` says where they lie."""
    if settings.inbox is None or settings.uploads is None:
        yield
        return
    uploads = Store.open(settings.uploads.location, settings.uploads.bucket, "HEADGATE_UPLOADS")
    work = asyncio.create_task(LeftoverUploads(settings.inbox, uploads).remove_every(every_s))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


class LeftoverUploads:
    """Those of one database, in one bucket."""

    def __init__(self, database: Database, uploads: Store) -> None:
        self._database = database
        self._uploads = uploads
        self._away = Outage()

    async def remove_every(self, seconds: float) -> None:
        """Until it is cancelled."""
        last = ""
        while True:
            await asyncio.sleep(seconds)
            try:
                last = await self.remove(last)
                self._away.passed()
            except (psycopg.Error, OSError, Unreachable) as error:
                if self._away.met(time.monotonic()):
                    why = str(error) if isinstance(error, Unreachable) else self._database.said(error)
                    log.warning("Leftover uploads cannot be removed", extra={"why": why})
            except Exception:
                log.exception("Leftover uploads cannot be removed")

    async def remove(self, after: str = "") -> str:
        """A page of them, from behind the path `after`; where the next one goes on (`""`: at the beginning).

        Raises psycopg's errors, OSError and Unreachable where database or bucket cannot be used.
        """
        connection = await connect(self._database)
        async with connection:
            alone = await (await connection.execute(_ALONE)).fetchone()
            if alone is None or not alone["alone"]:
                return after
            leftovers = await (await connection.execute(_LEFT_OVER, (after, PAGE))).fetchall()
            for one in leftovers:
                await self._uploads.delete(one["path"])
                log.info("Upload removed", extra={"upload": one["path"], "why": one["why"]})
        return str(leftovers[-1]["path"]) if len(leftovers) == PAGE else ""
