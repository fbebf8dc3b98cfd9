"""How the policies find their rows, on 15 and on 17: by index, for one member among a hundred thousand requests of a thousand organisations.

A Seq Scan is allowed of what is empty, such as the partitions of other months.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.supabase.platform import seed
from tests.supabase.platform.postgres import Postgres

ORGANISATIONS = 1_000
IDLE_ORGANISATIONS = 20_000
REQUESTS = 100_000

FILL = f"""
set session_replication_role = replica;
insert into organisations (id, name) select md5('o' || n)::uuid, 'o' || n from generate_series(1, {ORGANISATIONS + IDLE_ORGANISATIONS}) n;
insert into auth.users (id, email) select md5('u' || n)::uuid, 'u' || n from generate_series(1, {ORGANISATIONS + IDLE_ORGANISATIONS}) n;
insert into memberships (organisation_id, user_id, role) select md5('o' || n)::uuid, md5('u' || n)::uuid, 'member' from generate_series(1, {ORGANISATIONS + IDLE_ORGANISATIONS}) n;
insert into bulk_requests (id, organisation_id, created_by, status, created_at, input_path)
  select 'r' || n, md5('o' || n % {ORGANISATIONS} + 1)::uuid, md5('u' || n % {ORGANISATIONS} + 1)::uuid, 'completed', now() - n * interval '1 second', 'p' || n
  from generate_series(1, {REQUESTS}) n;
insert into commands (request_id, organisation_id, kind, sequence) select id, organisation_id, 'pause', 1 from bulk_requests;
insert into events (organisation_id, request_id, kind) select organisation_id, id, 'submitted' from bulk_requests;
insert into dead_letters select created_at, id, 1, 'x', organisation_id, 'why' from bulk_requests;
reset session_replication_role;
"""

QUERIES = {
    "everything of mine": "select * from bulk_requests",
    "the newest": "select * from bulk_requests order by created_at desc limit 50",
    "the newest of one organisation": "select * from bulk_requests where organisation_id = md5('o7')::uuid order by created_at desc limit 50",
    "those of a status": "select * from bulk_requests where organisation_id = md5('o7')::uuid and status = 'running'",
    "one": "select * from bulk_requests where id = 'r6'",
    "a foreign one": "select * from bulk_requests where id = 'r5'",
    "commands of one": "select * from commands where request_id = 'r6' order by sequence",
    "events of one": "select * from events where request_id = 'r6' order by at",
    "dead letters of one": "select * from dead_letters where request_id = 'r6' order by line",
    "the newest events of one organisation": "select * from events where organisation_id = md5('o7')::uuid order by at desc limit 50",
    "all dead letters": "select * from dead_letters",
    "my organisations": "select * from organisations",
    "who is in them": "select * from memberships",
}


@pytest.fixture(scope="module")
def postgres(each_postgres: Postgres) -> Postgres:
    return each_postgres


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[psycopg.Connection[Any]]:
    name = postgres.database()
    with psycopg.connect(postgres.url("supabase_admin", name), autocommit=True) as connection:
        connection.execute(FILL.encode())
        connection.execute("analyze")
    with psycopg.connect(postgres.url("postgres", name), autocommit=True) as connection:
        yield connection
    postgres.drop(name)


def _member(connection: psycopg.Connection[Any]) -> UUID:
    row = connection.execute("select md5('u7')::uuid").fetchone()
    assert row
    return UUID(str(row[0]))


@pytest.mark.parametrize("query", QUERIES)
def test_a_member_reads_by_index(filled: psycopg.Connection[Any], query: str) -> None:
    with seed.acting_as(filled, _member(filled)):
        row = filled.execute(f"explain (analyze, format json) {QUERIES[query]}".encode()).fetchone()
    assert row
    scans = [node for node in _nodes(row[0][0]["Plan"]) if "Relation Name" in node]
    assert scans
    for scan in scans:
        read = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
        assert scan["Node Type"] != "Seq Scan" or read == 0, json.dumps(scan)
        assert read <= 200, json.dumps(scan)


def test_the_policies_see_what_they_should_in_the_large(filled: psycopg.Connection[Any]) -> None:
    with seed.acting_as(filled, _member(filled)):
        assert filled.execute("select count(*) from bulk_requests").fetchone() == (REQUESTS // ORGANISATIONS,)
        assert filled.execute("select count(*) from events").fetchone() == (REQUESTS // ORGANISATIONS,)
        assert filled.execute("select count(*) from organisations").fetchone() == (1,)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)
