"""What outlives a request that people see in a read model: showing its end there. One run of `ProjectionWorkflow` for each.

A workflow of its own, because a request that waited for a database that is away would not be over for the people who wait for
it, and one that did not wait could not promise that its end is shown.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from headgate.messages.projections import Projection
    from workflows import names, policies


@workflow.defn(name=names.PROJECTION_TYPE)
class ProjectionWorkflow:
    """No messages. It is there until the end is shown, with its dead letters: a list of running ones tells what is not."""

    @workflow.run
    async def run(self, told: Projection) -> None:
        await workflow.execute_activity(
            "project_final", told, summary=f"show that it is {told.progress.state}", **policies.PROJECT_FINAL
        )
