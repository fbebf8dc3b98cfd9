"""The Edge Functions under attack, over HTTP: real Deno, PostgREST and Auth by lite, a real Postgres that is asked what is there.

Whoever attacks is somebody of the project: a viewer, a member of another organisation, somebody without a token. The
oracle is the tables, read by their owner.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg.rows import dict_row

from tests.supabase.platform import seed
from tests.supabase.platform.postgres import Unavailable
from tests.supabase.platform.project import Project, User

MIB = 1_048_576
OPERATION = {"op": "append", "spreadsheet": "s", "range": "Orders!A:B", "values": [["a", 1]]}
INJECTIONS = [
    "'; drop table public.bulk_requests; --",
    '") or 1=1 --',
    "$$; select pg_sleep(10); $$",
    "\\'; copy (select 1) to program 'id'; --",
    "%s %(x)s {0} ${x} :x ?",
    "a,b).or(id.neq.0)&select=*",
    "*,organisations(*)",
    '"}],"status":"completed","x":[{"',
    "<script>alert(1)</script>",
    "../../other/organisation",
    "\u202e\u0301 é 😀 \ufeff\u2028",
    "\r\nx-injected: 1",
    "null",
]


@dataclass(frozen=True)
class Case:
    """Two organisations: `acme` with a member, an admin and a viewer; `elsewhere` with the stranger, its admin."""

    project: Project
    http: httpx.AsyncClient
    acme: str
    elsewhere: str
    member: User
    admin: User
    viewer: User
    stranger: User

    async def ask(
        self, who: User | str | None, method: str, path: str, body: Any = None, **more: Any
    ) -> httpx.Response:
        """`who` may be a token; None: nobody. A body of bytes or text goes as it is, anything else as JSON."""
        token = who.token if isinstance(who, User) else who
        headers = {"apikey": self.project.key, **({} if token is None else {"authorization": f"Bearer {token}"})}
        if body is not None:
            headers["content-type"] = "application/json"
            more["content"] = body if isinstance(body, bytes | str) else json.dumps(body)
        headers.update(more.pop("headers", {}))
        return await self.http.request(method, f"/functions/v1{path}", headers=headers, **more)

    async def submit(self, who: User | str | None, **changes: Any) -> httpx.Response:
        return await self.ask(who, "POST", "/submit", {"organisation": self.acme, "operations": [OPERATION], **changes})

    async def submitted(self, who: User | None = None, **changes: Any) -> dict[str, Any]:
        """A request that was taken, as it was answered."""
        answer = await self.submit(who or self.member, **changes)
        assert answer.status_code == 201, answer.text
        return cast(dict[str, Any], answer.json()["request"])

    async def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """What a statement of the owner's returns."""
        url = self.project.database_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def kept(self) -> list[dict[str, Any]]:
        """All requests and commands of both organisations."""
        return await self.rows(
            "select id, status, version from public.bulk_requests where organisation_id in (%s, %s)"
            " union all select id::text, kind, sequence from public.commands where organisation_id in (%s, %s) order by 1",
            *[self.acme, self.elsewhere] * 2,
        )


@pytest.fixture(scope="module")
async def people(project: Project) -> list[User]:
    return [await project.sign_up() for _ in range(4)]


