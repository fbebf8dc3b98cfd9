"""An alert is raised once while its condition lasts and cleared once, whatever the condition does meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from headgate.alerts import OBSERVE_EVERY_NS, OTHERS, Alerts
from headgate.message import SECOND_NS
from headgate.messages.alerts import AlertCheckpoint, AlertEvent, AlertSettings, Readings

STEP_S = OBSERVE_EVERY_NS // SECOND_NS
MINUTE = 60 // STEP_S  # in readings
HOT, WARM, COLD = (Readings(used={"project/write": share}) for share in (0.97, 0.92, 0.5))
OPEN = Readings(circuits={"S1": "five answers of 503"})
NOTHING = Readings()


def watch(alerts: Alerts, readings: Iterable[Readings], start: int = 1) -> list[tuple[int, AlertEvent]]:
    """The events by the number of the reading that brought them."""
    return [
        (number, event)
        for number, reading in enumerate(readings, start)
        for event in alerts.observe(number * OBSERVE_EVERY_NS, "p", reading)
    ]


def told(events: list[tuple[int, AlertEvent]]) -> list[tuple[int, str, str]]:
    return [(number, event.phase, event.subject) for number, event in events]


def throttled(*counts: int) -> list[Readings]:
    return [Readings(throttled={"project/write": count}) for count in counts]


def waiting(seconds: float, name: str = "urgent") -> Readings:
    return Readings(waits_ns={name: int(seconds * SECOND_NS)})


@pytest.mark.parametrize(
    ("why", "readings", "expected"),
    [
        ("ten minutes of a hot quota are an alert, once", [HOT] * 20 * MINUTE, [(61, "raised")]),
        ("anything shorter is none", [*[HOT] * 10 * MINUTE, COLD], []),
        ("one cooler reading begins the ten minutes anew", [*[HOT] * 5 * MINUTE, WARM, *[HOT] * 10 * MINUTE], []),
        ("95 % is hot", [Readings(used={"project/write": 0.95})] * 61, [(61, "raised")]),
        ("a raised quota stays raised between 90 and 95 %", [*[HOT] * 61, *[WARM] * 100], [(61, "raised")]),
        (
            "it is cleared after a minute below 90 %",
            [*[HOT] * 61, *[COLD] * 100],
            [(61, "raised"), (62 + MINUTE, "cleared")],
        ),
        (
            "a warm reading begins that minute anew",
            [*[HOT] * 61, *[COLD] * 6, WARM, *[COLD] * 100],
            [(61, "raised"), (69 + MINUTE, "cleared")],
        ),
        (
            "a quota that is left out is cold",
            [*[HOT] * 61, *[NOTHING] * 100],
            [(61, "raised"), (62 + MINUTE, "cleared")],
        ),
        ("the first 429 is an alert", throttled(0, 1), [(2, "raised")]),
        ("so is one that was counted before the first reading", throttled(1), [(1, "raised")]),
        ("more of them are the same alert", throttled(*range(200)), [(2, "raised")]),
        (
            "it ends five minutes after the last",
            throttled(0, 1, 2, *[2] * 100),
            [(2, "raised"), (4 + 5 * MINUTE, "cleared")],
        ),
        ("a count that fell was begun anew", throttled(7, *[7] * 31, *[0] * 5, 2), [(1, "raised"), (32, "cleared"), (38, "raised")]),
        ("an open circuit is an alert at once", [OPEN] * 100, [(1, "raised")]),
        ("a circuit that half closes for moments is one alert", [OPEN, NOTHING, NOTHING, NOTHING] * 50, [(1, "raised")]),
        ("it is over a minute after it closed", [OPEN, *[NOTHING] * 50], [(1, "raised"), (2 + MINUTE, "cleared")]),
        ("a wait within its bound is none", [waiting(10)] * 10, []),
        ("one beyond it is", [waiting(10.1)] * 10, [(1, "raised")]),
        ("normal may wait longer", [waiting(299, "normal"), waiting(301, "normal")], [(2, "raised")]),
        ("low longest", [waiting(1799, "low"), waiting(1801, "low")], [(2, "raised")]),
        ("a class without a bound is never late", [waiting(1e6, "other")], []),
        ("a wait that ends for a moment is one alert", [waiting(20), waiting(0)] * 50, [(1, "raised")]),
    ],
)  # fmt: skip
def test_once_and_with_hysteresis(why: str, readings: list[Readings], expected: list[tuple[int, str]]) -> None:
    """The readings are ten seconds apart; expected are the numbers of those that brought an event."""
    assert [(number, phase) for number, phase, _ in told(watch(Alerts(), readings))] == expected, why


def test_readings_far_apart_say_nothing_about_the_time_between() -> None:
    """A limiter that nobody asks rests; a quota that was hot before and is hot again was not hot all the while."""
    alerts = Alerts()
    watch(alerts, [HOT] * 5 * MINUTE)
    assert watch(alerts, [HOT] * 10 * MINUTE, start=1000) == []
    assert told(watch(alerts, [HOT] * MINUTE, start=1060)) == [(1060, "raised", "project/write")]


@pytest.mark.parametrize(
    ("calm_readings", "most_a_day"),
    [
        (1, 1),  # never a minute of calm
        (2 * MINUTE, 100),
        (10 * MINUTE, 100),
        (40 * MINUTE, 4 * 24),  # as rare as that is no flapping
    ],
)
def test_flapping_makes_ever_fewer_events(calm_readings: int, most_a_day: int) -> None:
    """However long it is calm between, a day of flapping is no storm, and most of its events come early."""
    day = 24 * 60 * MINUTE
    events = told(watch(Alerts(), ([OPEN] + [NOTHING] * calm_readings) * (day // (calm_readings + 1))))
    assert len(events) <= most_a_day
    if calm_readings == 2 * MINUTE:
        assert [number for number, *_ in events if number > 60 * MINUTE] == []


def test_after_a_long_calm_the_first_minute_counts_again() -> None:
    """What flapped long ago needs no longer calm than what never did."""
    alerts = Alerts()
    flapping = [OPEN, *[NOTHING] * 2 * MINUTE] * 5
    watch(alerts, [*flapping, *[NOTHING] * 60 * MINUTE])
    assert told(watch(alerts, [OPEN, *[NOTHING] * 20], start=10_000)) == [
        (10_000, "raised", "S1"),
        (10_001 + MINUTE, "cleared", "S1"),
    ]


def test_conditions_and_subjects_are_told_apart() -> None:
    """Two circuits, a wait and a 429 at once are four alerts, in one order."""
    reading = Readings(
        circuits={"S2": "x", "S1": "x"}, waits_ns={"urgent": 60 * SECOND_NS}, throttled={"user/write/ada": 1}
    )
    events = Alerts().observe(SECOND_NS, "p", reading)
    assert [(event.condition, event.subject) for event in events] == [
        ("throttled", "user/write/ada"),
        ("circuit", "S1"),
        ("circuit", "S2"),
        ("waiting", "urgent"),
    ]
    assert len({event.id for event in events}) == 4


def test_an_event_has_the_same_id_wherever_it_is_made() -> None:
    """A receiver drops repeats by the id: it depends on what happened, and tells beginnings, ends and projects apart."""
    readings = [OPEN, *[NOTHING] * 10, OPEN, *[NOTHING] * 20]
    first, second = watch(Alerts(), readings), watch(Alerts(), readings)
    assert first == second
    assert len({event.id for _, event in first}) == len(first) == 4
    (other,) = Alerts().observe(OBSERVE_EVERY_NS, "another", OPEN)
    assert other.id != first[0][1].id
    assert first[0][1].since_ns == first[1][1].since_ns == OBSERVE_EVERY_NS


@pytest.mark.parametrize(
    ("readings", "sentences"),
    [
        (
            [*[HOT] * 61, *[COLD] * 10],
            [
                "project/write has been at 95% of its quota or above for 10 min; it is at 97% now.",
                "The quota of project/write has room again; it lasted 10 min.",
            ],
        ),
        (
            [*throttled(3), *throttled(5) * 40],
            [
                "The API refused calls on project/write for their rate (429): 3 just now, 3 in all.",
                "The API refuses no calls on project/write any more; it lasted 20 s.",
            ],
        ),
        (
            [OPEN, *[NOTHING] * 10],
            [
                "The circuit of S1 is open: five answers of 503.",
                "The circuit of S1 is closed again; it lasted 10 s.",
            ],
        ),
        ([Readings(circuits={"api": "timeouts."})], ["The circuit of the whole API is open: timeouts."]),
        ([waiting(7300)], ["The class urgent has had no token for 2 h 1 min; its bound is 10 s."]),
    ],
)
def test_a_person_can_read_it(readings: list[Readings], sentences: list[str]) -> None:
    assert [event.sentence for _, event in watch(Alerts(), readings)] == sentences


def test_many_subjects_are_one_alert_beyond_the_bound() -> None:
    """The project's own quotas and the API keep their place, however many users are in trouble."""
    alerts = Alerts(AlertSettings(most_subjects=3))
    users = {f"user/write/{number}": 1 for number in range(400)}
    events = alerts.observe(SECOND_NS, "p", Readings(throttled={**users, "project/write": 1}))
    assert [event.subject for event in events] == [
        "project/write",
        "user/write/0",
        "user/write/1",
        "user/write/10",
        OTHERS,
    ]
    assert "At least 397 more" in events[-1].sentence
    more = alerts.observe(2 * SECOND_NS, "p", Readings(throttled={**dict.fromkeys(users, 2), "project/read": 1}))
    assert [event.subject for event in more] == ["project/read"]
    cleared = watch(alerts, [NOTHING] * 100)
    assert sorted(event.subject for _, event in cleared) == sorted(event.subject for event in [*events, *more])
    assert not alerts.watching


