"""Retention: everything that the store keeps of a request goes, when somebody says so.

1. The input goes first and the plan's record next: a purge that is cut off leaves nothing that could be read as results or
   retried, and the same purge again removes the rest.
2. Only a request's own folder is touched; the input of a schedule is no request's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from activities.layout import REQUESTS, SCHEDULES, plan_path, request_root, schedule_root
from activities.store import Store


class Kept(NamedTuple):
    """What the store keeps of one request, or of one schedule; `modified_s` is when the youngest object was written (seconds since 1970)."""

    request_id: str
    objects: int
    size: int
    modified_s: float


async def kept(store: Store, request_id: str) -> Kept:
    """What there is of a request; no objects where there is nothing."""
    return await _kept(store, request_id, request_root(request_id))


async def _kept(store: Store, name: str, root: str) -> Kept:
    objects = size = 0
    modified_s = 0.0
    async for entry in store.contents(root):
        objects += 1
        size += entry.size
        modified_s = max(modified_s, entry.modified_s)
    return Kept(name, objects, size, modified_s)


async def all_kept(store: Store) -> AsyncIterator[Kept]:
    """What there is of every request, in the order of their ids."""
    for request_id in await store.folders(REQUESTS):
        yield await kept(store, request_id)


async def all_scheduled(store: Store) -> AsyncIterator[Kept]:
    """What there is of every schedule, which is its input, in the order of their ids."""
    for schedule_id in await store.folders(SCHEDULES):
        yield await _kept(store, schedule_id, schedule_root(schedule_id))


async def purge(store: Store, request_id: str) -> None:
    """Nothing of the request is in the store any more. It must be over: a worker that still sends would write again."""
    root = request_root(request_id)
    async for entry in store.contents(root):
        if entry.path.startswith(f"{root}/input-"):
            await store.delete(entry.path)
    await store.delete(plan_path(request_id))
    await store.delete_folder(root)
