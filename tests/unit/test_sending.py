"""A call that was made is never told as one that never left: its token must not come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activities.clock import ServerClock
from activities.http import Answer
from activities.pushback import GATHER_FOR_S, Pushback
from activities.sending import Sender
from headgate.errors import AnswerTooLarge, InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest, Form, Operation, PlannedBatch
from headgate.messages.tokens import Settlement
from headgate.outcomes import BatchState
from tests.eventually import eventually

BATCH = PlannedBatch(
    number=0,
    lane=0,
    form="read",
    user="u",
    spreadsheet="s",
    operations=(Operation(line=1, id="o", op="read", spreadsheet="s", range="A1"),),
)
REQUEST = BulkRequest(id="r", project="p")


class Parts:
    """The wire and the store at once: every call is answered by a 503, and nothing can be saved."""

    def __init__(self, wrong: Exception | None = None) -> None:
        self.wrong = wrong
        self.told: list[Settlement] = []

    async def send(self, *_: object) -> Answer:
        if self.wrong:
            raise self.wrong
        return Answer(503, {}, b"", 1, 2)

    async def save_journal(self, *_: object) -> None:
        raise Unreachable("the store is away")


def sender(parts: Any) -> Sender:
    clock = ServerClock()
    clock.between(clock.monotonic_ns(), 10**18)

    async def tell(project: str, said: Settlement) -> None:
        parts.told.append(said)

    return Sender(parts, parts, parts, clock, Pushback(clock, tell), parts)


async def sent(parts: Parts) -> Any:
    state = BatchState.fresh(BATCH, REQUEST)
    step = state.next_step(None, 0)
    assert step is not None
    return await sender(parts).send(REQUEST, BATCH, state, step, 0, 0)


async def test_a_store_that_fails_after_the_call_does_not_free_its_token() -> None:
    """The reply asks for another attempt, which the store cannot take down: advice to repeat, not `Unreachable`."""
    advice = await sent(Parts())
    assert advice.wait_ns > 0
    assert "store" in advice.why


async def test_a_mistake_in_the_credentials_is_final() -> None:
    """It is no outage: waiting for it to pass would hold the lane for ever."""
    with pytest.raises(InvalidRequest, match="no credentials"):
        await sent(Parts(InvalidRequest("no credentials")))


@pytest.mark.parametrize(("form", "split"), [("read", True), ("values_update", False)])
async def test_an_answer_that_is_too_large_splits_a_read_and_is_no_failure_of_the_api(form: Form, split: bool) -> None:
    """A write's says nothing of what became of it, and cannot be the API's."""
    read = BATCH.operations[0]
    write = read.model_copy(update={"op": "update", "values": (("x",),), "input": "USER_ENTERED"})
    batch = BATCH.model_copy(update={"form": form, "operations": (read if split else write,) * 2})
    parts = Watched(b"")
    parts.wrong = AnswerTooLarge("the answer is larger than 7 bytes: ask for less at once")
    state = BatchState.fresh(batch, REQUEST)
    step = state.next_step(None, 0)
    assert step is not None
    made = sender(parts)
    advice = await made.send(REQUEST, batch, state, step, 0, 0)
    assert [len(part.members) for part in state.parts] == ([1, 1] if split else [2])
    assert (advice.wait_ns == 0) == split
    told = [] if split else await eventually(lambda: parts.told)
    await asyncio.sleep(2 * GATHER_FOR_S)
    assert [len(said.overloads) for said in parts.told] == [1] * len(told)


class Watched(Parts):
    """What happens, in its order; the cache is part of it. `away`: the cache cannot be reached."""

    def __init__(self, answer: bytes, away: bool = False) -> None:
        super().__init__()
        self.answer, self.away = answer, away
        self.events: list[str] = []

    def _event(self, event: str) -> None:
        self.events.append(event)
        if self.away and event.startswith("cache"):
            raise Unreachable("the store is away")

    async def send(self, *_: object) -> Answer:
        self._event("call")
        if self.wrong:
            raise self.wrong
        return Answer(200, {}, self.answer, 1, 2)

    async def save_journal(self, *_: object) -> None:
        self._event("journal")

    async def writing(self, spreadsheet: str) -> None:
        self._event(f"cache: {spreadsheet} is written")

    async def reading(self, spreadsheet: str) -> str:
        self._event(f"cache: {spreadsheet} is read")
        return "edition"

    async def keep(self, owner: str, edition: str, sent_ns: int, read: Any) -> None:
        self._event(f"cache: {[operation.range for operation, _ in read]} of {owner} under {edition}")


async def finished(parts: Watched, batch: PlannedBatch, request: BulkRequest) -> BatchState:
    state = BatchState.fresh(batch, request)
    step = state.next_step(None, 0)
    assert step is not None
    made = sender(parts)
    made.cache = parts  # type: ignore[assignment]
    await made.send(request, batch, state, step, 0, 0)
    return state


@pytest.mark.parametrize("form", ["read", "look_up", "values_update", "fenced"])
async def test_an_answer_that_does_not_hold_what_was_asked_for_is_a_failure_to_everybody(form: Form) -> None:
    """The batch and the limiter hear the same: a circuit opens, and its probe has failed."""
    raw = Operation(line=1, id="o", op="request", spreadsheet="s", request={"addSheet": {}})
    write = Operation(line=1, id="o", op="update", spreadsheet="s", range="A1", values=((1,),), input="USER_ENTERED")
    operations = {"read": BATCH.operations, "look_up": (), "values_update": (write,), "fenced": (raw,)}[form]
    batch = BATCH.model_copy(update={"form": form, "operations": operations})
    parts = Watched(b"{}")
    state = BatchState.fresh(batch, REQUEST)
    step = state.next_step(None, 0)
    assert step is not None
    await sender(parts).send(REQUEST, batch, state, step, 0, 0, "sheet/s")
    told = await eventually(lambda: parts.told)
    assert [overload.spreadsheet for said in told for overload in said.overloads] == ["s"]
    assert [probed.ok for said in told for probed in said.probed] == [False]
    assert state.attempts == 1


async def test_a_write_ends_what_is_cached_before_it_leaves_and_before_anybody_hears_of_it() -> None:
    raw = Operation(line=1, id="o", op="request", spreadsheet="s", request={"addSheet": {}})
    batch = BATCH.model_copy(update={"form": "fenced", "operations": (raw,)})
    parts = Watched(b'{"replies": [{}, {}]}')
    assert (await finished(parts, batch, REQUEST)).finished
    assert parts.events == ["cache: s is written", "journal", "call", "cache: s is written"]


async def test_a_read_is_kept_for_a_request_that_takes_old_values_and_only_for_that() -> None:
    answer = b'{"valueRanges": [{"range": "x!A1", "values": [["v"]]}]}'
    aged = REQUEST.model_copy(update={"max_age_ns": 1, "owner": "team"})
    parts = Watched(answer)
    assert (await finished(parts, BATCH, aged)).finished
    assert parts.events == ["cache: s is read", "call", "cache: ['A1'] of team under edition"]
    parts = Watched(answer)
    await finished(parts, BATCH, REQUEST)
    assert parts.events == ["call"]


async def test_a_cache_that_is_away_is_no_reason_not_to_read() -> None:
    parts = Watched(b'{"valueRanges": [{"range": "x!A1"}]}', away=True)
    state = await finished(parts, BATCH, REQUEST.model_copy(update={"max_age_ns": 1}))
    assert state.counts().succeeded == 1
