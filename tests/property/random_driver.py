"""Anything that may happen to a limiter, drawn from a seeded source."""

from __future__ import annotations

from random import Random

from headgate.messages.tokens import Booking, LaneDemand, LimiterSettings, Throttling, UserLimits
from tests.property.world import CLASSES, HOLDERS, KINDS, LATENCIES, MS, OWNERS, SHEETS, USERS, World


def settings(rng: Random, window_s: int = 4) -> LimiterSettings:
    """Small quotas, so that everything is short."""
    return LimiterSettings(
        read_per_project=rng.randint(1, 8),
        read_per_user=rng.randint(1, 5),
        write_per_project=rng.randint(1, 9),
        write_per_user=rng.randint(1, 5),
        window_ns=window_s * 1000 * MS,
        spreadsheet_spacing_ns=rng.choice((1, 100 * MS, 1000 * MS)),
        age_after_ns=rng.choice((1, 3, 600)) * 1000 * MS,
        urgent_budget=rng.choice((0, 2, 6)),
    )


def changes(rng: Random) -> dict[str, object]:
    """Another setting of everything that may change at run time."""
    other = settings(rng).model_dump(exclude={"window_ns", "spreadsheet_spacing_ns", "users"}, exclude_defaults=True)
    other["users"] = {rng.choice(USERS): UserLimits(write=rng.randint(1, 9))} if rng.random() < 0.5 else {}
    floors = rng.choice(((0.7, 0.2, 0.1), (0.4, 0.3, 0.3), (1.0, 0.0, 0.0)))
    return other | dict(zip(("floor_urgent", "floor_normal", "floor_low"), floors, strict=True))


def demand(rng: Random, lane: int) -> LaneDemand:
    """What one lane wants."""
    latency = rng.choice(LATENCIES)
    return LaneDemand(
        lane=lane, kind=rng.choice(KINDS), user=rng.choice(USERS), spreadsheet=rng.choice(SHEETS),
        calls=rng.randint(0, 8), latency_ns=latency, latency_p95_ns=max(latency, rng.choice(LATENCIES)),
    )  # fmt: skip


def ask(world: World, rng: Random) -> None:
    """A holder says what it wants, or the same with one thing changed."""
    holder = rng.choice(HOLDERS)
    before = world.said.get(holder)
    more = {
        "priority": rng.choice(CLASSES), "owner": rng.choice(OWNERS), "weight": rng.choice((0.5, 1.0, 1.0, 3.0)),
        "stopped": "paused" if rng.random() < 0.1 else "", "behind": rng.choice((0, 0, 1)),
    }  # fmt: skip
    lanes = [demand(rng, lane) for lane in range(rng.randint(0, 5))]
    if before is not None and rng.random() < 0.5:
        kept = {"priority": before.priority, "owner": before.fairness_key, "weight": before.weight, "stopped": ""}
        changed = rng.choice(("priority", "owner", "weight", "stopped"))
        more |= {name: value for name, value in kept.items() if name != changed}
        if rng.random() < 0.7:
            lanes = list(before.lanes)
        if rng.random() < 0.2:
            lanes = [lane.model_copy(update={"latency_p95_ns": rng.choice(LATENCIES)}) for lane in lanes]
    world.ask(holder, lanes, **more)  # type: ignore[arg-type]


def book(world: World, rng: Random) -> None:
    """Somebody books, or asks again, be it when it was told to or not."""
    if world.promised and rng.random() < 0.6:
        name = rng.choice(sorted(world.promised))
        due = world.promised[name]
        if due >= world.now and rng.random() < 0.8:
            world.now = due
        world.book(world.bookings[name])
        return
    if world.bookings and rng.random() < 0.2:
        world.book(rng.choice(list(world.bookings.values())[-8:]))
        return
    holder = rng.choice((*HOLDERS, "outside"))
    world.book(
        Booking(
            id=f"b{len(world.bookings)}", holder=holder, kind=rng.choice(KINDS), user=rng.choice(USERS),
            spreadsheet=rng.choice(SHEETS), priority=rng.choice(CLASSES), fairness_key=rng.choice(OWNERS),
            latency_ns=rng.choice(LATENCIES), weight=rng.choice((1.0, 2.0)), attempt=rng.randrange(3),
        )
    )  # fmt: skip


def trouble(world: World, rng: Random) -> None:
    """The API pushes back, or answers a probe."""
    circuits = [name for name, circuit in world.limiter.health.circuits.items() if circuit.open]
    what = rng.random()
    if circuits and what < 0.5:
        world.probed(rng.choice(sorted(circuits)), ok=rng.random() < 0.5)
    elif what < 0.7:
        scope = rng.choice(("project", "user", ""))
        value = rng.choice((0, 0, 2, 4))
        world.throttle(Throttling(kind=rng.choice(KINDS), scope=scope, user=rng.choice(USERS), quota_value=value))
    else:
        for _ in range(rng.randint(1, 4)):
            world.fail(rng.choice(SHEETS))


def hand_back(world: World, rng: Random) -> None:
    """Tokens come back: once, twice, late, or from somebody who never had them."""
    if world.holdings and rng.random() < 0.8:
        recent = sorted(world.holdings)[-12:]
        position = rng.choice(recent)
        world.hand_back(position, rng.choice(("", "", "", HOLDERS[0])))
        if rng.random() < 0.3:
            world.hand_back(position)
    elif world.bookings:
        world.hand_booking_back(rng.choice(list(world.bookings)[-8:]))


def control(world: World, rng: Random) -> None:
    """People steer."""
    what = rng.random()
    if world.paused or what < 0.2:
        (world.resume if world.paused else world.pause)()
    elif what < 0.6:
        world.configure(**changes(rng))
    elif what < 0.63:
        world.prove_reset(rng.choice(HOLDERS))
    elif what < 0.8:
        world.vanish(rng.choice(HOLDERS))
    elif world.messages:
        world.say_again(rng.choice(world.messages))


def step(world: World, rng: Random, *, troubled: float = 0.04) -> None:
    """Anything."""
    what = rng.random()
    if what < 0.45:
        if rng.random() < 0.8:
            world.now += rng.choice((1, 20, 200, 1000, 1200, 1200, 1250, 3000)) * MS
        world.round()
    elif what < 0.60:
        ask(world, rng)
    elif what < 0.72:
        book(world, rng)
    elif what < 0.84:
        hand_back(world, rng)
    elif what < 0.84 + troubled:
        trouble(world, rng)
    elif what < 0.92:
        control(world, rng)
    else:
        world.now += rng.randint(1, 3000 * MS)
