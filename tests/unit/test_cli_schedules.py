"""`headgate submit --start-at | --every` and `headgate schedules`: what is handed over, what is said, what is refused."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headgate.schedules import Timing
from starter.schedules import Occurrence, ScheduleRow
from tests.unit.fake_service import FakeSchedules, FakeService, Ran, lines, one_sentence, ran

ROW = {"id": "a", "op": "append", "spreadsheet": "s", "range": "A:B", "values": [["x"]]}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HEADGATE_STORE": str(tmp_path / "store"), "USER": "ana"}


@pytest.fixture
def service() -> FakeService:
    return FakeService()


def submitted(service: FakeService, environ: dict[str, str], *options: str) -> Ran:
    arguments = ("submit", "-", "--project", "p", "--user", "u", "--id", "nightly", *options)
    return ran(*arguments, service=service, environ=environ, stdin=lines(ROW))


def stored(environ: dict[str, str]) -> list[Path]:
    return [path for path in Path(environ["HEADGATE_STORE"]).rglob("*") if path.is_file()]


def test_a_schedule_is_handed_over_and_no_request(service: FakeService, environ: dict[str, str]) -> None:
    options = ("--every", "0 6 * * 1-5", "--time-zone", "Europe/Zurich", "--overlap", "buffer-one", "--priority", "low")
    found = submitted(service, environ, *options, "--json")
    assert (found.code, found.err) == (0, "")
    assert found.documents == [
        {"id": "nightly", "schedule_id": "schedule/nightly", "next_at": "2030-03-17T17:46:40Z", "first": True}
    ]
    assert not service.submitted
    start = service.scheduled.made["nightly"]
    assert start.timing == Timing(cron="0 6 * * 1-5", zone="Europe/Zurich", overlap="buffer-one")
    assert (start.request.id, start.request.priority, start.summary) == (
        "nightly",
        "low",
        "standard input · 1 lines · project p",
    )
    (file,) = stored(environ)
    assert file.relative_to(environ["HEADGATE_STORE"]).parts == (
        "schedules",
        "nightly",
        f"input-{start.request.input_sha256}.jsonl",
    )
    assert file.read_bytes() == lines(ROW)


def test_it_says_when_and_where_to_look(service: FakeService, environ: dict[str, str]) -> None:
    found = submitted(service, environ, "--start-at", "2030-03-17T05:00Z")
    local = datetime(2030, 3, 17, 5, tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    assert found.out == f"scheduled nightly (schedule/nightly): once, at 2030-03-17T05:00:00Z, next {local}\n"
    assert found.err == "look at it with: headgate schedules show nightly\n"


def test_the_same_twice_is_one_schedule(service: FakeService, environ: dict[str, str]) -> None:
    first = submitted(service, environ, "--every", "1h", "--json")
    again = submitted(service, environ, "--every", "60min", "--priority", "urgent", "--json")
    assert (first.documents[0]["first"], again.documents[0]["first"]) == (True, False)
    assert len(stored(environ)) == 1
    assert submitted(service, environ, "--every", "1h").out.startswith("already there: nightly")


@pytest.mark.parametrize(
    "options", [("--every", "2h"), ("--every", "1h", "--overlap", "allow-all"), ("--project", "q")]
)
def test_other_times_or_content_under_an_id_are_refused_and_the_first_stays(
    service: FakeService, environ: dict[str, str], options: tuple[str, ...]
) -> None:
    submitted(service, environ, "--every", "1h")
    before = stored(environ)
    found = submitted(service, environ, "--every", "1h", *options)
    assert found.code == 2
    assert one_sentence(found.err)
    assert "exists already" in found.err
    assert stored(environ) == before


def test_other_operations_are_refused_and_not_kept(service: FakeService, environ: dict[str, str]) -> None:
    submitted(service, environ, "--every", "1h")
    before = stored(environ)
    arguments = ("submit", "-", "--project", "p", "--user", "u", "--id", "nightly", "--every", "1h")
    assert ran(*arguments, service=service, environ=environ, stdin=lines({**ROW, "id": "b"})).code == 2
    assert stored(environ) == before


def test_what_temporal_refuses_is_not_kept(environ: dict[str, str]) -> None:
    service = FakeService(scheduled=FakeSchedules(refuses="Temporal cannot read cron 61 * * * *: minute is too large"))
    found = submitted(service, environ, "--every", "61 * * * *")
    assert (found.code, one_sentence(found.err)) == (2, True)
    assert stored(environ) == []


@pytest.mark.parametrize(
    "options",
    [
        ("--every", "often"),
        ("--every", ""),
        ("--every", "0s"),
        ("--every", "1h", "--overlap", "terminate"),
        ("--every", "1h", "--wait"),
        ("--every", "1h", "--time-zone", "Europe/Zurich"),
        ("--every", "@daily", "--time-zone", "Nowhere"),
        ("--every", "1h", "--id", "a" * 112),
        ("--every", "1h", "--start-at", "2020-01-01T00:00Z"),
        ("--start-at", "later"),
        ("--start-at", "2020-01-01T00:00Z"),
        ("--start-at", "2030-01-01T00:00Z", "--wait"),
        ("--start-at", "2030-01-01T00:00Z", "--overlap", "skip"),
        ("--overlap", "skip"),
        ("--time-zone", "UTC"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_starts_and_stores_nothing(
    service: FakeService, environ: dict[str, str], options: tuple[str, ...]
) -> None:
    found = submitted(service, environ, *options)
    assert found.code == 2
    assert one_sentence(found.err), found.err
    assert not service.submitted
    assert not service.scheduled.made
    assert stored(environ) == []


def test_a_past_instant_of_a_schedule_that_is_there_is_that_schedule(
    service: FakeService, environ: dict[str, str]
) -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    submitted(service, environ, "--start-at", at)
    past = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    made = service.scheduled.made
    made["nightly"] = made["nightly"].model_copy(update={"timing": Timing(at_s=int(past.timestamp()))})
    assert submitted(service, environ, "--start-at", past.isoformat(), "--json").documents[0]["first"] is False


class Seen(FakeSchedules):
    """One schedule that has run several times."""

    async def show(self, schedule_id: str) -> ScheduleRow:
        self._must_know(schedule_id)
        requests = [Occurrence(f"often-{n}", "2030-01-01T00:00:00Z", "completed") for n in range(9, 0, -1)]
        return ScheduleRow(
            id=schedule_id,
            state="active",
            when="every 1 h",
            next_at="2030-03-17T05:00:00Z",
            overlap="skip",
            note="resumed by ana",
            project="p",
            owner="team",
            priority="low",
            summary="orders.jsonl · 2 lines · project p",
            started=1_234,
            skipped=5,
            missed=0,
            requests=(Occurrence("often-10", "2030-01-01T01:00:00Z", "running"), *requests),
        )


def test_a_list_and_a_closer_look(environ: dict[str, str]) -> None:
    seen = FakeService(scheduled=Seen())
    assert ran("schedules", "list", service=seen).err == "no schedules\n"
    ran(
        "submit",
        "-",
        "--project",
        "p",
        "--user",
        "u",
        "--id",
        "often",
        "--every",
        "1h",
        service=seen,
        environ=environ,
        stdin=lines(ROW),
    )
    local = datetime(2030, 3, 17, 5, tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    listed = ran("schedules", "list", service=seen).out
    assert listed.splitlines()[:3] == [
        f"often: active, every 1 h, next {local}, overlap skip",
        "    often-10 running",
        "    often-9 completed",
    ]
    shown = ran("schedules", "show", "often", service=seen).out
    assert shown.splitlines()[:5] == [
        "schedule often: active (resumed by ana)",
        f"when     every 1 h, next {local}",
        "overlap  skip",
        "request  orders.jsonl · 2 lines · project p, priority low, owner team",
        "so far   1,234 started, 5 left out while one ran",
    ]
    assert "often-1 completed" in shown
    (row,) = ran("schedules", "list", "--json", service=seen).documents
    assert row == ran("schedules", "show", "often", "--json", service=seen).documents[0]
    assert (row["next_at"], row["requests"][0]["state"]) == ("2030-03-17T05:00:00Z", "running")


def test_pause_and_resume_say_who_and_what(service: FakeService, environ: dict[str, str]) -> None:
    submitted(service, environ, "--every", "1h")
    found = ran("schedules", "pause", "nightly", service=service, environ=environ)
    assert (found.code, service.scheduled.paused) == (0, {"nightly": "paused by ana"})
    assert "does not run" in found.out
    assert ran("schedules", "show", "nightly", service=service).out.startswith(
        "schedule nightly: paused (paused by ana)"
    )
    resumed = ran("schedules", "resume", "nightly", "--json", service=service, environ=environ)
    assert resumed.documents == [{"id": "nightly", "state": "active", "next_at": "2030-03-17T17:46:40Z"}]
    assert service.scheduled.paused == {}


def test_remove_says_what_goes_on_and_takes_the_input_with_it(service: FakeService, environ: dict[str, str]) -> None:
    submitted(service, environ, "--every", "1h")
    service.scheduled.running = ("nightly-20300101T000000Z",)
    found = ran("schedules", "remove", "nightly", service=service, environ=environ)
    assert found.out.splitlines() == [
        "removed schedule nightly and its stored input",
        "still running: nightly-20300101T000000Z; `headgate cancel ID` would end it",
    ]
    assert stored(environ) == []
    assert one_sentence(ran("schedules", "remove", "nightly", service=service, environ=environ).err)


def test_the_input_stays_while_an_occurrence_needs_it(service: FakeService, environ: dict[str, str]) -> None:
    submitted(service, environ, "--every", "1h")
    service.scheduled.starting = ("nightly-20300101T000000Z",)
    found = ran("schedules", "remove", "nightly", "--json", service=service, environ=environ)
    assert json.loads(found.out) == {
        "id": "nightly",
        "running": [],
        "starting": ["nightly-20300101T000000Z"],
        "input_removed": False,
    }
    assert len(stored(environ)) == 1
    assert "again removes it later" in ran("schedules", "remove", "nightly", service=service, environ=environ).out
    service.scheduled.starting = ()
    assert ran("schedules", "remove", "nightly", service=service, environ=environ).code == 0
    assert stored(environ) == []


@pytest.mark.parametrize("command", ["show", "pause", "resume", "remove"])
@pytest.mark.parametrize("name", ["nobody", "../x", "..", ""])
def test_an_unknown_schedule_is_a_mistake(environ: dict[str, str], command: str, name: str) -> None:
    found = ran("schedules", command, name, environ=environ)
    assert found.code == 2
    assert one_sentence(found.err)
    assert "there is no schedule" in found.err


def test_a_purge_of_what_is_old_takes_the_inputs_of_schedules_that_are_no_more(
    service: FakeService, environ: dict[str, str]
) -> None:
    submitted(service, environ, "--every", "1h")
    for path in stored(environ):
        os.utime(path, times=(0, 0))
    assert ran("purge", "--older-than", "1h", "--yes", service=service, environ=environ).out.startswith("nothing")
    assert len(stored(environ)) == 1
    service.scheduled.made.clear()
    assert ran("purge", "--older-than", "1h", service=service, environ=environ).code == 2
    service.scheduled.starting = ("nightly-20300101T000000Z",)
    assert ran("purge", "--older-than", "1h", "--yes", service=service, environ=environ).code == 0
    assert len(stored(environ)) == 1, "an occurrence still needs it"
    service.scheduled.starting = ()
    found = ran("purge", "--older-than", "1h", "--yes", "--json", service=service, environ=environ)
    assert found.documents == [
        {"purged": [], "schedules": ["nightly"], "objects": 1, "bytes": len(lines(ROW)), "still_running": 0}
    ]
    assert stored(environ) == []
