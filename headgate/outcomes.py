"""What became of a batch: each reply moves the state on, until every operation has exactly one outcome.

1. Every operation ends once: succeeded, failed or unprocessed. `applied` is "yes" only if it is certain, "no" only if it
   is certain for all time, else "unknown".
2. The bytes of a part never change. What is split or goes on without a neighbour is a new part with a new fence.
3. A fenced part of unknown outcome is resent as it is; before it is failed, split or cancelled, its fence is burnt.
4. An unfenced part is resent after an unknown outcome only if it may be repeated, and not before `ZOMBIE_NS` have passed.
5. Waiting for a quota is no attempt.
6. Behind a request about sheets that failed, the titles are looked up before anything is sent that counted on it;
   once in a batch also before an operation fails because its sheet is not there.
7. After `MOST_ALIKE` dead letters for one reason the rest of the batch fails unsent.
8. A fence that exists is read before anything goes under another one: somebody on the way may have sent the call twice.
9. A state is a journal: stored by `frozen` before a call leaves, brought back by `resumed`, it goes on with the same bytes.

Source: design section 5; reference/sheets.md section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, assert_never

from headgate.apis.sheets.fences import BURNT
from headgate.apis.sheets.reads import deal_out
from headgate.apis.sheets.replies import (
    Answered,
    Busy,
    Lost,
    Refused,
    Reply,
    Throttled,
    TooLarge,
    Unauthorised,
    outage,
)
from headgate.apis.sheets.titles import Titles, titles_from
from headgate.culprits import gone_by_title, suspects_of
from headgate.journal import Journal
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest, PlannedBatch
from headgate.messages.tokens import Throttling
from headgate.parts import Part, Piece, Purpose, Step, TitlesNeeded
from headgate.repeating import halved, most_after
from headgate.results import Advice, BatchCounts, OperationResult, kind_of_reason
from headgate.searching import narrowed, released, without

__all__ = ["Advice", "BatchCounts", "BatchState", "OperationResult", "Part", "Purpose", "Step", "TitlesNeeded"]

ZOMBIE_NS = 180 * SECOND_NS
_AFTER_A_ZOMBIE = -1
LONGEST_WAIT_NS = 64 * SECOND_NS
MOST_ALIKE = 20
#: So many titles that are not there are remembered; for others the look-up is repeated.
MOST_MISSING = 500
#: So many attempts before the last a call that is only ever answered with 503 is halved: it may be too complex.
PERHAPS_TOO_MUCH = 2
_BEYOND = re.compile(r"exceeds grid limits|beyond the last requested (?:row|column)", re.IGNORECASE)
#: A fence that is to go lives 15 minutes at the most: so long a batch waits for room, and a little longer.
ROOM_AFTER_NS = 30 * SECOND_NS
MOST_CROWDED = 40


class BatchState(Journal):
    """One batch on its way, and what each reply makes of it."""

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

    # --- the cycle: next_step, sending, learn

    def next_step(self, titles: Titles | None, now_ns: int, sweep: Sequence[int] = ()) -> Step | None:
        """The next call, or None when finished; the same until it is sent. `sweep` goes with the first fenced part.

        Raises TitlesNeeded when an operation needs the titles and there are none.
        """
        if self.titles is None and titles is not None and (titles.doubted or titles.followed):
            self.titles, self.doubted = titles, self.doubted or titles.doubted
        titles = self.titles or titles
        while self.parts:
            part = self.parts[0]
            if part.purpose == "send" and part.call is None and self.doubted and part.doubts(self._batch, titles):
                part.turn_to("title_look_up")
            if part.purpose == "send" and part.call is None:
                self._freeze(part, titles, sweep)
                if part.call is None and part.purpose == "send":
                    self.parts.pop(0)
                    continue
            elif part.full and not part.clearing:
                part.clearing = tuple(sweep)
            if part.not_before_ns == _AFTER_A_ZOMBIE:
                part.not_before_ns = now_ns + ZOMBIE_NS
            return part.step(self._batch, self._request.nonce)
        return None

    def sending(self, step: Step, now_ns: int) -> None:
        """The bytes are about to leave: from here on the step counts as perhaps sent. Store `frozen()` after this."""
        part = self._part_of(step)
        part.in_flight = True
        part.attempts += 1
        part.sent_ns = now_ns
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

        A `probe` that meets an outage is no attempt: the operations wait for the API, whose turn it was to try. One that
        meets an answer that is not the API's is: that may be so for good, and a lane is not shut for ever.
        """
        part = self._part_of(step)
        part.in_flight = False
        if probe and outage(reply):
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
                return self._again(part, reply.why, now_ns, slow=step.purpose == "send" and self._too_much(part, reply))
            case Answered() | Refused() | TooLarge():
                if step.purpose == "sweep":
                    return self._cleared(part, reply)
                if isinstance(reply, Refused) and reply.crowded and self._fenced:
                    return self._wait_for_room(part, reply)
                if step.purpose == "send":
                    return self._sent(part, reply, now_ns)
                if step.purpose == "burn":
                    return self._burnt(part, reply)
                if step.purpose == "title_look_up":
                    return self._titles_seen(part, reply, now_ns)
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
            elif not self._fenced:
                self._settle(part.members, "failed", "unknown", reason)
            elif part.purpose == "send":
                part.turn_to("burn", "cancel", reason)
            else:
                part.then, part.reason = "cancel", reason
        self.parts = [part for part in front if part.unknown and self._fenced]

    # --- replies to a send

    def _sent(self, part: Part, reply: Answered | Refused | TooLarge, now_ns: int) -> Advice:
        if isinstance(reply, Answered):
            took_ns = now_ns - part.sent_ns
            self.most = most_after(self.most, len(part.members), took_ns, len(self._batch.operations))
            return self._succeeded(part, reply.body, now_ns)
        if self._fenced and isinstance(reply, Refused) and reply.fence_refused:
            part.unknown = True
        if part.unknown and self._fenced:
            if isinstance(reply, TooLarge):
                part.turn_to("burn", "split", reply.reason)
            elif reply.fence_refused:
                part.turn_to("fence_look_up", refusal=reply)
            else:
                part.turn_to("burn", "refuse", reply.reason, reply)
            return Advice(why=f"an earlier send may have taken effect: {reply.reason}")
        if isinstance(reply, TooLarge):
            return (
                self._fail_everything(reply.reason)
                if self._batch.form == "look_up"
                else self._split(part, reply.reason)
            )
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
                found = {name: value for name, value in body.items() if name != "spreadsheetId"}
                self._settle(part.members, "succeeded", "yes", reply=found)
            case "fenced" | "values_update" as form:
                listed = body.get("replies" if form == "fenced" else "responses")
                self._settle_all(part, listed if isinstance(listed, list) else [])
                self._stands(part)
        return self._took_effect(part)

    def _settle_all(self, part: Part, replies: list[Any]) -> None:
        complete = len(replies) == len(part.owners)
        for place, owner in enumerate(part.owners):
            found = replies[place] if complete else None
            self._settle(owner, "succeeded", "yes", reply=found if isinstance(found, dict) else {})

    def _stands(self, part: Part) -> None:
        """The part took effect: its fence exists and what it swept does not."""
        self.grids |= part.grids
        for member, reason in part.aside.items():
            self._settle_unsent(part, member, reason)
        if self._fenced:
            self.fences.append(part.fence(self._batch, self._request.nonce).id)
            self.swept += part.sweep

    def _took_effect(self, part: Part) -> Advice:
        """The next part's turn; of one that was held back, as much as the search wants."""
        held = self._held()
        self.parts.pop(0)
        return Advice() if held is None else self._replace(released(part, held), "")

    def _refused(self, part: Part, reply: Refused) -> Advice:
        """A refusal of a part that certainly had no effect (or, tainted, may have had it unfenced)."""
        if reply.scope == "spreadsheet" or self._batch.form == "look_up":
            whose = f"user {self._batch.user!r} may not do this in spreadsheet {self._batch.spreadsheet}: "
            return self._fail_everything((whose if reply.status == 403 else "") + reply.reason)
        if reply.fence_refused and self._fenced:
            return self._salt_anew(part, reply.reason)
        suspects = suspects_of(part, self._batch, reply)
        if suspects is None:  # an old fence that is not there any more: leave the sweeping, not the operations
            return self._replace([Piece(part.members)], reply.reason)
        if not self.looked_up and gone_by_title(part, self._batch, suspects, reply):
            self.parts[0] = part.again(str(self.names), tainted=part.unknown and not self._fenced)
            self.names += 1
            self._look_up_again(self.parts[0])
            return Advice(why=reply.reason)
        if not suspects.each:
            first = part.members.index(suspects.members[0])
            return self._replace(narrowed(part, first, first + len(suspects.members), self._held()), reply.reason)
        reason = reply.reason
        if _BEYOND.search(reason) and not self._request.grow:
            reason += "; submit with --grow to make the sheet larger"
        self._settle(suspects.members, "failed", self._never(part), reason)
        kind = kind_of_reason(reply.reason)
        self.found[kind] = self.found.get(kind, 0) + 1
        if self.found[kind] >= MOST_ALIKE:
            return self._fail_rest(f"not sent: {MOST_ALIKE} refusals before it had one reason: {reply.reason}")
        return self._replace(without(part, suspects.members, self._held()), reply.reason)

    def _titles_seen(self, part: Part, reply: Answered | Refused | TooLarge, now_ns: int) -> Advice:
        """From here on the batch goes by these titles, and follows what it does to them."""
        if not isinstance(reply, Answered):
            whole = isinstance(reply, Refused) and reply.scope == "spreadsheet"
            return self._fail_everything(reply.reason) if whole else self._fail_rest(reply.reason)
        if not reply.body.get("sheets"):
            return self._again(part, "the answer lists no sheets", now_ns)
        found = titles_from(reply.body)
        missing = {title for title in part.sheets_named(self._batch) if found.sheet_id(title) is None}
        known = set(self.titles.missing) if self.titles else set()
        self.titles = found.model_copy(
            update={"followed": True, "missing": tuple(sorted(known | missing))[:MOST_MISSING]}
        )
        self.doubted, self.grids = False, {}
        part.turn_to("send")
        return Advice(why="the titles of the sheets were looked up again", benign=True)

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
            value = reply.body.get("metadataValue", "")
            if value == fence.value:
                self._settle([member for member in part.members if member not in part.aside], "succeeded", "yes")
                self._stands(part)
                return self._took_effect(part)
            if value == BURNT and part.burn_sent:
                self.fences.append(fence.id)
                return self._never_applied(part)
            part.unknown = False
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

    # --- room for fences

    def _wait_for_room(self, part: Part, reply: Refused) -> Advice:
        """Nothing took effect; old fences go, or grow old enough to go, and the same bytes are sent again."""
        part.crowded += 1
        part.full = True
        if part.crowded > MOST_CROWDED:
            reason = f"{reply.reason}; remove developer metadata from the spreadsheet (`headgate fences clean`)"
            return self._leave_open(part, reason) if part.unknown else self._fail_part(part, reason)
        part.attempts -= 1
        return Advice(wait_ns=ROOM_AFTER_NS, why="the spreadsheet has no room for another mark", benign=True)

    def _cleared(self, part: Part, reply: Answered | Refused | TooLarge) -> Advice:
        """Refused, some of them did not exist any more: the others are left to whoever comes next."""
        if isinstance(reply, Answered):
            self.swept += part.clearing
        part.attempts -= 1
        part.clearing, part.full = (), False
        return Advice(why="old marks were removed", benign=True)

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
        unsafe = part.unknown and not self._fenced
        if unsafe and not self._repeatable(part):
            self._lose(part)
            return Advice(wait_ns=ZOMBIE_NS, why=f"{why}; the lane rests, the call may still land")
        if part.attempts >= self._request.max_attempts:
            return self._give_up(part, f"given up after {part.attempts} attempts: {why}")
        if slow and len(part.members) > 1:
            self.most = halved(self.most, len(self._batch.operations))
            if part.unknown and self._fenced:
                part.turn_to("burn", "split", why)
                return Advice(wait_ns=SECOND_NS, why=f"{why}; too slow as one call")
            self._split(part, why)
            part = self.parts[0]
        if unsafe:
            part.not_before_ns = now_ns + ZOMBIE_NS
            return Advice(wait_ns=ZOMBIE_NS, why=f"{why}; the call may still land")
        return Advice(wait_ns=min(LONGEST_WAIT_NS, SECOND_NS << min(max(part.attempts - 1, 0), 6)), why=why)

    def _too_much(self, part: Part, reply: Busy | Lost) -> bool:
        """The second answer that took too long, or so many failures that the call may be too complex (both are a 503)."""
        if reply.slow:
            return part.attempts > 1
        return isinstance(reply, Busy) and part.attempts >= max(2, self._request.max_attempts - PERHAPS_TOO_MUCH)

    def _give_up(self, part: Part, reason: str) -> Advice:
        if self._fenced and part.unknown:
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
        if part.next_purpose == "send" and self._batch.form not in ("read", "look_up"):
            part.unknown = True
            if self._fenced:
                return
            if not self._repeatable(part):
                lost = "the answer was lost, and repeating could write it twice"
                self._settle(part.members, "failed", "unknown", lost)
                self.parts.remove(part)
            if self.parts:
                self.parts[0].not_before_ns = part.sent_ns + ZOMBIE_NS if part.sent_ns else _AFTER_A_ZOMBIE
