"""What a request says to a limiter, whatever is lost, late, reordered or repeated: in the end the limiter knows what is wanted.

The limiter of these tests is naive: it takes a demand less the grants that were not seen, counts down what it grants and up what
comes back, and forgets everything when it is lost.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headgate.asking import Asking
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.sending import LaneReport, LeaseReport
from headgate.messages.tokens import Grant, LaneDemand, Settlement, TokenRequest, Unused
from headgate.messages.words import Priority

MS = 1_000_000
#: A limiter knows a lease for so long, and by then so does its holder.
KNOWN_NS = 12 * SECOND_NS
REQUEST = BulkRequest(id="r", project="p", owner="o", submitted_at_ns=1)
LATENCIES = (300 * MS, 310 * MS, 2000 * MS)
Said = TokenRequest | Settlement


@dataclass
class Limiter:
    """Believes what it was told, of one holder. `given`: when each grant was given, and its tokens that did not come back.

    `in_vain`: a token came back that it does not know any more, so it does not count as its holder does.
    """

    epoch: int
    grants: int = 0
    said: TokenRequest | None = None
    wants: dict[int, int] = field(default_factory=dict)
    given: dict[int, tuple[int, set[tuple[int, int]]]] = field(default_factory=dict)
    heard: list[Said] = field(default_factory=list)
    in_vain: bool = False

    def hear(self, now: int, said: Said) -> None:
        self.heard.append(said)
        self.given = {number: lease for number, lease in self.given.items() if lease[0] > now - KNOWN_NS}
        if isinstance(said, Settlement):
            self._take_back(said)
            return
        if said.epoch == self.epoch and said.last_grant > self.grants:
            self.epoch, self.grants = self.epoch + 1, 0
            self.given.clear()
        if self.said is not None and (said.run, said.sequence) <= (self.said.run, self.said.sequence):
            return
        self.said = said
        seen = said.last_grant if said.epoch == self.epoch else 0
        unseen = [lane for number, (_, tokens) in self.given.items() if number > seen for lane, _ in tokens]
        self.wants = {lane.lane: lane.calls - unseen.count(lane.lane) for lane in said.lanes}

    def _take_back(self, said: Settlement) -> None:
        for unused in said.unused:
            for place in unused.tokens:
                _, tokens = self.given.get(unused.grant_id, (0, set())) if said.epoch == self.epoch else (0, set())
                if (unused.lane, place) not in tokens:
                    self.in_vain = True
                    continue
                tokens.remove((unused.lane, place))
                if unused.lane in self.wants:
                    self.wants[unused.lane] += 1

    def grant(self, now: int, chance: Random) -> Grant | None:
        tokens = {lane: chance.randint(0, min(3, calls)) for lane, calls in self.wants.items() if calls > 0}
        tokens = {lane: count for lane, count in tokens.items() if count}
        if not tokens:
            return None
        self.grants += 1
        self.given[self.grants] = now, {(lane, place) for lane, count in tokens.items() for place in range(count)}
        for lane, count in tokens.items():
            self.wants[lane] -= count
        times = {lane: tuple(now + (n + 1) * MS for n in range(count)) for lane, count in tokens.items()}
        return Grant(epoch=self.epoch, grant_id=self.grants, tokens=times)

    def after_a_reset(self, now: int, before: Limiter) -> Limiter:
        """Back to what it was before; the server says again what was said since."""
        again = deepcopy(before)
        for said in self.heard[len(before.heard) :]:
            again.hear(now, said)
        return again


@dataclass
class Holder:
    """A request of a few lanes: how many calls each has left, the tokens that it holds, what it says in each step."""

    now: int = 1_000 * SECOND_NS
    left: dict[int, LaneDemand] = field(default_factory=dict)
    tokens: set[tuple[int, int, int]] = field(default_factory=set)
    priority: Priority = "normal"
    paused: bool = False
    again_ns: list[int] = field(default_factory=list)
    ahead: bool = False
    asking: Asking = field(default_factory=lambda: Asking(REQUEST, "bulk/r", run=1))

    def wanted(self) -> dict[int, int]:
        """Naively: what is left, less what there are tokens for."""
        held = [lane for _, lane, _ in self.tokens]
        calls = {number: lane.calls - held.count(number) for number, lane in self.left.items()}
        return {} if self.paused else {number: n for number, n in calls.items() if n > 0}

    def takes(self, grant: Grant) -> None:
        arrival = self.asking.heard(self.now, grant)
        if arrival == "anew":
            self.tokens.clear()
        if arrival in ("anew", "next"):
            new = {(grant.grant_id, lane, place) for lane, at in grant.tokens.items() for place in range(len(at))}
            assert not new & self.tokens, "a token was taken twice"
            self.tokens |= new
            for token in sorted(new):
                lane = self.left.get(token[1])
                if self.paused or lane is None or sum(t[1] == token[1] for t in self.tokens) > lane.calls:
                    self.hands_back(token)

    def hands_back(self, token: tuple[int, int, int], *, report: bool = False) -> None:
        self.tokens.remove(token)
        number, lane, place = token
        if report:
            part = LaneReport(lane=lane, grant_id=number, unused=(place,))
            self.asking.reported(LeaseReport(lanes=(part,), epoch=self.asking.seen.epoch))
        else:
            self.asking.hand_back([Unused(grant_id=number, lane=lane, tokens=(place,))])

    def step(self) -> list[Said]:
        """What it says now; `again_ns` are the times at which it is woken."""
        wanted = self.wanted()
        lanes = tuple(self.left[n].model_copy(update={"calls": calls}) for n, calls in sorted(wanted.items()))
        words = [
            self.asking.settle(self.now, held=self.paused, lanes=20),
            self.asking.ask(self.now, lanes, 0, self.priority, "paused by ana" if self.paused else ""),
        ]
        self.again_ns = [at for at in self.again_ns if at > self.now] + [word.again_ns for word in words]
        assert all(at == 0 or at > self.now for at in self.again_ns[-2:])
        # A demand that goes before tokens which wait to be handed back has them in it: the limiter counts those twice.
        self.ahead |= words[1].said is not None and not self.asking.settled
        return [word.said for word in words if word.said is not None]


class AskingMachine(RuleBasedStateMachine):
    """Messages of both sides wait until they are delivered: in any order, some twice, those of a lost limiter never.

    `unsure` since something was lost or out of order, until they have agreed again: silence has to end that. `spent` are the
    tokens that were used, or lost with their grant; `renumbered` once a limiter has given the same numbers twice.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holder, self.limiter = Holder(), Limiter(epoch=1)
        self.before = deepcopy(self.limiter)
        self.to_limiter: list[Said] = []
        self.to_holder: list[Grant] = []
        self.unsure = self.renumbered = False
        self.spent: set[tuple[int, int, int]] = set()

    @rule(ms=st.integers(1, 3_000))
    def time_passes(self, ms: int) -> None:
        self.holder.now += ms * MS

    @rule(lane=st.integers(0, 3), calls=st.integers(0, 8), latency=st.sampled_from(LATENCIES))
    def work_comes_or_goes(self, lane: int, calls: int, latency: int) -> None:
        self.holder.left.pop(lane, None)
        if calls:
            self.holder.left[lane] = LaneDemand(
                lane=lane, kind="write", user="bot", spreadsheet=f"s{lane}", calls=calls, latency_ns=latency
            )
        for token in sorted(token for token in self.holder.tokens if token[1] == lane)[calls:]:
            self.holder.hands_back(token)

    @rule(priority=st.sampled_from(("urgent", "normal", "low")), paused=st.booleans())
    def a_person_steers(self, priority: Priority, paused: bool) -> None:
        self.holder.priority, self.holder.paused = priority, paused
        for token in sorted(self.holder.tokens) if paused else ():
            self.holder.hands_back(token)

    @rule()
    def a_step(self) -> None:
        self.to_limiter += self.holder.step()

    @precondition(lambda self: self.holder.tokens)
    @rule(chance=st.randoms(use_true_random=False), how=st.sampled_from(("used", "handed back", "reported")))
    def a_token_is_used_or_not(self, chance: Random, how: str) -> None:
        token = chance.choice(sorted(self.holder.tokens))
        if how == "used":
            self.holder.tokens.remove(token)
            self.spent.add(token)
            lane = self.holder.left[token[1]]
            self.holder.left[token[1]] = lane.model_copy(update={"calls": lane.calls - 1})
        else:
            self.holder.hands_back(token, report=how == "reported")

    @precondition(lambda self: self.to_limiter)
    @rule(chance=st.randoms(use_true_random=False), again=st.booleans())
    def the_limiter_hears(self, chance: Random, again: bool) -> None:
        said = chance.choice(self.to_limiter)
        self.unsure |= again or said is not self.to_limiter[0]
        self.limiter.hear(self.holder.now, said)
        if not again:
            self.to_limiter.remove(said)

    @rule(chance=st.randoms(use_true_random=False))
    def the_limiter_grants(self, chance: Random) -> None:
        grant = self.limiter.grant(self.holder.now, chance)
        self.to_holder += [grant] if grant else []

    @precondition(lambda self: self.to_holder)
    @rule(chance=st.randoms(use_true_random=False), lost=st.booleans(), again=st.booleans())
    def a_grant_arrives_or_is_lost(self, chance: Random, lost: bool, again: bool) -> None:
        grant = chance.choice(self.to_holder)
        self.unsure |= lost or again or grant is not self.to_holder[0]
        if lost:
            self.spent |= {(grant.grant_id, n, place) for n, at in grant.tokens.items() for place in range(len(at))}
        else:
            self.holder.takes(grant)
        if not again or lost:
            self.to_holder.remove(grant)

    @rule(told=st.booleans())
    def the_limiter_is_lost(self, told: bool) -> None:
        """And with it what is on its way: the server says so, or it had taken that in already."""
        self.unsure, self.renumbered = True, False
        self.spent.clear()
        self.limiter = Limiter(epoch=self.limiter.epoch + 100)
        self.before = deepcopy(self.limiter)
        if self.to_limiter and told:
            self.holder.asking.unheard()
        self.to_limiter.clear()

    @rule()
    def the_limiter_is_seen_by_whoever_resets_it_later(self) -> None:
        self.before = deepcopy(self.limiter)

    @rule()
    def the_limiter_is_reset(self) -> None:
        self.unsure = self.renumbered = True
        self.limiter = self.limiter.after_a_reset(self.holder.now, self.before)
        self.before = deepcopy(self.limiter)

    @rule()
    def the_network_rests_and_they_agree(self) -> None:
        """What is on its way arrives; then the holder looks again when it said it would, and at no other time.

        Where nothing was lost a second is enough, or it is within another silence.
        """
        for grant in self.to_holder:
            self.holder.takes(grant)
        self.to_holder.clear()
        began = self.holder.now
        while True:
            for said in [*self.to_limiter, *self.holder.step()]:
                self.limiter.hear(self.holder.now, said)
            self.to_limiter.clear()
            until = began + (62 if self.unsure or self.limiter.in_vain or self.holder.ahead else 1) * SECOND_NS + 1
            at = min((at for at in self.holder.again_ns if at > self.holder.now), default=until)
            if at < until:
                self.holder.now = at
            else:
                break
        believed = {lane: calls for lane, calls in self.limiter.wants.items() if calls > 0}
        if self.unsure and not self.holder.wanted():
            return  # whoever wants nothing is not silent: it is over soon, and says so
        assert believed == self.holder.wanted()
        assert self.holder.asking.settled
        if not self.renumbered:
            out = {(n, *token) for n, (at, tokens) in self.limiter.given.items() for token in tokens}
            assert out <= self.holder.tokens | self.spent, "a token that nobody has was not handed back"
        self.unsure = self.limiter.in_vain = self.holder.ahead = False
        last = self.limiter.said
        if last is not None and (believed or self.holder.paused):
            assert (last.priority, bool(last.stopped)) == (self.holder.priority, self.holder.paused)
        for lane in last.lanes if last and believed else ():
            wanted = self.holder.left[lane.lane].latency_ns if lane.lane in believed else lane.latency_ns
            assert abs(lane.latency_ns - wanted) <= max(100 * MS, wanted // 5)

    @invariant()
    def a_holder_never_has_more_tokens_than_calls(self) -> None:
        for lane in {lane for _, lane, _ in self.holder.tokens}:
            assert sum(token[1] == lane for token in self.holder.tokens) <= self.holder.left[lane].calls


AskingMachine.TestCase.settings = hypothesis_settings(
    max_examples=200, stateful_step_count=40, deadline=None, derandomize=True
)
TestAsking = AskingMachine.TestCase