def test_a_spreadsheet_with_the_name_of_the_others_is_one_of_them() -> None:
    """No name that somebody chose makes a storm."""
    events = watch(Alerts(), [Readings(circuits={OTHERS: "x"})] * 50)
    assert told(events) == [(1, "raised", OTHERS)]


def test_what_is_remembered_is_bounded() -> None:
    """Ten thousand users in trouble, others every minute, leave a checkpoint of some hundred kilobytes at most."""
    alerts = Alerts()
    for number in range(1, 400):
        users = [f"user/write/{(number // MINUTE) * 10_000 + user}" for user in range(2_000)]
        reading = Readings(
            used=dict.fromkeys(users, 1.0), throttled=dict.fromkeys(users, number), circuits=dict.fromkeys(users, "x")
        )
        alerts.observe(number * OBSERVE_EVERY_NS, "p", reading)
    assert len(alerts.checkpoint().model_dump_json()) < 300_000


@pytest.mark.parametrize("at", range(0, 180, 7))
def test_a_restore_changes_nothing(at: int) -> None:
    """A limiter that continues as new goes on with what it knew, through JSON and at any moment."""
    readings = [
        *[HOT] * 65,
        *[OPEN, *[NOTHING] * 8] * 3,
        *throttled(1, 2, 0),
        *[waiting(11), waiting(0)] * 5,
        *[COLD] * 75,
    ]
    expected = watch(Alerts(), readings)
    before = Alerts()
    events = watch(before, readings[:at])
    after = Alerts.restore(AlertCheckpoint.model_validate_json(before.checkpoint().model_dump_json()))
    assert [*events, *watch(after, readings[at:], start=at + 1)] == expected
    assert len(expected) >= 10


