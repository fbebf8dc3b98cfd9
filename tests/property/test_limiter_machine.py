"""The limiter under every interleaving: never over quota, tokens conserved, a JSON round trip changes nothing."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headgate.checkpoint import dump, restore
from headgate.limiter import Limiter
from headgate.models import (
    Booked,
    Booking,
    Kind,
    LaneDemand,
    LimiterCheckpoint,
    LimiterSettings,
    NotUntil,
    Priority,
    Settlement,
    Stopped,
    TokenRequest,
    Unused,
)

MS = 1_000_000
SETTINGS = LimiterSettings(
    read_per_project=5,
    read_per_user=3,
    write_per_project=6,
    write_per_user=3,
    window_ns=4_000 * MS,
    spreadsheet_spacing_ns=100 * MS,
)
USERS = ("ana", "bot", "cho")
HOLDERS = ("bulk/a", "bulk/b")
SLACK = SETTINGS.token_valid_for_ns + SETTINGS.network_spread_ns


def worst_window(times: list[int], window_ns: int, slack_ns: int) -> int:
    """A naive count: the most tokens that could arrive within one window if each may arrive up to `slack_ns` late."""
    worst = 0
    for start in times:
        # The adversary lets everything from just before `start` arrive as late, everything after it as early as it may.
        worst = max(
            worst, sum(1 for t in times if t + slack_ns >= start + slack_ns and t < start + slack_ns + window_ns)
        )
    return worst


class LimiterMachine(RuleBasedStateMachine):
    """Holders ask, use, hand back, book, pause and vanish, in any order, on a clock that only moves forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000 * MS
        self.limiter = Limiter(SETTINGS, epoch=7)
        self.sequence: dict[str, int] = defaultdict(int)
        self.alive: dict[tuple[int, int, int], tuple[int, Kind, str, str]] = {}
        self.booked: dict[str, tuple[int, Kind, str]] = {}
        self.kept: list[tuple[int, Kind, str]] = []
        self.messages: list[TokenRequest] = []
        self.demand: dict[tuple[str, int], LaneDemand] = {}
        self.promised: dict[str, tuple[int, Booking]] = {}
        self.grants_seen: dict[str, int] = defaultdict(int)

    @rule(ms=st.integers(1, 3000))
    def time_passes(self, ms: int) -> None:
        self.now += ms * MS

    @rule(
        holder=st.sampled_from(HOLDERS),
        lanes=st.lists(
            st.tuples(st.sampled_from(("read", "write")), st.sampled_from(USERS), st.integers(0, 8)), max_size=4
        ),
        priority=st.sampled_from(("urgent", "normal", "low")),
        stopped=st.sampled_from(("", "", "", "paused")),
    )
    def asks(self, holder: str, lanes: list[tuple[Kind, str, int]], priority: Priority, stopped: str) -> None:
        self.sequence[holder] += 1
        demands = tuple(
            LaneDemand(
                lane=i, kind=kind, user=user, spreadsheet=f"{user}-{i}", calls=0 if stopped else calls,
                latency_ns=50 * MS, latency_p95_ns=50 * MS,
            )
            for i, (kind, user, calls) in enumerate(lanes)
        )  # fmt: skip
        said = TokenRequest(
            holder=holder,
            run=1,
            sequence=self.sequence[holder],
            epoch=7,
            last_grant=self.grants_seen[holder],
            priority=priority,
            fairness_key=holder,
            stopped=stopped,
            lanes=demands,
        )
        self.messages.append(said)
        self.limiter.request(self.now, said)

    @precondition(lambda self: self.messages)
    @rule(choice=st.randoms(use_true_random=False))
    def an_old_message_comes_again(self, choice: object) -> None:
        before = dump(self.limiter)
        said = self.messages[choice.randrange(len(self.messages))]  # type: ignore[attr-defined]
        self.limiter.request(self.now, said)
        assert dump(self.limiter) == before

    @rule()
    def a_round(self) -> None:
        for holder, grant in self.limiter.grant(self.now).items():
            assert grant.grant_id > self.grants_seen[holder]
            self.grants_seen[holder] = grant.grant_id
            waiter = self.limiter.waiters[holder]
            for number, times in grant.tokens.items():
                lane = waiter.lanes[number]
                assert lane.calls >= 0, "more tokens than were asked for"
                assert (number in grant.reads) == (lane.kind == "read")
                assert list(times) == sorted(times)
                for position, at in enumerate(times):
                    assert self.now + SETTINGS.lead_ns <= at <= self.now + SETTINGS.horizon_ns
                    self.alive[grant.grant_id, number, position] = (at, lane.kind, lane.user, holder)

    @precondition(lambda self: self.alive)
    @rule(choice=st.randoms(use_true_random=False), twice=st.booleans())
    def hands_back(self, choice: object, twice: bool) -> None:
        name = sorted(self.alive)[choice.randrange(len(self.alive))]  # type: ignore[attr-defined]
        at, _, _, holder = self.alive[name]
        if at + SLACK + SETTINGS.window_ns <= self.now:
            return
        del self.alive[name]
        said = Settlement(holder=holder, epoch=7, unused=(Unused(grant_id=name[0], lane=name[1], tokens=(name[2],)),))
        self.limiter.settle(self.now, said)
        if twice:
            before = dump(self.limiter)
            assert not self.limiter.settle(self.now, said)
            assert dump(self.limiter) == before

    @rule(
        holder=st.sampled_from(HOLDERS),
        user=st.sampled_from(USERS),
        kind=st.sampled_from(("read", "write")),
        number=st.integers(0, 5),
    )
    def books(self, holder: str, user: str, kind: Kind, number: int) -> None:
        booking = Booking(
            id=f"{holder}/{user}/{kind}/{number}", holder=holder, kind=kind, user=user, spreadsheet=f"{user}-0"
        )
        self._book(booking)

    @precondition(lambda self: self.promised)
    @rule(choice=st.randoms(use_true_random=False))
    def asks_again_exactly_when_told(self, choice: object) -> None:
        name = sorted(self.promised)[choice.randrange(len(self.promised))]  # type: ignore[attr-defined]
        at, booking = self.promised.pop(name)
        if at < self.now:
            return
        self.now = at
        answer = self._book(booking)
        assert not isinstance(answer, NotUntil), "asked again when it was told to, and sent away"

    def _book(self, booking: Booking) -> Booked | NotUntil | Stopped:
        answer = self.limiter.book(self.now, booking)
        waiter = self.limiter.waiters.get(booking.holder)
        assert isinstance(answer, Stopped) == bool(waiter and waiter.stopped)
        self.promised.pop(booking.id, None)
        if isinstance(answer, Booked):
            assert self.now <= answer.at_ns <= self.now + SETTINGS.horizon_ns
            known = self.booked.get(booking.id)
            if known is not None and known[0] != answer.at_ns:
                self.kept.append(known)
            self.booked[booking.id] = (answer.at_ns, booking.kind, booking.user)
        elif isinstance(answer, NotUntil):
            assert answer.at_ns > self.now
            self.promised[booking.id] = (answer.at_ns, booking)
        return answer

    @rule()
    def continues_as_new(self) -> None:
        kept = dump(self.limiter)
        self.limiter = restore(LimiterCheckpoint.model_validate_json(kept.model_dump_json()))
        assert dump(self.limiter) == kept

    @rule(holder=st.sampled_from(HOLDERS))
    def a_holder_vanishes(self, holder: str) -> None:
        self.limiter.forget(holder)
        self.messages = [said for said in self.messages if said.holder != holder]

    @invariant()
    def never_over_quota(self) -> None:
        tokens = [(at, kind, user) for at, kind, user, _ in self.alive.values()] + [*self.booked.values(), *self.kept]
        by_bucket: dict[tuple[str, str], list[int]] = defaultdict(list)
        for at, kind, user in tokens:
            by_bucket["project", kind].append(at)
            by_bucket[user, kind].append(at)
        for (scope, of), times in by_bucket.items():
            limit = getattr(SETTINGS, f"{of}_per_{'project' if scope == 'project' else 'user'}")
            assert worst_window(sorted(times), SETTINGS.window_ns, SLACK) <= limit

    @invariant()
    def tokens_are_conserved(self) -> None:
        recent = [t for t in self.alive.values() if t[0] + SLACK + SETTINGS.window_ns > self.now]
        held = sum(len(lease[4]) for lease in self.limiter.leases.values())
        assert held >= len(recent)


LimiterMachine.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLimiter = LimiterMachine.TestCase
