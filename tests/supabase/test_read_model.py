"""What projections leave in the database, whatever order they come in, from whom and how often."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import projections as module
from activities import read_model
from activities.layout import input_path
from activities.plan import PlanActivities
from activities.projections import ProjectionActivities
from activities.projector import Projector
from activities.read_model import Letter, ReadModel
from activities.store import Store
from headgate.databases import Database as Where
from headgate.errors import NotProjected
from headgate.message import SECOND_NS
from headgate.messages.projections import Projection
from headgate.messages.requests import BulkRequest
from headgate.messages.views import CallCounts, OperationCounts, ProgressView, Waiting
from headgate.messages.words import Cause
from headgate.projections import sight
from starter.doctor import projection_finding
from tests.supabase.conftest import Database
from tests.supabase.projected import FrontDoor, most_in_a_second, projector_of, shows


@pytest.fixture
def door(database: Database) -> FrontDoor:
    return FrontDoor(database)


@pytest.fixture
async def model(database: Database) -> AsyncIterator[ReadModel]:
    """As the projector's own role, and without the pause between two writes of a row."""
    made = ReadModel(projector_of(database), timedelta())
    yield made
    await made.close()


def told(door: FrontDoor, request_id: str, version: int, state: str = "running", **more: Any) -> Projection:
    """Every count of it says which version it is."""
    request = BulkRequest(
        id=request_id,
        project="p",
        organisation=str(more.pop("organisation", door.organisation)),
        submitted_at_ns=more.pop("submitted_at_ns", SECOND_NS),
    )
    fields: dict[str, Any] = {
        "operations": OperationCounts(total=100 * version, succeeded=version, failed=version % 7),
        "calls": CallCounts(planned=version + 5, made=version, retried=version % 3),
        "failures": {f"because of {version}": version % 7},
        "waiting": Waiting(reason=f"reason {version}", cause="quota", until="2026-11-24T10:00:00Z"),
        **more,
    }
    view = ProgressView(id=request_id, state=state, priority="low", owner="o", version=version, **fields)
    return Projection(request=request, progress=view)


async def write(model: ReadModel, *projections: Projection) -> Any:
    return await model.write(projections, [None] * len(projections))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(1, 9), max_size=4), max_size=8), st.data())
async def test_a_row_is_the_highest_version_that_was_told(
    door: FrontDoor, database: Database, rounds: list[list[int]], data: st.DataObject
) -> None:
    """Shuffled, repeated, some lost, by two processes at once: each round is told by both, for two requests."""
    models = [ReadModel(projector_of(database), timedelta()) for _ in range(2)]
    names = [door.row_for()[0] for _ in range(2)]
    highest = dict.fromkeys(names, 0)
    try:
        for versions in rounds:
            under_way = []
            for version in versions:
                name, model = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(models))
                highest[name] = max(highest[name], version)
                under_way.append((model, told(door, name, version)))
            await asyncio.gather(*(write(model, one) for model, one in under_way))
    finally:
        await asyncio.gather(*(one.close() for one in models))
    for name, version in highest.items():
        row = door.row(name)
        assert row["version"] == version
        assert not version or shows(row, told(door, name, version).progress)
        versions = [one["version"] for one in door.seen(name)[name] if one["version"]]
        assert versions == sorted({*versions})


async def test_what_the_bridge_said_of_an_end_goes_with_the_true_one(
    door: FrontDoor, database: Database, model: ReadModel
) -> None:
    """A database that was away for long: the bridge's sweep was there before the workflow's own word."""
    request_id = door.row_for()[0]
    await write(model, told(door, request_id, 1))
    with psycopg.connect(database.url(), autocommit=True) as owner:
        owner.execute("select private.request_ended(%s, 'completed', 'told late')", [request_id])
    assert (door.row(request_id)["status"], door.row(request_id)["error"]) == ("completed", "told late")
    ended = told(door, request_id, 2, "completed").model_copy(update={"ended_ns": 5 * SECOND_NS})
    await model.write([ended], ["requests/it"])
    row = door.row(request_id)
    assert (row["status"], row["error"], row["results_location"]) == ("completed", None, "requests/it")
    assert row["finished_at"].timestamp() == 5
    await write(model, told(door, request_id, 3))
    row = door.row(request_id)
    assert (row["status"], row["finished_at"], row["results_location"]) == ("running", None, "requests/it")