def test_429s_of_the_time_before_anybody_observed_are_no_news() -> None:
    """A limiter that learns to alert while it runs hands over what it has counted."""
    alerts = Alerts.restore(AlertCheckpoint(throttled={"project/write": 500}))
    assert told(watch(alerts, throttled(500, 500, 501))) == [(3, "raised", "project/write")]


def test_new_settings_count_from_the_next_reading_on() -> None:
    alerts = Alerts()
    watch(alerts, [waiting(9)])
    alerts.settings = AlertSettings(wait_urgent_ns=5 * SECOND_NS)
    assert told(watch(alerts, [waiting(9)], start=2)) == [(2, "raised", "urgent")]


def test_it_says_when_it_must_be_asked_again() -> None:
    """A limiter rests without a timer while nobody wants a token, but not before an alert has ended."""
    alerts = Alerts()
    assert not alerts.watching
    watch(alerts, [HOT])
    assert alerts.watching
    watch(alerts, [COLD], start=2)
    assert not alerts.watching
    watch(alerts, [OPEN, *[NOTHING] * MINUTE], start=3)
    assert alerts.watching
    assert [alert.subject for alert in alerts.raised] == ["S1"]
    watch(alerts, [NOTHING], start=4 + MINUTE)
    assert not alerts.watching


def test_a_project_buckets_place_is_not_taken_by_users_before_it_is_hot_for_long() -> None:
    """Following is bounded as well, and the project's own quotas are always followed."""
    users = {f"user/write/{number}": 1.0 for number in range(2000)}
    readings = [*[Readings(used=users)] * 10, *[Readings(used={**users, "project/read": 1.0})] * 61]
    assert (71, "raised", "project/read") in told(watch(Alerts(), readings))
