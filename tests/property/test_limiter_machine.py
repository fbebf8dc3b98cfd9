"""The limiter under every interleaving: never over quota, tokens conserved, promises exact, a JSON round trip changes nothing.

What holds is asserted by `World` and its `Ledger`, at every step; the rules here only choose what happens.
"""

from __future__ import annotations

from random import Random

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headgate.messages.tokens import Booking, LaneDemand, Throttling, UserLimits
from headgate.messages.words import Kind, Priority
from tests.property.world import CLASSES, HOLDERS, KINDS, LATENCIES, MS, OWNERS, SHEETS, USERS, World

KIND, USER, SHEET, OWNER = (st.sampled_from(of) for of in (KINDS, USERS, SHEETS, OWNERS))
HOLDER, CLASS, LATENCY = (st.sampled_from(of) for of in (HOLDERS, CLASSES, LATENCIES))
CHANCE = st.randoms(use_true_random=False)
LANES = st.lists(
    st.tuples(KIND, USER, SHEET, st.integers(0, 8), LATENCY).map(
        lambda of: LaneDemand(
            lane=0, kind=of[0], user=of[1], spreadsheet=of[2], calls=of[3], latency_ns=of[4], latency_p95_ns=of[4]
        )
    ),
    max_size=4,
).map(lambda lanes: [lane.model_copy(update={"lane": number}) for number, lane in enumerate(lanes)])