async def test_many_rows_are_written_together(door: FrontDoor, model: ReadModel) -> None:
    names = [door.row_for()[0] for _ in range(300)]
    written = await write(model, *(told(door, name, number + 1) for number, name in enumerate(names)))
    assert (written.early, written.refused) == (frozenset(), {})
    assert [door.row(name)["version"] for name in names] == [*range(1, 301)]


async def test_two_writes_of_a_row_are_a_second_apart_whoever_writes(door: FrontDoor, database: Database) -> None:
    """Two processes that tell the same request, as fast as they can."""
    request_id = door.row_for()[0]
    projectors = [Projector(ReadModel(projector_of(database))) for _ in range(2)]

    async def tell(projector: Projector, first: int) -> None:
        async with projector.running():
            for version in range(first, 120, 2):
                one = told(door, request_id, version)
                projector.offer(one.request, one.progress)
                await asyncio.sleep(0.1)

    await asyncio.gather(*(tell(projector, number) for number, projector in enumerate(projectors, start=1)))
    writes = [one for one in door.seen(request_id)[request_id] if one["version"]]
    assert most_in_a_second(writes) == 1
    assert len(writes) >= 4
    assert door.row(request_id)["version"] == 119


async def test_a_clock_that_was_set_back_holds_up_no_row(door: FrontDoor, database: Database) -> None:
    """The row was changed at a time that the database's clock reaches in an hour only."""
    request_id = door.row_for()[0]
    model = ReadModel(projector_of(database))
    with psycopg.connect(database.url("supabase_admin"), autocommit=True) as clock:
        clock.execute("set session_replication_role = replica")  # else the row would get the present time
        clock.execute(
            "update public.bulk_requests set updated_at = clock_timestamp() + interval '1 hour' where id = %s",
            [request_id],
        )
    assert (await write(model, told(door, request_id, 1))).early == frozenset()
    assert door.row(request_id)["version"] == 1
    assert (await write(model, told(door, request_id, 2))).early == {request_id}, "which came within a second"
    await model.close()


@pytest.mark.parametrize("cause", get_args(Cause))
def test_the_audit_holds_the_same_causes_for_the_line(database: Database, cause: str) -> None:
    with psycopg.connect(database.url()) as owner:
        held = owner.execute("select private.held_up_by('waiting', %s)", [cause]).fetchone()
    assert held == (sight("waiting", "normal", cause)[2],)


async def test_what_a_row_cannot_hold_keeps_no_other_row(door: FrontDoor, model: ReadModel) -> None:
    good, bad = door.row_for()[0], door.row_for()[0]
    await write(model, told(door, good, 3), told(door, bad, 3))
    odd = told(door, bad, 4)
    odd = odd.model_copy(update={"progress": odd.progress.model_copy(update={"state": "resting"})})
    written = await write(model, told(door, good, 4), odd)
    assert written.refused.keys() == {bad}
    assert [door.row(name)["version"] for name in (good, bad)] == [4, 3]


async def test_texts_of_every_kind_are_taken(door: FrontDoor, model: ReadModel) -> None:
    request_id = door.row_for()[0]
    said = "a\x00b \\N \t '; drop table bulk_requests; -- \u2028 😀"
    await write(model, told(door, request_id, 1, waiting=Waiting(reason=said), failures={said: 1}))
    row = door.row(request_id)
    assert row["waiting_reason"] == said.replace("\x00", " ")
    assert row["failures"] == {said.replace("\x00", " "): 1}


async def test_a_row_of_another_organisation_or_none_stays_what_it_is(door: FrontDoor, model: ReadModel) -> None:
    theirs = door.row_for()[0]
    before = door.row(theirs)
    await write(model, told(door, theirs, 5, organisation=uuid4()), told(door, str(uuid4()), 5))
    assert door.row(theirs) == before
    with door.connect() as connection:
        assert connection.execute("select count(*) from public.bulk_requests").fetchone() == {"count": 1}


