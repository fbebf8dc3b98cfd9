"""Having batches sent again whose call failed in a way worth repeating, one activity a lane.

1. A lane whose batch is being sent again waits for it; the others go on.
2. Once the request is cancelled nothing more is sent than it takes to know what became of a batch.
3. A run that continues as new cancels the activities between attempts; the next one begins them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from headgate.asking import Asking
from headgate.lanes import Lanes
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import ResendBatch, ResendReport
from headgate.progress import Progress
from headgate.steering import Steering
from headgate.summaries import sending_again
from workflows import policies
from workflows.actions import Actions
from workflows.projecting import Projecting


class Resending:
    """The batches that are being sent again, by lane; `reports` are those that nobody has taken yet."""

    def __init__(
        self,
        request: BulkRequest,
        lanes: Lanes,
        steering: Steering,
        asking: Asking,
        actions: Actions,
        projecting: Projecting,
    ) -> None:
        self.under_way: dict[int, asyncio.Task[None]] = {}
        self.reports: list[tuple[int, ResendReport]] = []
        self._request = request
        self._lanes = lanes
        self._steering = steering
        self._asking = asking
        self._actions = actions
        self._projecting = projecting
        self._cancelled = False
        self._draining = False

    def begin(self, without: Collection[int]) -> None:
        """Send again what has to be, but for lanes that cannot go on at all."""
        for lane in self._lanes:
            number = lane.entry.lane
            if lane.resending and number not in self.under_way and number not in without:
                order = ResendBatch(
                    request=self._request,
                    holder=self._asking.holder,
                    lane=lane.entry,
                    batch=lane.entry.first_batch + lane.position,
                    priority=self._steering.priority,
                    cancelled=bool(self._steering.cancelled_by),
                    most=lane.most,
                    progress=self._projecting.goes_along(),
                )
                self.under_way[number] = self._actions.do(self._resend(number, order))

    def cancel(self, without: Collection[int]) -> None:
        """Make certain what became of the batches that are being resent, and send nothing else of them."""
        if not self._cancelled:
            self._cancelled = True
            self._stop()
        self.begin(without)

    def fold(self, progress: Progress, now: int) -> dict[int, str]:
        """Take what came back; returns the lanes that cannot go on at all, and why."""
        broken: dict[int, str] = {}
        for number, report in self.reports:
            lane, why, done = self._lanes.active.get(number), report.broken, report.done
            if lane is None:
                continue  # given up meanwhile
            if done is not None and self._lanes.resent(number, done):
                why = done.failure
                progress.sent(done.calls, now)
                progress.done(done, max(0, done.calls - 1), now)
                progress.passed(lane.entry.user, 1)
            if why:
                lane.resending = False
                if not lane.finished:
                    broken[number] = why
        self.reports.clear()
        return broken

    def drain(self) -> None:
        """The run ends: stop between attempts."""
        self._draining = True
        self._stop()

    def _stop(self) -> None:
        for task in self.under_way.values():
            task.cancel()

    async def _resend(self, number: int, order: ResendBatch) -> None:
        try:
            report = await workflow.execute_activity(
                "resend_batch", order, result_type=ResendReport, summary=sending_again(order), **policies.RESEND
            )
            self.reports.append((number, report))
            if report.stopped and not self._steering.paused_by:
                self._asking.unheard()
        except ActivityError as error:
            # The attempt that is on when the cancellation is asked for may end in a failure of its own.
            if not (is_cancelled_exception(error) or self._draining or self._steering.cancelled_by):
                raise
        finally:
            del self.under_way[number]
