"""What is left over of a request, over or not: the lines of its input that are worth handing in once more.

1. An operation that succeeded is never taken; one whose effect is unknown, or that was never sent, only if the caller says so.
2. A line that planning refused would be refused again and is left out; but not one that only lacked its user's credentials.
3. A line keeps its operation's id: one that had none gets its number in the old input, which was its id there.
4. The same question has the same answer, byte for byte, as long as the request's files are there.

Memory holds a byte for each line.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from activities.layout import input_path, refused_path
from activities.manifest import find_plan, gone
from activities.planning import NO_CREDENTIALS
from activities.results import read_results
from activities.store import Store
from headgate.errors import InvalidRequest
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LeftOut
from headgate.messages.words import State

_TAKEN: Final = 1
_LEFT: Final = 2
_REFUSED: Final = 3
_RETRIED: Final = 4


@dataclass
class Leftovers:
    """The choice, line by line, and what was left out of it by reason."""

    store: Store
    request: BulkRequest
    refused: int = 0
    unknown: int = 0
    unprocessed: int = 0
    retried: int = 0
    marks: bytearray = field(default_factory=bytearray)

    @property
    def taken(self) -> int:
        """Operations that are to be handed in again."""
        return self.marks.count(_TAKEN)

    @property
    def left_out(self) -> LeftOut:
        """Operations that are not."""
        return LeftOut(refused=self.refused, unknown=self.unknown, unprocessed=self.unprocessed, retried=self.retried)

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of the operations that are taken, in their order, as they are to be handed in."""
        async for number, line in self._candidates():
            if self.marks[number] == _TAKEN:
                yield line

    async def without(self, earlier: BulkRequest) -> int:
        """Leaves out what an earlier retry took; returns how many that are. Raises InvalidRequest if its input is gone."""
        path = input_path(earlier.id, earlier.input_sha256)
        if not await self.store.exists(path):
            raise InvalidRequest(
                f"request {earlier.id} retried some of these operations and its input was purged: nobody knows which"
            )
        found = 0
        retried = self.store.open_lines(path)
        head = await anext(retried, None)
        async for number, line in self._candidates():
            if head is None:
                break
            if line == head + b"\n":
                found += self.marks[number] != _RETRIED
                self.marks[number] = _RETRIED
                head = await anext(retried, None)
        self.retried += found
        return found

    async def _candidates(self) -> AsyncIterator[tuple[int, bytes]]:
        """Every line that could be handed in again, whether it is taken or not."""
        number = 0
        try:
            async for line in self.store.open_lines(input_path(self.request.id, self.request.input_sha256)):
                number += 1
                if number < len(self.marks) and self.marks[number] in (_TAKEN, _LEFT, _RETRIED) and line is not None:
                    yield number, _with_id(line, number)
        except FileNotFoundError:
            raise InvalidRequest(f"the input of request {self.request.id} {gone(self.store)}") from None

    def mark(self, line: int, mark: int) -> None:
        """What becomes of a line."""
        if line >= len(self.marks):
            self.marks.extend(bytes(line + 1 - len(self.marks) + len(self.marks) // 8))
        self.marks[line] = mark


async def leftovers(
    store: Store,
    request: BulkRequest,
    state: State | None,
    *,
    include_unknown: bool = False,
    include_unprocessed: bool = False,
) -> Leftovers:
    """What is worth retrying of a request that ended in this state; None: of what failed so far in one that runs."""
    left = Leftovers(store, request)
    plan = await find_plan(store, request.id)
    if plan is not None and plan.summary.dead_letters:
        async for line in store.open_lines(refused_path(request.id, plan.edition)):
            refused = json.loads(line or b"{}")
            if refused.get("outcome") == "failed":
                again = refused["reason"].startswith(NO_CREDENTIALS)
                left.refused += not again
                left.mark(refused["line"], _TAKEN if again else _REFUSED)
    async for result in read_results(store, request.id, closed=state in ("cancelled", "failed")):
        number = result["line"]
        if result["outcome"] == "succeeded" or (number < len(left.marks) and left.marks[number]):
            continue
        if result["applied"] == "unknown" and not include_unknown:
            left.unknown += 1
            left.mark(number, _LEFT)
        elif result["outcome"] == "unprocessed" and not include_unprocessed:
            left.unprocessed += 1
            left.mark(number, _LEFT)
        else:
            left.mark(number, _TAKEN)
    return left


def _with_id(line: bytes, number: int) -> bytes:
    """The line with the id that its operation had."""
    try:
        fields = json.loads(line)
    except ValueError:  # never planned, and never looked at
        return line + b"\n"
    if not isinstance(fields, dict) or fields.get("id") is not None:
        return line + b"\n"
    return json.dumps({**fields, "id": str(number)}, ensure_ascii=False).encode() + b"\n"
