"""Lanes under every order of grants, starts, reports, rescues and losses: in order, one at a time, no token lost or used twice."""

from __future__ import annotations

from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headgate.lanes import Folded, Lanes
from headgate.messages.requests import LaneEntry
from headgate.messages.sending import BatchDone, LaneReport, LaneSending
from headgate.messages.tokens import Grant, Unused

MS = 1_000_000
VALID_FOR = 300 * MS


def kind_of(entry: LaneEntry, batch: int) -> str:
    """Written out naively: the look-up is a read, then the runs alternate."""
    kinds = ["read"] if entry.look_up else []
    kind = entry.kind
    for length in entry.runs or (entry.batches,):
        kinds += [kind] * length
        kind = "read" if kind == "write" else "write"
    return kinds[batch - entry.first_batch]


class LanesMachine(RuleBasedStateMachine):
    """Four lanes, one of them strict; the limiter and the activities are played by the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000 * MS
        self.lanes = Lanes()
        self.entries = {
            0: LaneEntry(lane=0, kind="write", user="a", spreadsheet="s", first_batch=0, batches=4, operations=9, look_up=True),
            1: LaneEntry(lane=1, kind="read", user="a", spreadsheet="s", first_batch=4, batches=3, operations=9),
            2: LaneEntry(lane=2, kind="write", user="b", spreadsheet="t", first_batch=7, batches=1, operations=1),
            3: LaneEntry(
                lane=3, kind="write", user="b", spreadsheet="u", first_batch=8, batches=6, operations=9, look_up=True, runs=(2, 1, 2)
            ),
        }  # fmt: skip
        self.lanes.admit(self.entries.values())
        self.grant_id = 0
        self.tokens: dict[tuple[int, int, int], str] = {}
        self.under_way: list[LaneSending] = []
        self.reported: list[LaneReport] = []
        self.done: dict[int, int] = {}
        self.resending: dict[int, int] = {}

    @rule(ms=st.integers(0, 700))
    def time_passes(self, ms: int) -> None:
        self.now += ms * MS

    @rule(choice=st.data())
    def the_limiter_grants(self, choice: Any) -> None:
        wanted = self.lanes.demand()
        tokens: dict[int, tuple[int, ...]] = {}
        reads = []
        self.grant_id += 1
        for demand in wanted:
            count = choice.draw(st.integers(0, min(3, demand.calls)))
            if count:
                tokens[demand.lane] = tuple(self.now + 250 * MS + n * 200 * MS for n in range(count))
                if demand.kind == "read":
                    reads.append(demand.lane)
                for place in range(count):
                    self.tokens[self.grant_id, demand.lane, place] = demand.kind
        self._hand_back(self.lanes.granted(Grant(epoch=1, grant_id=self.grant_id, tokens=tokens, reads=tuple(reads))))

    @rule()
    def a_late_grant_for_a_lane_that_is_gone(self) -> None:
        self.grant_id += 1
        self.tokens[self.grant_id, 99, 0] = "write"
        self._hand_back(self.lanes.granted(Grant(epoch=1, grant_id=self.grant_id, tokens={99: (self.now,)})))

    @rule()
    def what_can_start_starts(self) -> None:
        sendings, back = self.lanes.starts(self.now, VALID_FOR)
        self._hand_back(back)
        for sending in sendings:
            entry = self.entries[sending.lane]
            assert sending.lane not in {s.lane for s in self.under_way}, "two leases of a lane under way"
            assert sending.lane not in self.resending
            for batch, at, place in zip(sending.batches, sending.tokens, sending.token_positions, strict=True):
                assert kind_of(entry, batch) == self.tokens.pop((sending.grant_id, sending.lane, place)) == sending.kind
                assert at + VALID_FOR >= self.now, "a token that has gone stale was started"
                assert batch not in self.done
            assert sending.batches[0] == entry.first_batch + self._done_in(entry)
            self.under_way.append(sending)

    @precondition(lambda self: self.under_way)
    @rule(choice=st.data())
    def a_lane_reports(self, choice: Any) -> None:
        sending = choice.draw(st.sampled_from(self.under_way))
        self.under_way.remove(sending)
        good = choice.draw(st.integers(0, len(sending.batches)))
        rescue = -1
        if good < len(sending.batches) and choice.draw(st.booleans()):
            rescue = sending.batches[good]
        report = LaneReport(
            lane=sending.lane,
            grant_id=sending.grant_id,
            done=tuple(BatchDone(batch=b, succeeded=1, failed=0, latency_ns=300 * MS) for b in sending.batches[:good]),
            rescue=rescue,
        )
        for batch in sending.batches[:good]:
            self.done[batch] = self.done.get(batch, 0) + 1
        if rescue >= 0:
            self.resending[sending.lane] = rescue
        self._fold(report, good, rescue)
        self.reported.append(report)

    def _fold(self, report: LaneReport, good: int, rescue: int) -> None:
        folded = Folded()
        self.lanes.fold(report, folded)
        assert [d.batch for d in folded.done] == [d.batch for d in report.done]
        assert [r.rescue for _, r in folded.rescues] == ([rescue] if rescue >= 0 else [])
        assert folded.sent == good
        self._hand_back(self.lanes.hand_back_useless())
        self.lanes.retire()

    @precondition(lambda self: self.reported)
    @rule(choice=st.data())
    def a_report_comes_again(self, choice: Any) -> None:
        report = choice.draw(st.sampled_from(self.reported))
        if any(s.lane == report.lane and s.grant_id == report.grant_id for s in self.under_way):
            return
        folded = Folded()
        self.lanes.fold(report, folded)
        assert (folded.done, folded.rescues, folded.sent) == ([], [], 0)

    @precondition(lambda self: self.resending)
    @rule(choice=st.data())
    def a_rescued_batch_is_done(self, choice: Any) -> None:
        lane = choice.draw(st.sampled_from(sorted(self.resending)))
        batch = self.resending.pop(lane)
        self.done[batch] = self.done.get(batch, 0) + 1
        done = BatchDone(batch=batch, succeeded=1, failed=0)
        assert self.lanes.resent(lane, done)
        assert not self.lanes.resent(lane, done)
        self._hand_back(self.lanes.hand_back_useless())
        self.lanes.retire()

    @precondition(lambda self: not self.under_way)
    @rule()
    def continues_as_new(self) -> None:
        self._hand_back(self.lanes.hand_back())
        kept = self.lanes.checkpoint()
        self.lanes = Lanes()
        self.lanes.restore(kept)
        assert self.lanes.checkpoint() == kept
        self.reported.clear()

    def _hand_back(self, back: list[Unused]) -> None:
        for unused in back:
            for place in unused.tokens:
                assert self.tokens.pop((unused.grant_id, unused.lane, place), None), "a token handed back twice"

    def _done_in(self, entry: LaneEntry) -> int:
        return sum(1 for b in range(entry.first_batch, entry.first_batch + entry.batches) if b in self.done)

    @invariant()
    def every_batch_is_done_once_and_in_order(self) -> None:
        assert all(times == 1 for times in self.done.values())
        for entry in self.entries.values():
            batches = range(entry.first_batch, entry.first_batch + entry.batches)
            assert [b in self.done for b in batches] == sorted((b in self.done for b in batches), reverse=True)

    @invariant()
    def every_token_is_waiting_or_accounted_for(self) -> None:
        waiting = {(token.grant_id, lane.entry.lane, token.place) for lane in self.lanes for token in lane.waiting}
        assert waiting == set(self.tokens)

    @invariant()
    def a_lane_never_asks_for_more_than_it_has_left(self) -> None:
        for demand in self.lanes.demand():
            lane = self.lanes.active[demand.lane]
            assert demand.calls + lane.under_way + len(lane.waiting) + lane.position <= lane.entry.batches


LanesMachine.TestCase.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase
