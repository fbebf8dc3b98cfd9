"""What an occurrence of a schedule needs of the store: the schedule's input becomes its request's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from temporalio import activity

from activities import layout
from activities.manifest import gone
from activities.store import Store
from headgate.errors import Unreachable
from headgate.schedules import TakeInput


@dataclass(frozen=True)
class OccurrenceActivities:
    """A copy and no reference, so that a schedule and its requests can be removed in any order."""

    store: Store

    @activity.defn
    async def take_input(self, order: TakeInput) -> None:
        """The input is in the store under the request; asked again, nothing changes.

        Its bytes pass through here: what a bucket or a disk copies by itself may keep its age, and a purge go by that.
        Raises Unreachable while the schedule's input is not there: that may be a store that this worker does not share.
        """
        if order.nonce:
            await self._take_address(order)
        taken = layout.input_path(order.request_id, order.sha256)
        if await self.store.exists(taken):
            return
        source = layout.scheduled_input_path(order.schedule, order.sha256)
        try:
            async with aclosing(self.store.open_blocks(source)) as blocks:
                await self.store.put_stream(taken, _beating(blocks))
        except FileNotFoundError:
            raise Unreachable(f"The input of schedule {order.schedule} {gone(self.store)}") from None

    async def _take_address(self, order: TakeInput) -> None:
        url = await self.store.get(layout.scheduled_notify_path(order.schedule, order.kept))
        if url is None:
            raise Unreachable(f"The address that schedule {order.schedule} tells {gone(self.store)}")
        await self.store.put(layout.notify_path(order.request_id, order.nonce), url)


async def _beating(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for block in blocks:
        activity.heartbeat()
        yield block
