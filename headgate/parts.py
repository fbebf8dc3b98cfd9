"""The parts of a batch: operations that travel together, frozen before they are first sent.

1. A part's name, salt and operations never change, and so neither do its fence and its bytes.
2. `unknown` means that a send may have taken effect, or still may; only a fence, a burn or a look-up takes that back.
3. `tainted` means that an earlier, unfenced send of these operations may have taken effect.
4. `suspects`, `stride`, `wary` and `held` are the search's (`headgate.searching`): so many of the first members hold a culprit,
   the size of a step behind dead letters, a dead letter came right before, it waits behind another part of the same search.
5. `full` says that there is no room for the fence, `crowded` how often that was so; `clearing` are old fences that go first,
   in a call of their own.
6. `grids` are the sizes of the sheets once the part has taken effect, where the request may make them larger.
7. Which sheet an operation means is settled when its part is frozen, from the titles that are known then. `aside` are operations
   that are not in the call, because there is no such sheet (the reason) or nothing to write (""), if only a request of the same
   call takes effect that may change which sheets there are: they wait for what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import BaseModel

from headgate.apis.sheets.compose import (
    Call,
    Composed,
    compose,
    compose_burn,
    compose_fence_look_up,
    compose_look_up,
    compose_sweep,
    sheet_key,
)
from headgate.apis.sheets.fences import Fence
from headgate.apis.sheets.grids import Grids
from headgate.apis.sheets.replies import Refused
from headgate.apis.sheets.sheet_names import after, counts_on
from headgate.apis.sheets.titles import Titles, needs_titles
from headgate.errors import HeadgateError
from headgate.message import Message
from headgate.messages.requests import BulkRequest, Form, Operation, PlannedBatch

Purpose = Literal["send", "fence_look_up", "burn", "sweep", "title_look_up"]
Then = Literal["", "refuse", "fail", "split", "cancel"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What a new part is to be; the fields are those of `Part`."""

    members: tuple[int, ...]
    suspects: int = 0
    stride: int = 0
    wary: bool = False
    held: bool = False


class TitlesNeeded(HeadgateError):
    """The batch writes to sheets by title, so a look-up of the titles has to come first."""


class Step(Message):
    """The next call of a batch: for which part, what for, and not before when (ns, server clock; 0: at once)."""

    part: str
    purpose: Purpose
    call: Call
    not_before_ns: int = 0

    def asked(self, form: Form) -> str:
        """What a good answer has to hold, in the words of `read_reply`: the batch's form, or the call's purpose."""
        return form if self.purpose == "send" else self.purpose


