"""Telling the read model, once for each worker process: the newest projection of every request, about once a second.

1. Whoever offers something never waits, and what it offers is at most held until something newer of the same request comes:
   memory is bounded by the requests, and by `MOST_HELD` of those.
2. A database that is away delays nothing and is tried again after pauses that grow. The log says so once, and once that it is back.
3. At the end of the process what is held is written, if that takes no more than `LAST_S`.
4. Without a database nothing is told, and the log says so once a request expects it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, NamedTuple

from activities.read_model import ReadModel
from headgate.errors import NotProjected
from headgate.messages.projections import Projection
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView

log = logging.getLogger("headgate.projector")

EVERY_S: Final = 1.1
AT_ONCE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 10.0
LAST_S: Final = 5.0
MOST_HELD: Final = 20_000
MOST_TOGETHER: Final = 1_000


class _Held(NamedTuple):
    told: Projection
    location: str | None


class Projector:
    """Runs as long as its worker does (`running`); `model` None: there is no read model."""

    def __init__(self, model: ReadModel | None) -> None:
        self.model = model
        self._held: dict[str, _Held] = {}
        self._waiting: dict[str, list[tuple[int, asyncio.Future[None]]]] = {}
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._away_since = 0.0
        self._said_unset = False

    def offer(self, request: BulkRequest, view: ProgressView | None) -> None:
        """How a request stands, as an order brought it; returns at once."""
        if view is not None and self.wanted(request):
            self._hold(Projection(request=request, progress=view), None)

    async def put(self, told: Projection, location: str | None = None, within_s: float = 8.0) -> None:
        """The read model has this, or something newer. Raises `NotProjected` when that takes longer, or is refused."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(told.request.id, [])
        waiting.append((told.progress.version, written))
        self._hold(told, location)
        self._hurry.set()
        try:
            async with asyncio.timeout(within_s):
                await written
        except TimeoutError:
            raise NotProjected(f"the read model does not have version {told.progress.version} yet") from None
        finally:
            waiting[:] = [one for one in waiting if one[1] is not written]
            if not waiting:
                self._waiting.pop(told.request.id, None)

    def wanted(self, request: BulkRequest) -> bool:
        """Whether this request is to be told of, and can be."""
        if request.organisation and self.model is None and not self._said_unset:
            self._said_unset = True
            log.error("Nobody sees how requests stand: set HEADGATE_PROJECTION_URL", extra={"request": request.id})
        return bool(request.organisation) and self.model is not None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tells meanwhile, and tells what is left at the end."""
        if self.model is None:
            yield
            return
        telling = asyncio.create_task(self._run(self.model))
        try:
            yield
        finally:
            last = asyncio.create_task(self._last_words(self.model, telling))
            await asyncio.wait({last}, timeout=LAST_S)
            last.cancel()  # and not waited for: a database that does not answer is left a while later only
            if self._held:
                log.warning("Not told before the end", extra={"requests": len(self._held)})
            await self.model.close()

    async def _last_words(self, model: ReadModel, telling: asyncio.Task[None]) -> None:
        telling.cancel()
        await asyncio.wait({telling})
        with contextlib.suppress(NotProjected):
            await self._tell_all(model)

    def _hold(self, told: Projection, location: str | None) -> None:
        request_id = told.request.id
        known = self._held.get(request_id)
        if known is not None and known.told.progress.version > told.progress.version:
            return
        if known is None and len(self._held) >= MOST_HELD:
            del self._held[next(iter(self._held))]  # its end will be told in any case
        self._held[request_id] = _Held(told, location)
        self._news.set()

    async def _run(self, model: ReadModel) -> None:
        pause_s = EVERY_S
        while True:
            await self._news.wait()
            self._news.clear()
            self._hurry.clear()
            began = time.monotonic()
            try:
                await self._tell(model, [*self._held.values()])
            except Exception as error:
                if not isinstance(error, NotProjected):  # a defect; the end of the telling would be a silent one
                    log.exception("Telling failed")
                pause_s = self._away(error, pause_s)
                self._news.set()
                await asyncio.sleep(pause_s)
                continue
            pause_s = EVERY_S
            self._back(model)
            if self._held:
                self._news.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, began + EVERY_S - time.monotonic())):
                    await self._hurry.wait()
                    await asyncio.sleep(AT_ONCE_S)

    async def _tell_all(self, model: ReadModel) -> None:
        """Also what comes too early just now: as often as that takes."""
        while self._held:
            await self._tell(model, [*self._held.values()])
            if self._held:
                await asyncio.sleep(EVERY_S / 5)

    async def _tell(self, model: ReadModel, held: Iterable[_Held]) -> None:
        left = iter(held)
        while some := [*islice(left, MOST_TOGETHER)]:
            written = await model.write([one.told for one in some], [one.location for one in some])
            for one in some:
                request_id, version = one.told.request.id, one.told.progress.version
                if request_id in written.early:
                    continue
                if self._held.get(request_id) is one:
                    del self._held[request_id]
                self._answer(request_id, version, written.refused.get(request_id))

    def _answer(self, request_id: str, version: int, refused: str | None) -> None:
        if refused is not None:
            log.error("Projection refused", extra={"request": request_id, "version": version, "why": refused})
        for wanted, written in self._waiting.get(request_id, ()):
            if wanted > version or written.done():
                continue
            if refused is None:
                written.set_result(None)
            else:
                written.set_exception(NotProjected(f"the row of {request_id} was refused: {refused}"))

    def _away(self, error: Exception, pause_s: float) -> float:
        if not self._away_since:
            self._away_since = time.monotonic()
            log.warning("Read model away: everything else goes on", extra={"why": error})
        return min(2 * pause_s, LONGEST_PAUSE_S) if pause_s else EVERY_S

    def _back(self, model: ReadModel) -> None:
        if self._away_since:
            away_s = round(time.monotonic() - self._away_since, 1)
            log.info("Read model back", extra={"database": model.location, "away_s": away_s})
            self._away_since = 0.0
