"""What the work for a bulk request left in its history that is worth telling: plans, retries, dead letters, trouble.

1. Batches that went well are only summed (`headgate.tally`).
2. Memory does not grow with the history: activities under way are known, those that ended are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from headgate.facts import Attempted, Ended, Order, Ordered, Told
from headgate.messages.requests import PlanSummary
from headgate.messages.sending import (
    AbandonLane,
    BatchDone,
    LaneReport,
    LeaseReport,
    ResendBatch,
    ResendReport,
    SendLease,
)
from headgate.tally import Tally
from headgate.wording import cause, counted, span, words

_DOING: Final = {
    "plan": "plan",
    "load_page": "read the plan",
    "ask_limiter": "ask the limiter",
    "notify": "tell the receiver",
}


@dataclass(slots=True)
class Activity:
    """An activity under way, and its last attempt."""

    name: str
    order: Order | None
    at_ns: int
    attempt: int = 1
    why: str = ""

    @property
    def doing(self) -> str:
        """What it is for."""
        if isinstance(self.order, SendLease):
            calls = sum(len(lane.batches) for lane in self.order.lanes)
            return f"send {counted(calls, 'call')} in {counted(len(self.order.lanes), 'lane')}"
        return _DOING.get(self.name, self.name.replace("_", " "))


@dataclass(slots=True)
class Work:
    """The activities of a run, and the tally of all runs. What it tells is told after it was counted."""

    tally: Tally = field(default_factory=Tally)
    _activities: dict[int, Activity] = field(default_factory=dict)

    def another_run(self) -> None:
        """No activity outlives its run."""
        self._activities.clear()

    def ordered(self, fact: Ordered) -> None:
        """Remember what an activity is for, and where its lanes write."""
        self._activities[fact.event] = Activity(fact.activity, fact.order, fact.at_ns)
        match fact.order:
            case SendLease(lanes=lanes):
                for lane in lanes:
                    self._writes(lane.lane, lane.user, lane.spreadsheet)
            case ResendBatch(lane=entry) | AbandonLane(lane=entry):
                self._writes(entry.lane, entry.user, entry.spreadsheet)

    def attempted(self, fact: Attempted) -> Iterator[Told]:
        """An attempt that was lost or failed; those of a resend are its retry behaviour, and told when it ends."""
        activity = self._activities.get(fact.ordered)
        if activity is None or fact.attempt < 2:
            return
        activity.attempt, activity.why = fact.attempt, fact.why
        if activity.name != "resend_batch":
            happened = "was lost with its worker" if fact.lost else "failed"
            told = {"activity": activity.name, "attempts": fact.attempt, "lost": fact.lost, "why": cause(fact.why)}
            says = f"an attempt to {activity.doing} {happened}, attempt {fact.attempt} followed: {told['why']}"
            yield Told("trouble", says, {**told, "worker": words(fact.sender)})

    def ended(self, fact: Ended) -> Iterator[Told]:
        """What came of an activity."""
        activity = self._activities.pop(fact.ordered, None)
        if activity is None:
            return
        order, result = activity.order, fact.result
        if isinstance(order, ResendBatch):
            yield from self._retry(activity, order, result if isinstance(result, ResendReport) else None)
        elif fact.why and activity.name != "retry_failed":  # whoever asked for a retry was answered
            told = {"activity": activity.name, "why": cause(fact.why)}
            yield Told("trouble", f"to {activity.doing} failed for good: {told['why']}", told)
        match result:
            case PlanSummary():
                yield from self._planned(result, fact.at_ns - activity.at_ns)
            case LeaseReport(lanes=lanes):
                yield from self.reported(lanes)
            case BatchDone() if isinstance(order, AbandonLane):
                yield from self._batch(order.lane.lane, result, abandoned=True)

    def reported(self, lanes: tuple[LaneReport, ...]) -> Iterator[Told]:
        """Lanes of a lease, early or at its end."""
        for report in lanes:
            for done in report.done:
                yield from self._batch(report.lane, done)
            self.tally.stopped(report)

    def _planned(self, plan: PlanSummary, took_ns: int) -> Iterator[Told]:
        self.tally.planned(plan)
        says = f"planned in {span(took_ns)}: {counted(plan.operations, 'operation')}, {counted(plan.calls, 'call')}"
        says += f", {counted(plan.lanes, 'lane')}"
        says += f"; {counted(plan.cached, 'read')} from the cache" if plan.cached else ""
        told = plan.model_dump(include={"operations", "calls", "lanes", "cached", "dead_letters"})
        yield Told("planned", says, {**told, "took_s": round(took_ns / 1e9, 3)})
        if plan.dead_letters:
            yield _dead_letters("planning", plan.dead_letters, plan.reasons, {})

    def _retry(self, activity: Activity, order: ResendBatch, report: ResendReport | None) -> Iterator[Told]:
        number = order.lane.lane
        why = cause(self.tally.lane(number).why or activity.why)
        where = self._where(number, order.batch)
        told: dict[str, object] = {**where, "attempts": activity.attempt, "why": why, "last_why": cause(activity.why)}
        letters: list[Told] = []
        if report is None:
            told["ended"], ended = "interrupted", "interrupted, it is taken up again"
        elif report.done is not None:
            done = report.done
            letters = list(self._batch(number, done))
            told |= {"ended": "done", "calls": done.calls}
            told["operations"] = {"succeeded": done.succeeded, "failed": done.failed}
            ended = f"{done.succeeded:,} succeeded, {done.failed:,} failed, in {counted(done.calls, 'call')}"
        elif report.broken:
            told["ended"], ended = "broken", f"its lane cannot go on: {cause(report.broken)}"
        else:
            told["ended"], ended = "stopped", words(report.stopped) or "stopped"
        says = f"batch {order.batch} for {where['spreadsheet']} by {where['user']} again"
        says += f" ({activity.attempt} attempts)" if activity.attempt > 1 else ""
        says += f": {ended}" + (f"; because {why}" if why else "")
        yield Told("retry", says, told)
        yield from letters

    def _batch(self, number: int, done: BatchDone, *, abandoned: bool = False) -> Iterator[Told]:
        if self.tally.done(number, done) and done.failed:
            where = self._where(number, done.batch)
            yield _dead_letters("lane" if abandoned else "batch", done.failed, done.reasons, where)

    def _writes(self, number: int, user: str, spreadsheet: str) -> None:
        lane = self.tally.lane(number)
        lane.user, lane.spreadsheet = user, words(spreadsheet)

    def _where(self, number: int, batch: int) -> dict[str, object]:
        lane = self.tally.lane(number)
        return {"lane": number, "batch": batch, "user": lane.user, "spreadsheet": lane.spreadsheet}


def _dead_letters(of: str, count: int, reasons: Mapping[str, int], where: Mapping[str, object]) -> Told:
    kinds: dict[str, int] = {}
    for reason, times in sorted(reasons.items(), key=lambda pair: -pair[1]):
        kinds[cause(reason)] = kinds.get(cause(reason), 0) + times
    whose = "while planning"
    if of != "planning":
        what = f"batch {where['batch']}" if of == "batch" else f"lane {where['lane']} from batch {where['batch']} on"
        whose = f"in {what} for {where['spreadsheet']} by {where['user']}"
    said = "; ".join(f"{times:,} × {kind}" for kind, times in kinds.items()) or "no reason given"
    told = {"of": of, "count": count, "reasons": kinds, **where}
    return Told("dead_letters", f"{count:,} failed {whose}: {said}", told)