async def test_a_retry_gets_a_row_and_a_deleted_request_does_not(door: FrontDoor, model: ReadModel) -> None:
    request_id = door.row_for(name="orders")[0]
    await write(model, told(door, f"{request_id}.retry1", 1, submitted_at_ns=90 * SECOND_NS + 1_234_999))
    row = door.row(f"{request_id}.retry1")
    assert (row["organisation_id"], row["version"], row["status"]) == (door.organisation, 1, "running")
    assert (row["created_at"].timestamp(), row["operations"]) == (90.001234, None)
    with door.connect() as connection:
        assert connection.execute("select count(*) from private.inbox").fetchone() == {"count": 1}
        connection.execute("delete from public.bulk_requests")
    await write(model, told(door, request_id, 9), told(door, f"{request_id}.retry2", 1))
    assert not door.row(request_id)
    assert not door.row(f"{request_id}.retry2")


async def test_letters_are_added_once(door: FrontDoor, model: ReadModel) -> None:
    request_id, at_ns = door.row_for()
    request = told(door, request_id, 1, submitted_at_ns=at_ns).request
    letters = [Letter(n, f"o{n}", "the sheet\t\\N is gone\n", "unknown") for n in range(1, 5001)]
    await model.add_letters(request, letters[:3000])
    await model.add_letters(request, letters)
    assert door.letters(request_id) == {*letters}
    with door.connect() as connection:
        found = connection.execute("select distinct organisation_id, submitted_at from public.dead_letters").fetchall()
    assert found == [{"organisation_id": door.organisation, "submitted_at": door.row(request_id)["created_at"]}]


async def test_what_another_release_left_in_the_session_is_not_in_the_way(door: FrontDoor, model: ReadModel) -> None:
    """As behind a pooler of transactions, where whoever comes gets a session that others had."""
    request_id, at_ns = door.row_for()
    await model.reach()
    session = model._connection
    assert session is not None
    for name, columns in (("projected", read_model._COLUMNS), ("projected_letters", read_model._LETTERS)):
        for other in ({**columns, "later": "text"}, dict(list(columns.items())[1:]), dict.fromkeys(columns, "bytea")):
            await session.execute(read_model._Staged(name, other).create.encode())
        # What releases called them before.
        await session.execute(f"create temporary table {name} (x integer) on commit delete rows".encode())
    await session.commit()
    one = told(door, request_id, 1, submitted_at_ns=at_ns)
    assert (await write(model, one)).refused == {}
    await model.add_letters(one.request, [Letter(1, "o", "gone", "no")])
    assert model._connection is session
    assert door.row(request_id)["version"] == 1
    assert door.letters(request_id) == {Letter(1, "o", "gone", "no")}


async def test_a_deleted_request_leaves_no_letters(door: FrontDoor, model: ReadModel) -> None:
    request_id, at_ns = door.row_for()
    with door.connect() as connection:
        connection.execute("delete from public.organisations")
    await model.add_letters(told(door, request_id, 1, submitted_at_ns=at_ns).request, [Letter(1, "o", "gone", "no")])
    assert not door.letters(request_id)


