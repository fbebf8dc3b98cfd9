"""The limiter (and the request) continue as new every few hundred events under load: the same promises."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest

from benchmarks.readings import arrivals, throttled
from benchmarks.rig import Setting, rig, worst_windows
from benchmarks.usage import operations, spreadsheets


async def main(minutes: float = 4.0) -> dict[str, Any]:
    """Continue as new at 300 events; count the runs."""
    setting = Setting(latency_ms=300, jitter_ms=100, dynamic_config=["limit.historyCount.suggestContinueAsNew=300"])
    calls = int(300 * minutes * 0.95)
    async with rig(setting, spreadsheets(setting.users)) as running:
        request_id = await running.submit(operations(setting.users, calls), "--operations-per-call=1")
        view = await running.ended(request_id, within_s=minutes * 60 + 300)
        ledger = await running.ledger()
        accounts = await running.accounts(request_id, calls, spreadsheets(setting.users))
        await asyncio.sleep(2)
        service = running.client.workflow_service
        listed = await service.list_workflow_executions(
            ListWorkflowExecutionsRequest(namespace="default", page_size=1000)
        )
        runs = Counter(execution.type.name for execution in listed.executions)
    writes = arrivals(ledger)
    steady = [t for t in writes if writes[0] + 60 <= t < writes[-1] - 5]
    return {
        "runs": dict(runs),
        "worst_window": worst_windows(ledger, setting.window),
        "throttled": throttled(ledger),
        "used_share": len(steady) / ((writes[-1] - 5 - writes[0] - 60) / 60 * 300),
        **accounts,
        "reported": view.model_dump(),
    }
