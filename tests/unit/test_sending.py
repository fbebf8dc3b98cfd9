"""A call that was made is never told as one that never left: its token must not come back."""

from __future__ import annotations

from typing import Any

import pytest

from activities.clock import ServerClock
from activities.http import Answer
from activities.pushback import Pushback
from activities.sending import Sender
from headgate.errors import InvalidRequest, Unreachable
from headgate.models import BulkRequest, Operation, PlannedBatch, Settlement
from headgate.outcomes import BatchState

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

    return Sender(parts, parts, parts, clock, Pushback(clock, tell))


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
