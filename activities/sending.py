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
from activities.fences import SWEPT_AT_ONCE, Fences
from activities.http import Wire
from activities.pushback import Pushback
from activities.results import Results
from headgate.apis.sheets.replies import Busy, Lost, Reply, TooLarge, read_reply
from headgate.apis.sheets.sheet_names import touches_titles
from headgate.apis.sheets.titles import Titles
from headgate.errors import AnswerTooLarge, InvalidRequest, NoReply, NoReplyInTime, StaleToken, Unreachable
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, PlannedBatch
from headgate.messages.sending import BatchDone
from headgate.outcomes import Advice, BatchState
from headgate.parts import Step

TITLES_KEPT = 512
#: A spreadsheet has room for some 2,500 fences; where it is used up, they go in large steps.
SWEPT_WHEN_CROWDED = 200
#: A batch of more operations takes milliseconds to compute with, and is computed beside the event loop.
FEW_OPERATIONS = 100
#: Calls that were made ready and went stale, kept for the lane's next token; large batches only.
READY_KEPT = 8

Made = TypeVar("Made")


class Ready(NamedTuple):
    """A batch whose call is composed and has not been sent; it is to remove the `claimed` fences."""

    batch: PlannedBatch
    state: BatchState
    claimed: tuple[int, ...] = ()


@dataclass(slots=True)
class Sender:
    """Makes the calls of batches whose plan and results lie in one store."""

    batches: Batches
    results: Results
    wire: Wire
    clock: ServerClock
    pushback: Pushback
    fences: Fences
    cache: Cache | None = None
    _titles: OrderedDict[tuple[str, int], Titles] = field(default_factory=OrderedDict)
    _ready: OrderedDict[tuple[str, int], Ready] = field(default_factory=OrderedDict)

    def take_ready(self, request_id: str, number: int) -> Ready | None:
        """What was made ready for the batch and went stale, if it is kept; it is handed out once."""
        return self._ready.pop((request_id, number), None)

    def keep_ready(self, request_id: str, ready: Ready) -> bool:
        """The call went stale: composing a large one again would make the next stale too. False for one that is not kept."""
        if len(ready.batch.operations) <= FEW_OPERATIONS:
            return False
        self._ready[request_id, ready.batch.number] = ready
        if len(self._ready) > READY_KEPT:
            self._ready.popitem(last=False)  # the fences that it claimed are for `headgate fences clean`
        return True

    async def resume(self, request: BulkRequest, batch: PlannedBatch, most: int = 0) -> BatchState:
        """The state of a batch that was begun before; without a journal it was never sent, and goes in calls of at most `most`."""
        journal = await self.batches.journal(request.id, batch.number)
        return (
            BatchState.fresh(batch, request, most) if journal is None else BatchState.resumed(batch, request, journal)
        )

    async def next_step(
        self, request: BulkRequest, batch: PlannedBatch, state: BatchState, sweep: tuple[int, ...] = ()
    ) -> Step | None:
        """The call that the batch needs next; None once it is finished."""
        titles = None
        if batch.form == "fenced":
            fresh = request.grow or any(map(touches_titles, batch.operations))
            titles = await self._titles_of(request, batch.lane, fresh)
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
            await self.save_journal(request, batch, state)
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
                await self.save_journal(request, batch, state)
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
                await self.save_journal(request, batch, state)
        except Unreachable as error:
            # The call was made and its token is used: this must not look like a call that never left.
            return advice.model_copy(update={"wait_ns": max(advice.wait_ns, SECOND_NS), "why": str(error)})
        if edition and len(state.settled) > settled:
            await self._keep(request, batch, state, settled, edition, sent_ns)
        return advice

    async def record(
        self, request: BulkRequest, batch: PlannedBatch, state: BatchState, *, latency_ns: int = 0
    ) -> BatchDone:
        """Write the batch's results, before anybody is told that it is done."""
        await self.fences.removed(batch.spreadsheet, state.swept)
        if state.changed_titles:
            await self._keep_changes(request, batch.lane, state)
        lines, counts = await _computed(batch, lambda: (_lines(state), state.counts()))
        done = BatchDone(
            batch=batch.number,
            succeeded=counts.succeeded,
            failed=counts.failed,
            calls=state.calls,
            latency_ns=latency_ns,
            at_ns=self.clock.now_ns(),
            reasons=counts.reasons,
            fences=tuple(state.fences),
            failure=state.failure,
            most=state.most,
        )
        done = await self.results.record(request.id, batch.number, lines, done)
        await self._put_down(request, batch.spreadsheet, done)
        return done

    async def sweep_for(self, request: BulkRequest, batch: PlannedBatch, state: BatchState) -> tuple[int, ...]:
        """Expired fences of the spreadsheet that the batch's next call is to remove; claimed, so that no other call does."""
        if batch.form != "fenced" or not request.fences:
            return ()
        most = SWEPT_WHEN_CROWDED if state.crowded else SWEPT_AT_ONCE
        by = f"{request.id}/{batch.number}"
        return await self.fences.claim(batch.spreadsheet, by, self.clock.now_ns(), most)

    async def recorded(self, request: BulkRequest, spreadsheet: str, number: int) -> BatchDone | None:
        """What is recorded of the batch, if it is; its fences are put down, which whoever recorded it may not have lived to do."""
        done = await self.results.recorded(request.id, number)
        if done is not None:
            await self._put_down(request, spreadsheet, done)
        return done

    async def _call(
        self, request: BulkRequest, batch: PlannedBatch, step: Step, at_ns: int, latest_ns: int, probe: str
    ) -> Reply:
        call = step.call

        def held() -> bool:
            return not probe and self.pushback.held(request.project, call.kind, batch.user, batch.spreadsheet)

        try:
            answer = await self.wire.send(batch.user, call.method, call.target, call.body, at_ns, latest_ns, held)
        except AnswerTooLarge as error:
            # Of what a read asks for there may be so much; any other answer of this size is not the API's.
            return TooLarge(str(error)) if batch.form == "read" else Busy(str(error), foreign=True)
        except NoReply as error:
            return Lost(why=str(error), slow=isinstance(error, NoReplyInTime))
        return read_reply(answer.status, answer.headers, answer.body, step.asked(batch.form))

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

    async def _put_down(self, request: BulkRequest, spreadsheet: str, done: BatchDone) -> None:
        if done.fences:
            await self.fences.put_down(spreadsheet, done.fences, done.at_ns, f"{request.id}/{done.batch}")

    async def save_journal(self, request: BulkRequest, batch: PlannedBatch, state: BatchState) -> None:
        """The journal is the present state."""
        await self.batches.save_journal(request.id, batch.number, state.frozen())

    async def _titles_of(self, request: BulkRequest, lane: int, fresh: bool) -> Titles | None:
        key = (request.id, lane)
        cached = self._titles.get(key)
        if cached is None or cached.followed or cached.doubted or fresh:  # they change, perhaps in another process
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

    async def _keep_changes(self, request: BulkRequest, lane: int, state: BatchState) -> None:
        """What the lane's next batches have to know; before the batch is recorded, so that it is done again if that fails."""
        titles = state.titles_after(await self._titles_of(request, lane, fresh=True))
        if titles is not None:
            await self._keep_titles(request, lane, titles)


async def _computed(batch: PlannedBatch, work: Callable[[], Made]) -> Made:
    """What the work makes of the batch; a large one does not keep the event loop from using other tokens in time."""
    return await beside(work) if len(batch.operations) > FEW_OPERATIONS else work()


def _lines(state: BatchState) -> bytes:
    return b"".join(result.model_dump_json().encode() + b"\n" for result in state.results)
