"""Schedules on a real server: what begins when it should, once for each instant, and what becomes of the input.

The oracle is the emulator: how often each row stands in its spreadsheet.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter

from activities import layout
from activities.store import Store
from headgate.errors import InvalidRequest
from headgate.messages.requests import BulkRequest
from headgate.messages.views import Control, ProgressView
from headgate.schedules import OccurrenceInput, OccurrenceView, Overlap, Timing
from starter.client import BulkRequests
from starter.schedules import Occurrence, Scheduled, ScheduleRow, UnknownSchedule
from starter.selection import Selection
from starter.service import TemporalService, UnknownRequest
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import NUMBER, Stack, append, running_stack
from workflows import names


class Clerk:
    """Schedules one append for a test, into a spreadsheet of its own, and looks at what came of it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.requests = BulkRequests(TemporalService(stack.client), stack.store)
        self.name = f"s{next(NUMBER)}"
        self.lines: Sequence[dict[str, Any]] = [append("row", self.name)]
        stack.spreadsheets(self.name)

    async def schedule(self, **options: Any) -> Scheduled:
        """A schedule of the lines, whose requests belong to a project of their own."""
        self.project = getattr(self, "project", None) or await self.stack.project()
        return await self.requests.schedule(self.lines, project=self.project, user="bot", id=self.name, **options)

    async def row(self) -> ScheduleRow:
        return await self.requests.scheduled(self.name)

    @property
    def rows(self) -> int:
        """How often the operation has taken effect."""
        return self.stack.counted(self.name)["row"]

    async def request_ids(self) -> list[str]:
        """The requests of this schedule that the server knows, by visibility and so by no state of the schedule's own."""
        started = self.stack.client.list_workflows(f'WorkflowId STARTS_WITH "{names.bulk_request_id(self.name)}"')
        return sorted([one.id.removeprefix(names.bulk_request_id("")) async for one in started])

    async def a_row_each(self) -> bool:
        """Whether there is one row for each request; visibility learns of requests a little later."""
        return self.rows == len(await self.request_ids()) > 0

    async def ended(self, count: int, within: float = 60.0) -> tuple[Occurrence, ...]:
        """The schedule's requests, once so many are completed."""

        async def completed() -> tuple[Occurrence, ...]:
            requests = (await self.row()).requests
            return requests if sum(one.state == "completed" for one in requests) >= count else ()

        return await eventually(completed, within, 0.2)


@pytest.fixture
async def clerk(stack: Stack) -> AsyncIterator[Clerk]:
    """No schedule of a test outlives it, or a failed one would slow down all others."""
    made = Clerk(stack)
    yield made
    with contextlib.suppress(UnknownSchedule):
        await made.requests.remove_schedule(made.name)


def soon(seconds: float = 4.0) -> datetime:
    """A whole second, so far from now."""
    return datetime.fromtimestamp(math.ceil(time.time() + seconds), UTC)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_start_in_some_seconds_runs_once_under_the_schedules_own_id(clerk: Clerk, stack: Stack) -> None:
    at = soon()
    made = await clerk.schedule(start_at=at, priority="urgent", owner="team")
    assert (made.id, made.first, made.next_at) == (clerk.name, True, stamp(at))
    waiting = await clerk.row()
    assert (waiting.state, waiting.next_at, waiting.requests) == ("active", stamp(at), ())
    assert clerk.rows == 0

    assert await clerk.ended(1) == (Occurrence(clerk.name, stamp(at), "completed"),)
    since_start = time.monotonic() - time.time()  # the ledger's clock
    assert 0 <= min(stack.arrivals(clerk.name)) - (at.timestamp() + since_start) < 10
    assert clerk.rows == 1
    done = await clerk.row()
    assert (done.state, done.next_at, done.started) == ("done", None, 1)
    assert not (await clerk.schedule(start_at=at)).first, "the same once more, though its instant is past"
    assert await eventually(clerk.request_ids) == [clerk.name]

    first = await anext(TemporalService(stack.client).history(clerk.name))
    assert (first.kind, first.particulars["sender"]) == ("submitted", f"{names.occurrence_id(clerk.name)}-{stamp(at)}")
    described = await stack.client.get_workflow_handle(names.bulk_request_id(clerk.name)).describe()
    assert await described.static_summary() == f"Python · 1 lines · project {clerk.project}"
    rows = [row async for row in TemporalService(stack.client).requests(Selection(project=clerk.project))]
    assert [(row.id, row.state, row.priority, row.owner) for row in rows] == [
        (clerk.name, "completed", "urgent", "team")
    ]


