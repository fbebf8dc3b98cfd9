"""Telling the read model by activities of their own: what no order takes along, and how a request ended.

Progress goes along with orders that are sent anyway (`activities.calls`); `activities.projector` tells all of it.

1. `project` ends once the read model has what it says, or something newer; while that cannot be, it fails for another attempt.
2. `project_final` tries in the same way for as long as it takes. The dead letters are there before the row says that it is over;
   where they cannot be read or are refused the row is told all the same, and they are tried again.
3. Told twice is told once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.layout import request_root
from activities.manifest import gone
from activities.projector import Projector
from activities.read_model import Letter, ReadModel
from activities.results import read_results
from activities.store import Store
from headgate.errors import HeadgateError, NotProjected
from headgate.messages.projections import Projection

#: So many dead letters of a request are shown; all of them are in its results.
MOST_LETTERS: Final = 10_000
BEAT_S: Final = 5.0


@dataclass(frozen=True)
class ProjectionActivities:
    """Dependencies: the process's projector, and the store with the results."""

    projector: Projector
    store: Store

    @activity.defn
    async def project(self, told: Projection) -> None:
        """How a request stands is in the read model."""
        if not self.projector.wanted(told.request):
            return
        try:
            await self.projector.put(told)
        except NotProjected as error:
            raise _again(error) from None

    @activity.defn
    async def project_final(self, told: Projection) -> None:
        """How a request ended is in the read model, with its dead letters and where its results are."""
        model = self.projector.model
        if model is None or not self.projector.wanted(told.request):
            return
        location = self.store.shown(request_root(told.request.id))
        async with _beating():
            try:
                await model.reach()
                trouble = await self._add_letters(model, told)
                await self.projector.put(told, location)
            except NotProjected as error:
                raise _again(error) from None
        if trouble is not None:
            raise _again(trouble)

    async def _add_letters(self, model: ReadModel, told: Projection) -> HeadgateError | None:
        """The trouble, if it is none of the way to the database."""
        try:
            letters = await dead_letters(self.store, told)
            if letters:
                await model.add_letters(told.request, letters)
        except HeadgateError as error:
            return error
        except FileNotFoundError as missing:
            return NotProjected(
                f"the results of {told.request.id} are not all in the store: {missing} {gone(self.store)}"
            )
        return None


async def dead_letters(store: Store, told: Projection) -> list[Letter]:
    """The request's dead letters; beyond `MOST_LETTERS` one without an operation, in line 0, says how many there are."""
    failed, failing = told.progress.operations.failed, told.progress.state == "failed"
    letters: list[Letter] = []
    if not (failed or failing):
        return letters
    async for result in read_results(store, told.request.id, "failed"):
        if len(letters) == MOST_LETTERS:
            said = (
                f"{MOST_LETTERS:,} of {failed:,} operations that failed are shown here: the results have all of them."
            )
            return [Letter(0, "", said, "no"), *letters]
        reason = result["reason"].replace("\x00", " ")
        letters.append(Letter(result["line"], result["id"].replace("\x00", " "), reason, result["applied"]))
        if len(letters) == failed and not failing:
            break
    return letters


@asynccontextmanager
async def _beating() -> AsyncIterator[None]:
    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(BEAT_S)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating


def _again(error: HeadgateError) -> ApplicationError:
    """No defect: the log has said it, and the next attempt comes."""
    return ApplicationError(str(error), type=NotProjected.__name__, category=ApplicationErrorCategory.BENIGN)
