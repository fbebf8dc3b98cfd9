"""What makes a plan valid, and how its parts are found: shared by who writes a plan and who reads it."""

from __future__ import annotations

import struct
from typing import Final

from pydantic import BaseModel, ConfigDict

from activities.layout import plan_path
from activities.store import Store
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.words import Order

#: Where batch n lies in the batches object, and how long it is; entry n stands at n * INDEX_ENTRY.size.
INDEX_ENTRY: Final = struct.Struct("<QQ")
LANES_PER_PAGE: Final = 64


class PlanRecord(BaseModel):
    """One valid plan: stored last and once, so that what it names is complete and never changes.

    Every attempt at planning writes an edition of its own; the one named here counts, and no late attempt can touch it.
    """

    model_config = ConfigDict(frozen=True)

    edition: str
    project: str
    user: str
    order: Order
    operations_per_call: int
    input_sha256: str
    batches: int
    summary: PlanSummary

    def check_same(self, request: BulkRequest) -> None:
        """Refuses a request that took the id of another one: their results would be mixed up."""
        mine = (self.project, self.user, self.order, self.operations_per_call, self.input_sha256)
        if mine != (request.project, request.user, request.order, request.operations_per_call, request.input_sha256):
            raise InvalidRequest(
                f"The id {request.id} belongs to another request, with other operations or settings: submit this one under a new id."
            )


async def find_plan(store: Store, request_id: str) -> PlanRecord | None:
    """The valid plan of a request, or None while there is none."""
    payload = await store.get(plan_path(request_id))
    return None if payload is None else PlanRecord.model_validate_json(payload)


async def need_plan(store: Store, request_id: str) -> PlanRecord:
    """The valid plan of a request that has been planned."""
    found = await find_plan(store, request_id)
    if found is None:
        raise Unreachable(f"The plan of request {request_id} {gone(store)}")
    return found


def gone(store: Store) -> str:
    """How a sentence goes on about something that must be in the store and is not."""
    return f"is not in the store {store.location}: let every process have the same HEADGATE_STORE, and restore what was removed from it."
