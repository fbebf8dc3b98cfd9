"""PostgREST and Auth as `@supabase/lite` speaks them, on a database of ours.

1. Keyless requests are nobody's (`--no-admin`), and nothing is reported to anyone (`DO_NOT_TRACK`).
2. With its first request lite grants everything to everybody and replaces functions of `auth`. Both are put back
   before anybody else asks it anything, so that what it serves is decided by the migrations' own grants and policies.
3. It is a superuser that takes its users' roles.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from tests.supabase.platform.postgres import NODE_MODULES, Unavailable

PROGRAM = NODE_MODULES / "@supabase" / "lite" / "dist" / "cli" / "index.js"
START_SECONDS = 30.0

# The columns of Auth's that lite writes, which makes the table only where there is none.
_USERS = """
phone text
email_confirmed_at timestamptz
phone_confirmed_at timestamptz
invited_at timestamptz
confirmation_token text
confirmation_sent_at timestamptz
recovery_token text
recovery_sent_at timestamptz
email_change text
email_change_token_new text
email_change_token_current text
email_change_sent_at timestamptz
email_change_confirm_status smallint default 0
phone_change text
phone_change_token text
phone_change_sent_at timestamptz
reauthentication_token text
reauthentication_sent_at timestamptz
banned_until timestamptz
deleted_at timestamptz
is_sso_user boolean not null default false
is_anonymous boolean not null default false
last_sign_in_at timestamptz
confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored
"""
_EVERYBODY = "anon, authenticated, service_role"
_OURS = "n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'"
# Every grant to one of these, as the statement that would make it.
_GRANTS = f"""
select format('grant %s on %s %I.%I to %I', a.privilege_type, case c.relkind when 'S' then 'sequence' else 'table' end,
              n.nspname, c.relname, a.grantee::regrole)
from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join aclexplode(c.relacl) a
where {_OURS} and a.grantee in (select oid from pg_roles where rolname in ('anon', 'authenticated', 'service_role'))
union all
select format('grant %s (%I) on table %I.%I to %I', a.privilege_type, t.attname, n.nspname, c.relname, a.grantee::regrole)
from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
     cross join aclexplode(t.attacl) a
where {_OURS} and a.grantee in (select oid from pg_roles where rolname in ('anon', 'authenticated', 'service_role'))
union all
select format('grant %s on schema %I to %I', a.privilege_type, n.nspname, a.grantee::regrole)
from pg_namespace n cross join aclexplode(n.nspacl) a
where {_OURS} and a.grantee in (select oid from pg_roles where rolname in ('anon', 'authenticated', 'service_role'))
"""
_FUNCTIONS = """
select pg_get_functiondef(p.oid) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'auth'
"""


@asynccontextmanager
async def serving(url: str, secret: str, publishable_key: str, secret_key: str) -> AsyncIterator[str]:
    """The origin of /rest/v1 and /auth/v1 on the database of `url`, a superuser's. Raises Unavailable."""
    if not PROGRAM.exists():
        raise Unavailable("@supabase/lite is not installed: run tools/supabase.sh")
    with psycopg.connect(url, autocommit=True) as connection, tempfile.TemporaryDirectory(prefix="lite-") as folder:
        for column in _USERS.strip().splitlines():
            connection.execute(f"alter table auth.users add column if not exists {column}".encode())
        before = _Rights(connection)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _configure(Path(folder), port, url, secret, publishable_key, secret_key)
        with (Path(folder) / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                "node",
                str(PROGRAM),
                "start",
                "--no-admin",
                cwd=folder,
                env={**os.environ, "DO_NOT_TRACK": "1", "LITE_TELEMETRY": "0"},
                stdout=log,
                stderr=log,
            )
        try:
            origin = f"http://127.0.0.1:{port}"
            await _first_request(process, origin, publishable_key, Path(folder) / "log")
            before.restore(connection)
            connection.close()
            yield origin
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def _configure(folder: Path, port: int, url: str, secret: str, publishable_key: str, secret_key: str) -> None:
    (folder / "supabase").mkdir()
    (folder / "supabase" / "config.toml").write_text(f"""
project_id = "headgate"
[api]
port = {port}
schemas = ["public"]
[db]
driver = "postgres"
url = "{url}"
[auth]
jwt_secret = "{secret}"
site_url = "http://127.0.0.1"
publishable_key = "{publishable_key}"
secret_key = "{secret_key}"
[auth.email]
enable_confirmations = false
""")


async def _first_request(process: asyncio.subprocess.Process, origin: str, key: str, log: Path) -> None:
    """Lite has answered one request, and so done to the database what it does to it."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{origin}/rest/v1/organisations", headers={"apikey": key}) as answer:
                    await answer.read()
                    return
            except aiohttp.ClientConnectionError:
                if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                    said = await asyncio.to_thread(log.read_text)
                    raise RuntimeError(f"lite did not start:\n{said[-2000:]}") from None
                await asyncio.sleep(0.05)


class _Rights:
    """What was granted to everybody, and the functions of `auth`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._statements = granted(connection) + [text for (text,) in connection.execute(_FUNCTIONS.encode())]

    def restore(self, connection: psycopg.Connection[Any]) -> None:
        """As it was. What has come since then is granted to nobody, and so is what will come."""
        with connection.transaction():
            schemas = connection.execute(f"select quote_ident(n.nspname) from pg_namespace n where {_OURS}".encode())
            for (schema,) in schemas.fetchall():
                for what in ("tables", "sequences"):
                    undo = f"revoke all on all {what} in schema {schema} from {_EVERYBODY}"
                    connection.execute(undo.encode())
                    undo = f"alter default privileges in schema {schema} revoke all on {what} from {_EVERYBODY}"
                    connection.execute(undo.encode())
                connection.execute(f"revoke all on schema {schema} from {_EVERYBODY}".encode())
            for statement in self._statements:
                connection.execute(statement.encode())


def granted(connection: psycopg.Connection[Any]) -> list[str]:
    """The grants to clients' roles, as sorted statements."""
    return sorted(statement for (statement,) in connection.execute(_GRANTS.encode()))
