"""Answers to reads, kept for requests that take values of some age (`max_age_ns`), and shared by all workers through the store.

1. An answer is kept under its owner, user, spreadsheet, way of showing and ranges, with the instant (server's clock) before
   its call was sent: its age counts from there.
2. Whoever wants to keep answers of a spreadsheet gives it an *edition* first. Every call of ours that writes to it draws a new
   edition before it leaves and again when it was answered, before anybody hears of that. An answer is kept only if the edition
   before its call was sent is the one after its answer came, and counts only under that one: no answer outlives a write of ours.
3. A spreadsheet without an edition costs a write two looks into the store, and nothing is stored.
4. What is older than `LONGEST_AGE_NS` or one too many is removed: beside an answer that is kept, at once; elsewhere by a round
   through the whole cache, every ten minutes in which something is kept.

What people and other programs write is not seen: that is what the age is for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict

from activities.layout import CACHE_ROOT
from activities.store import Store
from headgate.apis.sheets.reads import Known
from headgate.errors import Unreachable
from headgate.message import SECOND_NS
from headgate.messages.requests import LONGEST_AGE_NS, BulkRequest, Operation
from headgate.results import OperationResult

#: A larger answer is not kept.
MOST_BYTES: Final = 2 * 1024 * 1024
#: Answers, each of one call, that are kept for one way of reading one spreadsheet; and for all of them.
MOST_OF_A_WAY: Final = 16
MOST_OF_ALL: Final = 4096
ROUND_EVERY_NS: Final = 600 * SECOND_NS
_SPREADSHEETS_REMEMBERED: Final = 10_000


class KeptAnswer(BaseModel):
    """What one call read: value ranges by the range that was asked for."""

    model_config = ConfigDict(frozen=True)

    edition: str
    ranges: dict[str, dict[str, object]]


@dataclass(slots=True)
class Cache:
    """The answers kept in one store."""

    store: Store
    _watched: set[str] = field(default_factory=set)
    _next_round_ns: int = 0
    _rounds: set[asyncio.Task[None]] = field(default_factory=set)

    async def known(
        self, request: BulkRequest, operation: Operation, now_ns: int, most_bytes: int = MOST_OF_A_WAY * MOST_BYTES
    ) -> tuple[Known, int]:
        """What reads like this one may be served from, as far as it is young enough for the request; and its size.

        The youngest first, until the next would be beyond `most_bytes`.
        """
        ranges: dict[str, dict[str, object]] = {}
        size = 0
        edition = await self._edition(operation.spreadsheet)
        paths = [path async for path in self.store.list(way_path(request.owner, operation))] if edition else []
        for path in reversed(paths):
            if now_ns - _sent_at(path) >= request.max_age_ns or (payload := await self.store.get(path)) is None:
                continue
            kept = KeptAnswer.model_validate_json(payload)
            if kept.edition == edition:
                if (size := size + len(payload)) > most_bytes:
                    break
                ranges = kept.ranges | ranges
        return Known(ranges), size

    async def reading(self, spreadsheet: str) -> str:
        """The edition under which an answer may be kept; from here on writes change it."""
        edition = await self._edition(spreadsheet)
        if edition is None:
            await self.store.put_new(edition_path(spreadsheet), _drawn())
            edition = await self._edition(spreadsheet)
        return edition or ""

    async def keep(
        self, owner: str, edition: str, sent_at_ns: int, read: Iterable[tuple[Operation, OperationResult]]
    ) -> None:
        """Keep what one call answered, unless it is too much or a write of ours came between."""
        answered = [(operation, result.reply) for operation, result in read if result.reply is not None]
        if not answered:
            return
        operation, _ = answered[0]
        kept = KeptAnswer(edition=edition, ranges={one.range: reply for one, reply in answered})
        payload = kept.model_dump_json().encode()
        if len(payload) > MOST_BYTES or await self._edition(operation.spreadsheet) != edition:
            return
        way = way_path(owner, operation)
        paths = [path async for path in self.store.list(way)]
        await self._remove(paths, sent_at_ns, MOST_OF_A_WAY - 1)
        await self.store.put(f"{way}/{sent_at_ns:020d}-{secrets.token_hex(4)}.json", payload)
        if sent_at_ns >= self._next_round_ns:
            self._next_round_ns = sent_at_ns + ROUND_EVERY_NS
            task = asyncio.create_task(self.clear_out(sent_at_ns))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    async def writing(self, spreadsheet: str) -> None:
        """A call that writes is about to leave, or was answered: what was read before does not count any more."""
        if spreadsheet not in self._watched:
            if not await self.store.exists(edition_path(spreadsheet)):
                return
            if len(self._watched) >= _SPREADSHEETS_REMEMBERED:
                self._watched.clear()
            self._watched.add(spreadsheet)
        await self.store.put(edition_path(spreadsheet), _drawn())

    async def clear_out(self, now_ns: int) -> None:
        """Remove what is too old or too much in the whole cache, whoever read it."""
        with suppress(Unreachable):  # the next round will do it
            paths = [path async for path in self.store.list(CACHE_ROOT)]
            answers = sorted((path for path in paths if path.endswith(".json")), key=_sent_at)
            left = {_spreadsheet(path) for path in await self._remove(answers, now_ns, MOST_OF_ALL)}
            for path in paths:
                # An edition that is missing makes answers under it worthless, never wrong.
                if path.endswith("/edition") and _spreadsheet(path) not in left:
                    await self.store.delete(path)

    async def _remove(self, rising: list[str], now_ns: int, most: int) -> list[str]:
        """Of answers in the order of their age: those that are too old, and the oldest beyond `most`; returns what is left."""
        too_many = len(rising) - most
        left = []
        for place, path in enumerate(rising):
            if place < too_many or now_ns - _sent_at(path) >= LONGEST_AGE_NS:
                await self.store.delete(path)
            else:
                left.append(path)
        return left

    async def _edition(self, spreadsheet: str) -> str | None:
        payload = await self.store.get(edition_path(spreadsheet))
        return None if payload is None else payload.decode("ascii", "replace")


def edition_path(spreadsheet: str) -> str:
    """Where the edition of a spreadsheet lies."""
    return f"{CACHE_ROOT}/{_digest(spreadsheet)}/edition"


def way_path(owner: str, operation: Operation) -> str:
    """The folder of the answers that were read for this owner, by this user, from this spreadsheet and shown like this."""
    render = operation.render or "FORMATTED_VALUE"
    way = _digest(owner, operation.user, render, operation.major_dimension)
    return f"{CACHE_ROOT}/{_digest(operation.spreadsheet)}/{way}"


def _digest(*names: str) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:32]


def _spreadsheet(path: str) -> str:
    return path.split("/")[1]


def _sent_at(path: str) -> int:
    return int(path.rpartition("/")[2].partition("-")[0])


def _drawn() -> bytes:
    return secrets.token_hex(8).encode()