@pytest.fixture
async def case(project: Project, people: list[User]) -> AsyncIterator[Case]:
    member, admin, viewer, stranger = people
    with psycopg.connect(project.database_url) as connection:
        acme, elsewhere = seed.organisation(connection), seed.organisation(connection, "Elsewhere")
        for user, role in ((member, "member"), (admin, "admin"), (viewer, "viewer")):
            seed.membership(connection, acme, UUID(user.id), role)
        seed.membership(connection, elsewhere, UUID(stranger.id), "admin")
    async with httpx.AsyncClient(base_url=project.url, timeout=30) as http:
        yield Case(project, http, str(acme), str(elsewhere), member, admin, viewer, stranger)


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer that was refused as it should be, and says nothing of what is inside."""
    assert answer.status_code == status, answer.text
    error = cast(dict[str, Any], answer.json()["error"])
    assert error["code"] == code
    for inside in ("private.", "bulk_requests", "pl/pgsql", "violates", ".ts:", "postgres", "sqlstate"):
        assert inside not in answer.text.lower()
    return error


# -- tokens ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forger:
    """Makes tokens that are nearly the member's."""

    project: Project
    member: User

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        good = {
            "sub": self.member.id,
            "role": "authenticated",
            "aud": "authenticated",
            "iss": f"{self.project.url}/auth/v1",
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def signed(self, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        signing = self.project.stand_ins.signing
        kid = {"kid": signing.kid}
        return jwt.encode(self.claims(**changes), signing.secret, algorithm="HS256", headers={**kid, **(headers or {})})

    def none(self) -> str:
        return jwt.encode(self.claims(), "", algorithm="none", headers={"kid": self.project.stand_ins.signing.kid})

    def by_another_secret(self) -> str:
        kid = self.project.stand_ins.signing.kid
        return jwt.encode(self.claims(), "x" * 64, algorithm="HS256", headers={"kid": kid})

    def by_another_key(self) -> str:
        kid = self.project.stand_ins.signing.kid
        return jwt.encode(
            self.claims(), ec.generate_private_key(ec.SECP256R1()), algorithm="ES256", headers={"kid": kid}
        )

    def without_kid(self) -> str:
        return jwt.encode(self.claims(), self.project.stand_ins.signing.secret, algorithm="HS256")

    def claims_changed(self) -> str:
        header, _, signature = self.signed().split(".")
        claims = base64.urlsafe_b64encode(json.dumps(self.claims(role="service_role")).encode()).rstrip(b"=").decode()
        return f"{header}.{claims}.{signature}"


FORGERIES: dict[str, Callable[[Forger], str]] = {
    "expired": lambda forger: forger.signed(exp=int(time.time()) - 60),
    "without an expiry": lambda forger: forger.signed(exp=None),
    "another issuer's": lambda forger: forger.signed(iss="https://other.example/auth/v1"),
    "another audience's": lambda forger: forger.signed(aud="somebody"),
    "the service role's": lambda forger: forger.signed(role="service_role"),
    "anon's": lambda forger: forger.signed(role="anon"),
    "alg none": lambda forger: forger.none(),
    "alg none without a signature": lambda forger: forger.none().rsplit(".", 1)[0] + ".",
    "another secret's": lambda forger: forger.by_another_secret(),
    "another key's": lambda forger: forger.by_another_key(),
    "without kid": lambda forger: forger.without_kid(),
    "of an unknown kid": lambda forger: forger.signed({"kid": "other"}),
    "of a kid that is a path": lambda forger: forger.signed({"kid": "../../dev/null"}),
    "changed": lambda forger: forger.claims_changed(),
    "the publishable key": lambda forger: forger.project.key,
    "nonsense": lambda _: "a.b.c",
}


@pytest.mark.parametrize("what", FORGERIES)
async def test_a_token_that_is_not_the_users_opens_nothing(case: Case, what: str) -> None:
    try:
        token = FORGERIES[what](Forger(case.project, case.member))
    except Unavailable as hosted:
        pytest.skip(str(hosted))
    request = await case.submitted()
    before = await case.kept()
    for method, path, body in (
        ("POST", "/submit", {"organisation": case.acme, "operations": [OPERATION]}),
        ("POST", f"/submit/{request['id']}/finalize", None),
        ("POST", "/command", {"request": request["id"], "command": "cancel"}),
        ("GET", "/history", None),
        ("GET", f"/history/{request['id']}", None),
    ):
        refused(await case.ask(token, method, path, body), 401, "unauthenticated")
        refused(await case.ask(None, method, path, body), 401, "unauthenticated")
    assert await case.kept() == before


async def test_an_honest_token_of_the_same_making_does_open(case: Case) -> None:
    try:
        token = Forger(case.project, case.member).signed()
    except Unavailable as hosted:
        pytest.skip(str(hosted))
    assert (await case.submit(token)).status_code == 201


# -- other people's things ----------------------------------------------------------------------------------------------


async def test_nobody_submits_for_an_organisation_that_is_not_theirs(case: Case) -> None:
    answers = [
        await case.submit(case.stranger),
        await case.submit(case.viewer),
        await case.submit(case.member, organisation=case.elsewhere),
        await case.submit(case.member, organisation=str(uuid.uuid4())),
        await case.submit(
            case.member, organisation=case.elsewhere, operations=None, upload={"sha256": "a" * 64, "bytes": 5}
        ),
    ]
    answers[4] = await case.ask(
        case.member, "POST", "/submit", {"organisation": case.elsewhere, "upload": {"sha256": "a" * 64, "bytes": 5}}
    )
    errors = [refused(answer, 403, "forbidden") for answer in answers]
    assert all(error == errors[0] for error in errors), "the answer tells whether an organisation exists"
    assert await case.kept() == []


async def test_another_organisations_request_is_neither_seen_nor_steered(case: Case) -> None:
    theirs = (await case.submitted())["id"]
    upload = {"organisation": case.acme, "upload": {"sha256": "a" * 64, "bytes": 5}}
    awaiting = (await case.ask(case.member, "POST", "/submit", upload)).json()["request"]["id"]
    before = await case.kept()
    unknown = str(uuid.uuid4())
    for identity in (theirs, awaiting, unknown):
        answers = {
            "history": await case.ask(case.stranger, "GET", f"/history/{identity}"),
            "finalize": await case.ask(case.stranger, "POST", f"/submit/{identity}/finalize"),
            **{
                command: await case.ask(case.stranger, "POST", "/command", {"request": identity, "command": command})
                for command in ("pause", "resume", "cancel", "retry_failed")
            },
        }
        assert [answer.status_code for answer in answers.values()] == [404, 403, 403, 403, 403, 403]
        told = {what: answer.json() for what, answer in answers.items()}
        assert json.dumps(told).find(identity) == -1
        if identity == theirs:
            first = told
        assert told == first, "the answer tells whether a request exists"
    listed = await case.ask(case.stranger, "GET", "/history")
    assert {theirs, awaiting}.isdisjoint(request["id"] for request in listed.json()["requests"])
    assert (await case.ask(case.stranger, "GET", f"/history?organisation={case.acme}")).json()["requests"] == []
    assert await case.kept() == before


async def test_a_viewer_looks_and_does_nothing(case: Case) -> None:
    request = await case.submitted()
    before = await case.kept()
    assert (await case.ask(case.viewer, "GET", f"/history/{request['id']}")).status_code == 200
    for command in ("pause", "resume", "cancel", "retry_failed"):
        body = {"request": request["id"], "command": command}
        refused(await case.ask(case.viewer, "POST", "/command", body), 403, "forbidden")
    refused(await case.submit(case.viewer), 403, "forbidden")
    assert await case.kept() == before


async def test_a_member_cancels_and_finalizes_only_their_own(case: Case) -> None:
    request = await case.submitted(case.admin)
    refused(
        await case.ask(case.member, "POST", "/command", {"request": request["id"], "command": "cancel"}),
        403,
        "forbidden",
    )
    upload = {"organisation": case.acme, "idempotency_key": "k", "upload": {"sha256": "a" * 64, "bytes": 5}}
    awaiting = (await case.ask(case.admin, "POST", "/submit", upload)).json()
    refused(await case.ask(case.member, "POST", f"/submit/{awaiting['request']['id']}/finalize"), 403, "forbidden")
    replay = await case.ask(case.member, "POST", "/submit", upload)
    assert replay.status_code == 200
    assert replay.json()["request"]["id"] == awaiting["request"]["id"]
    assert "upload" not in replay.json(), "an address for a file of somebody else's"


# -- what is not the client's to say ------------------------------------------------------------------------------------

NOT_THEIRS = {
    "id": "mine",
    "status": "completed",
    "version": 7,
    "revision": 7,
    "created_by": str(uuid.uuid4()),
    "created_at": "2020-01-01T00:00:00Z",
    "organisation_id": str(uuid.uuid4()),
    "project": "another-project",
    "default_user": "admin-bot",
    "user": "admin-bot",
    "users": ["admin-bot"],
    "credential": "admin-bot",
    "input_path": "other/file",
    "path": "other/file",
    "bucket": "other",
    "content_sha256": "a" * 64,
    "input_sha256": "a" * 64,
    "input_bytes": 1,
    "operations_total": 5,
    "results_location": "file:///etc/passwd",
    "error": "x",
    "owner": "somebody",
    "weight": 100.0,
    "max_attempts": 1,
    "notify": "https://evil.example",
    "__proto__": {"status": "completed"},
    "constructor": {"prototype": {}},
}


@pytest.mark.parametrize("field", NOT_THEIRS)
async def test_a_field_that_is_the_servers_is_refused_by_name(case: Case, field: str) -> None:
    error = refused(await case.submit(case.member, **{field: NOT_THEIRS[field]}), 422, "invalid")
    assert error["details"] == [{"field": field, "message": "is not a field that is known here"}]
    assert await case.kept() == []


async def test_a_credential_that_a_line_names_is_left_to_planning(case: Case) -> None:
    request = await case.submitted(operations=[{**OPERATION, "user": "admin-bot"}])
    [kept] = await case.rows("select content from private.inputs where request_id = %s", request["id"])
    assert json.loads(kept["content"])["user"] == "admin-bot"
    [account] = await case.rows("select users from private.accounts where organisation_id = %s", case.acme)
    assert "admin-bot" not in account["users"]


async def test_every_string_arrives_as_that_string(case: Case) -> None:
    for number, text in enumerate(INJECTIONS):
        name, key = text[:200], f"{number} {text}"[:200]
        operation = {"op": text, "spreadsheet": text, "values": [[text]], text: text, "id": text}
        request = await case.submitted(name=name, idempotency_key=key, operations=[operation])
        [row] = await case.rows(
            "select b.name, b.idempotency_key, b.status, i.content, b.input_sha256 from public.bulk_requests b"
            " join private.inputs i on i.request_id = b.id where b.id = %s",
            request["id"],
        )
        assert (row["name"], row["idempotency_key"], row["status"]) == (name, key, "submitted")
        assert json.loads(row["content"]) == operation
        assert row["input_sha256"] == hashlib.sha256(row["content"].encode()).hexdigest()
        assert request["name"] == name
        again = await case.submit(case.member, name=name, idempotency_key=key, operations=[operation])
        assert (again.status_code, again.json().get("request", {}).get("id")) == (200, request["id"]), (
            text,
            again.text,
        )
    told = (await case.ask(case.member, "GET", "/history?limit=200")).json()["requests"]
    assert [request["name"] for request in told if request["organisation"] == case.acme] == INJECTIONS[::-1]


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("9007199254740991", 9007199254740991),
        ("100000000000000000000", 10**20),
        ("12345678901234567000", 12345678901234567000),  # as JavaScript writes its number
        ("-0.1234567890123456", -0.1234567890123456),
        ("1e300", 1e300),
        ('{"a":{"a":1},"b":[{"a":1},{"a":2}]}', {"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}),
        ('"a\\"b\\":"', 'a"b":'),
        ('{"__proto__":{"toString":1},"constructor":2}', {"__proto__": {"toString": 1}, "constructor": 2}),
    ],
)
async def test_a_value_arrives_as_that_value(case: Case, cell: str, kept: object) -> None:
    body = f'{{"organisation":"{case.acme}","operations":[{{"values":[[{cell}]]}}]}}'
    answer = await case.ask(case.member, "POST", "/submit", body)
    assert answer.status_code == 201, answer.text
    [row] = await case.rows("select content from private.inputs where request_id = %s", answer.json()["request"]["id"])
    assert json.loads(row["content"]) == {"values": [[kept]]}


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ('{"id":"1","values":[[1]],"values":[[2]]}', 400),
        ('{"id":"1","i\\u0064" :"2"}', 400),
        ('{"values":[[12345678901234567890]]}', 422),
        ('{"values":[[-9007199254740993 ]]}', 422),
    ],
)
async def test_a_value_that_would_arrive_as_another_is_refused(case: Case, operation: str, status: int) -> None:
    body = f'{{"organisation":"{case.acme}","operations":[{operation}]}}'
    refused(await case.ask(case.member, "POST", "/submit", body), status, "invalid")
    assert not await case.kept()


