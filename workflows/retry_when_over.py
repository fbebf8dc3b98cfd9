"""Finding what failed in a request that is over, for who cannot read results for minutes. One run of `RetryWorkflow` a command.

The request itself is not there any more to do it, and whoever asks may go away meanwhile and come again for the answer.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from headgate.messages.sending import Retry, RetryOf
    from workflows import names, policies


@workflow.defn(name=names.RETRY_TYPE)
class RetryWorkflow:
    """No messages. Its result is the request that retries, whose input is in the store; whoever asked starts it."""

    @workflow.run
    async def run(self, asked: RetryOf) -> Retry:
        retry: Retry = await workflow.execute_activity(
            "retry_failed",
            args=[asked.request, asked.state],
            result_type=Retry,
            summary="find what has failed",
            **policies.RETRY_OVER,
        )
        return retry
