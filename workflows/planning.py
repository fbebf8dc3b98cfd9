"""Having a request planned, once: what it is made of, and how long that is waited for once it is cancelled."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.quota import SECOND_NS
from headgate.status import Status
from headgate.steering import Steering
from workflows import policies
from workflows.actions import Actions

#: So long a cancelled request waits for its plan, which tells how many operations it had.
PLANNING_ENDS_NS = 30 * SECOND_NS


class Planning:
    """The planning of a request, under way from `begin` on. Without `limited` it is waited for however long it takes."""

    def __init__(
        self, request: BulkRequest, steering: Steering, status: Status, actions: Actions, *, limited: bool
    ) -> None:
        self._request = request
        self._steering = steering
        self._status = status
        self._actions = actions
        self._limited = limited
        self._planning: asyncio.Task[None] | None = None
        self._ends = False

    def begin(self) -> None:
        """Have it planned."""
        self._planning = self._actions.do(self._plan())

    def limit(self) -> None:
        """Once cancelled, planning may still end, and say how many operations there were; where it cannot, nobody waits for it."""
        if self._steering.cancelled_by and self._limited and not self._ends:
            self._ends = True
            self._actions.aside(self._give_up())

    async def _plan(self) -> None:
        try:
            plan = await workflow.execute_activity(
                "plan",
                self._request,
                result_type=PlanSummary,
                summary=f"plan {self._request.input_bytes:,} bytes of operations",
                **policies.PLAN,
            )
        except ActivityError as error:
            if not (is_cancelled_exception(error) and self._steering.cancelled_by):
                raise
            self._status.unplanned = True
            return
        self._status.planned(plan, workflow.time_ns())

    async def _give_up(self) -> None:
        await workflow.sleep(PLANNING_ENDS_NS / SECOND_NS, summary="planning may end before the request does")
        if self._planning is not None and not self._planning.done():
            self._planning.cancel()
