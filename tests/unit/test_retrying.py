"""`retry-failed`: the right lines, each at most once however often and with whatever options it is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import layout
from activities.batches import Batches
from activities.layout import notify_path
from activities.manifest import find_plan, need_plan
from activities.notices import address_of, keep_address
from activities.plan import PlanActivities
from activities.results import Outcome, Results, result_line
from activities.store import Store
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import BatchDone, LeftOut, Retry
from headgate.messages.words import Applied, State
from headgate.retries import heard, said
from starter.commands import RECORDED, Answered, CommandRefused
from starter.retrying import Retried, retry_failed
from tests.unit.fake_service import FakeService, one_sentence, ran
from tests.unit.test_plan_activity import append, read, submitted

Outcomes = Mapping[str, tuple[Outcome, Applied]]
"""Outcome and applied by operation id; what is not named was never sent."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path))


async def ended(store: Store, lines: list[bytes], outcomes: Outcomes, **settings: Any) -> BulkRequest:
    """A request of these lines that was planned, an operation a call, and whose operations ended like this."""
    request = await submitted(store, b"\n".join(lines) + b"\n", operations_per_call=1, **settings)
    await ActivityEnvironment().run(PlanActivities(store, frozenset({"ada", "bot"})).plan, request)
    for batch in await Batches(store).load_many("r", 0, (await need_plan(store, "r")).batches):
        told = [
            result_line(one.id, one.line, *outcomes[one.id], "why") for one in batch.operations if one.id in outcomes
        ]
        if told or not batch.operations:
            done = BatchDone(batch=batch.number, succeeded=0, failed=0)
            await Results(store).record("r", batch.number, b"\n".join(told) + b"\n", done)
    return request


async def retried(store: Store, service: FakeService, **options: Any) -> Retried:
    return await retry_failed(service, store, "r", **options)


async def lines_of(store: Store, service: FakeService, request_id: str) -> list[bytes]:
    path = layout.input_path(request_id, service.submitted[request_id].input_sha256)
    return ((await store.get(path)) or b"").splitlines()


LINES = [append(n) for n in range(6)]
YES: tuple[Outcome, Applied] = ("succeeded", "yes")
NO: tuple[Outcome, Applied] = ("failed", "no")
UNKNOWN: tuple[Outcome, Applied] = ("failed", "unknown")
MIXED: Outcomes = {"o0": YES, "o1": NO, "o2": UNKNOWN, "o3": NO}


def over(request: BulkRequest, state: State = "completed") -> FakeService:
    return FakeService(submitted={"r": request}, state=state)


async def test_what_failed_is_handed_in_again_with_its_ids_and_settings(store: Store) -> None:
    settings = {"owner": "team", "priority": "low", "order": "strict", "user": "bot", "weight": 2.0, "max_attempts": 3}
    request = await ended(store, LINES, MIXED, **settings)
    service = over(request, "cancelled")
    made = await retried(store, service)
    assert (made.submitted.id, made.submitted.first, made.operations) == ("r.retry1", True, 2)
    assert made.left_out == LeftOut(unknown=1, unprocessed=2)
    again = service.submitted["r.retry1"]
    changed = {"id", "input_sha256", "input_bytes", "submitted_at_ns", "nonce"}
    assert again.model_dump(exclude=changed) == request.model_dump(exclude=changed)
    assert again.nonce != request.nonce
    assert await lines_of(store, service, "r.retry1") == [LINES[1], LINES[3]]


async def test_the_same_command_twice_is_one_request(store: Store) -> None:
    service = over(await ended(store, LINES, MIXED))
    one, two = await retried(store, service), await retried(store, service)
    assert set(service.submitted) == {"r", "r.retry1"}
    assert (one.submitted.first, two.submitted.first) == (True, False)
    assert (one.operations, one.left_out) == (two.operations, two.left_out)


@pytest.mark.parametrize("wide_first", [False, True])
async def test_no_operation_is_in_two_retries_whatever_was_asked_for(store: Store, wide_first: bool) -> None:
    service = over(await ended(store, LINES, MIXED), "failed")
    wide = {"include_unknown": True, "include_unprocessed": True}
    for options in (wide, {}, wide) if wide_first else ({}, {"include_unknown": True}, wide, {}):
        await retried(store, service, **options)
    found = [line for name in service.submitted if name != "r" for line in await lines_of(store, service, name)]
    assert sorted(found) == LINES[1:]
    assert len(service.submitted) == (2 if wide_first else 4)


