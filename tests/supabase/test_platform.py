"""The stand-ins behave as the platform does, asked by the official clients, and hide nothing of the migrations."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import jwt
import obstore
import psycopg
import pytest
from obstore.store import S3Store
from postgrest.exceptions import APIError
from storage3.exceptions import StorageApiError

from supabase import AsyncClient, create_async_client
from tests.supabase.platform import lite, seed
from tests.supabase.platform.project import BUCKET, Project, User

CONTENT = b'{"id": "1"}\n' * 1000


@dataclass(frozen=True)
class Case:
    """Two organisations, each with one member who has signed in with supabase-py."""

    project: Project
    organisation: UUID
    member: User
    client: AsyncClient
    stranger: User
    strangers_client: AsyncClient

    def connection(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.project.database_url)

    async def awaiting(self, content: bytes = CONTENT) -> dict[str, Any]:
        """A request of the member's that awaits this file."""
        row = {
            "organisation_id": str(self.organisation),
            "input_sha256": hashlib.sha256(content).hexdigest(),
            "input_bytes": len(content),
        }
        made: Any = (await self.client.table("bulk_requests").insert(row).execute()).data[0]
        return dict(made)


@pytest.fixture
async def case(project: Project) -> AsyncIterator[Case]:
    member, stranger = await project.sign_up(), await project.sign_up()
    with psycopg.connect(project.database_url) as connection:
        organisation, elsewhere = seed.organisation(connection), seed.organisation(connection, "Elsewhere")
        seed.membership(connection, organisation, UUID(member.id), "member")
        seed.membership(connection, elsewhere, UUID(stranger.id), "admin")
    clients = []
    for user in (member, stranger):
        client = await create_async_client(project.url, project.key)
        await client.auth.sign_in_with_password({"email": user.email, "password": user.password})
        clients.append(client)
    yield Case(project, organisation, member, clients[0], stranger, clients[1])
    for client in clients:
        await client.auth.sign_out()


async def test_a_session_carries_the_names_of_key_and_issuer(case: Case) -> None:
    session = await case.client.auth.get_session()
    assert session is not None
    header = jwt.get_unverified_header(session.access_token)
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    assert header["kid"]
    assert claims["iss"] == f"{case.project.url}/auth/v1"
    assert claims["sub"] == case.member.id
    refreshed = await case.client.auth.refresh_session()
    assert refreshed.session is not None
    assert jwt.get_unverified_header(refreshed.session.access_token)["kid"]


async def test_members_see_their_organisation_and_nobody_else_does(case: Case) -> None:
    mine = await case.client.table("organisations").select("id").execute()
    assert [UUID(str(row["id"])) for row in mine.data if isinstance(row, dict)] == [case.organisation]
    theirs = await case.strangers_client.table("organisations").select("id").eq("id", str(case.organisation)).execute()
    assert theirs.data == []


async def test_what_lite_granted_is_taken_back(case: Case) -> None:
    """On a database that lite has never touched the migrations have given the same grants."""
    parts = case.project.stand_ins
    fresh = await asyncio.to_thread(parts.postgres.database)
    grants = []
    for database in (fresh, parts.database):
        with psycopg.connect(parts.postgres.url("supabase_admin", database)) as connection:
            grants.append(lite.granted(connection))
    assert grants[0] == grants[1]
    assert grants[0]


@pytest.mark.parametrize(
    "values", [{"status": "completed"}, {"version": 7}, {"input_path": "x"}, {"created_by": str(UUID(int=1))}], ids=str
)
async def test_columns_that_are_not_granted_cannot_be_written(case: Case, values: dict[str, Any]) -> None:
    row = {"organisation_id": str(case.organisation), "operations": '{"id": "1"}'}
    with pytest.raises(APIError) as refused:
        await case.client.table("bulk_requests").insert({**row, **values}).execute()
    assert refused.value.code == "42501"


async def test_without_a_session_there_is_nothing(case: Case) -> None:
    async with httpx.AsyncClient(base_url=case.project.url) as http:
        with_key = await http.get("/rest/v1/organisations", headers={"apikey": case.project.key})
        keyless = await http.get("/rest/v1/organisations")
    assert with_key.status_code == 401
    assert with_key.json()["code"] == "42501"
    assert keyless.status_code == 401