async def test_the_projector_may_do_nothing_else(database: Database, door: FrontDoor) -> None:
    """Its role reads and writes how requests stand, and that is all."""
    door.row_for()
    for statement in (
        "delete from public.bulk_requests",
        "update public.bulk_requests set organisation_id = gen_random_uuid()",
        "update public.bulk_requests set name = 'x'",
        "update public.dead_letters set reason = 'x'",
        "select * from private.inputs",
        "select * from private.accounts",
        "select * from public.memberships",
        "insert into public.commands (request_id, kind) values ('x', 'pause')",
    ):
        with (
            psycopg.connect(database.url("headgate_projector")) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


# The end of a request ------------------------------------------------------------------------------------------------


def ended(door: FrontDoor, request_id: str, at_ns: int, failed: int, state: str = "completed") -> Projection:
    counts = OperationCounts(total=failed + 1, succeeded=1, failed=failed)
    one = told(door, request_id, 50, state=state, operations=counts, submitted_at_ns=at_ns)
    return one.model_copy(update={"ended_ns": at_ns + SECOND_NS})


async def shown_end(door: FrontDoor, model: ReadModel, store: Store, one: Projection) -> None:
    projector = Projector(model)
    async with projector.running():
        await ActivityEnvironment().run(ProjectionActivities(projector, store).project_final, one)


async def store_with(tmp_path: Path, one: Projection, refused: int) -> tuple[Store, Projection]:
    text = b"{}\n" * refused + b'{"op": "read", "spreadsheet": "s", "range": "A1", "user": "bot"}\n'
    request = one.request.model_copy(update={"input_sha256": hashlib.sha256(text).hexdigest()})
    store = Store.open(str(tmp_path / "store"))
    await store.put(input_path(request.id, request.input_sha256), text)
    await ActivityEnvironment().run(PlanActivities(store).plan, request)
    return store, one.model_copy(update={"request": request})


async def test_more_letters_than_are_shown_are_told_of(
    door: FrontDoor, model: ReadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LETTERS", 20)
    request_id, at_ns = door.row_for()
    store, one = await store_with(tmp_path, ended(door, request_id, at_ns, 50), 50)
    await shown_end(door, model, store, one)
    letters = sorted(door.letters(request_id))
    assert letters[0] == (0, "", "20 of 50 operations that failed are shown here: the results have all of them.", "no")
    assert [line for line, *_ in letters[1:]] == [*range(1, 21)]
    row = door.row(request_id)
    assert (row["operations_failed"], row["results_location"]) == (50, f"requests/{request_id}")


async def test_results_that_cannot_be_read_keep_no_end_from_being_shown(
    door: FrontDoor, model: ReadModel, tmp_path: Path
) -> None:
    """The letters are tried again, and come once the results can be read."""
    request_id, at_ns = door.row_for()
    store, one = await store_with(tmp_path, ended(door, request_id, at_ns, 3), 3)
    (folder,) = (tmp_path / "store" / "requests" / request_id / "plan").glob("*/refused.jsonl")
    text = folder.read_bytes()
    folder.unlink()
    with pytest.raises(ApplicationError, match="results"):
        await shown_end(door, model, store, one)
    assert door.ended(request_id)
    assert not door.letters(request_id)
    folder.write_bytes(text)
    await shown_end(door, model, store, one)
    assert len(door.letters(request_id)) == 3


async def test_a_request_that_failed_tells_the_letters_there_are(
    door: FrontDoor, model: ReadModel, tmp_path: Path
) -> None:
    """Its counts may be behind what is recorded."""
    request_id, at_ns = door.row_for()
    store, one = await store_with(tmp_path, ended(door, request_id, at_ns, 1, "failed"), 4)
    await shown_end(door, model, store, one)
    assert len(door.letters(request_id)) == 4


async def test_a_database_that_is_away_makes_the_activity_try_again(tmp_path: Path, door: FrontDoor) -> None:
    where = Where.from_environ({"URL": "postgresql://projector:very-secret@127.0.0.1:1/x"}, "URL")
    assert where is not None
    with pytest.raises(ApplicationError) as found:
        await shown_end(door, ReadModel(where), Store.open(str(tmp_path)), ended(door, "r", SECOND_NS, 0))
    assert not found.value.non_retryable
    assert found.value.type == NotProjected.__name__
    assert "very-secret" not in str(found.value)


async def test_the_doctor_says_whether_anything_could_be_told(database: Database) -> None:
    """Also where the database answers, and the role may not write."""
    assert (await projection_finding(projector_of(database))).state == "good"
    for role, why in (("headgate_bridge", "permission denied"), ("nobody_at_all", "does not exist")):
        where = Where.from_environ({"URL": database.url(role)}, "URL")
        assert where is not None
        found = await projection_finding(where)
        assert found.state == "bad"
        assert why in found.said
        assert "HEADGATE_PROJECTION_URL" in found.cure