async def test_lines_that_were_refused_would_be_refused_again(store: Store) -> None:
    """Except one that lacked nothing but its user's credentials."""
    lines = [b"{", append(1), append(1), append(3, user="eve"), append(4, op="explode"), append(5)]
    service = over(await ended(store, lines, {"o1": NO, "o5": YES}))
    made = await retried(store, service)
    assert made.left_out.refused == 3
    assert await lines_of(store, service, "r.retry1") == [lines[1], lines[3]]


async def test_what_succeeded_while_planning_is_not_taken(store: Store) -> None:
    request = await ended(store, [b"{", read(9), *LINES], {**MIXED, "o9": YES})
    path = layout.refused_path("r", (await need_plan(store, "r")).edition)
    refused = await store.get(path) or b""
    await store.put(path, refused + result_line("from-a-cache", 2, "succeeded", "yes", "") + b"\n")
    made = await retried(store, over(request, "cancelled"), include_unprocessed=True)
    assert (made.operations, made.left_out.refused) == (4, 1)


async def test_a_line_without_an_id_keeps_the_one_that_it_had(store: Store) -> None:
    lines = [append(0), b"", append(2, id=None), append(3)]
    service = over(await ended(store, lines, {"o0": YES, "3": NO, "o3": NO}, user="bot"))
    await retried(store, service)
    named, kept = await lines_of(store, service, "r.retry1")
    assert json.loads(named) == {**json.loads(lines[2]), "id": "3"}
    assert kept == lines[3]


async def test_a_request_that_was_never_planned_has_everything_to_send(store: Store) -> None:
    request = await submitted(store, b"\n".join([*LINES, b"{"]) + b"\n")
    service = over(request, "failed")
    with pytest.raises(InvalidRequest, match="7 never sent"):
        await retried(store, service)
    assert (await retried(store, service, include_unprocessed=True)).operations == 7


async def test_a_retry_that_the_server_has_forgotten_is_known_by_its_plan(store: Store) -> None:
    service = over(await ended(store, LINES, MIXED))
    await retried(store, service)
    await ActivityEnvironment().run(PlanActivities(store).plan, service.submitted.pop("r.retry1"))
    assert await find_plan(store, "r.retry1")
    assert not (await retried(store, service)).submitted.first
    assert (await retried(store, service, include_unknown=True)).submitted.id == "r.retry2"
    assert await lines_of(store, service, "r.retry2") == [LINES[2]]


async def test_a_retry_that_was_stored_and_never_started_is_started(store: Store) -> None:
    service = over(await ended(store, LINES, MIXED))
    await retried(store, service)
    del service.submitted["r.retry1"]
    assert (await retried(store, service)).submitted.first
    assert set(service.submitted) == {"r", "r.retry1"}


async def test_a_purged_retry_ends_the_guessing(store: Store) -> None:
    service = over(await ended(store, LINES, MIXED))
    await retried(store, service)
    await store.delete(layout.input_path("r.retry1", service.submitted["r.retry1"].input_sha256))
    with pytest.raises(InvalidRequest, match="nobody knows which"):
        await retried(store, service, include_unknown=True)


async def test_a_request_of_another_kind_that_has_the_name_is_passed_over(store: Store) -> None:
    request = await ended(store, LINES, MIXED)
    other = await submitted(store, append(77) + b"\n", "r.retry1")
    service = FakeService(submitted={"r": request, "r.retry1": other})
    assert (await retried(store, service)).submitted.id == "r.retry2"


async def test_the_command_says_what_it_left_out(store: Store, tmp_path: Path) -> None:
    service = over(await ended(store, LINES, MIXED), "cancelled")
    environ = {"HEADGATE_STORE": str(tmp_path)}

    def run(*more: str) -> Any:
        return ran("retry-failed", "r", *more, service=service, environ=environ)

    shown = await asyncio.to_thread(run)
    assert shown.code == 0
    assert shown.out.splitlines() == [
        "r: 2 operations go again as r.retry1; "
        "left out: 1 of unknown effect (--include-unknown), 2 never sent (--include-unprocessed)",
    ]
    again = await asyncio.to_thread(run, "--json")
    assert again.documents == [
        {
            "id": "r.retry1",
            "workflow_id": "bulk/r.retry1",
            "operations": 2,
            "left_out": {"refused": 0, "unknown": 1, "unprocessed": 2, "retried": 0},
            "of": "r",
        }
    ]


