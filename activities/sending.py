"""One batch, one call: compose, keep, send, read, record. Whether it is a first attempt or a later one makes no difference.

The journal of a batch is its frozen form: the bytes of its calls and how far they are. A write's journal is stored before its
bytes leave, so a batch without one was never sent.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from activities.batches import Batches
from activities.beside import beside
from activities.cache import Cache
from activities.clock import ServerClock
from activities.http import Wire
from activities.pushback import Pushback
from activities.results import Results
from headgate.apis.sheets.replies import Lost, Reply, read_reply
from headgate.apis.sheets.titles import Titles
from headgate.errors import InvalidRequest, NoReply, StaleToken, Unreachable
from headgate.models import SECOND_NS, BatchDone, BulkRequest, PlannedBatch
from headgate.outcomes import Advice, BatchState
from headgate.parts import Step

TITLES_KEPT = 512
#: A fence outlives every call that could still carry its id: the client's 190 s, the server's 180 s, and as much again.
FENCE_LIVES_NS = 15 * 60 * SECOND_NS
SWEPT_AT_ONCE = 8
#: A batch of more operations takes milliseconds to compute with, and is computed beside the event loop.
FEW_OPERATIONS = 100
#: Calls that were made ready and went stale, kept for the lane's next token; large batches only.
READY_KEPT = 8

Made = TypeVar("Made")


class Ready(NamedTuple):
    """A batch whose call is composed and has not been sent: with it go old fences up to batch `swept` of the lane."""

    batch: PlannedBatch
    state: BatchState
    swept: int


@dataclass(slots=True)
class Sender:
    """Makes the calls of batches whose plan and results lie in one store."""

    batches: Batches
    results: Results
    wire: Wire
    clock: ServerClock
    pushback: Pushback
    cache: Cache | None = None
    _titles: OrderedDict[tuple[str, int], Titles] = field(default_factory=OrderedDict)
    _ready: OrderedDict[tuple[str, int], Ready] = field(default_factory=OrderedDict)

    def take_ready(self, request_id: str, number: int) -> Ready | None:
        """What was made ready for the batch and went stale, if it is kept; it is handed out once."""
        return self._ready.pop((request_id, number), None)

    def keep_ready(self, request_id: str, ready: Ready) -> None:
        """The call went stale: composing a large one again would make the next stale too."""
        if len(ready.batch.operations) > FEW_OPERATIONS:
            self._ready[request_id, ready.batch.number] = ready
            if len(self._ready) > READY_KEPT:
                self._ready.popitem(last=False)

    async def resume(self, request: BulkRequest, batch: PlannedBatch) -> BatchState:
        """The state of a batch that was begun before; without a journal it was never sent."""
        journal = await self.batches.journal(request.id, batch.number)
        return BatchState.fresh(batch, request) if journal is None else BatchState.resumed(batch, request, journal)

    async def next_step(
        self, request: BulkRequest, batch: PlannedBatch, state: BatchState, sweep: tuple[int, ...] = ()
    ) -> Step | None:
        """The call that the batch needs next; None once it is finished."""
        titles = await self._titles_of(request, batch.lane) if batch.form == "fenced" else None
        now_ns = self.clock.now_ns()
        return await _computed(batch, lambda: state.next_step(titles, now_ns, sweep))

    async def send(
        self,
        request: BulkRequest,
        batch: PlannedBatch,
        state: BatchState,
        step: Step,
        at_ns: int,
        latest_ns: int,
        probe: str = "",
    ) -> Advice:
        """Make the step's call with a token for [at_ns, latest_ns]; the state learns from the reply, and the limiter of failures.

        `probe` names the open circuit that the call tries.

        Raises `StaleToken`, `Unreachable` or, where it can never be, `InvalidRequest` if nothing was sent; the state knows that.
        """
        sent_ns = self.clock.now_ns()
        state.sending(step, sent_ns)
        edition = ""
        if step.call.kind == "write":
            await self._writing(batch)
            await self._save(request, batch, state)
        elif batch.form == "read" and request.max_age_ns:
            edition = await self._reading(batch)
        settled = len(state.settled)
        try:
            reply = await self._call(request, batch, step, at_ns, latest_ns, probe)
        except (StaleToken, Unreachable, InvalidRequest) as error:
            if isinstance(error, Unreachable):
                self.pushback.failed(request.project, batch.spreadsheet)
            state.not_sent(step)
            if state.calls:
                await self._save(request, batch, state)
            elif step.call.kind == "write":
                await self.batches.drop_journal(request.id, batch.number)
            raise
        self.pushback.heard(request.project, batch, step.call.kind, reply, probe)
        heard_ns = self.clock.now_ns()
        advice = await _computed(batch, lambda: state.learn(step, reply, heard_ns, probe=bool(probe)))
        try:
            if batch.form == "look_up" and state.titles is not None:
                await self._keep_titles(request, batch.lane, state.titles)
            if step.call.kind == "write":
                await self._writing(batch)
            if not state.finished or advice.wait_ns:
                await self._save(request, batch, state)
        except Unreachable as error:
            # The call was made and its token is used: this must not look like a call that never left.
            return advice.model_copy(update={"wait_ns": max(advice.wait_ns, SECOND_NS), "why": str(error)})
        if edition and len(state.settled) > settled:
            await self._keep(request, batch, state, settled, edition, sent_ns)
        return advice

    async def record(
        self, request: BulkRequest, batch: PlannedBatch, state: BatchState, *, latency_ns: int = 0, swept: int = 0
    ) -> BatchDone:
        """Write the batch's results, before anybody is told that it is done."""
        lines, counts = await _computed(batch, lambda: (_lines(state), state.counts()))
        done = BatchDone(
            batch=batch.number,
            succeeded=counts.succeeded,
            failed=counts.failed,
            calls=state.calls,
            latency_ns=latency_ns,
            at_ns=self.clock.now_ns(),
            reasons=counts.reasons,
            swept=swept,
            fences=tuple(state.fences),
            failure=state.failure if batch.form == "look_up" else "",
        )
        return await self.results.record(request.id, batch.number, lines, done)

    async def old_fences(
        self, request: BulkRequest, first_batch: int, swept: int, number: int
    ) -> tuple[tuple[int, ...], int]:
        """Fences of the lane that have outlived their use, to be removed by the next call; and how many batches that covers."""
        ids: list[int] = []
        upto = swept
        while upto < min(swept + SWEPT_AT_ONCE, number - first_batch):
            done = await self.results.recorded(request.id, first_batch + upto)
            if done is None or done.at_ns > self.clock.now_ns() - FENCE_LIVES_NS:
                break
            ids += done.fences
            upto += 1
        return tuple(ids), upto

    async def _call(
        self, request: BulkRequest, batch: PlannedBatch, step: Step, at_ns: int, latest_ns: int, probe: str
    ) -> Reply:
        call = step.call

        def held() -> bool:
            return not probe and self.pushback.held(request.project, call.kind, batch.user, batch.spreadsheet)

        try:
            answer = await self.wire.send(batch.user, call.method, call.target, call.body, at_ns, latest_ns, held)
        except NoReply as error:
            return Lost(why=str(error))
        return read_reply(answer.status, answer.headers, answer.body)

    async def _writing(self, batch: PlannedBatch) -> None:
        """What was read from the spreadsheet before does not count any more."""
        if self.cache is not None:
            await self.cache.writing(batch.spreadsheet)

    async def _reading(self, batch: PlannedBatch) -> str:
        """The edition under which the answer may be kept; "" where none can be had, which is no reason not to read."""
        with suppress(Unreachable):
            return await self.cache.reading(batch.spreadsheet) if self.cache is not None else ""
        return ""

    async def _keep(
        self, request: BulkRequest, batch: PlannedBatch, state: BatchState, settled: int, edition: str, sent_ns: int
    ) -> None:
        """Keep what this call answered: the results that were not there before it."""
        if self.cache is None:
            return
        read = [(batch.operations[member], result) for member, result in list(state.settled.items())[settled:]]
        with suppress(Unreachable):
            await self.cache.keep(request.owner, edition, sent_ns, read)

    async def _save(self, request: BulkRequest, batch: PlannedBatch, state: BatchState) -> None:
        await self.batches.save_journal(request.id, batch.number, state.frozen())

    async def _titles_of(self, request: BulkRequest, lane: int) -> Titles | None:
        key = (request.id, lane)
        if key not in self._titles:
            kept = await self.batches.titles(request.id, lane)
            if kept is None:
                return None
            self._titles[key] = kept
            if len(self._titles) > TITLES_KEPT:
                self._titles.popitem(last=False)
        return self._titles[key]

    async def _keep_titles(self, request: BulkRequest, lane: int, titles: Titles) -> None:
        await self.batches.save_titles(request.id, lane, titles)
        self._titles[request.id, lane] = titles


async def _computed(batch: PlannedBatch, work: Callable[[], Made]) -> Made:
    """What the work makes of the batch; a large one does not keep the event loop from using other tokens in time."""
    return await beside(work) if len(batch.operations) > FEW_OPERATIONS else work()


def _lines(state: BatchState) -> bytes:
    return b"".join(result.model_dump_json().encode() + b"\n" for result in state.results)