@pytest.mark.parametrize("text", INJECTIONS)
async def test_no_string_is_more_than_a_string_where_ids_and_filters_are_asked_for(case: Case, text: str) -> None:
    await case.submitted()
    before = await case.kept()
    for field in ("organisation", "priority", "order"):
        refused(await case.submit(case.member, **{field: text}), 422, "invalid")
    for body in (
        {"request": text, "command": "cancel"},
        {"id": text, "request": "x", "command": "cancel"},
        {"request": "x", "command": text},
        {"request": "x", "command": "reprioritise", "to": text},
    ):
        answer = await case.ask(case.member, "POST", "/command", body)
        if body != {"request": "null", "command": "cancel"}:
            refused(answer, 422, "invalid")
    for parameter in ("organisation", "status", "limit", "before", "select", "or"):
        refused(await case.ask(case.member, "GET", "/history", params={parameter: text}), 422, "invalid")
    quoted = httpx.URL("/x", params={"x": text}).query.decode().removeprefix("x=").replace("+", "%20")
    assert (await case.ask(case.member, "GET", f"/history/{quoted}")).status_code == 404
    assert (await case.ask(case.member, "POST", f"/submit/{quoted}/finalize")).status_code in (403, 404)
    assert await case.kept() == before


# -- past the functions -----------------------------------------------------------------------------------------------

