"""What became of every operation, in the store: one object per batch, written once.

1. The first record of a batch is the record: a second one changes nothing and hears what the first one said.
2. A batch without a record is not done, whatever a heartbeat or a report said.
3. Reading is in the order of lines settled while planning, then batches by number, with a few batches in memory at a time.

The first line of an object is the `BatchDone`, every line after it an `OperationResult`.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, Literal

from activities.batches import Batches
from activities.layout import batch_number, journal_path, refused_path, request_root, results_path, results_prefix
from activities.manifest import find_plan, gone
from activities.store import Store
from headgate.apis.sheets.limits import LONGEST_ID
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import PlannedBatch
from headgate.messages.sending import BatchDone
from headgate.messages.words import Applied
from headgate.outcomes import OperationResult

Outcome = Literal["succeeded", "failed", "unprocessed"]

_HEADER_BYTES: Final = 16 * 1024
_READ_AHEAD: Final = 8
_CANCELLED: Final = "The request ended before this operation was sent."
_CUT_OFF: Final = (
    "The request ended while the answer to this operation was open: look into the spreadsheet before sending it again."
)


def result_line(name: str, line: int, outcome: Outcome, applied: Applied, reason: str) -> bytes:
    """One result of an operation that no call decided, as a line of JSON without its ending."""
    return (
        OperationResult(id=name, line=line, outcome=outcome, applied=applied, reason=reason).model_dump_json().encode()
    )


class Results:
    """The results of all requests whose plans lie in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def record(self, request_id: str, number: int, lines: bytes, done: BatchDone) -> BatchDone:
        """The batch is done: as `done` and `lines` (JSON Lines of results) say, or as an earlier record says, which is returned."""
        payload = done.model_dump_json(exclude_defaults=True).encode() + b"\n" + lines
        if await self._store.put_new(results_path(request_id, number), payload):
            return done
        stored = await self.recorded(request_id, number)
        if stored is None:
            raise Unreachable(f"The result of batch {number} of request {request_id} {gone(self._store)}")
        return stored

    async def recorded(self, request_id: str, number: int) -> BatchDone | None:
        """What is recorded of the batch, or None: then it is not done."""
        path = results_path(request_id, number)
        start = await self._store.get_range(path, 0, _HEADER_BYTES)
        if start is not None and b"\n" not in start:
            start = await self._store.get(path)
        return None if start is None else BatchDone.model_validate_json(start.partition(b"\n")[0])


async def read_results(
    store: Store, request_id: str, outcome: Outcome | None = None, *, closed: bool = False
) -> AsyncIterator[dict[str, Any]]:
    """Every result of the request there is, each once; of one outcome alone, if named.

    `closed` says that the request was cancelled or failed: operations without a result are `unprocessed` then.
    """
    async for line in _lines(store, request_id, closed=closed):
        result = json.loads(line)
        if outcome is None or result["outcome"] == outcome:
            yield result


async def _lines(store: Store, request_id: str, *, closed: bool) -> AsyncIterator[bytes]:
    plan = await find_plan(store, request_id)
    if plan is None:
        if closed:
            async for line in _never_planned(store, request_id):
                yield line
        return
    if plan.summary.dead_letters or plan.summary.cached:
        async for refused in store.open_lines(refused_path(request_id, plan.edition)):
            if refused:
                yield refused
    done = 0
    async for number, lines in _recorded_batches(store, request_id):
        if closed:
            async for line in _not_done(store, request_id, done, number):
                yield line
        done = number + 1
        for line in lines:
            yield line
    if closed:
        async for line in _not_done(store, request_id, done, plan.batches):
            yield line


async def _recorded_batches(store: Store, request_id: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The recorded batches by rising number with their result lines, a few read ahead."""
    reading: deque[tuple[int, asyncio.Task[bytes | None]]] = deque()

    async def first() -> tuple[int, list[bytes]]:
        number, payload = reading[0][0], await reading[0][1]
        reading.popleft()
        if payload is None:
            raise Unreachable(f"The result of batch {number} of request {request_id} {gone(store)}")
        return number, [line for line in payload.split(b"\n")[1:] if line]

    try:
        async for path in store.list(results_prefix(request_id)):
            reading.append((batch_number(path), asyncio.ensure_future(store.get(path))))
            if len(reading) >= _READ_AHEAD:
                yield await first()
        while reading:
            yield await first()
    finally:
        for _, getting in reading:
            getting.cancel()


async def _not_done(store: Store, request_id: str, first: int, end: int) -> AsyncIterator[bytes]:
    """The operations of batches `first` .. `end - 1`, which have no record in a request that is over."""
    batches = Batches(store)
    while first < end:
        some = await batches.load_many(request_id, first, min(_READ_AHEAD, end - first))
        first += len(some)
        for batch in some:
            applied = await applied_so_far(store, request_id, batch)
            reason = _CANCELLED if applied == "no" else _CUT_OFF
            for operation in batch.operations:
                yield result_line(operation.id, operation.line, "unprocessed", applied, reason)


async def applied_so_far(store: Store, request_id: str, batch: PlannedBatch) -> Applied:
    """Whether a batch without a record may have taken effect: `unknown` once it has a journal, since that comes before sending."""
    if batch.form in {"read", "look_up"} or not await store.exists(journal_path(request_id, batch.number)):
        return "no"
    return "unknown"


async def _never_planned(store: Store, request_id: str) -> AsyncIterator[bytes]:
    """The lines of a request that ended before its plan was made."""
    inputs = [
        path async for path in store.list(request_root(request_id)) if path.rpartition("/")[2].startswith("input-")
    ]
    if len(inputs) > 1:
        raise InvalidRequest(
            f"Request {request_id} ended before it was planned and has {len(inputs)} inputs: none of them was sent."
        )
    number = 0
    if not inputs:
        return
    async for line in store.open_lines(inputs[0]):
        number += 1
        if line is None or line.strip():
            yield result_line(_id_of(line, number), number, "unprocessed", "no", _CANCELLED)


def _id_of(line: bytes | None, number: int) -> str:
    """The id that a line names, as far as it can be read; without one its number, as planning has it."""
    try:
        fields = json.loads(line or b"")
    except ValueError:
        return str(number)
    named = fields.get("id") if isinstance(fields, dict) else None
    return str(named)[:LONGEST_ID] if named and isinstance(named, str | int) else str(number)
