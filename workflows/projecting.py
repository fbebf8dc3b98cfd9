"""Telling the read model how a request stands, beside everything else that the request does.

1. The request never waits for it: what goes along with an order costs no action, and no step, no continue-as-new and no end
   depends on the activities of its own.
2. One of those is under way at a time, and the next one tells what is newest then. They try until they are heard.
3. The end is left to a `ProjectionWorkflow`, which tries as long as it takes. Its version is higher than every one before.
4. A run that is terminated says nothing more. Without an organisation nothing of this issues a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, WorkflowAlreadyStartedError

from headgate.messages.projections import Projection, ProjectionCheckpoint
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView
from headgate.projections import Projections, exact, sight
from workflows import names, policies


class Projecting:
    """What one run of a request has told the read model; `view` is its progress, asked for only where it is told.

    `beside` runs something beside the steps, and has one made when that ends.
    """

    def __init__(
        self,
        request: BulkRequest,
        kept: ProjectionCheckpoint | None,
        view: Callable[[], ProgressView],
        beside: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._request = request
        self._projections = Projections.restore(kept, request) if request.organisation else None
        self._view = view
        self._beside = beside
        self._telling: asyncio.Task[None] | None = None
        self._left = False

    @property
    def wanted(self) -> bool:
        """Whether there is a read model that shows this request."""
        return self._projections is not None

    def goes_along(self) -> ProgressView | None:
        """What the order that is made just now takes along."""
        now = workflow.time_ns()
        if self._projections is None or self._left or not self._projections.may_go_along(now):
            return None
        view = self._view()
        if view.version == self._projections.version:
            return None
        self._projections.handed(now, view, own=False)
        return view

    def said(self) -> None:
        """A person has said something: what came of it is told at once, if it can be seen."""
        if self._projections is not None:
            self._projections.said = True

    def observe(self, now: int, version: int, state: str, priority: str, cause: str, counts: int, *, held: bool) -> int:
        """Look at the request, and begin to tell what is due; returns when to look again (ns; 0: at the next step)."""
        if self._projections is None or self._left or self._under_way:
            return 0
        due_ns = self._projections.due_ns(
            now, version, sight(state, priority, cause), exact(state, cause, counts), held=held
        )
        if not 0 < due_ns <= now:
            return due_ns
        self._telling = self._beside(self._tell(self._projections))
        return 0

    def checkpoint(self) -> ProjectionCheckpoint | None:
        """What the next run goes on from."""
        return self._projections.checkpoint(under_way=self._under_way) if self._projections is not None else None

    async def ended(self, view: ProgressView, why: str = "") -> None:
        """The request is over: somebody else tells it, however long that takes."""
        if self._projections is None:
            return
        self._left = True
        told = Projection(request=self._request, progress=view, ended_ns=workflow.time_ns(), error=why)
        try:
            await workflow.start_child_workflow(
                names.PROJECTION_TYPE,
                told,
                id=names.projection_id(self._request.id, view.version),
                task_queue=names.WORKFLOW_QUEUE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"show that {self._request.id} is {view.state}",
            )
        except WorkflowAlreadyStartedError:  # a run that was reset had the same end before, and that one is being told
            workflow.logger.info("End is shown already", extra={"request": self._request.id})

    @property
    def _under_way(self) -> bool:
        return self._telling is not None and not self._telling.done()

    async def _tell(self, projections: Projections) -> None:
        view = self._view()
        if view.version == projections.version:
            return  # an order of the same step has taken it along
        projections.handed(workflow.time_ns(), view, own=True)
        try:
            await workflow.execute_activity(
                "project",
                Projection(request=self._request, progress=view),
                summary=f"show people that it is {view.state}",
                **policies.PROJECT,
            )
        except ActivityError:
            workflow.logger.warning("Not shown", extra={"request": self._request.id, "version": view.version})


def said_of(error: FailureError) -> str:
    """Why a request failed, in the sentence of whoever found it: what wraps it adds nothing for people."""
    while isinstance(error.__cause__, FailureError):
        error = error.__cause__
    return error.message
