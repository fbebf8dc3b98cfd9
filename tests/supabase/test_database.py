"""The schema, on 15 and on 17: pgTAP, the real CLI, the linter and the advisors; and whether pgTAP would notice.

1. 15 is an old project, where whatever is made in `public` is everybody's; 17 is a new one. All must hold on both.
2. A rule that no assertion notices is not tested: every policy is taken away, and every one is opened to everybody.
"""

from __future__ import annotations

import json
import os

import psycopg
import pytest
from psycopg import sql

from tests.supabase.database import assertions, prove, supabase, tap_files
from tests.supabase.platform.postgres import Postgres, Unavailable, apply_migrations, migrations


@pytest.fixture(scope="module")
def server(each_postgres: Postgres) -> Postgres:
    return each_postgres


@pytest.fixture(scope="module")
def tapped(server: Postgres) -> str:
    """The name of a database with pgTAP in it, to copy."""
    return _with_extension(server, "pgtap", "headgate")


def test_pgtap_is_content(server: Postgres, tapped: str, capsys: pytest.CaptureFixture[str]) -> None:
    counted, said = prove(server, tapped, tap_files())
    with capsys.disabled():
        print(f"\npgTAP on Postgres {server.version}: {counted} assertions in {len(tap_files())} files")
    assert counted, said
    for file in tap_files():
        ran = assertions(server.url("postgres", tapped), file)
        assert not ran.failed
        assert ran.whole, f"{file.name} did not come to its end"


def test_pgtap_is_content_with_a_hosted_project() -> None:
    url = os.environ.get("HEADGATE_SUPABASE_DB_URL")
    if not url:
        pytest.skip("HEADGATE_SUPABASE_DB_URL names no hosted project (a new one, with our migrations)")
    for file in tap_files():
        ran = assertions(url, file)
        assert not ran.failed
        assert ran.whole, f"{file.name} did not come to its end"


def test_migrations_apply_by_the_real_cli_as_they_do_here(server: Postgres) -> None:
    pushed = server.database("platform")
    first = supabase(server, pushed, "db", "push", "--yes")
    assert first.returncode == 0, first.stderr
    again = supabase(server, pushed, "db", "push", "--yes")
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout + again.stderr
    with psycopg.connect(server.url("postgres", pushed)) as connection:
        recorded = connection.execute("select version from supabase_migrations.schema_migrations order by 1").fetchall()
    assert [version for (version,) in recorded] == [file.name.split("_")[0] for file in migrations()]
    assert _catalogue(server, pushed) == _catalogue(server, "headgate")
    server.drop(pushed)