async def test_nothing_to_retry_is_a_mistake(store: Store) -> None:
    service = over(await ended(store, LINES[:1], {"o0": YES}))
    with pytest.raises(InvalidRequest, match="all of it succeeded"):
        await retried(store, service)


async def test_a_request_that_runs_is_asked_itself(tmp_path: Path) -> None:
    service = FakeService(state=None, said={"r1": "1,200 operations go again as r1.retry2; left out: 1 retried before"})
    found = await asyncio.to_thread(
        ran, "retry-failed", "r1", "--json", service=service, environ={"HEADGATE_STORE": str(tmp_path)}
    )
    assert found.code == 0, found.err
    assert [(command, control.to) for _, command, control in service.controls] == [("retry_failed", None)]
    (document,) = found.documents
    assert (document["id"], document["operations"], document["of"]) == ("r1.retry2", 1200, "r1")
    assert not service.submitted


@pytest.mark.parametrize(
    ("said", "code", "says"),
    [
        (CommandRefused("nothing has failed so far: nothing to retry"), 2, "headgate: r1: nothing has failed so far"),
        (Answered("r1", "bulk/r1", RECORDED, heard=False), 3, "headgate: r1: recorded: no worker answers"),
        (Unreachable("no server"), 3, "headgate: r1: no server"),
    ],
)
def test_a_request_that_runs_may_have_no_answer(tmp_path: Path, said: Any, code: int, says: str) -> None:
    found = ran(
        "retry-failed",
        "r1",
        service=FakeService(state=None, said={"r1": said}),
        environ={"HEADGATE_STORE": str(tmp_path)},
    )
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(says)


async def test_a_request_that_ended_meanwhile_is_retried_from_here(store: Store) -> None:
    """It refused, because it was about to end: by then it is over."""
    service = over(await ended(store, LINES, MIXED))
    service.states = [None]
    service.said = {"r": CommandRefused("the request is over (completed): nothing to retry")}
    made = await retried(store, service)
    assert (made.submitted.id, made.operations) == ("r.retry1", 2)


@pytest.mark.parametrize("option", ["include_unknown", "include_unprocessed"])
async def test_what_a_running_request_may_still_send_is_not_retried(store: Store, option: str) -> None:
    service = FakeService(state=None)
    with pytest.raises(InvalidRequest, match="not over yet"):
        await retry_failed(service, store, "r1", **{option: True})  # type: ignore[arg-type]
    assert not service.controls


@pytest.mark.parametrize(
    "retry",
    [
        Retry(request=BulkRequest(id="r.retry1", project="p"), operations=1),
        Retry(
            request=BulkRequest(id="a.b@c.retry12", project="p"),
            operations=1_234_567,
            first=False,
            left_out=LeftOut(refused=3),
        ),
    ],
)
def test_what_is_said_of_a_retry_is_heard(retry: Retry) -> None:
    assert heard(said(retry)) == (retry.request.id, retry.operations, retry.first)
    assert heard("paused by ana") is None


def test_an_unknown_request_is_a_mistake(tmp_path: Path) -> None:
    service = FakeService()
    found = ran("retry-failed", "r9", service=service, environ={"HEADGATE_STORE": str(tmp_path)})
    assert found.code == 2
    assert one_sentence(found.err)
    assert not service.submitted


async def test_who_was_told_of_a_request_is_told_of_its_retry(store: Store) -> None:
    """Under the new one's id and nonce, since an address is that of one submission; one that is gone is told nothing."""
    request = await ended(store, LINES, MIXED, notify="ops")
    await keep_address(store, request, "https://hooks.example/x")
    service = over(request)
    await retried(store, service)
    again = service.submitted["r.retry1"]
    assert again.notify == "ops"
    assert again.nonce != request.nonce
    assert await address_of(store, "r.retry1", again.nonce) == "https://hooks.example/x"
    await store.delete(notify_path("r", request.nonce))
    await retried(store, service, include_unknown=True)
    assert service.submitted["r.retry2"].notify == ""
