"""What is known of a batch on its way: the parts that are to go, the outcomes so far. It knows nothing of replies.

1. Every operation is in one part, or settled; a settled one stays as it is.
2. What goes on of a part is a new one, with a name and so a fence of its own.
3. It is stored as the batch's journal before a call leaves (`frozen`), with the bytes of the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Self

from pydantic import BaseModel, PrivateAttr

from headgate.apis.sheets.compose import sheet_key
from headgate.apis.sheets.sheet_names import about_sheets, after
from headgate.apis.sheets.titles import Titles
from headgate.messages.requests import BulkRequest, Operation, PlannedBatch
from headgate.messages.words import Applied
from headgate.parts import Part, Piece, Step
from headgate.repeating import in_steps, repeatable
from headgate.results import Advice, BatchCounts, OperationResult, counted

MOST_SALTS = 5


class Journal(BaseModel):
    """One batch. `fences` are ids that exist now because of it, `swept` those that it removed.

    `most`: how many operations a call of its lane should carry (0: as planned); `grids`: the sizes that it gave to sheets;
    `found`: how many refusals of each kind made dead letters. `titles` are those that it looked up or goes by, `doubted` says
    that a request about sheets has failed since, `looked_up` that a refusal has had its look-up.
    """

    parts: list[Part] = []
    settled: dict[int, OperationResult] = {}
    calls: int = 0
    names: int = 0
    swept: tuple[int, ...] = ()
    fences: list[int] = []
    sweep_taken: bool = False
    titles: Titles | None = None
    doubted: bool = False
    looked_up: bool = False
    failure: str = ""
    found: dict[str, int] = {}
    most: int = 0
    grids: dict[int, tuple[int, int]] = {}
    _batch: PlannedBatch = PrivateAttr()
    _request: BulkRequest = PrivateAttr()

    @classmethod
    def fresh(cls, batch: PlannedBatch, request: BulkRequest, most: int = 0) -> Self:
        """A batch of which nothing was ever sent, in calls of at most `most` operations (0: in one)."""
        members = range(len(batch.operations))
        if batch.form == "look_up":
            groups: list[tuple[int, ...]] = [()]
        elif batch.form == "values_append":
            groups = [(member,) for member in members]
        else:
            groups = in_steps(members, most)
        state = cls(parts=[Part(name=str(number), members=group) for number, group in enumerate(groups)], most=most)
        state.names = len(groups)
        state._batch, state._request = batch, request
        return state

    def frozen(self) -> bytes:
        """The journal: everything but the plan, with the bytes of the calls."""
        return self.model_dump_json(exclude_defaults=True).encode()

    @property
    def finished(self) -> bool:
        """Nothing is left to send."""
        return not self.parts

    @property
    def results(self) -> list[OperationResult]:
        """The outcomes so far, in the order of the operations."""
        return [self.settled[member] for member in sorted(self.settled)]

    @property
    def crowded(self) -> bool:
        """The spreadsheet has no room for the next call's fence: `next_step` wants old ones to remove."""
        return bool(self.parts) and self.parts[0].full

    @property
    def simply_goes_on(self) -> bool:
        """What is left is to be sent like any batch: nothing is unknown, and nothing has to be waited for."""
        return bool(self.parts) and (self.parts[0].next_purpose, self.parts[0].unknown) == ("send", False)

    @property
    def retried(self) -> int:
        """The calls beyond the one that was planned."""
        return max(0, self.calls - 1)

    @property
    def attempts(self) -> int:
        """Attempts of the call that is on, waits for quota not counted."""
        return self.parts[0].attempts if self.parts else 0

    def counts(self) -> BatchCounts:
        """The outcomes in numbers."""
        return counted(self.settled.values())

    @property
    def changed_titles(self) -> bool:
        """The lane's next batches have to know `titles_after`."""
        changed = self.titles is not None or self.doubted or (self._request.grow and bool(self.grids))
        return self._batch.form == "fenced" and changed

    def titles_after(self, titles: Titles | None) -> Titles | None:
        """What the lane knows of its sheets behind this batch; `titles`: what it knew before."""
        known = self.titles or titles
        if not self.changed_titles:
            return known
        known = known or Titles()
        grown = known.grown | self.grids if self._request.grow else known.grown
        return known.model_copy(update={"doubted": self.doubted, "grown": grown})

    # --- what the rules for replies build on

    @property
    def _fenced(self) -> bool:
        return self._batch.form == "fenced" and self._request.fences

    def _repeatable(self, part: Part) -> bool:
        return repeatable(self._batch.form, (self._batch.operations[member] for member in part.members))

    def _part_of(self, step: Step) -> Part:
        part = self.parts[0]
        assert (part.name, part.next_purpose) == (step.part, step.purpose)
        return part

    def _freeze(self, part: Part, titles: Titles | None, sweep: Sequence[int]) -> None:
        if self._fenced and not self.sweep_taken and sweep:
            part.sweep = tuple(sweep)
        composed = part.freeze(self._batch, self._request, titles, self.grids)
        unknown = {sheet_key(self._batch.operations[part.members[place]]).casefold() for place in composed.refused}
        if not (self.looked_up or unknown.issubset(titles.missing if titles else ())):
            part.thaw(keeps_sweep=self.sweep_taken)
            self._look_up_again(part)
            return
        self.sweep_taken = True
        counted_on = [
            place for place, member in enumerate(part.members) if about_sheets(self._batch.operations[member])
        ]
        for place, reason in {**composed.refused, **dict.fromkeys(composed.idle, "")}.items():
            if counted_on and counted_on[0] < place:
                part.aside[part.members[place]] = reason
            else:
                self._settle_unsent(part, part.members[place], reason)
        part.members = tuple(member for member in part.members if member not in self.settled)

    def _look_up_again(self, part: Part) -> None:
        """The titles are perhaps not what they were: once in a batch, before an operation fails for it."""
        self.looked_up = True
        part.turn_to("title_look_up")

    def _salt_anew(self, part: Part, reason: str) -> Advice:
        if part.salt >= MOST_SALTS:
            return self._fail_part(part, reason)
        self.parts[0] = part.salted(str(self.names))
        self.names += 1
        return Advice(why=f"a new fence: {reason}")

    def _split(self, part: Part, reason: str) -> Advice:
        if len(part.members) == 1:
            return self._fail_part(part, reason)
        at = len(part.members) // 2
        return self._replace([Piece(part.members[:at]), Piece(part.members[at:])], reason)

    def _held(self) -> Part | None:
        """What a search holds back behind the first part."""
        return self.parts[1] if len(self.parts) > 1 and self.parts[1].held else None

    def _replace(self, pieces: Iterable[Piece], reason: str) -> Advice:
        """The first part, and what its search held back, go on as these."""
        front, held = self.parts[0], self._held()
        joined = {member for piece in pieces for member in piece.members}
        heirs = []
        for piece in pieces:
            if piece.members:
                heirs.append(front.heir(str(self.names), piece, tainted=front.unknown and not self._fenced))
                self.names += 1
        taken = 2 if held is not None and joined.issuperset(held.members) else 1
        self.parts[:taken] = heirs
        return Advice(why=reason)

    def _fail_part(self, part: Part, reason: str) -> Advice:
        self._settle(part.members, "failed", self._never(part), reason)
        self.parts.pop(0)
        return Advice(why=reason)

    def _fail_everything(self, reason: str) -> Advice:
        """Refused for the spreadsheet as a whole: so would be all that is still to come."""
        for part in self.parts:
            self._settle(part.members, "failed", self._never(part), reason)
        self.parts = []
        self.failure = reason
        return Advice(why=reason)

    def _fail_rest(self, reason: str) -> Advice:
        """Nothing more of the batch is sent: what was refused so far speaks for the rest."""
        for part in self.parts:
            left = [member for member in part.members if member not in self.settled]
            self._settle(left, "failed", self._never(part), reason)
        self.parts = []
        return Advice(why=reason)

    def _drop(self, part: Part, reason: str) -> None:
        if part.tainted:
            self._settle(part.members, "failed", "unknown", reason)
        else:
            self._settle(part.members, "unprocessed", "no", reason)

    def _never(self, part: Part) -> Applied:
        reading = self._batch.form in ("read", "look_up")
        return "unknown" if (part.tainted or part.unknown) and not reading else "no"

    def _settle(
        self,
        members: Iterable[int],
        outcome: Literal["succeeded", "failed", "unprocessed"],
        applied: Applied,
        reason: str = "",
        reply: dict[str, object] | None = None,
    ) -> None:
        for member in members:
            operation = self._batch.operations[member]
            fields = {
                "id": operation.id,
                "line": operation.line,
                "outcome": outcome,
                "applied": applied,
                "reason": reason,
                "reply": reply,
            }
            self.settled[member] = OperationResult.trusted(fields)
            if about_sheets(operation):
                self._follow(operation, applied)

    def _settle_unsent(self, part: Part, member: int, reason: str) -> None:
        """An operation for which no call is needed: there is no sheet for it (the reason says so), or nothing to write."""
        if reason:
            self._settle((member,), "failed", "unknown" if part.tainted else "no", reason)
        else:
            self._settle((member,), "succeeded", "yes", reply={})

    def _follow(self, operation: Operation, applied: Applied) -> None:
        """What a request about sheets came to: planning counted on its success."""
        followed = self.titles is not None and self.titles.followed
        if applied == "yes" and self.titles is not None and followed:
            self.titles = after(self.titles, operation)
        elif applied == "unknown" or (applied == "no" and not followed):
            self.doubted = True
