"""How far a bulk request was, summed from what its batches' results say, each batch once.

1. A lane's batches end in their order, so one that is not behind the lane's last was counted before: an early report and its
   lease's result tell of the same batches, and so do two attempts of one lease.
2. Memory does not grow with the plan: lanes that were silent while thousands of others spoke are forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from headgate.messages.carried import ProgressCheckpoint
from headgate.messages.requests import PlanSummary
from headgate.messages.sending import BatchDone, LaneReport
from headgate.messages.views import ProgressView

#: A lane that was silent while so many others spoke has no lease under way any more.
LANES_KEPT: Final = 4096


@dataclass(slots=True)
class KnownLane:
    """A lane under way: where it writes, its last batch that counted, why the one after that was stopped."""

    user: str = ""
    spreadsheet: str = ""
    last: int = -1
    why: str = ""


@dataclass(slots=True)
class Tally:
    """Operations by outcome and the calls that were made for them."""

    succeeded: int = 0
    failed: int = 0
    calls: int = 0
    _lanes: dict[int, KnownLane] = field(default_factory=dict)

    def planned(self, plan: PlanSummary) -> None:
        """Lines that were refused have failed, reads that the cache answered have succeeded."""
        self.failed += plan.dead_letters
        self.succeeded += plan.cached

    def carried(self, kept: ProgressCheckpoint) -> None:
        """What the request itself carried into a new run; of runs that are not there any more it is all there is."""
        self.succeeded, self.failed, self.calls = kept.succeeded, kept.failed, kept.made

    def over(self, view: ProgressView) -> None:
        """The request's last word."""
        self.succeeded, self.failed = view.operations.succeeded, view.operations.failed
        self.calls = view.calls.made

    def lane(self, number: int) -> KnownLane:
        """The lane, now the one that spoke last."""
        lane = self._lanes.pop(number, None) or KnownLane()
        self._lanes[number] = lane
        if len(self._lanes) > LANES_KEPT:
            del self._lanes[next(iter(self._lanes))]
        return lane

    def stopped(self, report: LaneReport) -> None:
        """A batch met what is worth repeating; the reason is known until that batch is done."""
        lane = self.lane(report.lane)
        if report.rescue > lane.last:
            lane.why = report.rescue_reason

    def done(self, number: int, done: BatchDone) -> bool:
        """A batch of a lane is done; False if that was counted before."""
        lane = self.lane(number)
        if done.batch <= lane.last:
            return False
        lane.last, lane.why = done.batch, ""
        self.succeeded += done.succeeded
        self.failed += done.failed
        self.calls += done.calls
        return True
