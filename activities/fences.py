"""The fences that live in each spreadsheet, so that whoever writes there next removes those that have outlived their use.

1. A fence is put down when the result of its batch is recorded: from then on nobody will send that batch again.
2. Who is to remove a fence claims it first; a claim has one winner, and for the same batch asked again the same one.
3. What was removed loses its entry before its claim, so that no claim can be won for a fence that is gone.

A fence that no record tells of (its worker was lost in that moment) stays until `headgate fences clean` looks for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from activities.layout import FENCES, fence_claim_path, fence_path, fences_prefix
from activities.store import Store
from headgate.message import SECOND_NS

#: A fence outlives every call that could still carry its id: the client's 190 s, the server's 180 s, and as much again.
FENCE_LIVES_NS: Final = 15 * 60 * SECOND_NS
SWEPT_AT_ONCE: Final = 8
_KNOWN: Final = 512


class LiveFence(NamedTuple):
    """A fence and since when its batch is done (ns, server clock)."""

    at_ns: int
    id: int

    @property
    def expires_ns(self) -> int:
        """From when on it may be removed."""
        return self.at_ns + FENCE_LIVES_NS


@dataclass(slots=True)
class Fences:
    """The fences of all spreadsheets, in one store. What was listed is remembered: nothing older can come after it."""

    store: Store
    _listed: OrderedDict[str, deque[LiveFence]] = field(default_factory=OrderedDict)
    _look_again_ns: dict[str, int] = field(default_factory=dict)

    async def put_down(self, spreadsheet: str, ids: Iterable[int], at_ns: int, whose: str) -> None:
        """These fences exist since `at_ns`; put down again, nothing changes. `whose` is for people."""
        paths = (fence_path(spreadsheet, at_ns, number) for number in ids)
        await asyncio.gather(*(self.store.put_new(path, whose.encode()) for path in paths))

    async def claim(self, spreadsheet: str, by: str, now_ns: int, most: int = SWEPT_AT_ONCE) -> tuple[int, ...]:
        """Up to so many expired fences that from now on are for `by` alone to remove."""
        wanted: list[LiveFence] = []
        while len(wanted) < most:
            listed = await self._expiring(spreadsheet, now_ns)
            if not listed or listed[0].expires_ns > now_ns:
                break
            fence = listed.popleft()
            wanted += [fence] if fence not in wanted else []
        won = await asyncio.gather(*(self._claim(spreadsheet, fence, by) for fence in wanted))
        return tuple(fence.id for fence, ours in zip(wanted, won, strict=True) if ours)

    async def give_up(self, spreadsheet: str, ids: Iterable[int]) -> None:
        """These were claimed and will not be removed after all: anybody may claim them again."""
        await asyncio.gather(*(self.store.delete(fence_claim_path(spreadsheet, number)) for number in ids))
        self.forget(spreadsheet)

    async def removed(self, spreadsheet: str, ids: Iterable[int]) -> None:
        """These were claimed, and do not exist any more."""
        await asyncio.gather(*(self._removed(spreadsheet, number) for number in ids))

    async def alive(self, spreadsheet: str) -> list[LiveFence]:
        """Every fence that was put down and not removed, the oldest first."""
        return [_fence_in(path) async for path in self.store.list(fences_prefix(spreadsheet))]

    async def spreadsheets(self) -> AsyncIterator[str]:
        """The spreadsheets that have fences."""
        last = ""
        async for path in self.store.list(FENCES):
            spreadsheet = path.split("/")[1]
            if spreadsheet != last:
                yield spreadsheet
            last = spreadsheet

    def forget(self, spreadsheet: str) -> None:
        """Look anew the next time."""
        self._listed.pop(spreadsheet, None)
        self._look_again_ns.pop(spreadsheet, None)

    async def _expiring(self, spreadsheet: str, now_ns: int) -> deque[LiveFence]:
        listed = self._listed.get(spreadsheet)
        if listed is None or (not listed and self._look_again_ns[spreadsheet] <= now_ns):
            listed = self._listed[spreadsheet] = deque(await self.alive(spreadsheet))
            self._look_again_ns[spreadsheet] = now_ns + FENCE_LIVES_NS
            if len(self._listed) > _KNOWN:
                self.forget(next(iter(self._listed)))
        self._listed.move_to_end(spreadsheet)
        return listed

    async def _claim(self, spreadsheet: str, fence: LiveFence, by: str) -> bool:
        entry, claim = fence_path(spreadsheet, *fence), fence_claim_path(spreadsheet, fence.id)
        said = f"{entry}\n{by}".encode()
        if not await self.store.put_new(claim, said):
            return await self.store.get(claim) == said
        if await self.store.exists(entry):
            return True
        await self.store.delete(claim)
        return False

    async def _removed(self, spreadsheet: str, number: int) -> None:
        claim = fence_claim_path(spreadsheet, number)
        said = await self.store.get(claim)
        if said is not None:
            await self.store.delete(said.partition(b"\n")[0].decode())
            await self.store.delete(claim)


def _fence_in(path: str) -> LiveFence:
    at, _, number = path.rpartition("/")[2].partition("-")
    return LiveFence(int(at), int(number))
