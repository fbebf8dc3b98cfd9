"""One occurrence of a schedule: it starts one bulk request and lasts as long as that one, so that the schedule knows of overlaps.

1. Its request's id follows from its own, which Temporal gives to one execution only: no occurrence starts two requests.
2. The input is the request's own before the request starts; from then on neither needs the schedule any more.
3. The request is nobody's captive: it goes on if the occurrence is cancelled, terminated or its schedule removed.
4. It ends as its request does: with its counts, or failed where the request failed or could not be started.
"""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from headgate.messages.carried import BulkInput
    from headgate.messages.views import ProgressView
    from headgate.schedules import OccurrenceInput, OccurrenceView, TakeInput, occurrence_request
    from workflows import names, policies
    from workflows.starting import start_options


@workflow.defn(name=names.OCCURRENCE_TYPE)
class OccurrenceWorkflow:
    """Takes the schedule's stored input for one request, starts it, waits for its end."""

    @workflow.run
    async def run(self, start: OccurrenceInput) -> OccurrenceView:
        schedule = start.request.id
        request_id = occurrence_request(schedule, start.timing, self._due())
        workflow.set_current_details(f"takes the input for request `{request_id}`")
        nonce, told = workflow.uuid4().hex[:16], start.request.notify
        await workflow.execute_activity(
            "take_input",
            TakeInput(
                schedule=schedule,
                request_id=request_id,
                sha256=start.request.input_sha256,
                kept=start.request.nonce if told else "",
                nonce=nonce if told else "",
            ),
            summary=f"input of {request_id}",
            **policies.PLAN,
        )
        request = start.request.model_copy(
            update={"id": request_id, "submitted_at_ns": workflow.time_ns(), "nonce": nonce}
        )
        try:
            running = await workflow.start_child_workflow(
                names.BULK_REQUEST_TYPE,
                BulkInput(request=request, indexed=start.indexed, release=names.RELEASE),
                result_type=ProgressView,
                parent_close_policy=ParentClosePolicy.ABANDON,
                cancellation_type=ChildWorkflowCancellationType.ABANDON,
                **start_options(request, summary=start.summary, indexed=start.indexed),
            )
        except WorkflowAlreadyStartedError:
            raise ApplicationError(
                f"request {request_id!r} exists already, so this occurrence started nothing: see `headgate status {request_id}`",
                type="InvalidRequest",
                non_retryable=True,
            ) from None
        workflow.set_current_details(f"request `{request_id}` runs: see `bulk/{request_id}`")
        view: ProgressView = await running
        counts = view.operations
        workflow.set_current_details(f"request `{request_id}`: {view.state}, {counts.failed} operations failed")
        return OccurrenceView(
            request=request_id,
            state=view.state,
            succeeded=counts.succeeded,
            failed=counts.failed,
            unprocessed=counts.unprocessed,
        )

    def _due(self) -> datetime:
        try:
            return names.occurrence_at(workflow.info().workflow_id)
        except ValueError:
            raise ApplicationError(
                "an occurrence is started by its schedule alone: trigger that one instead",
                type="InvalidRequest",
                non_retryable=True,
            ) from None