async def test_a_signed_upload_is_kept_once(case: Case) -> None:
    request = await case.awaiting()
    bucket = case.client.storage.from_(BUCKET)
    signed = await bucket.create_signed_upload_url(request["input_path"])
    await bucket.upload_to_signed_url(request["input_path"], signed["token"], CONTENT)
    assert case.project.stand_ins.storage.content(BUCKET, request["input_path"]) == CONTENT
    with case.connection() as connection:
        found = connection.execute(
            "select owner_id, metadata ->> 'size' from storage.objects where name = %s", (request["input_path"],)
        ).fetchone()
    assert found == (case.member.id, str(len(CONTENT)))
    with pytest.raises(StorageApiError, match="already exists"):
        await bucket.upload_to_signed_url(request["input_path"], signed["token"], b"something else")
    with pytest.raises(StorageApiError, match="already exists"):
        await bucket.create_signed_upload_url(request["input_path"])
    assert case.project.stand_ins.storage.content(BUCKET, request["input_path"]) == CONTENT


async def test_a_token_opens_one_path_for_a_while(case: Case) -> None:
    first, second = await case.awaiting(), await case.awaiting()
    bucket = case.client.storage.from_(BUCKET)
    storage = case.project.stand_ins.storage
    signed = await bucket.create_signed_upload_url(first["input_path"])
    with pytest.raises(StorageApiError, match="Invalid signature"):
        await bucket.upload_to_signed_url(second["input_path"], signed["token"], CONTENT)
    with pytest.raises(StorageApiError, match="signature verification failed"):
        await bucket.upload_to_signed_url(first["input_path"], case.member.token, CONTENT)
    storage.signed_seconds, before = -1, storage.signed_seconds
    try:
        late = await bucket.create_signed_upload_url(first["input_path"])
    finally:
        storage.signed_seconds = before
    with pytest.raises(StorageApiError, match="exp"):
        await bucket.upload_to_signed_url(first["input_path"], late["token"], CONTENT)
    assert storage.content(BUCKET, first["input_path"]) is None


async def test_the_policies_decide_who_uploads_where(case: Case) -> None:
    request = await case.awaiting()
    path = request["input_path"]
    theirs = case.strangers_client.storage.from_(BUCKET)
    with pytest.raises(StorageApiError, match="row-level security"):
        await theirs.create_signed_upload_url(path)
    with pytest.raises(StorageApiError, match="row-level security"):
        await theirs.upload(path, CONTENT)
    with pytest.raises(StorageApiError, match="row-level security"):
        await case.client.storage.from_(BUCKET).upload(f"{case.organisation}/else", CONTENT)
    await case.client.storage.from_(BUCKET).upload(path, CONTENT)
    with pytest.raises(StorageApiError, match="not found"):
        await case.client.storage.from_(BUCKET).download(path)
    assert await theirs.remove([path]) == []
    assert await case.client.storage.from_(BUCKET).remove([path]) == []
    assert case.project.stand_ins.storage.content(BUCKET, path) == CONTENT


async def test_obstore_reads_what_was_uploaded(case: Case) -> None:
    request = await case.awaiting()
    await case.client.storage.from_(BUCKET).upload(request["input_path"], CONTENT)
    uploads = case.project.uploads
    store = _store(uploads, uploads["HEADGATE_UPLOADS_SECRET"])
    assert (await store.head_async(request["input_path"]))["size"] == len(CONTENT)
    assert bytes(await (await store.get_async(request["input_path"])).bytes_async()) == CONTENT
    part = await obstore.get_range_async(store, request["input_path"], start=100, end=250)
    assert bytes(part) == CONTENT[100:250]
    with pytest.raises(FileNotFoundError):
        await store.get_async("no/such")
    with pytest.raises(Exception, match="403"):
        await _store(uploads, "another secret").get_async(request["input_path"])


async def test_the_functions_take_the_session(case: Case) -> None:
    body = {"organisation": str(case.organisation), "name": "first", "operations": '{"id": "1"}\n'}
    answer: Any = await case.client.functions.invoke("submit", {"body": body})
    assert json.loads(answer)["request"]["status"] == "submitted"


def _store(uploads: Any, secret: str) -> S3Store:
    return S3Store(
        BUCKET,
        config={
            "endpoint": uploads["HEADGATE_UPLOADS_ENDPOINT"],
            "access_key_id": uploads["HEADGATE_UPLOADS_KEY"],
            "secret_access_key": secret,
            "region": uploads["HEADGATE_UPLOADS_REGION"],
        },
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