#: What a member of another organisation asks PostgREST for; the statuses that may answer it.
READ_PAST: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/bulk_requests?select=*,organisations(*,memberships(*)),commands(*)", {}),
    ("GET", "/organisations?select=*,memberships(*),bulk_requests(*)", {}),
    ("GET", "/memberships?select=*,organisations!inner(*,bulk_requests(*))", {}),
    ("GET", "/bulk_requests?or=(id.neq.x,id.is.null)", {"prefer": "count=exact"}),
    ("GET", "/bulk_requests?organisation_id=eq.{acme}", {"range": "0-9", "range-unit": "items"}),
    ("GET", "/bulk_requests?id=eq.{id}", {"accept": "text/csv"}),
    ("GET", "/events?request_id=eq.{id}", {}),
    ("GET", "/commands?select=*,bulk_requests(*)", {}),
    ("GET", "/dead_letters?organisation_id=eq.{acme}", {}),
    ("GET", "/events_default", {}),
    ("GET", "/bulk_requests?select=*,inputs(*)", {}),
    ("GET", "/bulk_requests?select=*,accounts(*)", {}),
    ("GET", "/memberships?select=*,users(*)", {}),
    ("GET", "/accounts", {"accept-profile": "private"}),
    ("GET", "/inbox", {"accept-profile": "private"}),
    ("GET", "/users", {"accept-profile": "auth"}),
    ("GET", "/objects", {"accept-profile": "storage"}),
    ("GET", "/messages", {"accept-profile": "realtime"}),
    ("GET", "/", {}),
]


@pytest.mark.parametrize(("method", "path", "headers"), READ_PAST)
async def test_no_query_of_postgrest_shows_what_is_anothers(
    case: Case, method: str, path: str, headers: dict[str, str]
) -> None:
    request = await case.submitted(name="secret")
    path = path.format(acme=case.acme, id=request["id"])
    answer = await case.http.request(method, f"/rest/v1{path}", headers={**session(case, case.stranger), **headers})
    assert answer.status_code < 500, answer.text
    for theirs in (case.acme, request["id"], "secret", case.member.email):
        assert theirs not in answer.text.replace(path, "")
    assert answer.headers.get("content-range", "*/0").rpartition("/")[2] in {"0", "*"}


#: What a member asks PostgREST to write of their own organisation's.
WRITTEN_PAST: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/bulk_requests", {"status": "completed"}, ""),
    ("POST", "/bulk_requests", {"version": 7}, ""),
    ("POST", "/bulk_requests", {"id": "mine"}, ""),
    ("POST", "/bulk_requests", {"created_by": "{admin}"}, ""),
    ("POST", "/bulk_requests", {"input_path": "other/file"}, ""),
    ("POST", "/bulk_requests?columns=organisation_id,operations,status", {"status": "completed"}, ""),
    (
        "POST",
        "/bulk_requests?on_conflict=organisation_id,idempotency_key",
        {"idempotency_key": "k", "name": "taken over"},
        "resolution=merge-duplicates",
    ),
    (
        "POST",
        "/bulk_requests?on_conflict=organisation_id,idempotency_key",
        {"idempotency_key": "k", "name": "taken over"},
        "resolution=ignore-duplicates,return=representation",
    ),
    ("POST", "/bulk_requests?on_conflict=id", {}, "resolution=merge-duplicates"),
    ("PATCH", "/bulk_requests?id=eq.{id}", {"status": "completed"}, ""),
    ("PATCH", "/bulk_requests?id=eq.{id}", {"name": "other"}, "return=representation"),
    ("PUT", "/bulk_requests?id=eq.{id}", {"id": "{id}", "status": "completed"}, ""),
    ("DELETE", "/bulk_requests?id=eq.{id}", {}, ""),
    ("POST", "/commands", {"request_id": "{id}", "kind": "pause", "sequence": 99}, ""),
    ("POST", "/commands", {"request_id": "{id}", "kind": "pause", "status": "accepted"}, ""),
    ("POST", "/commands", {"request_id": "{id}", "kind": "pause", "created_by": "{admin}"}, ""),
    ("DELETE", "/commands?request_id=eq.{id}", {}, ""),
    ("POST", "/memberships", {"user_id": "{member}", "role": "admin"}, "resolution=merge-duplicates"),
    ("PATCH", "/memberships?user_id=eq.{member}", {"role": "admin"}, "return=representation"),
    ("POST", "/events", {"kind": "status", "request_id": "{id}"}, ""),
    ("DELETE", "/events?request_id=eq.{id}", {}, ""),
    ("POST", "/rpc/request_rejected", {"request_id": "{id}", "why": "x"}, ""),
    ("POST", "/rpc/retain", {}, ""),
]


@pytest.mark.parametrize("profile", ["public", "private"])
@pytest.mark.parametrize(("method", "path", "body", "prefer"), WRITTEN_PAST)
async def test_no_statement_of_postgrest_writes_what_is_the_servers(
    case: Case, method: str, path: str, body: dict[str, Any], prefer: str, profile: str
) -> None:
    request = await case.submitted(idempotency_key="k")
    ids = {"id": request["id"], "member": case.member.id, "admin": case.admin.id}
    if path.startswith("/bulk_requests") and method == "POST":
        body = {"organisation_id": case.acme, "operations": "{}", **body}
    elif path.startswith(("/memberships", "/events")) and method == "POST":
        body = {"organisation_id": case.acme, **body}
    body = {
        name: value.format(**ids) if name != "operations" and isinstance(value, str) else value
        for name, value in body.items()
    }
    everything = (
        "select to_jsonb(b)::text as row from public.bulk_requests b where organisation_id = %s union all"
        " select to_jsonb(c)::text from public.commands c where organisation_id = %s union all"
        " select to_jsonb(m)::text from public.memberships m where organisation_id = %s union all"
        " select to_jsonb(e)::text from public.events e where organisation_id = %s order by 1"
    )
    before = await case.rows(everything, *[case.acme] * 4)
    answer = await case.http.request(
        method,
        f"/rest/v1{path.format(**ids)}",
        headers={**session(case, case.member), "prefer": prefer, "content-profile": profile},
        json=body,
    )
    changed = await case.rows(everything, *[case.acme] * 4) != before
    # Where nothing may be changed, PostgREST may also say that nothing was.
    assert (answer.status_code, answer.text) == (200, "[]") or 400 <= answer.status_code < 500, answer.text
    assert not changed


