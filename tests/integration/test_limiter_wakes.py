"""A limiter that sleeps, because everybody got what they wanted, wakes when tokens come back."""

from __future__ import annotations

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from headgate.messages.tokens import Grant, LaneDemand, Settlement, TokenRequest, Unused
from tests.eventually import eventually
from tests.integration.stack import FAST, Stack
from workflows.limiter_start import signal_with_start_limiter

LANES = 12


@workflow.defn
class Collects:
    """A holder that takes down its grants, and says nothing by itself."""

    def __init__(self) -> None:
        self.grants: list[Grant] = []

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def grant(self, grant: Grant) -> None:
        self.grants += [grant] if grant.tokens else []

    @workflow.query
    def taken(self) -> list[Grant]:
        return self.grants


async def test_tokens_that_come_back_from_many_lanes_are_given_again(stack: Stack, temporal_client: Client) -> None:
    """All lanes were served, so there is no next round; then all of their tokens come back, and nobody asks again."""
    queue, runner = "collects", UnsandboxedWorkflowRunner()
    async with Worker(temporal_client, task_queue=queue, workflows=[Collects], workflow_runner=runner):
        project = await stack.project(FAST)
        holder = await temporal_client.start_workflow(Collects.run, id=f"holder-of-{project}", task_queue=queue)
        demands = tuple(
            LaneDemand(lane=n, kind="write", user=f"u{n}", spreadsheet=f"s{n}", calls=1, latency_ns=10**8)
            for n in range(LANES)
        )
        said = TokenRequest(holder=holder.id, run=1, sequence=1, lanes=demands)
        await signal_with_start_limiter(temporal_client, project, "request_tokens", said)

        async def all_served(times: int) -> list[Grant] | None:
            grants = await holder.query(Collects.taken)
            return grants if sum(len(grant.tokens) for grant in grants) == times * LANES else None

        first = await eventually(lambda: all_served(1), timeout=60)
        assert first is not None
        unused = tuple(
            Unused(grant_id=grant.grant_id, lane=lane, tokens=(0,)) for grant in first for lane in grant.tokens
        )
        back = Settlement(holder=holder.id, epoch=first[0].epoch, unused=unused)
        await signal_with_start_limiter(temporal_client, project, "settle", back)
        await eventually(lambda: all_served(2), timeout=60)
        await holder.terminate()