class LimiterMachine(RuleBasedStateMachine):
    """Holders ask, use, hand back, book, pause and vanish, the API pushes back, people steer, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    # --- time and rounds

    @rule(ms=st.integers(1, 3000))
    def time_passes(self, ms: int) -> None:
        self.world.now += ms * MS

    @rule(ms=st.sampled_from((0, 0, 1, 300, 1200, 1250)))
    def a_round_at_its_time_or_sooner(self, ms: int) -> None:
        self.world.now += ms * MS
        self.world.round()

    # --- demand

    @rule(
        holder=HOLDER, lanes=LANES, priority=CLASS, owner=OWNER, weight=st.sampled_from((0.5, 1.0, 3.0)),
        behind=st.integers(0, 2),
    )  # fmt: skip
    def asks(
        self, holder: str, lanes: list[LaneDemand], priority: Priority, owner: str, weight: float, behind: int
    ) -> None:
        self.world.ask(holder, lanes, priority, owner, weight, behind=behind)

    @precondition(lambda self: self.world.said)
    @rule(chance=CHANCE, priority=CLASS, weight=st.sampled_from((0.5, 1.0, 3.0)))
    def is_reprioritised_or_weighs_another_amount(self, chance: Random, priority: Priority, weight: float) -> None:
        said = chance.choice(sorted(self.world.said.items()))[1]
        self.world.ask(said.holder, said.lanes, priority, said.fairness_key, weight)

    @precondition(lambda self: self.world.said)
    @rule(chance=CHANCE, stopped=st.sampled_from(("", "paused")))
    def is_stopped_or_goes_on(self, chance: Random, stopped: str) -> None:
        said = chance.choice(sorted(self.world.said.items()))[1]
        self.world.ask(said.holder, said.lanes, said.priority, said.fairness_key, said.weight, stopped)

    @precondition(lambda self: self.world.messages)
    @rule(chance=CHANCE)
    def an_old_message_comes_again(self, chance: Random) -> None:
        self.world.say_again(chance.choice(self.world.messages))

    @rule(holder=HOLDER)
    def a_holder_vanishes(self, holder: str) -> None:
        self.world.vanish(holder)

    @rule(holder=HOLDER)
    def a_holder_has_seen_a_grant_that_was_never_given(self, holder: str) -> None:
        self.world.prove_reset(holder)

    # --- tokens

    @precondition(lambda self: self.world.holdings)
    @rule(chance=CHANCE, twice=st.booleans(), whose=st.sampled_from(("", "", *HOLDERS)))
    def hands_back(self, chance: Random, twice: bool, whose: str) -> None:
        position = chance.choice(sorted(self.world.holdings)[-20:])
        self.world.hand_back(position, whose)
        if twice:
            self.world.hand_back(position, whose)

    @rule(
        holder=st.sampled_from((*HOLDERS, "outside")), kind=KIND, user=USER, spreadsheet=SHEET, priority=CLASS,
        owner=OWNER, latency=LATENCY, attempt=st.integers(0, 2),
    )  # fmt: skip
    def books(
        self, holder: str, kind: Kind, user: str, spreadsheet: str, priority: Priority, owner: str, latency: int,
        attempt: int,
    ) -> None:  # fmt: skip
        self.world.book(
            Booking(
                id=f"b{len(self.world.bookings)}", holder=holder, kind=kind, user=user, spreadsheet=spreadsheet,
                priority=priority, fairness_key=owner, latency_ns=latency, attempt=attempt,
            )
        )  # fmt: skip

    @precondition(lambda self: any(at >= self.world.now for at in self.world.promised.values()))
    @rule(chance=CHANCE)
    def asks_again_exactly_when_told(self, chance: Random) -> None:
        world = self.world
        name = chance.choice(sorted(name for name, at in world.promised.items() if at >= world.now))
        world.now = world.promised[name]
        world.book(world.bookings[name])

    @precondition(lambda self: self.world.bookings)
    @rule(chance=CHANCE)
    def asks_again_at_any_time(self, chance: Random) -> None:
        self.world.book(chance.choice(sorted(self.world.bookings.items()))[1])

    @precondition(lambda self: self.world.bookings)
    @rule(chance=CHANCE)
    def hands_a_booking_back(self, chance: Random) -> None:
        self.world.hand_booking_back(chance.choice(sorted(self.world.bookings)))

    # --- trouble and control

    @rule(kind=KIND, scope=st.sampled_from(("project", "user", "")), user=USER, value=st.sampled_from((0, 2, 4)))
    def a_429_comes(self, kind: Kind, scope: str, user: str, value: int) -> None:
        self.world.throttle(Throttling(kind=kind, scope=scope, user=user, quota_value=value))

    @rule(spreadsheets=st.lists(SHEET, min_size=1, max_size=5))
    def calls_fail(self, spreadsheets: list[str]) -> None:
        for spreadsheet in spreadsheets:
            self.world.fail(spreadsheet)

    @precondition(lambda self: self.world.troubles()[0])
    @rule(chance=CHANCE, ok=st.booleans())
    def a_probe_is_answered(self, chance: Random, ok: bool) -> None:
        self.world.probed(chance.choice(sorted(self.world.troubles()[0])), ok=ok)

    @rule()
    def the_project_is_paused_or_goes_on(self) -> None:
        (self.world.resume if self.world.paused else self.world.pause)()

    @rule(
        project=st.integers(1, 9), user=st.integers(1, 6), own=st.sampled_from((None, 1, 5)),
        age_s=st.sampled_from((1, 5, 600)), budget=st.sampled_from((0, 2, 6)),
        floors=st.sampled_from(((0.7, 0.2, 0.1), (0.4, 0.3, 0.3), (1.0, 0.0, 0.0))),
    )  # fmt: skip
    def quotas_and_policies_change(
        self, project: int, user: int, own: int | None, age_s: int, budget: int, floors: tuple[float, float, float]
    ) -> None:
        self.world.configure(
            write_per_project=project,
            write_per_user=user,
            users={} if own is None else {USERS[0]: UserLimits(write=own)},
            age_after_ns=age_s * 1000 * MS,
            urgent_budget=budget,
            **dict(zip(("floor_urgent", "floor_normal", "floor_low"), floors, strict=True)),
        )

    @rule()
    def continues_as_new(self) -> None:
        self.world.continue_as_new()

    @rule()
    def is_shadowed_by_what_its_checkpoint_gives(self) -> None:
        self.world.shadow()

    @invariant()
    def tokens_are_conserved(self) -> None:
        self.world.check()


LimiterMachine.TestCase.settings = hypothesis_settings(max_examples=200, stateful_step_count=50, deadline=None)
TestLimiter = LimiterMachine.TestCase
