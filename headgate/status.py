"""How a bulk request stands, as people see it: its state, why it waits, its progress. No clock: `now` comes in.

Rules:

1. It is completed once every operation has succeeded or failed. It is cancelled from the command on; what was not sent then is
   counted as unprocessed, and where it could not be planned before, nobody knows how many operations it had. Whether calls are
   still under way is not said here: the run is over when none is.
2. It waits where the limiter names a reason and its next token is far away, once its calls have ended; before that it runs.
3. Why it waits is what a person did, else what the limiter said last.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from headgate.lanes import Lanes
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.messages.tokens import Grant, Standing
from headgate.messages.views import ProgressView, Waiting
from headgate.messages.words import State
from headgate.progress import Progress, instant
from headgate.quota import SECOND_NS
from headgate.steering import Steering

#: A request whose next token is so far away waits, once its calls have ended; before that it goes on as fast as it may.
WAITS_NS = 2 * SECOND_NS


@dataclass(slots=True)
class Status:
    """What one run of a request is seen by. `standing` is what the limiter said last, `far` whether the next token is far away.

    `resends` are the lanes whose batch is being sent again; `unplanned`: it was cancelled before it was planned.
    """

    request: BulkRequest
    steering: Steering
    lanes: Lanes
    progress: Progress
    plan: PlanSummary | None
    standing: Standing
    far: bool
    resends: Collection[int]
    unplanned: bool = False

    def planned(self, plan: PlanSummary, now: int) -> None:
        """Planning is over."""
        self.plan = plan
        self.progress.planned(plan, now)

    def heard(self, grant: Grant, now: int) -> None:
        """The limiter says how the request stands, with tokens or without; or nothing new."""
        if (standing := grant.standing) is not None:
            self.standing = standing
            self.far = bool(standing.reason) and (not grant.tokens or standing.until_ns > now + WAITS_NS)
            self.progress.promise(standing, now)

    @property
    def settled(self) -> int:
        """How many operations have succeeded or failed."""
        return self.progress.succeeded + self.progress.failed

    @property
    def operations(self) -> int:
        """How many there are; 0 while it is not planned."""
        return self.plan.operations if self.plan else 0

    @property
    def finished(self) -> bool:
        """Whether every operation has succeeded or failed: also of a request that was cancelled too late."""
        return self.plan is not None and self.settled >= self.operations

    @property
    def percent(self) -> int:
        """How many of a hundred operations have succeeded or failed; what a cancelled request leaves unprocessed is not among them."""
        return 100 * self.settled // self.operations if self.operations else 0

    @property
    def planning(self) -> bool:
        """Whether it is still being planned."""
        return self.plan is None and not self.unplanned

    @property
    def state(self) -> State:
        """In one word."""
        if self.planning:
            return "planning"
        if self.steering.cancelled_by:
            return "cancelled"
        if self.finished:
            return "completed"
        if self.steering.paused_by:
            return "paused"
        return "waiting" if self.far and not self.lanes.calling else "running"

    def why(self, now: int) -> Waiting:
        """What it waits for, and until when."""
        if self.finished:
            return Waiting()
        if self.steering.paused_by:
            return Waiting(reason=f"paused by {self.steering.paused_by}", cause="paused")
        if self.planning:
            return Waiting(reason="planning", cause="planning")
        if self.steering.cancelled_by and not self.resends:
            return Waiting()
        said = self.standing
        until = instant(said.until_ns) if said.until_ns > now else None
        return Waiting(reason=said.reason, cause=said.cause, until=until)

    def view(self, now: int, state: State | None = None) -> ProgressView:
        """Its progress; in another state than its own where that is known better."""
        return self.progress.view(
            self.request,
            self.plan,
            state or self.state,
            self.steering.priority,
            self.why(now),
            self.lanes.counts(self.plan.lanes if self.plan else 0),
            self.lanes.by_user,
            self.lanes.longest_ns,
            self.steering.version,
            now,
        )