async def test_every_some_seconds_there_is_a_request_until_it_is_removed(clerk: Clerk, stack: Stack) -> None:
    await clerk.schedule(every=timedelta(seconds=2))
    ended = await clerk.ended(3)
    assert len({one.request for one in ended}) == len(ended)
    assert all(one.request == f"{clerk.name}-{one.at.replace('-', '').replace(':', '')}" for one in ended)
    assert all(datetime.fromisoformat(one.at).second % 2 == 0 for one in ended)

    removal = await clerk.requests.remove_schedule(clerk.name)
    assert (removal.starting, removal.input_removed) == ((), True)
    assert [path async for path in stack.store.list(layout.schedule_root(clerk.name))] == []
    for request_id in removal.running:
        await stack.client.get_workflow_handle(names.bulk_request_id(request_id)).result()
    await eventually(clerk.a_row_each, 60)
    started = await clerk.request_ids()
    assert len(started) >= 3
    await after_two_instants()
    assert await clerk.request_ids() == started
    with pytest.raises(UnknownSchedule):
        await clerk.row()
    with pytest.raises(UnknownSchedule):
        await clerk.requests.remove_schedule(clerk.name)


async def after_two_instants() -> None:
    """Two more instants of a schedule of two seconds have come and gone, and time enough for visibility to tell."""
    until = time.monotonic() + 5.5
    await eventually(lambda: time.monotonic() > until)


@pytest.mark.parametrize(("overlap", "together"), [(None, 1), ("buffer-one", 1), ("allow-all", 3)])
async def test_an_overlap_is_what_was_chosen(
    clerk: Clerk, stack: Stack, overlap: Overlap | None, together: int
) -> None:
    """The project is paused, so the first request lasts until it is resumed: as long as several instants."""
    clerk.project = await stack.project()
    await stack.limiter(clerk.project).signal("pause", Control(by="test"))
    await clerk.schedule(every="1s", overlap=overlap)

    async def several_were_due() -> bool:
        row = await clerk.row()
        return row.skipped >= 3 if together == 1 else row.started >= 4

    await eventually(several_were_due, 60)
    under_way = [one.state for one in (await clerk.row()).requests]
    assert len(under_way) == 1 if together == 1 else len(under_way) >= together
    assert clerk.rows == 0
    resumed_at = time.time()
    await stack.limiter(clerk.project).signal("resume", Control(by="test"))
    await clerk.ended(2)
    removal = await clerk.requests.remove_schedule(clerk.name)
    for request_id in removal.running:
        await stack.client.get_workflow_handle(names.bulk_request_id(request_id)).result()
    await eventually(clerk.a_row_each, 60)
    first, second, *_ = await clerk.request_ids()
    begun, due = (
        datetime.strptime(f"{one}+0000", f"{clerk.name}-%Y%m%dT%H%M%SZ%z").timestamp() for one in (first, second)
    )
    if overlap is None:
        assert due >= math.floor(resumed_at), "what was due meanwhile was left out"
    else:
        assert due == begun + 1, "what was due next was kept, or ran beside it"


async def test_a_start_by_hand_takes_the_single_start_that_there_is(clerk: Clerk, stack: Stack) -> None:
    """Triggered in the Web UI before its instant: the request runs then, and not a second time."""
    at = soon(4)
    await clerk.schedule(start_at=at)
    await stack.client.get_schedule_handle(names.schedule_id(clerk.name)).trigger()
    await clerk.ended(1)
    await eventually(lambda: datetime.now(UTC) > at + timedelta(seconds=1))

    async def over() -> bool:
        row = await clerk.row()
        return row.state == "done" and "starting" not in [one.state for one in row.requests]

    await eventually(over, 60)
    assert await clerk.request_ids() == [clerk.name]
    assert clerk.rows == 1