@pytest.mark.parametrize("path", ["/memberships", "/memberships?on_conflict=organisation_id,user_id"])
async def test_an_admins_upsert_leaves_no_organisation_without_an_admin(case: Case, path: str) -> None:
    """Who may insert and update may not therefore merge the last admin away."""
    members = "select user_id::text, role from public.memberships where organisation_id = %s order by 1"
    before = await case.rows(members, case.acme)
    headers = {**session(case, case.admin), "prefer": "resolution=merge-duplicates,return=representation"}
    demoted = {"organisation_id": case.acme, "user_id": case.admin.id, "role": "viewer"}
    for body in (demoted, [demoted], [{**demoted, "user_id": case.member.id}, demoted]):
        answer = await case.http.post(f"/rest/v1{path}", headers=headers, json=body)
        assert 400 <= answer.status_code < 500, answer.text
        assert await case.rows(members, case.acme) == before
    # An admin it is: what leaves one is done.
    answer = await case.http.patch(
        f"/rest/v1/memberships?organisation_id=eq.{case.acme}&user_id=eq.{case.member.id}",
        headers=session(case, case.admin),
        json={"role": "admin"},
    )
    assert answer.status_code in (200, 204), answer.text
    assert {"user_id": case.member.id, "role": "admin"} in await case.rows(members, case.acme)


def session(case: Case, who: User) -> dict[str, str]:
    return {"apikey": case.project.key, "authorization": f"Bearer {who.token}"}


# -- bodies --------------------------------------------------------------------------------------------------------------

MALFORMED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "empty": (b"", {}, 400, "invalid"),
    "half": (b'{"organisation": "', {}, 400, "invalid"),
    "no UTF-8": (b'{"organisation": "\xff"}', {}, 400, "invalid"),
    "a list": (b"[]", {}, 422, "invalid"),
    "a bomb of brackets": (b"[" * MIB, {}, 422, "invalid"),
    "a bomb of objects": (b'{"operations":' * 70_000, {}, 422, "invalid"),
    "NUL": (b'{"name": "a\\u0000b"}', {}, 422, "invalid"),
    "half a surrogate pair": (b'{"name": "\\ud800"}', {}, 422, "invalid"),
    "too large": (b'{"name": "' + b"x" * 2 * MIB + b'"}', {}, 413, "too_large"),
    "gzip": (gzip.compress(b'{"name": "x"}'), {"content-encoding": "gzip"}, 415, "unsupported"),
    "a bomb of gzip": (gzip.compress(b" " * 64 * MIB), {"content-encoding": "gzip"}, 415, "unsupported"),
    "brotli by its name": (b"{}", {"content-encoding": "br"}, 415, "unsupported"),
    "a form": (b"organisation=1", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported"),
    "a text": (b"{}", {"content-type": "text/plain"}, 415, "unsupported"),
    "nothing said of it": (b"{}", {"content-type": ""}, 415, "unsupported"),
}


async def functions_alone(case: Case) -> str:
    """Where the functions listen themselves: a gateway would take a body whole before it passes it on."""
    try:
        return case.project.stand_ins.gateway.upstreams["/functions/v1"]
    except Unavailable as hosted:
        pytest.skip(str(hosted))


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_body_that_is_none_is_refused(case: Case, what: str) -> None:
    body, headers, status, code = MALFORMED[what]
    headers = {"authorization": f"Bearer {case.member.token}", "content-type": "application/json", **headers}
    async with httpx.AsyncClient(base_url=await functions_alone(case), timeout=30) as http:
        for path in ("/submit", "/command"):
            refused(await http.post(path, content=body, headers=headers), status, code)
    assert await case.kept() == []


async def test_a_body_in_chunks_is_cut_at_its_limit_and_a_lying_length_changes_nothing(case: Case) -> None:
    host, port = (await functions_alone(case)).removeprefix("http://").split(":")
    head = (
        f"POST /submit HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {case.member.token}\r\n"
        "content-type: application/json\r\nconnection: close\r\n"
    )

    async def sent(framing: str, send: bytes, times: int) -> tuple[bytes, int]:
        """The first line of the answer, empty where the connection was cut before it was read, and the bytes sent."""
        reader, writer = await asyncio.open_connection(host, int(port))
        first_line = asyncio.create_task(reader.readline())
        writer.write((head + framing + "\r\n\r\n").encode())
        count = 0
        try:
            while count < times * len(send) and not first_line.done():
                writer.write(send)
                await writer.drain()
                count += len(send)
            return await asyncio.wait_for(first_line, 20), count
        except ConnectionError:
            first_line.cancel()
            return b"", count
        finally:
            writer.close()

    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    for framing, part in (("transfer-encoding: chunked", chunk), (f"content-length: {64 * MIB}", chunk)):
        line, count = await sent(framing, part, 1024)
        assert line == b"" or b" 413 " in line
        # What lies in the buffers of both ends counts as sent.
        assert count < 20 * MIB
    # More than was promised is no part of the body, and what ends early is none.
    assert b" 400 " in (await sent("content-length: 2", b"[,", 1))[0]
    assert b" 422 " in (await sent("content-length: 2", b"{}{}{}", 1))[0]
    assert b" 400 " in (await sent("transfer-encoding: chunked", b"1\r\n{\r\n0\r\n\r\n", 1))[0]
    # It still answers.
    assert (await case.submit(case.member)).status_code == 201


async def exchanged(case: Case, sent: bytes) -> tuple[int, bytes]:
    """The status and the body that these very bytes are answered with, of whoever listens in the functions' place."""
    host, port = (await functions_alone(case)).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


