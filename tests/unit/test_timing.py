"""When people say that something is to begin: what it means, and what is refused with a sentence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.errors import InvalidRequest
from headgate.messages.words import NAME_PATTERN
from headgate.schedules import Timing, check_name, occurrence_request, repetition, span_in_words
from starter.temporal_schedules import specification
from starter.timing import timing
from workflows import names


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3s", 3),
        ("30min", 1_800),
        ("30m", 1_800),
        ("6h", 21_600),
        ("1d", 86_400),
        ("2w", 1_209_600),
        ("1h30min", 5_400),
        ("1 h 30 min", 5_400),
        (" 45 s ", 45),
        ("366d", 31_622_400),
    ],
)
def test_spans(said: str, seconds: int) -> None:
    assert repetition(said) == (seconds, "")


@given(st.integers(1, 366 * 86_400))
def test_a_span_in_words_is_that_span(seconds: int) -> None:
    assert repetition(span_in_words(seconds)) == (seconds, "")


@pytest.mark.parametrize(
    "said", ["0 6 * * 1-5", "*/15 8-18 * * MON-FRI", "0 0 1,15 * ?", "0 30 6 * * 1 2030", "@daily", "0  6 *  * *"]
)
def test_cron_is_left_to_temporal(said: str) -> None:
    assert repetition(said) == (0, " ".join(said.split()))


@pytest.mark.parametrize(
    "said",
    [
        "",
        "soon",
        "0s",
        "367d",
        "30",
        "-3s",
        "1.5h",
        "3 fortnights",
        "* * * *",
        "0 6 * * 1;2",
        "@every 3s",
        "@reboot",
        "CRON_TZ=UTC 0 6 * * *",
        "1 2 3 4 5 6 7 8",
        "99999999999s",
    ],
)
def test_what_is_neither_span_nor_cron(said: str) -> None:
    with pytest.raises(InvalidRequest, match="--every"):
        repetition(said)


ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("said", "zone", "means"),
    [
        ("2030-03-17T05:00Z", None, datetime(2030, 3, 17, 5, tzinfo=UTC)),
        ("2030-03-17T05:00+02:00", "Europe/Zurich", datetime(2030, 3, 17, 3, tzinfo=UTC)),
        ("2030-03-17 06:00", "Europe/Zurich", datetime(2030, 3, 17, 6, tzinfo=ZURICH)),
        ("2030-07-17", "Europe/Zurich", datetime(2030, 7, 17, tzinfo=ZURICH)),
        ("20300317T050000Z", None, datetime(2030, 3, 17, 5, tzinfo=UTC)),
        ("2030-03-17T05:00:00.001Z", None, datetime(2030, 3, 17, 5, 0, 1, tzinfo=UTC)),
    ],
)
def test_instants(said: str, zone: str | None, means: datetime) -> None:
    found = timing(said, None, time_zone=zone)
    assert found == Timing(at_s=int(means.timestamp()))
    assert found.once


@pytest.fixture
def in_india(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's local time is that of India, 5:30 h before UTC, for a while."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_india")
def test_an_instant_without_a_zone_is_local() -> None:
    expected = Timing(at_s=int(datetime(2030, 3, 17, 0, 30, tzinfo=UTC).timestamp()))
    assert timing("2030-03-17T06:00", None) == expected
    assert timing("2030-03-17T00:30", None, time_zone="UTC") == expected


#: Without a zone, as Hypothesis wants its bounds.
FROM, TO = datetime.fromisoformat("2027-01-01"), datetime.fromisoformat("2099-01-01")


@given(st.datetimes(FROM, TO, timezones=st.timezones()))
def test_a_programs_instant_is_met_to_the_second_and_never_early(at: datetime) -> None:
    found = timing(at, None)
    assert found is not None
    assert 0 <= found.at_s - at.timestamp() < 1


def test_the_options_together() -> None:
    assert timing(None, None) is None
    assert timing(None, timedelta(minutes=5)) == Timing(every_s=300)
    found = timing("2030-03-17T05:00Z", "0 6 * * *", "buffer-one", "Europe/Zurich")
    assert found == Timing(at_s=1_899_954_000, cron="0 6 * * *", zone="Europe/Zurich", overlap="buffer-one")
    assert found.in_words == "cron 0 6 * * * (Europe/Zurich), from 2030-03-17T05:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("tomorrow", None), "--start-at 'tomorrow' is no instant"),
        (("2030-13-01T00:00Z", None), "is no instant"),
        (("2130-01-01T00:00Z", None), "before the year 2100"),
        (("1969-01-01T00:00Z", None), "not past"),
        (("0001-01-01T00:00", None, None, "Europe/Zurich"), "--start-at"),
        ((None, timedelta(milliseconds=1_500)), "whole seconds"),
        ((None, timedelta(0)), "between 1s and 366d"),
        ((None, timedelta(seconds=-3)), "--every"),
        ((None, None, "skip"), "--overlap and --time-zone are for schedules"),
        ((None, None, None, "UTC"), "--overlap and --time-zone are for schedules"),
        (("2030-03-17T05:00Z", None, "skip"), "--overlap is for what is repeated"),
        ((None, "3s", None, "UTC"), "--time-zone is for a cron expression or --start-at"),
        ((None, "0 6 * * *", None, "Europe/Atlantis"), "--time-zone 'Europe/Atlantis' is not known"),
        ((None, "0 6 * * *", None, "../etc/passwd"), "--time-zone"),
        ((None, "0 6 * * *", None, ""), "--time-zone"),
    ],
)
def test_what_cannot_be_meant(arguments: tuple[str | None, ...], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        timing(*arguments)  # type: ignore[arg-type]


@given(st.integers(1_000_000_000, 4_000_000_000))
def test_every_instant_names_a_request_of_its_own_that_temporals_id_leads_back_to(at_s: int) -> None:
    at = datetime.fromtimestamp(at_s, UTC)
    workflow_id = f"{names.occurrence_id('night-1')}-{at.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    assert names.occurrence_at(workflow_id) == at
    request_id = occurrence_request("night-1", Timing(every_s=1), at)
    assert datetime.strptime(request_id, "night-1-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) == at
    assert occurrence_request("night-1", Timing(at_s=at_s), at) == "night-1"


def test_an_id_leaves_room_for_the_instant() -> None:
    check_name("a" * 128, Timing(at_s=1))
    check_name("a" * 111, Timing(every_s=1))
    assert "{1,128}" in NAME_PATTERN
    with pytest.raises(InvalidRequest, match="too long"):
        check_name("a" * 112, Timing(every_s=1))


@given(st.integers(1, 10_000_000), st.integers(1_900_000_000, 4_000_000_000))
def test_a_span_from_an_instant_on_falls_on_it(every_s: int, at_s: int) -> None:
    """Temporal's intervals are the instants n * every + offset, those before `start_at` left out."""
    spec = specification(Timing(every_s=every_s, at_s=at_s))
    (interval,) = spec.intervals
    assert interval.offset is not None
    assert (at_s - interval.offset.total_seconds()) % interval.every.total_seconds() == 0
    assert spec.start_at == datetime.fromtimestamp(at_s, UTC)
