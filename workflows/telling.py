"""Having a request's receiver told, beside everything else that the request does.

1. The request never waits: a notice is delivered by an activity that no step, no continue-as-new and no end depends on.
2. One delivery is under way at a time, so their order holds. What is untold at a continue-as-new goes into the next run; the
   delivery that was under way is repeated there, under the same id.
3. What is untold at the end, the end itself at least, goes to a `NoticeWorkflow`, which the request leaves behind.
4. A run that is terminated says nothing more. Without `notify` nothing of this issues a command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError

from headgate.messages.notices import End, LastNotices, Notice, NoticeCheckpoint, TellNotice
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView
from headgate.notices import Notices
from workflows import names, policies


class Telling:
    """What one run of a request has told of itself; `view` is its progress, asked for only where somebody is told."""

    def __init__(self, request: BulkRequest, kept: NoticeCheckpoint | None, view: Callable[[], ProgressView]) -> None:
        self._request = request
        self._notices = Notices(request.id, request.nonce, kept) if request.notify else None
        self._view = view
        self._telling: asyncio.Task[None] | None = None
        self._left = False

    def observe(self, *, sending: bool, failed: int, paused_by: str | None, resumed_by: str) -> None:
        """Look at the request, and begin to tell what is due."""
        if self._notices is None or self._left:
            return
        self._notices.observe(
            workflow.time_ns(),
            self._view,
            sending=sending,
            failed=failed,
            paused_by=paused_by,
            resumed_by=resumed_by,
        )
        if self._notices.next is not None and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell(self._notices))

    def checkpoint(self) -> NoticeCheckpoint | None:
        """What the next run goes on from."""
        return self._notices.checkpoint() if self._notices is not None else None

    async def ended(self, end: End, by: str = "", why: str = "") -> None:
        """The request is over: what is untold is left to somebody else."""
        if self._notices is not None:
            self._notices.ended(workflow.time_ns(), self._view(), end, by=by, why=why)
            await self._leave(self._notices.untold)

    async def _tell(self, notices: Notices) -> None:
        while (notice := notices.next) is not None and not self._left:
            try:
                await workflow.execute_activity(
                    "notify", self._order(notice), summary=f"tell of {notice.event}", **policies.NOTICE
                )
            except ActivityError:
                workflow.logger.warning("Notice not delivered", extra={"event_id": notice.id})
            notices.settled(notice)

    async def _leave(self, untold: list[Notice]) -> None:
        self._left = True
        last = untold[-1]
        try:
            await workflow.start_child_workflow(
                names.NOTICE_TYPE,
                LastNotices(orders=tuple(self._order(notice) for notice in untold)),
                id=names.notice_id(self._request.id, last.sequence, last.event),
                task_queue=names.WORKFLOW_QUEUE,
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"tell that {self._request.id} is {last.event}",
            )
        except WorkflowAlreadyStartedError:  # a run that was reset had the same end before, and that one is being told
            workflow.logger.info("End is told already", extra={"event_id": last.id})

    def _order(self, notice: Notice) -> TellNotice:
        request = self._request
        return TellNotice(
            request_id=request.id,
            nonce=request.nonce,
            key=request.notify,
            project=request.project,
            owner=request.owner,
            notice=notice,
        )
