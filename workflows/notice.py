"""What outlives a request: telling its receiver of the end. One run of `NoticeWorkflow` for each request that notifies.

A workflow of its own, because a request that waited for a receiver that is away would not be over for the people who wait for
it, and one that did not wait could not promise that its end is told.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from headgate.messages.notices import LastNotices
    from workflows import names, policies


@workflow.defn(name=names.NOTICE_TYPE)
class NoticeWorkflow:
    """No messages. It fails when the last state could not be delivered in a day, so that a list of failed workflows shows it."""

    @workflow.run
    async def run(self, start: LastNotices) -> None:
        for place, order in enumerate(start.orders, start=1):
            last = place == len(start.orders)
            try:
                await workflow.execute_activity(
                    "notify",
                    order,
                    summary=f"tell of {order.notice.event}",
                    **(policies.LAST_NOTICE if last else policies.NOTICE),
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                if last:
                    raise ApplicationError(
                        f"nobody could be told that {order.request_id} is {order.notice.event}: {error.cause or error}",
                        non_retryable=True,
                    ) from error
                workflow.logger.warning("Notice not delivered", extra={"event_id": order.notice.id})
