"""Uploads that nobody needs any more are removed from their bucket, beside a bridge that runs.

1. Which ones is the database's to say (`private.leftover_uploads`). They go by the bucket's own API: a file whose row is
   deleted by SQL stays for ever.
2. Of several bridges one removes at a time: a file is put once, and the next one at its place may be the right one. So the
   database is asked for each file right before it goes, by the connection that holds the turn.
3. What cannot be reached is said once and waited for. One file that cannot be removed keeps none of the others: the next time
   begins behind it.
4. A file whose row stays does not lie where `HEADGATE_UPLOADS` says. That is said once, and no other is tried in its page.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from activities.store import Store
from headgate.absence import Outage
from headgate.databases import Database
from headgate.errors import Unreachable
from headgate.settings import Settings
from starter.inbox import connect

log = logging.getLogger("headgate.bridge")

#: Files that are removed in one go.
PAGE: Final = 200
#: Held by the connection, and gone with it.
_ALONE: Final = "select pg_try_advisory_lock(hashtextextended('headgate: leftover uploads', 0)) as alone"
_NEXT: Final = "select path, why from private.leftover_uploads(%s, 1)"


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
        self._elsewhere = False
        #: The path behind which the next page begins.
        self.last = ""

    async def remove_every(self, seconds: float) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.remove()
                self._away.passed()
            except (psycopg.Error, OSError, Unreachable) as error:
                if self._away.met(time.monotonic()):
                    why = str(error) if isinstance(error, Unreachable) else self._database.said(error)
                    log.warning("Leftover uploads cannot be removed", extra={"why": why, "last": self.last})
            except Exception:
                log.exception("Leftover uploads cannot be removed")

    async def remove(self) -> None:
        """A page of them, from behind the last one that was tried; at the end it begins anew.

        Raises psycopg's errors, OSError and Unreachable where database or bucket cannot be used.
        """
        connection = await connect(self._database)
        async with connection:
            alone = await (await connection.execute(_ALONE)).fetchone()
            if alone is None or not alone["alone"]:
                return
            found = await _next(connection, self.last)
            for _ in range(PAGE):
                if found is None:
                    self.last = ""
                    return
                before, self.last = self.last, found["path"]
                await self._uploads.delete(self.last)
                removed, found = found, await _next(connection, before)
                if found is not None and found["path"] == removed["path"]:
                    self._missed(removed["path"])
                    return
                self._elsewhere = False
                log.info("Upload removed", extra={"upload": removed["path"], "why": removed["why"]})

    def _missed(self, path: str) -> None:
        """It was removed and is still there."""
        if not self._elsewhere:
            where = {"uploads": self._uploads.location, "upload": path}
            log.warning(
                "HEADGATE_UPLOADS is not where the files lie: what is removed there stays in Storage", extra=where
            )
        self._elsewhere = True


async def _next(connection: AsyncConnection[dict[str, Any]], after: str) -> dict[str, Any] | None:
    return await (await connection.execute(_NEXT, (after,))).fetchone()