#: Header lines in place of the right ones, and the statuses that may answer them.
TWISTED: dict[str, tuple[dict[str, list[str]], set[int]]] = {
    "nothing": ({}, {201}),
    "no host": ({"host": []}, {201}),
    "a host that is no name": ({"host": ["["]}, {400}),
    "a host with a space": ({"host": ["a b"]}, {400}),
    "a host with a port beyond all ports": ({"host": ["a:999999"]}, {400}),
    "a host that is a path": ({"host": ["a/b"]}, {404}),
    "two tokens": ({"authorization": ["Bearer {token}", "Bearer {stranger}"]}, {401}),
    "the same token twice": ({"authorization": ["Bearer {token}"] * 2}, {401}),
    "a token of another scheme": ({"authorization": ["Basic {token}"]}, {401}),
    "a token of 60 kB": ({"authorization": ["Bearer " + "a" * 60_000 + ".b.c"]}, {401}),
    "two types": ({"content-type": ["application/json", "text/plain"]}, {415}),
    "two types in one": ({"content-type": ["text/plain, application/json"]}, {415}),
    "two encodings": ({"content-encoding": ["identity", "gzip"]}, {415}),
    "an empty encoding": ({"content-encoding": [""]}, {415}),
    "two lengths": ({"content-length": ["{length}", "5"]}, {400}),
    "a length below nothing": ({"content-length": ["-1"]}, {400}),
    "a length beyond numbers": ({"content-length": ["9" * 30]}, {400}),
    "length and chunks": ({"transfer-encoding": ["chunked"]}, {400}),
    "chunks of gzip": ({"content-length": [], "transfer-encoding": ["gzip"]}, {400}),
    "an origin of null": ({"origin": ["null"]}, {201}),
    "an upgrade": ({"upgrade": ["websocket"]}, {201}),
}


@pytest.mark.parametrize("what", TWISTED)
async def test_twisted_headers_are_refused_or_harmless(case: Case, what: str) -> None:
    changed, allowed = TWISTED[what]
    body = json.dumps({"organisation": case.acme, "operations": [OPERATION]})
    headers = {
        "host": ["x"],
        "authorization": ["Bearer {token}"],
        "content-type": ["application/json"],
        "content-length": ["{length}"],
        "connection": ["close"],
        **changed,
    }
    filled = {"token": case.member.token, "stranger": case.stranger.token, "length": len(body)}
    lines = [f"{name}: {value.format(**filled)}\r\n" for name, values in headers.items() for value in values]
    status, answer = await exchanged(case, f"POST /submit HTTP/1.1\r\n{''.join(lines)}\r\n{body}".encode())
    assert status in allowed, answer
    assert len(await case.kept()) == (status == 201)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET //history HTTP/1.1", 404),
        ("GET /HISTORY HTTP/1.1", 404),
        ("GET /history%2f{id} HTTP/1.1", 404),
        ("GET /history/%00 HTTP/1.1", 404),
        ("GET /history/..%2fsubmit HTTP/1.1", 404),
        ("GET /history/{id}%0a HTTP/1.1", 404),
        ("GET /history/{upper} HTTP/1.1", 404),
        ("GET /functions/v1/functions/v1/history HTTP/1.1", 404),
        ("GET http://other.example/history/{id} HTTP/1.1", 200),
        ("HEAD /history HTTP/1.1", 405),
        ("TRACE /history HTTP/1.1", 405),
        ("history /history HTTP/1.1", 405),
        ("__proto__ /history HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 404),
        ("CONNECT /history HTTP/1.1", 404),
        ("GET /history/{id} HTTP/1.0", 200),
        ("GET /history/{id}#x HTTP/1.1", 200),
    ],
)
async def test_no_spelling_of_an_address_is_more_than_another(case: Case, line: str, status: int) -> None:
    request = await case.submitted()
    line = line.format(id=request["id"], upper=request["id"].upper())
    sent = f"{line}\r\nhost: x\r\nauthorization: Bearer {case.member.token}\r\nconnection: close\r\n\r\n"
    assert (await exchanged(case, sent.encode()))[0] == status


async def test_a_byte_order_mark_is_no_part_of_a_body_and_two_are(case: Case) -> None:
    body = json.dumps({"organisation": case.acme, "operations": "\ufeff" + json.dumps(OPERATION)}).encode()
    mark = b"\xef\xbb\xbf"
    answers = [await case.ask(case.member, "POST", "/submit", marks + body) for marks in (b"", mark, mark * 2)]
    assert [answer.status_code for answer in answers] == [201, 201, 400]
    for answer in answers[:2]:
        id_ = answer.json()["request"]["id"]
        [row] = await case.rows("select content from private.inputs where request_id = %s", id_)
        assert row["content"] == "\ufeff" + json.dumps(OPERATION)


