"""A whole project under one origin: stand-ins on this machine, or a hosted one where HEADGATE_SUPABASE_URL names it.

1. What clients are told is `url` and `key`; everything else here is the operator's and the tests'.
2. `HEADGATE_SUPABASE_URL`, `HEADGATE_SUPABASE_PUBLISHABLE_KEY` and `HEADGATE_SUPABASE_DB_URL` (the owner's, session mode)
   point the same tests at a hosted project that has the migrations and the functions: `hosted` is true then, and there
   is no `relay`, `storage`, `gateway` or `signing` to break anything with.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from tests.supabase.platform import example, functions, lite, s3
from tests.supabase.platform.gateway import Gateway
from tests.supabase.platform.postgres import Postgres, Unavailable
from tests.supabase.platform.relay import Relay
from tests.supabase.platform.storage import Storage
from tests.supabase.platform.tokens import SigningKey

BUCKET = "inputs"


@dataclass(frozen=True)
class User:
    """Somebody who has signed up; `token` is the access token of that session."""

    id: str
    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True)
class StandIns:
    """What can be looked into and broken, where the project is not hosted."""

    postgres: Postgres
    database: str
    signing: SigningKey
    relay: Relay
    storage: Storage
    gateway: Gateway


@dataclass(frozen=True)
class Project:
    """`url` is the origin, `key` publishable, `database_url` the owner's; `uploads` are settings that read the bucket."""

    url: str
    key: str = field(repr=False)
    database_url: str = field(repr=False)
    uploads: Mapping[str, str] = field(default_factory=dict, repr=False)
    parts: StandIns | None = None

    @property
    def hosted(self) -> bool:
        return self.parts is None

    @property
    def stand_ins(self) -> StandIns:
        """The parts; a test that asks for them of a hosted project is skipped."""
        if self.parts is None:
            pytest.skip("looks into the platform, or breaks it, which a hosted project does not let it do")
        return self.parts

    def role_url(self, role: str) -> str:
        """The database for one of our roles; its password is its name, or HEADGATE_SUPABASE_<ROLE>_PASSWORD where hosted."""
        password = os.environ.get(f"HEADGATE_SUPABASE_{role.upper()}_PASSWORD", role) if self.hosted else role
        parts = urlsplit(self.database_url)
        # A pooler tells projects apart by what follows the role's name.
        name = role + "".join((parts.username or "").partition(".")[1:])
        where = f"{parts.hostname}:{parts.port or 5432}"
        return urlunsplit(parts._replace(netloc=f"{name}:{password}@{where}"))

    async def sign_up(self, email: str = "", password: str = "") -> User:
        """A new person of Auth's, signed in. A hosted project must not ask for the address to be confirmed."""
        email = email or f"{secrets.token_hex(6)}@example.com"
        password = password or secrets.token_urlsafe(12)
        async with httpx.AsyncClient(base_url=self.url, headers={"apikey": self.key}) as http:
            answer = await http.post("/auth/v1/signup", json={"email": email, "password": password})
        answer.raise_for_status()
        said = answer.json()
        return User(said["user"]["id"], email, password, said["access_token"])


@asynccontextmanager
async def running_project(
    folder: Path, postgres: Postgres | None = None, *, with_example: bool = False
) -> AsyncIterator[Project]:
    """A project for as long as the block; `folder` keeps its files. Without `postgres` it starts one of its own.

    Raises Unavailable with what is missing here.
    """
    hosted = os.environ.get("HEADGATE_SUPABASE_URL")
    if hosted:
        print(f"tests of the front door run against the hosted project {hosted}")
        yield _hosted(hosted)
        return
    async with AsyncExitStack() as stack:
        if postgres is None:
            postgres = await asyncio.to_thread(stack.enter_context, Postgres())
        database = await asyncio.to_thread(postgres.database)
        admin = postgres.url("supabase_admin", database)
        door = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{door.getsockname()[1]}"
        key, signing = "sb_publishable_tests", SigningKey(secrets.token_hex(32), issuer=f"{url}/auth/v1")
        keys = s3.Keys("tests", secrets.token_hex(20))
        relay = await stack.enter_async_context(Relay(admin, [signing.jwk()], signing.anonymous_token(), key))
        storage = Storage(admin, folder / "storage", [signing.jwk()], keys)
        gateway = Gateway(door, signing)
        page = None
        if with_example:
            page = await asyncio.to_thread(example.build, folder / "example", url, key, sign_up=True)
        await stack.enter_async_context(gateway.serving(relay, storage, page))
        rest = await stack.enter_async_context(
            lite.serving(admin, signing.secret, key, f"sb_secret_{secrets.token_hex(8)}")
        )
        gateway.upstreams.update({"/rest/v1": rest, "/auth/v1": rest})
        deno = functions.serving(url, publishable_key=key, jwks=[signing.jwk()])
        gateway.upstreams["/functions/v1"] = await asyncio.to_thread(stack.enter_context, deno)
        yield Project(
            url=url,
            key=key,
            database_url=postgres.url("postgres", database),
            uploads={
                "HEADGATE_UPLOADS": f"s3://{BUCKET}",
                "HEADGATE_UPLOADS_ENDPOINT": f"{url}/storage/v1/s3",
                "HEADGATE_UPLOADS_KEY": keys.key_id,
                "HEADGATE_UPLOADS_SECRET": keys.secret,
                "HEADGATE_UPLOADS_REGION": keys.region,
            },
            parts=StandIns(postgres, database, signing, relay, storage, gateway),
        )


def _hosted(url: str) -> Project:
    """Raises Unavailable where the project's key or database is not named."""
    try:
        key, database_url = os.environ["HEADGATE_SUPABASE_PUBLISHABLE_KEY"], os.environ["HEADGATE_SUPABASE_DB_URL"]
    except KeyError as missing:
        raise Unavailable(f"HEADGATE_SUPABASE_URL is set, {missing} is not") from None
    uploads = {name: value for name, value in os.environ.items() if name.startswith("HEADGATE_UPLOADS")}
    return Project(url=url.rstrip("/"), key=key, database_url=database_url, uploads=uploads)