async def test_an_occurrence_is_started_by_no_person(clerk: Clerk, stack: Stack) -> None:
    start = OccurrenceInput(request=BulkRequest(id=clerk.name, project="p"), timing=Timing(every_s=1))
    handle = await stack.client.start_workflow(
        names.OCCURRENCE_TYPE, start, id=f"by-hand-{clerk.name}", task_queue=names.WORKFLOW_QUEUE
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert "started by its schedule alone" in str(failed.value.cause)


async def test_what_falls_into_a_pause_does_not_run(clerk: Clerk) -> None:
    await clerk.schedule(every="1s")
    await clerk.ended(1)
    await clerk.requests.pause_schedule(clerk.name, by="ana")
    paused = await eventually(clerk.row)
    assert (paused.state, paused.next_at, paused.note) == ("paused", None, "paused by ana")
    paused_at = datetime.now(UTC)
    await after_two_instants()
    resumed_at = datetime.now(UTC)
    before = (await clerk.row()).started
    assert (await clerk.requests.resume_schedule(clerk.name)).state == "active"
    await clerk.ended(before + 1)
    ran = [datetime.fromisoformat(one.at) for one in (await clerk.row()).requests]
    assert [at for at in ran if paused_at < at < resumed_at - timedelta(seconds=1)] == []
    await clerk.requests.remove_schedule(clerk.name)


async def test_a_single_start_that_falls_into_a_pause_is_missed_and_says_so(clerk: Clerk, stack: Stack) -> None:
    at = soon()
    await clerk.schedule(start_at=at)
    await clerk.requests.pause_schedule(clerk.name)
    await eventually(lambda: datetime.now(UTC) > at + timedelta(seconds=1))
    row = await clerk.requests.resume_schedule(clerk.name)
    assert (row.state, row.next_at, row.started, row.requests) == ("missed", None, 0, ())
    assert (await clerk.requests.remove_schedule(clerk.name)).input_removed
    assert clerk.rows == 0


async def test_a_purged_request_leaves_the_schedule_its_input_and_a_removed_schedule_its_requests(
    clerk: Clerk, stack: Stack
) -> None:
    await clerk.schedule(every="2s")
    first = (await clerk.ended(1))[-1]
    await clerk.requests.purge(first.request)
    assert [path async for path in stack.store.list(layout.request_root(first.request))] == []
    await clerk.ended(2)

    await stack.limiter(clerk.project).signal("pause", Control(by="test"))

    async def held() -> str:
        latest = (await clerk.row()).requests[0]
        return latest.request if latest.state not in ("completed", "starting") else ""

    request_id = await eventually(held, 60)
    removal = await clerk.requests.remove_schedule(clerk.name)
    assert removal.running == (request_id,)
    assert removal.input_removed
    await stack.limiter(clerk.project).signal("resume", Control(by="test"))
    view = await stack.client.get_workflow_handle(names.bulk_request_id(request_id), result_type=ProgressView).result()
    assert view.operations.succeeded == 1
    await eventually(clerk.a_row_each, 60)


async def test_the_occurrence_ends_as_its_request_does(clerk: Clerk, stack: Stack) -> None:
    clerk.lines = [append("row", clerk.name), append("bad", clerk.name, range="Nowhere!A:B")]
    at = soon()
    await clerk.schedule(start_at=at)
    await clerk.ended(1)
    occurrence = stack.client.get_workflow_handle(
        f"{names.occurrence_id(clerk.name)}-{stamp(at)}", result_type=OccurrenceView
    )
    assert await occurrence.result() == OccurrenceView(
        request=clerk.name, state="completed", succeeded=1, failed=1, unprocessed=0
    )


async def test_an_occurrence_whose_request_is_terminated_has_failed(clerk: Clerk, stack: Stack) -> None:
    clerk.project = await stack.project()
    await stack.limiter(clerk.project).signal("pause", Control(by="test"))
    at = soon()
    await clerk.schedule(start_at=at)
    await eventually(clerk.request_ids, 60)
    await stack.client.get_workflow_handle(names.bulk_request_id(clerk.name)).terminate()
    with pytest.raises(WorkflowFailureError):
        await stack.client.get_workflow_handle(f"{names.occurrence_id(clerk.name)}-{stamp(at)}").result()
    assert [one.state for one in (await clerk.row()).requests] == ["failed"]


async def test_an_id_that_was_taken_meanwhile_starts_nothing_and_the_occurrence_says_so(
    clerk: Clerk, stack: Stack
) -> None:
    at = soon()
    await clerk.schedule(start_at=at)
    await clerk.requests.submit([append("other", clerk.name)], project=clerk.project, user="bot", id=clerk.name)
    await eventually(lambda: started(clerk), 60)
    with pytest.raises(WorkflowFailureError) as failed:
        await stack.client.get_workflow_handle(f"{names.occurrence_id(clerk.name)}-{stamp(at)}").result()
    assert f"request '{clerk.name}' exists already" in str(failed.value.cause)
    assert [one.state for one in (await clerk.row()).requests] == ["not started"]
    await clerk.requests.ended(clerk.name)
    assert stack.counted(clerk.name) == {"other": 1}


async def test_a_request_that_exists_lends_its_id_to_no_schedule(clerk: Clerk, stack: Stack) -> None:
    clerk.project = await stack.project()
    await clerk.requests.submit(clerk.lines, project=clerk.project, user="bot", id=clerk.name)
    with pytest.raises(InvalidRequest, match="exists already"):
        await clerk.schedule(start_at=soon(60))
    assert [path async for path in stack.store.list(layout.schedule_root(clerk.name))] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"every": "61 * * * *"}, "Temporal cannot read cron 61"),
        ({"every": "0 0 31 2 *"}, "never comes"),
        ({"every": "0 0 * * * 2001"}, "never comes"),
    ],
)
async def test_what_temporal_cannot_read_or_never_comes_is_refused(
    clerk: Clerk, stack: Stack, options: dict[str, str], says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        await clerk.schedule(**options)
    with pytest.raises(UnknownSchedule):
        await clerk.row()
    assert [path async for path in stack.store.list(layout.schedule_root(clerk.name))] == []


async def test_other_content_or_other_times_under_an_id_are_refused_and_the_first_stays(
    clerk: Clerk, stack: Stack
) -> None:
    first = await clerk.schedule(every="0 6 * * 1-5", time_zone="Europe/Zurich")
    assert first.next_at is not None
    at = datetime.fromisoformat(first.next_at).astimezone(ZoneInfo("Europe/Zurich"))
    assert (at.hour, at.minute, at.weekday() < 5) == (6, 0, True)
    again = await clerk.schedule(every="0 6 * * 1-5", time_zone="Europe/Zurich")
    assert (again.first, again.next_at) == (False, first.next_at)
    stored = [path async for path in stack.store.list(layout.schedule_root(clerk.name))]
    assert len(stored) == 1
    for other in ({"every": "0 7 * * 1-5", "time_zone": "Europe/Zurich"}, {"every": "0 6 * * 1-5"}):
        with pytest.raises(InvalidRequest, match="exists already"):
            await clerk.schedule(**other)
    clerk.lines = [append("other", clerk.name)]
    with pytest.raises(InvalidRequest, match="exists already"):
        await clerk.schedule(every="0 6 * * 1-5", time_zone="Europe/Zurich")
    assert [path async for path in stack.store.list(layout.schedule_root(clerk.name))] == stored
    listed = await eventually(lambda: listed_names(clerk))
    assert clerk.name in listed
    await clerk.requests.remove_schedule(clerk.name)


async def started(clerk: Clerk) -> int:
    """How many occurrences the schedule has started."""
    return (await clerk.row()).started


async def listed_names(clerk: Clerk) -> list[str]:
    """What `schedules list` has, once this one is in it."""
    found = [row.id async for row in clerk.requests.schedules()]
    return found if clerk.name in found else []


async def test_a_repetition_from_an_instant_on_begins_with_it(clerk: Clerk) -> None:
    """Also where the span, counted from 1970, would fall on other instants."""
    at = soon(3600)
    at = at if at.second % 7 else at + timedelta(seconds=1)
    assert (await clerk.schedule(every="7min", start_at=at)).next_at == stamp(at)
    await clerk.requests.remove_schedule(clerk.name)


async def test_an_occurrence_without_a_worker_waits_and_a_removed_schedule_leaves_it_its_input(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server()
    client = await Client.connect(server.address, data_converter=pydantic_data_converter)
    store = Store.open(str(tmp_path / "store"))
    requests = BulkRequests(TemporalService(client), store)
    await requests.schedule([append("row", "late")], project="p", user="bot", id="late", every="1s")

    async def due() -> bool:
        return bool((await requests.scheduled("late")).requests)

    await eventually(due, 60)
    (occurrence,) = (await requests.scheduled("late")).requests
    assert occurrence.state == "starting"

    async def kept_from_a_purge() -> bool:
        try:
            await requests.purge(occurrence.request)
        except UnknownRequest:  # visibility does not know the occurrence yet, and nothing is there to purge
            return False
        except InvalidRequest as error:
            return "about to start" in str(error)
        return False

    await eventually(kept_from_a_purge)
    removal = await requests.remove_schedule("late")
    assert (removal.starting, removal.running, removal.input_removed) == ((occurrence.request,), (), False)
    assert [path async for path in store.list(layout.schedule_root("late"))] != []

    async with running_stack(client, tmp_path) as stack:
        stack.spreadsheets("late")
        await eventually(lambda: stack.counted("late") == {"row": 1}, 60)
        await requests.ended(occurrence.request)
    again = await requests.remove_schedule("late")
    assert (again.starting, again.input_removed) == ((), True)
    assert [path async for path in store.list(layout.schedule_root("late"))] == []
    with pytest.raises(UnknownSchedule):
        await requests.remove_schedule("late")
