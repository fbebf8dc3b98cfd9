"""What the Web UI shows of a bulk request's run: its current details, and what it can be found by."""

from __future__ import annotations

from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from headgate.messages.requests import BulkRequest
    from headgate.messages.views import ProgressView
    from headgate.messages.words import State
    from headgate.quota import SECOND_NS
    from headgate.request_details import details, introduction
    from headgate.steering import Steering
    from workflows import names
    from workflows.starting import PERCENT, PRIORITY, STATE

SHOW_EVERY_NS = SECOND_NS


class Showing:
    """One run's page; `view` is the request's progress, asked for only where something of it is shown.

    Not `indexed`: the search attributes are not registered, and setting one would fail.
    """

    def __init__(
        self,
        request: BulkRequest,
        steering: Steering,
        view: Callable[[], ProgressView],
        *,
        indexed: bool,
        release: int,
    ) -> None:
        self._request = request
        self._steering = steering
        self._view = view
        self._indexed = indexed
        self._release = release
        self._indexed_as = self._to_index("planning", 0)
        self._shown: tuple[object, ...] = ()
        self._shown_ns = 0

    def show(self, now: int, state: State, reason: str, percent: int, *, at_once: bool = False) -> None:
        """Refresh the details at a change of what is said, which is a new version, else once a second; the index more seldom."""
        shown = (state, self._steering.priority, reason)
        if shown != self._shown:
            self._steering.version += bool(self._shown)
            at_once, self._shown = True, shown
        # Behind the last report of one that is held there is no later step that would tell of it.
        if at_once or self._steering.held or now - self._shown_ns >= SHOW_EVERY_NS:
            self.describe(now)
        self._index(state, percent)

    def describe(self, now: int) -> None:
        """Renew the current details."""
        self._shown_ns = now
        limiter = names.rate_limiter_id(self._request.project)
        shown = details(self._view(), self._steering, workflow.info().workflow_id, limiter, now)
        if workflow.info().continued_run_id:
            # A server keeps the summary and the details of the first run for that run alone.
            summary = str(workflow.memo_value("summary", default=""))
            shown += f"\n\n---\n\n{introduction(self._request, summary)}"
        workflow.set_current_details(shown)

    def _index(self, state: State, percent: int) -> None:
        """Search attributes change with the state, the priority and another quarter done: each change is an action."""
        steady: State = "running" if state == "waiting" else state
        quarter = 25 * (percent // 25)
        indexed = self._to_index(steady, quarter)
        if not self._indexed or indexed == self._indexed_as:
            return
        self._indexed_as = indexed
        workflow.upsert_search_attributes(
            [STATE.value_set(steady), PRIORITY.value_set(self._steering.priority), PERCENT.value_set(quarter)]
        )

    def _to_index(self, state: State, percent: int) -> tuple[object, ...]:
        return (state, percent, self._steering.priority) if self._release else (state, percent)