async def test_a_body_in_single_bytes_neither_fills_the_memory_nor_takes_the_time(case: Case) -> None:
    head = (
        f"POST /submit HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {case.member.token}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    ).encode()
    body = json.dumps({"organisation": case.acme, "operations": "x" * 8000}).encode()
    for text, status in ((body, 201), (body.replace(b"x", b"y" * 4), 400)):
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
        try:
            answered, _ = await exchanged(case, head + chunks)
        except ConnectionError:
            answered = 400  # Cut off while there was more to send: nobody was left to read why.
        assert answered == status
    assert len(await case.kept()) == 1


async def test_a_mebibyte_of_operations_is_taken_and_a_byte_more_is_not(case: Case) -> None:
    line = json.dumps({"id": "1", "op": "x"}) + "\n"
    for size, status in ((MIB, 201), (MIB + 1, 413)):
        text = line + "x" * (size - len(line) - 2) + "é"
        answer = await case.submit(case.member, operations=text)
        assert answer.status_code == status, answer.text
    [kept] = await case.rows(
        "select i.content, b.input_bytes from private.inputs i join public.bulk_requests b on b.id = i.request_id"
        " where b.organisation_id = %s",
        case.acme,
    )
    assert (len(kept["content"].encode()), kept["input_bytes"]) == (MIB, MIB)


# -- replays --------------------------------------------------------------------------------------------------------------


async def test_a_repeated_submit_is_the_same_request_whoever_of_the_organisation_repeats_it(case: Case) -> None:
    first = await case.submitted(idempotency_key="k", name="orders")
    for who in (case.member, case.admin):
        again = await case.submit(who, idempotency_key="k", name="orders")
        assert (again.status_code, again.json()["request"]["id"]) == (200, first["id"])
        error = refused(await case.submit(who, idempotency_key="k", name="other"), 409, "conflict")
        assert error["details"] == {"request": first["id"]}
    assert len(await case.rows("select 1 from public.bulk_requests where organisation_id = %s", case.acme)) == 1
    assert len(await case.rows("select 1 from private.inbox where request_id = %s", first["id"])) == 1


async def test_a_key_whose_content_was_only_claimed_past_the_functions_is_a_conflict(case: Case) -> None:
    honest = await case.submitted(idempotency_key="honest")
    [kept] = await case.rows("select content_sha256 from public.bulk_requests where id = %s", honest["id"])
    direct = await case.http.post(
        "/rest/v1/bulk_requests",
        headers={"apikey": case.project.key, "authorization": f"Bearer {case.member.token}"},
        json={
            "organisation_id": case.acme,
            "idempotency_key": "squatted",
            "content_sha256": kept["content_sha256"],
            "operations": "another",
        },
    )
    assert direct.status_code == 201, direct.text
    refused(await case.submit(case.admin, idempotency_key="squatted"), 409, "conflict")


@pytest.mark.parametrize(
    "key",
    ["K", "\u212a", "\uff4b", "k\u0301", "k\u200b", " k", "k ", "k\n", "K".casefold() + "\u00ad", "\U0001f600" * 200],
)
async def test_a_key_that_looks_like_another_is_another(case: Case, key: str) -> None:
    known = await case.submitted(idempotency_key="k")
    other = await case.submitted(idempotency_key=key)
    assert other["id"] != known["id"]
    for spelt, request in (("k", known), (key, other)):
        again = await case.submit(case.member, idempotency_key=spelt)
        assert (again.status_code, again.json()["request"]["id"]) == (200, request["id"])


async def test_an_id_in_capital_letters_is_the_same_only_where_ids_are_uuids(case: Case) -> None:
    request = await case.submitted(organisation=case.acme.upper())
    command = {"id": str(uuid.uuid4()), "request": request["id"], "command": "pause"}
    first = await case.ask(case.member, "POST", "/command", command)
    again = await case.ask(case.member, "POST", "/command", {**command, "id": command["id"].upper()})
    assert (again.status_code, again.json()) == (200, first.json())
    shouted = {"request": request["id"].upper(), "command": "pause"}
    refused(await case.ask(case.member, "POST", "/command", shouted), 403, "forbidden")


async def test_another_organisations_key_is_another_key(case: Case) -> None:
    ours = await case.submitted(idempotency_key="k")
    theirs = await case.submitted(case.stranger, organisation=case.elsewhere, idempotency_key="k")
    assert ours["id"] != theirs["id"]
    refused(await case.submit(case.stranger, idempotency_key="k"), 403, "forbidden")
    refused(await case.submit(case.viewer, idempotency_key="k"), 403, "forbidden")


async def test_a_race_for_one_key_makes_one_request(case: Case) -> None:
    for number in range(5):
        answers = await asyncio.gather(*(case.submit(case.member, idempotency_key=f"k{number}") for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201], [a.text for a in answers]
        assert len({answer.json()["request"]["id"] for answer in answers}) == 1
    assert len(await case.rows("select 1 from public.bulk_requests where organisation_id = %s", case.acme)) == 5


async def test_a_repeated_command_is_the_same_command_and_another_under_its_id_is_refused(case: Case) -> None:
    request = await case.submitted()
    foreign = await case.submitted(case.stranger, organisation=case.elsewhere)
    command = {"id": str(uuid.uuid4()), "request": request["id"], "command": "reprioritise", "to": "urgent"}
    first = await case.ask(case.member, "POST", "/command", command)
    assert first.status_code == 202, first.text
    for who in (case.member, case.admin):
        again = await case.ask(who, "POST", "/command", command)
        assert (again.status_code, again.json()) == (200, first.json())
    for changes in ({"to": "low"}, {"command": "pause", "to": None}, {"request": (await case.submitted())["id"]}):
        other = {name: value for name, value in {**command, **changes}.items() if value is not None}
        refused(await case.ask(case.member, "POST", "/command", other), 409, "conflict")
    # An id of another organisation's: taken, and nothing is told of what it is.
    theirs = {"id": command["id"], "request": foreign["id"], "command": "pause"}
    answer = await case.ask(case.stranger, "POST", "/command", theirs)
    refused(answer, 409, "conflict")
    assert command["request"] not in answer.text
    assert len(await case.rows("select 1 from public.commands where organisation_id = %s", case.acme)) == 1


async def test_commands_that_race_are_numbered_without_a_gap(case: Case) -> None:
    request = await case.submitted()
    bodies = [{"request": request["id"], "command": command} for command in ("pause", "resume")] * 6
    answers = await asyncio.gather(*(case.ask(case.member, "POST", "/command", body) for body in bodies))
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    assert sorted(answer.json()["command"]["sequence"] for answer in answers) == list(range(1, 13))


# -- budgets, uploads, reading back ----------------------------------------------------------------------------------------


async def test_an_organisation_without_an_account_or_beyond_its_budget_is_told_so(case: Case) -> None:
    await case.rows(
        "update private.accounts set submits_per_minute = 2, member_share = 1 where organisation_id = %s", case.acme
    )
    for key in ("a", "b"):
        await case.submitted(idempotency_key=key)
    answer = await case.submit(case.member, idempotency_key="c")
    refused(answer, 429, "too_many")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert (await case.submit(case.member, idempotency_key="a")).status_code == 200, "a replay costs nothing"
    await case.rows("delete from private.accounts where organisation_id = %s", case.acme)
    error = refused(await case.submit(case.member, idempotency_key="d"), 403, "forbidden")
    assert error["message"] == "This organisation has no account."


async def test_a_file_is_announced_uploaded_once_and_finalized(case: Case) -> None:
    content = json.dumps(OPERATION).encode() + b"\n"
    body = {
        "organisation": case.acme,
        "idempotency_key": "k",
        "upload": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)},
    }
    announced = await case.ask(case.member, "POST", "/submit", body)
    assert announced.status_code == 201, announced.text
    request, upload = announced.json()["request"], announced.json()["upload"]
    assert request["status"] == "awaiting_upload"
    assert (upload["bucket"], upload["path"]) == ("inputs", f"{case.acme}/{request['id']}")
    finalize = f"/submit/{request['id']}/finalize"
    refused(await case.ask(case.member, "POST", finalize), 409, "conflict")
    again = (await case.ask(case.member, "POST", "/submit", body)).json()
    assert again["request"]["id"] == request["id"]
    put = await case.http.put(again["upload"]["url"], content=content, headers={"content-type": "application/jsonl"})
    assert put.status_code == 200, put.text
    twice = await case.http.put(upload["url"], content=b"other", headers={"content-type": "application/jsonl"})
    assert twice.status_code >= 400, "what was uploaded can be replaced"
    there = await case.ask(case.member, "POST", "/submit", body)
    assert (there.status_code, "upload" in there.json()) == (200, False)
    first = await case.ask(case.member, "POST", finalize)
    second = await case.ask(case.member, "POST", finalize)
    assert (first.status_code, second.status_code) == (202, 202), first.text + second.text
    assert first.json() == second.json()
    assert first.json()["command"]["status"] == "accepted"
    assert (await case.rows("select sequence, kind from private.inbox where request_id = %s", request["id"])) == [
        {"sequence": 0, "kind": "start"}
    ]


