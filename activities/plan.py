"""Planning as activities: the input becomes batches, lanes and refusals in the store, once.

What holds:

1. A plan is valid from the moment its record is stored, last and put-if-absent; a half one is simply made anew, in an
   edition of its own, so that an attempt that comes back late cannot touch the valid one.
2. Memory does not grow with the input's bytes, the work runs beside the event loop, and a heartbeat says how far it is.
3. The caller's mistakes are final (`InvalidRequest`, not retried); a store that is away is waited for.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import wait
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities import layout
from activities.batches import Batches
from activities.cache import Cache, way_path
from activities.manifest import PlanRecord, find_plan, gone, need_plan
from activities.planning import Planning, Serve
from activities.results import Results, applied_so_far, result_line
from activities.store import BLOCK_BYTES, Store
from activities.uploads import Uploads
from headgate.apis.sheets.reads import Known
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.carried import PageRequest
from headgate.messages.requests import BulkRequest, Operation, Page, PlannedBatch, PlanSummary
from headgate.messages.sending import AbandonLane, BatchDone

BEAT_S: Final = 1.0
_TOGETHER: Final = 16
#: Answers that a plan in the making holds in memory, as stored (they take several times as much), and their ways of reading.
_CACHED_BYTES: Final = 16 * 1024 * 1024
_WAYS_HELD: Final = 20_000
_STOPS_WITHIN_S: Final = 0.1

Made = TypeVar("Made")


@dataclass(frozen=True)
class PlanActivities:
    """Planning, the plan's pages, and giving up a lane. `users` are those with credentials (None: not known beforehand),
    `uploads` where people's inputs lie that are not in the store yet."""

    store: Store
    users: frozenset[str] | None = None
    cache: Cache | None = None
    uploads: Uploads = field(default_factory=partial(Uploads, None))

    @activity.defn
    async def plan(self, request: BulkRequest) -> PlanSummary:
        """The plan of this request is in the store; asked again, the same one."""
        with _final_mistakes():
            record = await find_plan(self.store, request.id)
            if record is None:
                await self.uploads.take(request, self.store)
                record = await self._plan_anew(request)
            record.check_same(request)
            return record.summary

    @activity.defn
    async def load_page(self, request: PageRequest) -> Page:
        """One page of the manifest."""
        record = await need_plan(self.store, request.request_id)
        payload = await self.store.get(layout.page_path(request.request_id, record.edition, request.page))
        if payload is None:
            raise Unreachable(f"Page {request.page} of the plan of request {request.request_id} {gone(self.store)}")
        return Page.model_validate_json(payload)

    @activity.defn
    async def abandon_lane(self, order: AbandonLane) -> BatchDone:
        """Every batch of the lane from `order.batch` on is recorded: as failed for the reason, unless it was done before.

        Returns their sum, under the first batch's number; repeated, the same sum.
        """
        batches, results = Batches(self.store), Results(self.store)
        end = order.lane.first_batch + order.lane.batches
        total = BatchDone(batch=order.batch, succeeded=0, failed=0, calls=0)
        for first in range(order.batch, end, _TOGETHER):
            some = await batches.load_many(order.request.id, first, min(_TOGETHER, end - first))
            for done in await asyncio.gather(*(self._abandon(results, order, batch) for batch in some)):
                total = _sum(total, done)
            activity.heartbeat(f"{total.failed:,} operations failed without a call")
        return total

    async def _abandon(self, results: Results, order: AbandonLane, batch: PlannedBatch) -> BatchDone:
        recorded = await results.recorded(order.request.id, batch.number)
        if recorded is not None:
            return recorded
        applied = await applied_so_far(self.store, order.request.id, batch)
        lines = [result_line(one.id, one.line, "failed", applied, order.reason) + b"\n" for one in batch.operations]
        reasons = {order.reason: len(lines)} if lines else {}
        done = BatchDone(batch=batch.number, succeeded=0, failed=len(lines), calls=0, reasons=reasons)
        return await results.record(order.request.id, batch.number, b"".join(lines), done)

    async def _plan_anew(self, request: BulkRequest) -> PlanRecord:
        with tempfile.TemporaryDirectory(prefix="headgate-plan-", ignore_cleanup_errors=True) as folder:
            planning = Planning(request, Path(folder), self.users, self._serve(request))
            try:
                await self._take_input(planning, request)
                summary = await _beating(planning, "making calls of them", asyncio.to_thread(planning.finish))
            finally:
                planning.stop()
            record = PlanRecord(
                edition=uuid.uuid4().hex[:12],
                project=request.project,
                user=request.user,
                order=request.order,
                operations_per_call=request.operations_per_call,
                input_sha256=request.input_sha256,
                batches=planning.count,
                summary=summary,
            )
            await _beating(planning, "storing the plan", self._upload(planning, request.id, record.edition))
        if await self.store.put_new(layout.plan_path(request.id), record.model_dump_json().encode()):
            return record
        return await need_plan(self.store, request.id)

    def _serve(self, request: BulkRequest) -> Serve | None:
        """Answers reads from the cache; called in another thread, and asks the store once for reads that are alike.

        How old an answer is counts at that moment, by the server's clock. What does not fit into memory is not served.
        """
        cache = self.cache
        if cache is None or not request.max_age_ns:
            return None
        loop = asyncio.get_running_loop()
        started_ns = int(activity.info().started_time.timestamp() * 1_000_000) * 1000 - time.monotonic_ns()
        held: dict[str, Known] = {}
        room = _CACHED_BYTES

        def serve(operation: Operation, go_on: Callable[[], None]) -> dict[str, object] | None:
            nonlocal room
            way = way_path(request.owner, operation)
            known = held.get(way)
            if known is None:
                if room <= 0 or len(held) >= _WAYS_HELD:
                    return None
                asked = cache.known(request, operation, started_ns + time.monotonic_ns(), room)
                answer = asyncio.run_coroutine_threadsafe(asked, loop)
                while not wait({answer}, timeout=_STOPS_WITHIN_S).done:
                    go_on()
                known, size = answer.result()
                held[way], room = known, room - size
            return known.serve(operation)

        return serve

    async def _take_input(self, planning: Planning, request: BulkRequest) -> None:
        try:
            async with aclosing(self.store.open_blocks(layout.input_path(request.id, request.input_sha256))) as blocks:
                async for block in blocks:
                    await _beating(planning, "reading on", asyncio.to_thread(planning.take, block))
        except FileNotFoundError:
            raise Unreachable(f"The input of request {request.id} {gone(self.store)}") from None
        if planning.sha256 != request.input_sha256:
            raise InvalidRequest(
                f"The input of request {request.id} was changed in the store after it was submitted: submit it again."
            )

    async def _upload(self, planning: Planning, request_id: str, edition: str) -> None:
        await self.store.put_stream(layout.batches_path(request_id, edition), _blocks_of(planning.batches))
        await self.store.put_stream(layout.index_path(request_id, edition), _blocks_of(planning.index))
        await self.store.put_stream(layout.refused_path(request_id, edition), _blocks_of(planning.refused))
        with planning.pages.open("rb") as pages:
            first = 0
            while some := [page for _, page in zip(range(_TOGETHER), pages, strict=False)]:
                paths = (layout.page_path(request_id, edition, number) for number in range(first, first + len(some)))
                await asyncio.gather(*map(self.store.put, paths, some))
                first += len(some)


async def _beating(planning: Planning, doing: str, work: Awaitable[Made]) -> Made:
    """What the work gives; meanwhile a heartbeat with the lines read so far, and on cancellation the planning stops."""

    def beat() -> None:
        activity.heartbeat(f"{planning.lines:,} lines read, {doing}")

    running = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({running}, timeout=BEAT_S))[0]:
            beat()
    except asyncio.CancelledError:
        running.cancel()
        planning.stop()
        raise
    beat()
    return running.result()


async def _blocks_of(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as opened:
        while block := await asyncio.to_thread(opened.read, BLOCK_BYTES):
            yield block


def _sum(total: BatchDone, done: BatchDone) -> BatchDone:
    reasons = {
        reason: total.reasons.get(reason, 0) + done.reasons.get(reason, 0)
        for reason in {**total.reasons, **done.reasons}
    }
    return total.model_copy(
        update={
            "succeeded": total.succeeded + done.succeeded,
            "failed": total.failed + done.failed,
            "calls": total.calls + done.calls,
            "reasons": reasons,
        }
    )


@contextmanager
def _final_mistakes() -> Iterator[None]:
    """A caller's mistake ends the request: trying again would find it again."""
    try:
        yield
    except InvalidRequest as error:
        raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from error