def test_the_linter_finds_nothing_in_our_schemas(server: Postgres) -> None:
    checked = _with_extension(server, "plpgsql_check", "headgate")
    with psycopg.connect(server.url("postgres", checked)) as connection:
        connection.execute("create function public.wrong() returns int language plpgsql as 'begin return x; end'")
    convicted = supabase(
        server, checked, "db", "lint", "--schema", "public,private", "--level", "warning", "--fail-on", "warning"
    )
    assert convicted.returncode != 0, "the linter lets anything pass"
    assert "public.wrong" in convicted.stdout
    with psycopg.connect(server.url("postgres", checked)) as connection:
        connection.execute("drop function public.wrong()")
    linted = supabase(
        server, checked, "db", "lint", "--schema", "public,private", "--level", "warning", "--fail-on", "warning"
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    server.drop(checked)


def test_the_advisors_find_nothing(server: Postgres) -> None:
    advised = server.database()
    clean = supabase(server, advised, "db", "advisors", "--level", "warn", "--fail-on", "warn")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    with psycopg.connect(server.url("postgres", advised)) as connection:
        connection.execute("create table public.open (id int); grant select on public.open to anon")
    convicted = supabase(server, advised, "db", "advisors", "--level", "warn", "--fail-on", "warn")
    assert convicted.returncode != 0, "the advisors let anything pass"
    assert "rls_disabled_in_public" in convicted.stdout
    server.drop(advised)


def test_every_table_and_every_policy_is_tested(server: Postgres, tapped: str) -> None:
    text = "\n".join(file.read_text() for file in tap_files())
    with psycopg.connect(server.url("postgres", tapped)) as connection:
        tables = connection.execute(
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname in ('public', 'private') and c.relkind in ('r', 'p') and not c.relispartition"
        ).fetchall()
    assert len(tables) >= 13
    assert [name for (name,) in tables if name not in text] == []
    said = [line for file in tap_files() for line in assertions(server.url("postgres", tapped), file).held]
    policies = _policies(server, tapped)
    assert len(policies) >= 20
    for _, policy, *_ in policies:
        assert any(line.startswith(f"{policy}: yes") for line in said), f"nothing shows what {policy!r} lets do"
        assert any(line.startswith(f"{policy}: no") for line in said), f"nothing shows what {policy!r} refuses"


def test_a_policy_that_is_gone_is_noticed(server: Postgres, tapped: str) -> None:
    unnoticed = []
    for table, policy, *_ in _policies(server, tapped):
        failed = _failures(server, tapped, policy, f'drop policy "{policy}" on {table}')
        if not any(line.startswith(f"{policy}: yes") for line in failed):
            unnoticed.append(policy)
    assert unnoticed == []


def test_a_policy_that_lets_everybody_is_noticed(server: Postgres, tapped: str) -> None:
    unnoticed = []
    for table, policy, using, check, roles in _policies(server, tapped):
        if "authenticated" not in roles:
            continue
        opened = ("using (true) " if using else "") + ("with check (true)" if check else "")
        failed = _failures(server, tapped, policy, f'alter policy "{policy}" on {table} {opened}')
        if not any(line.startswith(f"{policy}: no") for line in failed):
            unnoticed.append(policy)
    assert unnoticed == []


def test_row_level_security_that_is_off_is_noticed(server: Postgres, tapped: str) -> None:
    for table in sorted({table for table, *_ in _policies(server, tapped)}):
        database = _changed(server, tapped, f"alter table {table} disable row level security")
        told = "row-level security is on everywhere" if table.startswith("private.") else ": no"
        failures = (line for file in tap_files() for line in assertions(server.url("postgres", database), file).failed)
        assert any(told in line for line in failures), f"nothing notices that {table} is open"
        server.drop(database)


@pytest.mark.parametrize("table", ["public.bulk_requests", "public.commands"])
def test_a_column_that_a_caller_may_set_is_noticed(server: Postgres, tapped: str, table: str) -> None:
    database = _changed(server, tapped, f"grant insert (status), update (status) on {table} to authenticated")
    failed = [line for file in tap_files() for line in assertions(server.url("postgres", database), file).failed]
    server.drop(database)
    assert "a caller may not give status" in failed
    assert "a caller may not change status" in failed


def test_retention_is_scheduled_where_pg_cron_is() -> None:
    settings = {"shared_preload_libraries": "pg_cron", "cron.database_name": "scheduled"}
    try:
        with Postgres(15) as plain, psycopg.connect(plain.url()) as connection:
            if not connection.execute("select 1 from pg_available_extensions where name = 'pg_cron'").fetchone():
                pytest.skip("pg_cron is not installed: run tools/supabase.sh")
        with Postgres(15, settings=settings) as server:
            with psycopg.connect(server.url("supabase_admin", "template1"), autocommit=True) as connection:
                connection.execute("create database scheduled template platform owner postgres")
            with psycopg.connect(server.url("supabase_admin", "scheduled"), autocommit=True) as connection:
                connection.execute("create extension pg_cron; grant usage on schema cron to postgres")
            apply_migrations(server.url("postgres", "scheduled"))
            with psycopg.connect(server.url("postgres", "scheduled")) as connection:
                jobs = connection.execute("select schedule, command, username from cron.job").fetchall()
                assert jobs == [("17 * * * *", "select private.retain()", "postgres")]
                connection.execute(jobs[0][1])
    except Unavailable as unavailable:
        pytest.skip(str(unavailable))


def _with_extension(server: Postgres, extension: str, template: str) -> str:
    database = server.database(template)
    with psycopg.connect(server.url("supabase_admin", database), autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("create extension {} with schema extensions").format(sql.Identifier(extension)))
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
            pytest.skip(f"Postgres {server.version} has no {extension}: run tools/supabase.sh")
    return database


def _policies(server: Postgres, database: str) -> list[tuple[str, str, bool, bool, list[str]]]:
    """Of ours, each with its table, whether it has `using` and `with check`, and its roles."""
    with psycopg.connect(server.url("postgres", database)) as connection:
        return connection.execute(
            "select schemaname || '.' || tablename, policyname, qual is not null, with_check is not null, roles::text[] "
            "from pg_policies order by 1, 2"
        ).fetchall()


def _changed(server: Postgres, template: str, change: str) -> str:
    database = server.database(template)
    with psycopg.connect(server.url("supabase_admin", database), autocommit=True) as connection:
        connection.execute(change.encode())
    return database


def _failures(server: Postgres, template: str, policy: str, change: str) -> list[str]:
    """What fails of the files that speak of the policy, once the change is made."""
    database = _changed(server, template, change)
    named = [file for file in tap_files() if policy in file.read_text().replace("''", "'")]
    failed = [line for file in named for line in assertions(server.url("postgres", database), file).failed]
    server.drop(database)
    return failed


def _catalogue(server: Postgres, database: str) -> str:
    """All that the migrations made, as text."""
    with psycopg.connect(server.url("postgres", database)) as connection:
        return json.dumps(
            [
                connection.execute(query.encode()).fetchall()
                for query in (
                    "select table_schema, table_name, column_name, data_type, column_default, is_nullable "
                    "from information_schema.columns where table_schema in ('public', 'private') order by 1, 2, 3",
                    "select pg_get_functiondef(oid), proacl::text from pg_proc "
                    "where pronamespace = 'private'::regnamespace order by 1",
                    "select schemaname, tablename, policyname, roles::text, cmd, qual, with_check from pg_policies order by 1, 2, 3",
                    "select tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1, 2",
                    "select oid::regclass::text, relacl::text from pg_class "
                    "where relnamespace in ('public'::regnamespace, 'private'::regnamespace) order by 1",
                    "select indexdef from pg_indexes where schemaname in ('public', 'private') order by 1",
                    "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint "
                    "where connamespace in ('public'::regnamespace, 'private'::regnamespace) order by 1, 2",
                )
            ],
            default=str,
        )