class Part(BaseModel):
    """One call's worth of a batch and how far it is. `members` and `owners` are positions in the batch's operations."""

    name: str
    members: tuple[int, ...]
    salt: int = 0
    tainted: bool = False
    sweep: tuple[int, ...] = ()
    call: Call | None = None
    owners: tuple[tuple[int, ...], ...] = ()
    sheets: dict[int, int] = {}
    aside: dict[int, str] = {}
    in_flight: bool = False
    unknown: bool = False
    attempts: int = 0
    logins: int = 0
    purpose: Purpose = "send"
    then: Then = ""
    reason: str = ""
    refusal: Refused | None = None
    burn_sent: bool = False
    not_before_ns: int = 0
    suspects: int = 0
    stride: int = 0
    wary: bool = False
    held: bool = False
    crowded: int = 0
    full: bool = False
    clearing: tuple[int, ...] = ()
    grids: dict[int, tuple[int, int]] = {}
    sent_ns: int = 0

    @property
    def next_purpose(self) -> Purpose:
        """What the next call is for: room for the fence comes first."""
        return "sweep" if self.clearing else self.purpose

    def fence(self, batch: PlannedBatch, nonce: str) -> Fence:
        """The fence of this part; the same whenever it is asked for."""
        return Fence.of(nonce, batch.spreadsheet, batch.lane, batch.number, self.name, self.salt)

    def freeze(
        self,
        batch: PlannedBatch,
        request: BulkRequest,
        titles: Titles | None,
        grids: Mapping[int, tuple[int, int]] | None = None,
    ) -> Composed:
        """Composes the call, once; what could not be composed leaves the part. Raises TitlesNeeded without the titles."""
        operations = [batch.operations[member] for member in self.members]
        if titles is not None and titles.followed:
            operations = self._followed(batch.form, operations, titles)
        else:
            for member in self.members:
                self._find_sheet(batch, member, titles)
        local = {place: self.sheets[member] for place, member in enumerate(self.members) if member in self.sheets}
        fence = self.fence(batch, request.nonce) if batch.form == "fenced" and request.fences else None
        sizes = Grids((titles.sizes() if titles else {}) | dict(grids or {})) if request.grow else None
        composed = compose(operations, batch.form, batch.spreadsheet, local, fence, self.sweep, sizes)
        self.grids = sizes.sizes if sizes is not None else {}
        self.call = composed.call
        self.owners = tuple(tuple(self.members[place] for place in owner) for owner in composed.owners)
        return composed

    def thaw(self, *, keeps_sweep: bool) -> None:
        """Not frozen after all: certainly nothing of it was sent."""
        self.call, self.owners, self.sheets, self.grids = None, (), {}, {}
        self.sweep = self.sweep if keeps_sweep else ()

    def sheets_named(self, batch: PlannedBatch) -> set[str]:
        """The titles, folded, that the operations name."""
        operations = (batch.operations[member] for member in self.members)
        return {sheet_key(operation).casefold() for operation in operations if operation.op != "request"}

    def again(self, name: str, *, tainted: bool = False) -> Part:
        """The same operations, and as far as the search has come, in a part that is not frozen yet."""
        piece = Piece(self.members, self.suspects, self.stride, self.wary, self.held)
        return self.heir(name, piece, tainted=tainted)

    def doubts(self, batch: PlannedBatch, titles: Titles | None) -> bool:
        """Which sheet one of the operations means depends on what the failure of another one has changed."""
        return batch.form == "fenced" and any(counts_on(batch.operations[member], titles) for member in self.members)

    def _followed(self, form: Form, operations: list[Operation], titles: Titles) -> list[Operation]:
        """The operations with the sheets that these titles give them; a request of the part that changes titles counts as done."""
        found = []
        for member, operation in zip(self.members, operations, strict=True):
            if form == "fenced" and operation.op != "request":
                sheet_id = titles.sheet_id(sheet_key(operation))
                if sheet_id is not None:
                    self.sheets[member] = sheet_id
                operation = operation.model_copy(update={"sheet_id": sheet_id})
            titles = after(titles, operation)
            found.append(operation)
        return found

    def _find_sheet(self, batch: PlannedBatch, member: int, titles: Titles | None) -> None:
        operation = batch.operations[member]
        if not needs_titles(operation, batch.form):
            if operation.sheet_id is not None:
                self.sheets[member] = operation.sheet_id
            return
        if titles is None:
            raise TitlesNeeded
        found = titles.sheet_id(sheet_key(operation), operation.gone_sheets)
        if found is not None:
            self.sheets[member] = found

    def step(self, batch: PlannedBatch, nonce: str) -> Step:
        """The call that this part is at; a part to be sent is frozen by now."""
        if self.clearing:
            call = compose_sweep(batch.spreadsheet, self.clearing)
        elif self.purpose == "send":
            assert self.call is not None
            call = self.call
        elif self.purpose == "burn":
            call = compose_burn(batch.spreadsheet, self.fence(batch, nonce).id)
        elif self.purpose == "title_look_up":
            call = compose_look_up(batch.spreadsheet)
        else:
            call = compose_fence_look_up(batch.spreadsheet, self.fence(batch, nonce).id)
        return Step(part=self.name, purpose=self.next_purpose, call=call, not_before_ns=self.not_before_ns)

    def turn_to(self, purpose: Purpose, then: Then = "", reason: str = "", refusal: Refused | None = None) -> None:
        """Goes on with another kind of call, and says what follows once it is certain that the part never applied."""
        self.purpose = purpose
        self.attempts = 0
        self.not_before_ns = 0
        self.clearing = ()
        self.then = then or self.then
        self.reason = reason or self.reason
        self.refusal = refusal or self.refusal

    def heir(self, name: str, piece: Piece, *, tainted: bool = False) -> Part:
        """A new part for what goes on of this one, with a name and so a fence of its own."""
        return Part(name=name, tainted=self.tainted or tainted, **asdict(piece))

    def salted(self, name: str) -> Part:
        """The same again with another fence, because this one's id is taken."""
        return self.again(name).model_copy(update={"salt": self.salt + 1, "sweep": self.sweep})
