"""What a bulk request was submitted with, as the Temporal server remembers it."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest
from workflows import names


async def submitted(client: Client, request_id: str) -> BulkRequest | None:
    """The request of this id, whether it runs or is over; None if the server knows of none. Raises RPCError for anything else."""
    handle = client.get_workflow_handle(names.bulk_request_id(request_id))
    try:
        described = await handle.describe()
        run = client.get_workflow_handle(described.id, run_id=described.run_id)
        async for event in run.fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            start: BulkInput = (await client.data_converter.decode(payloads, [BulkInput]))[0]
            return start.request
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
            raise
    return None
