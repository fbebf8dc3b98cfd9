"""Alerts against a naive reference that looks at the whole past: none twice, none too early, none too late."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from headgate.alerts import Alerts
from headgate.messages.alerts import AlertCheckpoint, AlertEvent, AlertSettings, Readings

# Small spans: a reading's time in these units, so that every threshold is met and missed often.
SETTINGS = AlertSettings(
    quota_for_ns=6,
    throttled_quiet_ns=5,
    clear_after_ns=3,
    flapping_ns=12,
    gap_ns=4,
    wait_urgent_ns=10,
    wait_normal_ns=20,
)
Past = Sequence[tuple[int, Readings]]

share = st.sampled_from([0.5, 0.89, 0.9, 0.94, 0.95, 1.0])
reading = st.builds(
    Readings,
    used=st.dictionaries(st.sampled_from(["project/write", "user/write/ada"]), share),
    throttled=st.dictionaries(st.sampled_from(["project/write", "user/read/ada"]), st.integers(0, 3)),
    circuits=st.dictionaries(st.sampled_from(["S1", "api"]), st.just("x"), max_size=1),
    waits_ns=st.dictionaries(st.sampled_from(["urgent", "normal"]), st.integers(0, 30)),
)
hot = st.sampled_from([0.95, 1.0]).map(lambda share: Readings(used={"project/write": share, "user/write/ada": 1.0}))
stretches = st.lists(st.tuples(reading | hot, st.integers(1, 9), st.sampled_from([1, 1, 1, 2, 3, 5])), max_size=12)


def unrolled(stretches: Sequence[tuple[Readings, int, int]]) -> Past:
    """Each reading as often and as far apart as its stretch says."""
    now, past = 100, []
    for last, times, pause in stretches:
        for _ in range(times):
            now += pause
            past.append((now, last))
    return past


def holds(past: Past, condition: str, subject: str) -> bool:
    """Naively: whether the last reading of the past, with those before it, has what it takes to raise."""
    now, last = past[-1]
    if condition == "circuit":
        return subject in last.circuits
    if condition == "waiting":
        return last.waits_ns.get(subject, 0) > {"urgent": 10, "normal": 20}[subject]
    if condition == "throttled":
        count = last.throttled.get(subject, 0)
        before = past[-2][1].throttled.get(subject, 0) if len(past) > 1 else 0
        return count > before or 0 < count < before
    after = now
    for at, earlier in reversed(past):
        if earlier.used.get(subject, 0.0) < 0.95 or after - at > 4:
            return False
        if now - at >= 6:
            return True
        after = at
    return False


def calm(past: Past, condition: str, subject: str) -> bool:
    """Naively: whether the last reading of the past shows nothing that keeps a raised alert."""
    if condition == "quota":
        return past[-1][1].used.get(subject, 0.0) < 0.9
    return not holds(past, condition, subject)


SUBJECTS = [
    ("quota", "project/write"),
    ("quota", "user/write/ada"),
    ("throttled", "project/write"),
    ("throttled", "user/read/ada"),
    ("circuit", "S1"),
    ("circuit", "api"),
    ("waiting", "urgent"),
    ("waiting", "normal"),
]


@given(past=stretches.map(unrolled), restore_at=st.integers(0, 60))
def test_events_are_those_of_the_naive_reference(past: Past, restore_at: int) -> None:
    """Every raising at the first reading that has its threshold, every clearing after its calm, the two in turn."""
    alerts = Alerts(SETTINGS)
    raised: dict[tuple[str, str], AlertEvent] = {}
    calm_since: dict[tuple[str, str], int] = {}
    ids: set[str] = set()
    for number, (now, last) in enumerate(past):
        if number == restore_at:
            stored = alerts.checkpoint().model_dump_json()
            alerts = Alerts.restore(AlertCheckpoint.model_validate_json(stored), SETTINGS)
        events = alerts.observe(now, "p", last)
        assert ids.isdisjoint(event.id for event in events)
        ids |= {event.id for event in events}
        told: dict[tuple[str, str], AlertEvent] = {(event.condition, event.subject): event for event in events}
        assert len(told) == len(events)
        assert told.keys() <= set(SUBJECTS)
        for key in SUBJECTS:
            event = told.get(key)
            if key not in raised:
                assert (event is not None) == holds(past[: number + 1], *key)
                if event is not None:
                    assert event.phase == "raised"
                    raised[key] = event
                continue
            if calm(past[: number + 1], *key):
                calm_for = now - calm_since.setdefault(key, now)
            else:
                calm_since.pop(key, None)
                calm_for = -1
            if event is not None:
                assert event.phase == "cleared"
                assert event.since_ns == raised.pop(key).since_ns
                assert calm_for >= (5 if key[0] == "throttled" else 3)
                del calm_since[key]
            else:
                assert calm_for < SETTINGS.flapping_ns
        assert alerts.watching or not raised
