"""Planned batches out of the store, and what is kept for each while it is being sent.

1. A batch is found by its number in two ranged reads at most, whatever the size of the plan; the index pages last read stay in memory.
2. A batch has a journal from the moment at which its first write may leave; without one it was never sent.
3. A journal and a lane's titles are replaced as a whole; the one writer of a batch or a lane is who sends it.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Final, TypeVar

from activities.beside import beside
from activities.layout import batches_path, index_path, journal_path, titles_path
from activities.manifest import INDEX_ENTRY, PlanRecord, gone, need_plan
from activities.planned_json import read_batch
from activities.store import Store
from headgate.apis.sheets.titles import Titles
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import PlannedBatch

INDEX_PAGE: Final = 512
_PAGES_KEPT: Final = 256
_PLANS_KEPT: Final = 1024
#: What one read of consecutive batches may bring into memory, unless one batch alone is larger.
_READ_BYTES: Final = 8 * 1024 * 1024

#: More than this takes milliseconds to parse, and is parsed beside the event loop.
_LARGE_BYTES: Final = 32 * 1024

Kept = TypeVar("Kept")
Key = TypeVar("Key")


class Batches:
    """The batches of all requests whose plans lie in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plans: OrderedDict[str, PlanRecord] = OrderedDict()
        self._pages: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    async def load(self, request_id: str, number: int) -> PlannedBatch:
        """The batch of this number."""
        return (await self.load_many(request_id, number, 1))[0]

    async def load_many(self, request_id: str, first: int, count: int) -> tuple[PlannedBatch, ...]:
        """The `count` batches from `first` on, by one read of the store for about every 8 MiB."""
        plan = await self.plan(request_id)
        if first < 0 or count < 0 or first + count > plan.batches:
            raise InvalidRequest(
                f"Request {request_id} has {plan.batches} batches: there is no {first} to {first + count - 1}."
            )
        places = [await self._place(request_id, plan, number) for number in range(first, first + count)]
        path = batches_path(request_id, plan.edition)
        loaded: list[PlannedBatch] = []
        while len(loaded) < count:
            start = places[len(loaded)][0]
            near = [
                (offset, length) for offset, length in places[len(loaded) :] if offset + length - start <= _READ_BYTES
            ]
            near = near or [places[len(loaded)]]
            end = sum(near[-1])
            payload = await self._store.get_range(path, start, end - start)
            if payload is None or len(payload) != end - start:
                raise Unreachable(f"A part of the plan of request {request_id} {gone(self._store)}")
            lines = [payload[offset - start :][:length] for offset, length in near]
            if len(payload) > _LARGE_BYTES:
                loaded += await beside(partial(_parsed, lines))
            else:
                loaded += _parsed(lines)
        return tuple(loaded)

    async def plan(self, request_id: str) -> PlanRecord:
        """The valid plan of the request."""
        known = _recall(self._plans, request_id)
        return known or _keep(self._plans, request_id, await need_plan(self._store, request_id), _PLANS_KEPT)

    async def journal(self, request_id: str, number: int) -> bytes | None:
        """What was last saved about the attempts at this batch."""
        return await self._store.get(journal_path(request_id, number))

    async def save_journal(self, request_id: str, number: int, journal: bytes) -> None:
        """The journal is this one from now on."""
        await self._store.put(journal_path(request_id, number), journal)

    async def drop_journal(self, request_id: str, number: int) -> None:
        """Nothing of the batch has left after all."""
        await self._store.delete(journal_path(request_id, number))

    async def titles(self, request_id: str, lane: int) -> Titles | None:
        """The sheets that the lane looked up, or None if it has not yet."""
        payload = await self._store.get(titles_path(request_id, lane))
        return None if payload is None else Titles.model_validate_json(payload)

    async def save_titles(self, request_id: str, lane: int, titles: Titles) -> None:
        """The lane's titles are these from now on."""
        await self._store.put(titles_path(request_id, lane), titles.model_dump_json().encode())

    async def _place(self, request_id: str, plan: PlanRecord, number: int) -> tuple[int, int]:
        """Offset and length of a batch in the batches object."""
        page, entry = divmod(number, INDEX_PAGE)
        key = (request_id, page)
        entries = _recall(self._pages, key)
        if entries is None:
            size = INDEX_PAGE * INDEX_ENTRY.size
            found = await self._store.get_range(index_path(request_id, plan.edition), page * size, size)
            if found is None or len(found) <= entry * INDEX_ENTRY.size:
                raise Unreachable(f"The plan's index of request {request_id} {gone(self._store)}")
            entries = _keep(self._pages, key, found, _PAGES_KEPT)
        offset, length = INDEX_ENTRY.unpack_from(entries, entry * INDEX_ENTRY.size)
        return offset, length


def _parsed(lines: list[bytes]) -> list[PlannedBatch]:
    return [read_batch(line) for line in lines]


def _recall(kept: OrderedDict[Key, Kept], key: Key) -> Kept | None:
    if key in kept:
        kept.move_to_end(key)
    return kept.get(key)


def _keep(kept: OrderedDict[Key, Kept], key: Key, value: Kept, limit: int) -> Kept:
    kept[key] = value
    while len(kept) > limit:
        kept.popitem(last=False)
    return value