async def test_pages_lead_through_everything_once_while_more_arrives(case: Case) -> None:
    made = [(await case.submitted())["id"] for _ in range(7)]
    # Rows of one instant are told apart by their ids.
    await case.rows("update public.bulk_requests set created_at = now() where organisation_id = %s", case.acme)
    seen, path = [], f"/history?organisation={case.acme}&limit=3"
    before = ""
    while True:
        page = (await case.ask(case.viewer, "GET", path + before)).json()
        seen += [request["id"] for request in page["requests"]]
        await case.submitted()
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert sorted(seen) == sorted(made)


def cursor(place: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).rstrip(b"=").decode()


NOW = "2026-01-01T00:00:00Z"
FORGED: list[object] = [
    None,
    [],
    {"at": NOW},
    {"at": NOW, "id": "x", "organisation": "y"},
    {"at": NOW, "id": 'x"),id.neq.0'},
    {"at": f"{NOW},id.neq.0", "id": "x"},
    {"at": "2026-13-99T99:99:99Z", "id": "x"},
    {"at": "999999-01-01T00:00:00Z", "id": "x"},
    {"at": "2026-01-01T00:00:00+99:99", "id": "x"},
]
FORGED_OF_ONE: list[dict[str, object]] = [
    {"events": None, "commands": None},
    {"events": {"at": NOW, "id": 2**53}, "commands": None, "dead_letters": None},
    {"events": {"at": "0000-00-00T00:00:00Z", "id": 1}, "commands": None, "dead_letters": None},
    {"events": None, "commands": 2**31, "dead_letters": None},
    {"events": None, "commands": -(2**40), "dead_letters": None},
    {"events": None, "commands": "1 or 1=1", "dead_letters": None},
    {"events": None, "commands": None, "dead_letters": {"line": 2**31, "told": 1}},
    {"events": None, "commands": None, "dead_letters": {"line": 1, "told": -1}},
]


async def test_a_forged_place_is_refused_or_leads_to_nothing(case: Case) -> None:
    request = (await case.submitted())["id"]
    for place in FORGED:
        refused(await case.ask(case.stranger, "GET", f"/history?before={cursor(place)}"), 422, "invalid")
    for place in FORGED_OF_ONE:
        refused(await case.ask(case.member, "GET", f"/history/{request}?before={cursor(place)}"), 422, "invalid")
    # Beyond everything that is there.
    far = {"events": None, "commands": None, "dead_letters": {"line": 1, "told": 2**53 - 1}}
    answer = await case.ask(case.member, "GET", f"/history/{request}?before={cursor(far)}")
    assert (answer.status_code, answer.json()["dead_letters"], answer.json()["next"]) == (200, [], None)
    # An honest place of one organisation opens nothing of another.
    honest = cursor({"at": "2099-01-01T00:00:00Z", "id": "z"})
    listed = await case.ask(case.stranger, "GET", f"/history?before={honest}&limit=200")
    assert request not in listed.text


async def test_one_requests_history_is_what_the_tables_say(case: Case) -> None:
    request = (await case.submitted())["id"]
    for command in ("pause", "resume", "pause"):
        await case.ask(case.member, "POST", "/command", {"request": request, "command": command})
    for line, (operation, reason) in enumerate(itertools.product(("a", 'b,")\\'), ("x", "y", "z")), 1):
        await case.rows(
            "insert into public.dead_letters (submitted_at, request_id, line, operation_id, organisation_id, reason)"
            " select created_at, id, %s, %s, organisation_id, %s from public.bulk_requests where id = %s",
            (line + 1) // 2,
            operation + str(line),
            reason,
            request,
        )
    pages, before = [], ""
    while True:
        answer = await case.ask(case.viewer, "GET", f"/history/{request}?limit=2{before}")
        assert answer.status_code == 200, answer.text
        pages.append(page := answer.json())
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    said = {what: [item for page in pages for item in page[what]] for what in ("events", "commands", "dead_letters")}
    events = await case.rows("select id from public.events where request_id = %s order by at desc, id desc", request)
    assert [event["id"] for event in said["events"]] == [event["id"] for event in events]
    assert [command["command"] for command in said["commands"]] == ["pause", "resume", "pause"]
    letters = await case.rows(
        "select line, operation_id as id, reason, applied from public.dead_letters where request_id = %s"
        " order by line, operation_id",
        request,
    )
    assert said["dead_letters"] == letters
    assert max(len(page[what]) for page in pages for what in said) == 2
    assert (await case.ask(case.stranger, "GET", f"/history/{request}{before.replace('&', '?', 1)}")).status_code == 404


async def test_postgrest_or_storage_away_is_said_in_those_words_and_leaves_nothing(case: Case) -> None:
    try:
        down = case.project.stand_ins.gateway.down
    except Unavailable as hosted:
        pytest.skip(str(hosted))
    down.add("/rest/v1")
    try:
        answers = [
            await case.submit(case.member),
            await case.ask(case.member, "POST", "/command", {"request": "x", "command": "pause"}),
            await case.ask(case.member, "GET", "/history"),
            await case.ask(case.member, "GET", "/history/x"),
        ]
    finally:
        down.discard("/rest/v1")
    for answer in answers:
        refused(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert await case.kept() == []
