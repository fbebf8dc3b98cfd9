"""What became of a batch: each reply moves the state on, until every operation has exactly one outcome.

1. Every operation ends once: succeeded, failed or unprocessed. `applied` is "yes" only if it is certain, "no" only if it
   is certain for all time, else "unknown".
2. The bytes of a part never change. What is split or goes on without a neighbour is a new part with a new fence.
3. A fenced part of unknown outcome is resent as it is; before it is failed, split or cancelled, its fence is burnt.
4. An unfenced part is resent after an unknown outcome only if it is idempotent, and not before `ZOMBIE_NS` have passed.
5. Waiting for a quota is no attempt.
6. A state is a journal: stored by `frozen` before a call leaves, brought back by `resumed`, it goes on with the same bytes.

Source: design section 5; reference/sheets.md section 3.2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, assert_never

from pydantic import BaseModel, PrivateAttr

from headgate.apis.sheets.fences import BURNT
from headgate.apis.sheets.reads import deal_out
from headgate.apis.sheets.replies import Answered, Busy, Lost, Refused, Reply, Throttled, TooLarge, Unauthorised
from headgate.apis.sheets.titles import Titles, titles_from
from headgate.culprits import all_alike, culprits_of
from headgate.models import SECOND_NS, Applied, BulkRequest, PlannedBatch, Throttling
from headgate.parts import Part, Purpose, Step, TitlesNeeded
from headgate.results import Advice, BatchCounts, OperationResult

__all__ = ["Advice", "BatchCounts", "BatchState", "OperationResult", "Part", "Purpose", "Step", "TitlesNeeded"]

ZOMBIE_NS = 180 * SECOND_NS
_AFTER_A_ZOMBIE = -1
LONGEST_WAIT_NS = 64 * SECOND_NS
MOST_SALTS = 5
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\d[\d,]*")


class BatchState(BaseModel):
    """One batch on its way. `fences` are ids that exist now because of it, `swept` those that it removed."""

    parts: list[Part] = []
    settled: dict[int, OperationResult] = {}
    calls: int = 0
    names: int = 0
    swept: tuple[int, ...] = ()
    fences: list[int] = []
    sweep_taken: bool = False
    titles: Titles | None = None
    failure: str = ""
    _batch: PlannedBatch = PrivateAttr()
    _request: BulkRequest = PrivateAttr()

    # --- beginning, journal, end

    @classmethod
    def fresh(cls, batch: PlannedBatch, request: BulkRequest) -> BatchState:
        """A batch of which nothing was ever sent."""
        members = range(len(batch.operations))
        if batch.form == "look_up":
            groups: list[tuple[int, ...]] = [()]
        elif batch.form == "values_append":
            groups = [(member,) for member in members]
        else:
            groups = [tuple(members)] if members else []
        state = cls(parts=[Part(name=str(number), members=group) for number, group in enumerate(groups)])
        state.names = len(groups)
        state._batch, state._request = batch, request
        return state

    @classmethod
    def resumed(cls, batch: PlannedBatch, request: BulkRequest, frozen: bytes = b"") -> BatchState:
        """A batch that may have been sent: the journal's state, or without one the first part as perhaps sent."""
        if frozen:
            state = cls.model_validate_json(frozen)
            state._batch, state._request = batch, request
        else:
            state = cls.fresh(batch, request)
            if state.parts:
                state.parts[0].in_flight = True
                state.parts[0].attempts = state.calls = 1
                state.sweep_taken = True
        if state.parts and state.parts[0].in_flight:
            state._lose(state.parts[0])
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
    def retried(self) -> int:
        """The calls beyond the one that was planned."""
        return max(0, self.calls - 1)

    @property
    def attempts(self) -> int:
        """Attempts of the call that is on, waits for quota not counted."""
        return self.parts[0].attempts if self.parts else 0

    def counts(self) -> BatchCounts:
        """The outcomes in numbers; reasons without their particulars, at most eight kinds."""
        outcomes = Counter(result.outcome for result in self.settled.values())
        kinds = Counter(_PARTICULAR.sub("…", result.reason)[:80] for result in self.settled.values() if result.reason)
        reasons = dict(sorted(kinds.most_common(8)))
        if rest := sum(kinds.values()) - sum(reasons.values()):
            reasons["other"] = rest
        return BatchCounts(outcomes["succeeded"], outcomes["failed"], outcomes["unprocessed"], reasons)

    # --- the cycle: next_step, sending, learn

    def next_step(self, titles: Titles | None, now_ns: int, sweep: Sequence[int] = ()) -> Step | None:
        """The next call, or None when finished; the same until it is sent. `sweep` goes with the first fenced part.

        Raises TitlesNeeded when an operation needs the titles and there are none.
        """
        while self.parts:
            part = self.parts[0]
            if part.purpose == "send" and part.call is None:
                self._freeze(part, titles, sweep)
                if part.call is None:
                    self.parts.pop(0)
                    continue
            if part.not_before_ns == _AFTER_A_ZOMBIE:
                part.not_before_ns = now_ns + ZOMBIE_NS
            return part.step(self._batch, self._request.nonce)
        return None

    def sending(self, step: Step, now_ns: int) -> None:
        """The bytes are about to leave: from here on the step counts as perhaps sent. Store `frozen()` after this."""
        part = self._part_of(step)
        part.in_flight = True
        part.attempts += 1
        part.burn_sent = part.burn_sent or step.purpose == "burn"
        self.calls += 1

    def not_sent(self, step: Step) -> None:
        """The bytes have certainly not left after all (a stale token, no connection): no call, no attempt."""
        part = self._part_of(step)
        part.in_flight = False
        part.attempts -= 1
        part.burn_sent = part.burn_sent and (step.purpose != "burn" or part.attempts > 0)
        self.calls -= 1

    def learn(self, step: Step, reply: Reply, now_ns: int, *, probe: bool = False) -> Advice:
        """What the reply means: outcomes are settled, the parts move on, and the advice says what to wait for.

        A `probe` that fails is no attempt: the operations wait for the API, whose turn it was to try.
        """
        part = self._part_of(step)
        part.in_flight = False
        if probe and isinstance(reply, Busy | Lost):
            part.attempts -= 1
        if not isinstance(reply, Unauthorised | Throttled):
            part.logins = 0
        match reply:
            case Throttled():
                part.attempts -= 1
                return self._throttled(step, reply, now_ns)
            case Unauthorised():
                return self._unauthorised(part, reply, now_ns)
            case Busy() | Lost():
                if reply.applied == "unknown" and step.purpose == "send" and step.call.kind == "write":
                    part.unknown = True
                return self._again(part, reply.why, now_ns, slow=isinstance(reply, Busy) and reply.slow)
            case Answered() | Refused() | TooLarge():
                if step.purpose == "send":
                    return self._sent(part, reply, now_ns)
                if step.purpose == "burn":
                    return self._burnt(part, reply)
                return self._looked_up(part, reply, now_ns)
            case _:
                assert_never(reply)

    def cancel(self, reason: str = "cancelled") -> None:
        """Sends nothing more than it takes to make an unknown outcome certain; between calls only."""
        front, rest = self.parts[:1], self.parts[1:]
        for part in rest:
            self._drop(part, reason)
        for part in front:
            if not part.unknown:
                self._drop(part, reason)
            elif self._batch.form != "fenced":
                self._settle(part.members, "failed", "unknown", reason)
            elif part.purpose == "send":
                part.turn_to("burn", "cancel", reason)
            else:
                part.then, part.reason = "cancel", reason
        self.parts = [part for part in front if part.unknown and self._batch.form == "fenced"]

    # --- replies to a send

    def _sent(self, part: Part, reply: Answered | Refused | TooLarge, now_ns: int) -> Advice:
        if isinstance(reply, Answered):
            return self._succeeded(part, reply.body, now_ns)
        if part.unknown and self._batch.form == "fenced":
            if isinstance(reply, TooLarge):
                part.turn_to("burn", "split", reply.reason)
            elif reply.fence_refused:
                part.turn_to("fence_look_up", refusal=reply)
            else:
                part.turn_to("burn", "refuse", reply.reason, reply)
            return Advice(why=f"an earlier send may have taken effect: {reply.reason}")
        if isinstance(reply, TooLarge):
            return self._split(part, reply.reason)
        return self._refused(part, reply)

    def _succeeded(self, part: Part, body: dict[str, Any], now_ns: int) -> Advice:
        match self._batch.form:
            case "look_up":
                if not body.get("sheets"):
                    return self._again(part, "the answer lists no sheets", now_ns)
                self.titles = titles_from(body)
            case "read":
                served = deal_out([self._batch.operations[member] for member in part.members], body)
                if served is None:
                    return self._again(part, "the answer does not hold what was asked for", now_ns)
                for member, found in zip(part.members, served, strict=True):
                    if isinstance(found, str):
                        self._settle((member,), "failed", "no", found)
                    else:
                        self._settle((member,), "succeeded", "yes", reply=found)
            case "values_append":
                self._settle(part.members, "succeeded", "yes", reply=body)
            case "fenced" | "values_update" as form:
                listed = body.get("replies" if form == "fenced" else "responses")
                self._settle_all(part, listed if isinstance(listed, list) else [])
                self._stands(part)
        self.parts.pop(0)
        return Advice()

    def _settle_all(self, part: Part, replies: list[Any]) -> None:
        complete = len(replies) == len(part.owners)
        for place, owner in enumerate(part.owners):
            found = replies[place] if complete else None
            self._settle(owner, "succeeded", "yes", reply=found if isinstance(found, dict) else {})

    def _stands(self, part: Part) -> None:
        """The part took effect: its fence exists and what it swept does not."""
        if self._batch.form == "fenced":
            self.fences.append(part.fence(self._batch, self._request.nonce).id)
            self.swept += part.sweep

    def _refused(self, part: Part, reply: Refused) -> Advice:
        """A refusal of a part that certainly had no effect (or, tainted, may have had it unfenced)."""
        if reply.scope == "spreadsheet" or self._batch.form == "look_up":
            return self._fail_everything(reply.reason)
        if reply.fence_refused:
            return self._salt_anew(part, reply.reason)
        culprits = culprits_of(part, self._batch, reply)
        if culprits is None:  # an old fence that is not there any more: leave the sweeping, not the operations
            return self._replace(part, [part.members], reply.reason)
        if not culprits:
            return self._split(part, reply.reason)
        if len(culprits) > 1 and not all_alike(reply, self._batch.form):
            return self._split(part, reply.reason, part.members.index(culprits[len(culprits) // 2]))
        self._settle(culprits, "failed", self._never(part), reply.reason)
        gone = set(culprits)
        return self._replace(part, [[member for member in part.members if member not in gone]], reply.reason)

    # --- replies to a burn and to a look-up of a fence

    def _burnt(self, part: Part, reply: Answered | Refused | TooLarge) -> Advice:
        if isinstance(reply, Answered):
            self.fences.append(part.fence(self._batch, self._request.nonce).id)
            return self._never_applied(part)
        if isinstance(reply, Refused) and reply.scope != "spreadsheet":
            part.turn_to("fence_look_up")
            return Advice(why="the fence exists: reading whose it is")
        return self._leave_open(part, reply.reason)

    def _looked_up(self, part: Part, reply: Answered | Refused | TooLarge, now_ns: int) -> Advice:
        if isinstance(reply, Answered):
            fence = part.fence(self._batch, self._request.nonce)
            value = reply.body.get("metadataValue")
            if value == fence.value:
                self._settle(part.members, "succeeded", "yes")
                self._stands(part)
                self.parts.pop(0)
                return Advice()
            if value == BURNT and part.burn_sent:
                self.fences.append(fence.id)
                return self._never_applied(part)
            if part.then in ("", "refuse"):
                return self._salt_anew(part, "another mark has the fence's id")
            return self._never_applied(part)
        if isinstance(reply, Refused) and reply.status == 404:
            if not part.burn_sent:
                part.turn_to("burn", part.then or "refuse")
                return Advice(why="the fence does not exist: burning it makes sure that it never will")
            return self._again(part, "the fence is refused and cannot be read", now_ns)
        return self._leave_open(part, reply.reason)

    def _never_applied(self, part: Part) -> Advice:
        """It is certain that the part had no effect and cannot have one any more: what was to follow, follows."""
        part.unknown = False
        match part.then:
            case "refuse" | "" if part.refusal is not None:
                return self._refused(part, part.refusal)
            case "split":
                return self._split(part, part.reason)
            case "cancel":
                self._settle(part.members, "unprocessed", "no", part.reason)
            case _:
                self._settle(part.members, "failed", "no", part.reason)
        self.parts.pop(0)
        return Advice(why=part.reason)

    def _leave_open(self, part: Part, why: str) -> Advice:
        """Whether the part took effect cannot be found out."""
        reason = f"{part.reason or 'no answer'}; whether it took effect could not be found out: {why}"
        self._settle(part.members, "failed", "unknown", reason)
        self.parts.pop(0)
        return Advice(why=reason)

    # --- waiting, repeating, giving up

    def _throttled(self, step: Step, reply: Throttled, now_ns: int) -> Advice:
        throttling = Throttling(
            kind=reply.kind or step.call.kind,
            scope=reply.scope,
            user=self._batch.user,
            quota_value=reply.quota_value,
            at_ns=now_ns,
        )
        wait = reply.retry_after_ns or SECOND_NS
        return Advice(wait_ns=wait, why="the API asks for a pause (429)", throttled=throttling, benign=True)

    def _unauthorised(self, part: Part, reply: Unauthorised, now_ns: int) -> Advice:
        part.logins += 1
        if part.logins > 1:
            return self._again(part, reply.reason, now_ns)
        part.attempts -= 1
        return Advice(why="the credential was not accepted: once more with a fresh one", benign=True)

    def _again(self, part: Part, why: str, now_ns: int, slow: bool = False) -> Advice:
        form = self._batch.form
        if form == "values_append" and part.unknown:
            self._lose(part)
            return Advice(wait_ns=ZOMBIE_NS, why=f"{why}; the lane rests, the append may still land")
        if part.attempts >= self._request.max_attempts:
            return self._give_up(part, f"given up after {part.attempts} attempts: {why}")
        if slow and part.purpose == "send" and part.attempts > 1 and len(part.members) > 1:
            if form == "read":
                return self._split(part, why)
            if form == "fenced" and part.unknown:
                part.turn_to("burn", "split", why)
                return Advice(wait_ns=SECOND_NS, why=f"{why}; too slow as one call")
        if form == "values_update" and part.unknown:
            part.not_before_ns = now_ns + ZOMBIE_NS
            return Advice(wait_ns=ZOMBIE_NS, why=f"{why}; the call may still land")
        return Advice(wait_ns=min(LONGEST_WAIT_NS, SECOND_NS << min(part.attempts - 1, 6)), why=why)

    def _give_up(self, part: Part, reason: str) -> Advice:
        if self._batch.form == "fenced" and part.unknown:
            if part.purpose != "send":
                return self._leave_open(part, reason)
            part.turn_to("burn", "fail", reason)
            return Advice(wait_ns=SECOND_NS, why=reason)
        if self._batch.form == "look_up":
            return self._fail_everything(reason)
        self._settle(part.members, "failed", self._never(part), reason)
        self.parts.pop(0)
        return Advice(wait_ns=ZOMBIE_NS if part.unknown else 0, why=reason)

    def _lose(self, part: Part) -> None:
        """No answer will come any more; an append that cannot be repeated safely ends here."""
        part.in_flight = False
        if part.purpose == "send" and self._batch.form not in ("read", "look_up"):
            part.unknown = True
            if self._batch.form == "values_update":
                part.not_before_ns = _AFTER_A_ZOMBIE
            if self._batch.form == "values_append":
                self._settle(
                    part.members, "failed", "unknown", "the answer was lost, and repeating could write it twice"
                )
                self.parts.remove(part)

    # --- parts

    def _part_of(self, step: Step) -> Part:
        part = self.parts[0]
        assert (part.name, part.purpose) == (step.part, step.purpose)
        return part

    def _freeze(self, part: Part, titles: Titles | None, sweep: Sequence[int]) -> None:
        if self._batch.form == "fenced" and not self.sweep_taken and sweep:
            part.sweep = tuple(sweep)
        composed = part.freeze(self._batch, self._request.nonce, titles)
        self.sweep_taken = True
        for place, reason in composed.refused.items():
            self._settle((part.members[place],), "failed", self._never(part), reason)
        self._settle([part.members[place] for place in composed.idle], "succeeded", "yes", reply={})
        part.members = tuple(member for member in part.members if member not in self.settled)

    def _salt_anew(self, part: Part, reason: str) -> Advice:
        if part.salt >= MOST_SALTS:
            return self._fail_part(part, reason)
        heir = Part(name=str(self.names), members=part.members, salt=part.salt + 1, sweep=part.sweep)
        self.names += 1
        self.parts[0] = heir
        return Advice(why=f"a new fence: {reason}")

    def _split(self, part: Part, reason: str, at: int = 0) -> Advice:
        if len(part.members) == 1:
            return self._fail_part(part, reason)
        at = at or len(part.members) // 2
        return self._replace(part, [part.members[:at], part.members[at:]], reason)

    def _replace(self, part: Part, groups: Iterable[Sequence[int]], reason: str) -> Advice:
        tainted = part.unknown and self._batch.form != "fenced"
        heirs = part.heirs(list(groups), self.names, tainted)
        self.names += len(heirs)
        self.parts[:1] = heirs
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
        operations = self._batch.operations
        for member in members:
            operation = operations[member]
            fields = {
                "id": operation.id,
                "line": operation.line,
                "outcome": outcome,
                "applied": applied,
                "reason": reason,
                "reply": reply,
            }
            self.settled[member] = OperationResult.trusted(fields)
