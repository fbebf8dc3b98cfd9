"""A paused request costs nothing while it is paused, however long that is, and goes on where it was."""

from __future__ import annotations

import asyncio
from collections import Counter

from temporalio.api.enums.v1 import EventType

from benchmarks.readings import arrivals
from benchmarks.rig import PROJECT, Rig, rig
from headgate.messages.views import Control
from starter.service import TemporalService
from tests.eventually import eventually
from tests.integration.test_limiter_hosts import SETTING, SHEETS, STEPPED, judged, lines
from workflows.names import bulk_request_id, rate_limiter_id

WATCHED_S = 20.0
DAY_S = 86_400


async def events(running: Rig, workflow_id: str) -> Counter[str]:
    """Events by type of the workflow's last run."""
    handle = running.client.get_workflow_handle(workflow_id)
    return Counter([EventType.Name(event.event_type) async for event in handle.fetch_history_events()])


def open_timers(counted: Counter[str]) -> int:
    """Timers that would fire some day."""
    started, fired, cancelled = (counted[f"EVENT_TYPE_TIMER_{what}"] for what in ("STARTED", "FIRED", "CANCELED"))
    return started - fired - cancelled


async def _rests(running: Rig, workflow_id: str) -> bool:
    described = await running.client.get_workflow_handle(workflow_id).describe()
    return not described.raw_description.pending_activities and not open_timers(await events(running, workflow_id))


async def test_a_pause_of_a_day_costs_no_action_and_resumes_where_it_was() -> None:
    """No action for 20 s, and no timer or activity is open that could cost one later; the workers' clocks then jump by a day."""
    async with rig(SETTING, SHEETS) as running:
        clock = running.folder / "clock"
        stepped = {"PYTHONPATH": str(STEPPED), "HEADGATE_TEST_CLOCK": str(clock)}
        running.environ.update(stepped)
        running.kill_worker()
        running.start_worker()
        request_id = await running.submit(lines(60), "--operations-per-call=1")
        await running.first_write(within_s=90)
        service, workflow_id = TemporalService(running.client), bulk_request_id(request_id)
        await service.control(request_id, "pause", Control(by="ana"))

        async def quiet() -> bool:
            """Nothing under way that ends by itself, as a timer set before the pause does within half a minute."""
            return all([await _rests(running, one) for one in (workflow_id, rate_limiter_id(PROJECT))])

        await eventually(quiet, timeout=60, interval=1)
        made = len(arrivals(await running.ledger()))
        before = await running.actions()
        await asyncio.sleep(WATCHED_S)
        assert await running.actions() - before == Counter()
        assert await quiet()
        assert len(arrivals(await running.ledger())) == made
        clock.write_text(str(DAY_S))
        await eventually(lambda: b"clock stepped" in (running.folder / "worker.log").read_bytes(), timeout=10)
        before_resume = await events(running, workflow_id)
        await service.control(request_id, "resume", Control(by="ana"))

        async def goes_on() -> bool:
            return len(arrivals(await running.ledger())) > made

        await eventually(goes_on, timeout=10)
        assert before_resume["EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"] == 1
        await judged(running, request_id, 60 * len(SHEETS), within_s=120)
