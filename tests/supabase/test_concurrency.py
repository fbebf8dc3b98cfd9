"""Many at once at the front door, on 15 and on 17: threads with a connection each, against the promises of the triggers.

The order of commits is read from the write-ahead log by logical decoding, which the triggers know nothing of.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.supabase.conftest import Database
from tests.supabase.platform import seed
from tests.supabase.platform.postgres import Postgres

THREADS = 8


@pytest.fixture(scope="module")
def postgres(each_postgres: Postgres) -> Postgres:
    return each_postgres


def _at_once(database: Database, work: Callable[[int, psycopg.Connection[Any]], object]) -> list[object]:
    """The results of `work` by every thread, all of which begin together; a database error is a result."""
    ready = threading.Barrier(THREADS)

    def one(number: int) -> object:
        with psycopg.connect(database.url()) as connection:
            ready.wait(60)
            try:
                return work(number, connection)
            except psycopg.Error as error:
                return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


@pytest.fixture
def owner(database: Database) -> psycopg.Connection[Any]:
    return psycopg.connect(database.url(), autocommit=True)


def _request(owner: psycopg.Connection[Any], organisation: UUID, user: UUID, columns: str, values: str) -> str:
    with seed.acting_as(owner, user):
        row = owner.execute(
            f"insert into public.bulk_requests (organisation_id, {columns}) values (%s, {values}) returning id".encode(),
            (organisation,),
        ).fetchone()
    assert row
    return str(row[0])


def _member(owner: psycopg.Connection[Any], organisation: UUID, role: str = "member") -> UUID:
    user = seed.user(owner)
    seed.membership(owner, organisation, user, role)
    return user


def test_sequences_are_gapless_in_the_order_of_commits(database: Database, owner: psycopg.Connection[Any]) -> None:
    organisation = seed.organisation(owner)
    member = _member(owner, organisation)
    request = _request(owner, organisation, member, "operations", "'{}'")
    owner.execute("select pg_create_logical_replication_slot('commits', 'test_decoding')")

    def say(number: int, connection: psycopg.Connection[Any]) -> int:
        draw, said = random.Random(number), 0
        for _ in range(25):
            keep = draw.random() < 0.7
            with seed.acting_as(connection, member, keep=keep):
                connection.execute("insert into commands (request_id, kind) values (%s, 'pause')", (request,))
                time.sleep(draw.random() / 500)
            said += keep
        return said

    said = _at_once(database, say)
    total = sum(count for count in said if isinstance(count, int))
    assert 0 < total < THREADS * 25
    assert not [error for error in said if isinstance(error, psycopg.Error)]
    changes = owner.execute("select data from pg_logical_slot_get_changes('commits', null, null)").fetchall()
    owner.execute("select pg_drop_replication_slot('commits')")
    for table in ("public.commands", "private.inbox"):
        in_order = [
            int(found[1])
            for (data,) in changes
            if data.startswith(f"table {table}: INSERT") and (found := re.search(r" sequence\[integer\]:(\d+)", data))
        ]
        assert in_order == list(range(1, total + 1)), f"{table} is not in the order of commits"


def test_a_command_that_is_skipped_as_known_takes_no_number(database: Database, owner: psycopg.Connection[Any]) -> None:
    organisation = seed.organisation(owner)
    member = _member(owner, organisation)
    for _ in range(5):
        request = _request(owner, organisation, member, "operations", "'x'")
        command = uuid4()

        def say(_: int, connection: psycopg.Connection[Any], request: str = request, command: UUID = command) -> None:
            with seed.acting_as(connection, member):
                # As PostgREST has it for `resolution=ignore-duplicates`.
                connection.execute(
                    "insert into commands (id, request_id, kind) values (%s, %s, 'pause') on conflict (id) do nothing",
                    (command, request),
                )
                time.sleep(0.01)

        errors = [error for error in _at_once(database, say) if error is not None]
        assert all(isinstance(error, psycopg.errors.UniqueViolation) for error in errors), errors
        with seed.acting_as(owner, member):
            owner.execute("insert into commands (request_id, kind) values (%s, 'resume')", (request,))
        said = owner.execute("select sequence from commands where request_id = %s order by 1", (request,)).fetchall()
        assert said == [(1,), (2,)]


def test_a_key_makes_one_request_however_many_ask_at_once(database: Database, owner: psycopg.Connection[Any]) -> None:
    organisation = seed.organisation(owner)
    member = _member(owner, organisation)

    def submit(_: int, connection: psycopg.Connection[Any]) -> str:
        with seed.acting_as(connection, member):
            connection.execute(
                "insert into bulk_requests (organisation_id, operations, idempotency_key) values (%s, 'x', 'key')",
                (organisation,),
            )
        return "made"

    results = _at_once(database, submit)
    assert results.count("made") == 1
    assert all(result == "made" or isinstance(result, psycopg.errors.UniqueViolation) for result in results)
    for table in ("private.inbox", "private.inputs", "public.bulk_requests"):
        assert owner.execute(f"select count(*) from {table}".encode()).fetchone() == (1,)


def test_a_budget_holds_however_many_spend_it_at_once(database: Database, owner: psycopg.Connection[Any]) -> None:
    organisation = seed.organisation(owner, submits_per_minute=20)
    member = _member(owner, organisation)
    began = time.monotonic()
    refusals: list[tuple[str | None, int]] = []

    def submit(_: int, connection: psycopg.Connection[Any]) -> int:
        made = 0
        for _ in range(10):
            try:
                with seed.acting_as(connection, member):
                    connection.execute(
                        "insert into bulk_requests (organisation_id, operations) values (%s, 'x')", (organisation,)
                    )
                made += 1
            except psycopg.Error as refused:
                refusals.append((refused.sqlstate, int(refused.diag.message_hint or 0)))
        return made

    made = sum(count for count in _at_once(database, submit) if isinstance(count, int))
    refilled = (time.monotonic() - began) * 20 / 60
    assert 20 <= made <= 20 + refilled + 1
    assert len(refusals) == THREADS * 10 - made
    assert all(state == "PT429" and 1 <= seconds <= 60 for state, seconds in refusals)


def test_no_member_uses_up_the_budget_of_all_however_many_calls_at_once(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    organisation = seed.organisation(owner, submits_per_minute=20, member_share=0.6)
    greedy, other = _member(owner, organisation), _member(owner, organisation)
    states: list[str | None] = []
    began = time.monotonic()

    def submit(number: int, connection: psycopg.Connection[Any]) -> tuple[UUID, int]:
        member, made = (other if number == 0 else greedy), 0
        for _ in range(10):
            try:
                with seed.acting_as(connection, member):
                    connection.execute(
                        "insert into bulk_requests (organisation_id, operations) values (%s, 'x')", (organisation,)
                    )
                made += 1
            except psycopg.Error as refused:
                states.append(refused.sqlstate)
        return member, made

    results = _at_once(database, submit)
    made = Counter[UUID]()
    for result in results:
        assert isinstance(result, tuple), result
        made[result[0]] += result[1]
    refilled = (time.monotonic() - began) * 20 / 60 + 1
    assert set(states) == {"PT429"}
    assert made[greedy] <= 12 + refilled
    assert made[other] >= 8
    assert 20 <= made.total() <= 20 + refilled


@pytest.mark.parametrize(
    "call",
    [
        "bulk_requests (organisation_id, operations) values (%s, 'x')",
        "commands (request_id, kind) values (%s, 'pause')",
    ],
)
def test_who_is_removed_beside_their_first_call_is_refused(
    database: Database, owner: psycopg.Connection[Any], call: str
) -> None:
    """The call comes while the removal is not committed yet, and waits for it."""
    organisation = seed.organisation(owner, member_share=0.5)
    member, colleague = _member(owner, organisation), _member(owner, organisation)
    request = _request(owner, organisation, colleague, "operations", "'x'")

    def say() -> str | None:
        with psycopg.connect(database.url()) as connection:
            try:
                with seed.acting_as(connection, member):
                    target = organisation if call.startswith("bulk_requests") else request
                    connection.execute(f"insert into {call}".encode(), (target,))
            except psycopg.Error as refused:
                return refused.sqlstate
        return "taken"

    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(database.url()) as removal, ThreadPoolExecutor(1) as pool:
        removal.execute("delete from memberships where user_id = %s", (member,))
        said, deadline = pool.submit(say), time.monotonic() + 30
        while owner.execute(waits).fetchone() == (0,):
            assert time.monotonic() < deadline
            assert not said.done(), said.result()
            time.sleep(0.02)
        removal.commit()
        assert said.result(30) == "42501"


def test_of_admins_who_leave_at_once_one_stays(database: Database, owner: psycopg.Connection[Any]) -> None:
    for _ in range(5):
        organisation = seed.organisation(owner)
        admins = [_member(owner, organisation, "admin") for _ in range(THREADS)]

        def leave(
            number: int,
            connection: psycopg.Connection[Any],
            organisation: UUID = organisation,
            admins: list[UUID] = admins,
        ) -> None:
            going = "delete from memberships" if number % 2 else "update memberships set role = 'viewer'"
            with seed.acting_as(connection, admins[number]):
                connection.execute(
                    f"{going} where organisation_id = %s and user_id = %s".encode(), (organisation, admins[number])
                )
                time.sleep(0.01)

        refused = [error for error in _at_once(database, leave) if error is not None]
        assert [error.sqlstate for error in refused if isinstance(error, psycopg.Error)] == ["PT409"]
        left = owner.execute(
            "select count(*) from memberships where organisation_id = %s and role = 'admin'", (organisation,)
        ).fetchone()
        assert left == (1,)


def test_an_organisation_ends_while_its_admins_leave(database: Database, owner: psycopg.Connection[Any]) -> None:
    for _ in range(5):
        organisation = seed.organisation(owner)
        admins = [_member(owner, organisation, "admin") for _ in range(THREADS)]

        def go(
            number: int,
            connection: psycopg.Connection[Any],
            organisation: UUID = organisation,
            admins: list[UUID] = admins,
        ) -> None:
            if number == 0:
                connection.execute("delete from organisations where id = %s", (organisation,))
                connection.commit()
                return
            with seed.acting_as(connection, admins[number]):
                connection.execute("delete from memberships where user_id = %s", (admins[number],))
                time.sleep(0.01)

        refused = [error for error in _at_once(database, go) if error is not None]
        # One that came to be the last one before the organisation was gone stays until it is.
        assert {error.sqlstate for error in refused if isinstance(error, psycopg.Error)} <= {"PT409"}
        assert owner.execute("select count(*) from memberships").fetchone() == (0,)


def test_of_finalize_and_cancel_at_once_one_wins(database: Database, owner: psycopg.Connection[Any]) -> None:
    organisation = seed.organisation(owner)
    member = _member(owner, organisation)
    for _ in range(5):
        request = _request(owner, organisation, member, "input_sha256, input_bytes", "repeat('a', 64), 5")
        seed.uploaded(owner, f"{organisation}/{request}", 5)

        def say(number: int, connection: psycopg.Connection[Any], request: str = request) -> str:
            kind = "finalize" if number % 2 else "cancel"
            with seed.acting_as(connection, member):
                connection.execute("insert into commands (request_id, kind) values (%s, %s)", (request, kind))
            return kind

        _at_once(database, say)
        answered = owner.execute(
            "select kind, status from commands where request_id = %s order by sequence", (request,)
        ).fetchall()
        status = owner.execute("select status from bulk_requests where id = %s", (request,)).fetchone()
        starts = owner.execute(
            "select count(*) from private.inbox where request_id = %s and kind = 'start'", (request,)
        ).fetchone()
        assert answered[0][1] == "accepted"
        if answered[0][0] == "finalize":
            assert (status, starts) == (("submitted",), (1,))
            assert [kind for kind, state in answered if state == "accepted"] == ["finalize"]
        else:
            assert (status, starts) == (("cancelled",), (0,))
            assert len(answered) == 1


@pytest.mark.parametrize(
    "kinds", [("finalize", "cancel"), ("cancel", "finalize"), ("finalize", "finalize"), ("cancel", "cancel")]
)
def test_of_two_ends_of_an_upload_in_one_statement_none_counts(
    database: Database, owner: psycopg.Connection[Any], kinds: tuple[str, str]
) -> None:
    organisation = seed.organisation(owner)
    member = _member(owner, organisation)
    request = _request(owner, organisation, member, "input_sha256, input_bytes", "repeat('a', 64), 5")
    seed.uploaded(owner, f"{organisation}/{request}", 5)
    with pytest.raises(psycopg.Error) as refused, seed.acting_as(owner, member):
        # As PostgREST has it for an array of rows.
        owner.execute(
            "insert into commands (request_id, kind) values (%(id)s, %(first)s), (%(id)s, %(second)s)",
            {"id": request, "first": kinds[0], "second": kinds[1]},
        )
    assert refused.value.sqlstate == "PT409"
    left = owner.execute(
        "select status, finished_at, (select count(*) from commands), (select count(*) from private.inbox) "
        "from bulk_requests where id = %s",
        (request,),
    ).fetchone()
    assert left == ("awaiting_upload", None, 0, 0)


def test_a_command_beside_a_rejection_is_failed_or_refused(database: Database, owner: psycopg.Connection[Any]) -> None:
    organisation = seed.organisation(owner)
    member = _member(owner, organisation)
    for _ in range(10):
        request = _request(owner, organisation, member, "operations", "'x'")

        def work(number: int, connection: psycopg.Connection[Any], request: str = request) -> None:
            if number == 0:
                with psycopg.connect(database.url("headgate_bridge")) as bridge:
                    bridge.execute("select private.request_rejected(%s, 'no JSON')", (request,))
                return
            with seed.acting_as(connection, member):
                connection.execute("insert into commands (request_id, kind) values (%s, 'pause')", (request,))

        errors = [error for error in _at_once(database, work) if error is not None]
        assert all(isinstance(error, psycopg.Error) and error.sqlstate == "PT409" for error in errors), errors
        left = owner.execute(
            "select (select count(*) from commands where request_id = %(id)s and status <> 'failed'), "
            "(select count(*) from private.inbox where request_id = %(id)s and done_at is null)",
            {"id": request},
        ).fetchone()
        assert left == (0, 0)
