"""`headgate doctor`: is everything there that a request needs, and if not, what is to be done about it?"""

from __future__ import annotations

import asyncio
import re
import secrets
import stat
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, Protocol
from urllib.parse import urlsplit

from google.auth.exceptions import GoogleAuthError
from pydantic import ValidationError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client

from activities.credentials import Credentials, UserCredentials
from activities.keys import KEY_ENDING, Keys
from activities.store import Store
from headgate.databases import Database
from headgate.errors import HeadgateError
from headgate.messages.words import NAME_PATTERN
from headgate.settings import SHEETS_URL, Settings, is_loopback
from starter import connection
from starter.surroundings import Surroundings
from workflows import names

STORE_WITHIN_S: Final = 30.0
CREDENTIAL_WITHIN_S: Final = 15.0
INBOX_WITHIN_S: Final = 15.0
#: A bridge that runs takes a row sooner.
INBOX_LATE_S: Final = 60.0
QUEUES: Final[Mapping[str, str]] = {
    names.WORKFLOW_QUEUE: "workflow",
    names.SEND_QUEUE: "activity",
    names.PLAN_QUEUE: "activity",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look showed. `bad` keeps requests from running, a `note` does not; `cure` says what to do."""

    subject: str
    state: Literal["good", "note", "bad"]
    said: str
    cure: str = ""


class ServerSide(Protocol):
    """What the doctor asks of a server that answers."""

    @property
    def address(self) -> str: ...

    @property
    def namespace(self) -> str: ...

    async def namespace_answers(self) -> None: ...

    async def search_attributes(self) -> dict[str, str]: ...

    async def pollers(self, queue: str, kind: str) -> int: ...

    async def limiters(self) -> list[str]: ...


class TemporalSide:
    """`ServerSide` over a Temporal client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def address(self) -> str:
        return connection.address_of(self._client)

    @property
    def namespace(self) -> str:
        return self._client.namespace

    async def namespace_answers(self) -> None:
        with connection.rpc_errors(self._client):
            await self._client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self.namespace), timeout=connection.RPC_TIMEOUT
            )

    async def search_attributes(self) -> dict[str, str]:
        return await connection.registered_search_attributes(self._client)

    async def pollers(self, queue: str, kind: str) -> int:
        request = DescribeTaskQueueRequest(
            namespace=self.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.Value(f"TASK_QUEUE_TYPE_{kind.upper()}"),
        )
        with connection.rpc_errors(self._client):
            reply = await self._client.workflow_service.describe_task_queue(request, timeout=connection.RPC_TIMEOUT)
        return len(reply.pollers)

    async def limiters(self) -> list[str]:
        query = f'WorkflowType = "{names.RATE_LIMITER_TYPE}" AND ExecutionStatus = "Running"'
        with connection.rpc_errors(self._client):
            found = self._client.list_workflows(query, limit=100, rpc_timeout=connection.RPC_TIMEOUT)
            return [execution.id async for execution in found]


async def _connected() -> ServerSide:
    return TemporalSide(await connection.connect())


@dataclass(frozen=True)
class Examination:
    """Everything that is looked at; `connect` is the way to the server."""

    surroundings: Surroundings
    connect: Callable[[], Awaitable[ServerSide]] = _connected

    async def findings(self) -> list[Finding]:
        """All findings, in the order in which they should be cured."""
        found: list[Finding] = []
        try:
            server = await self.connect()
        except HeadgateError as error:
            found.append(Finding("server", "bad", str(error), "headgate server"))
        else:
            found.append(Finding("server", "good", f"answers at {server.address}"))
            found += await self._server_side(server)
        try:
            settings = self.surroundings.settings
        except HeadgateError as error:
            return [*found, Finding("settings", "bad", str(error), "correct the environment variable that it names")]
        found.append(await store_finding(settings.store))
        found += await credential_findings(settings)
        found += key_findings(settings.notify.keys)
        if settings.inbox is not None:
            found.append(await inbox_finding(settings.inbox))
        if settings.projection is not None:
            found.append(await projection_finding(settings.projection))
        return found

    async def _server_side(self, server: ServerSide) -> list[Finding]:
        looks: list[Callable[[ServerSide], Awaitable[list[Finding]]]] = [
            _namespace,
            _search_attributes,
            _worker,
            _limiter,
        ]
        found: list[Finding] = []
        for look in looks:
            try:
                found += await look(server)
            except HeadgateError as error:
                found.append(Finding(look.__name__.strip("_").replace("_", " "), "bad", str(error), _NAMESPACE_CURE))
                if look is _namespace:
                    break
        return found


_NAMESPACE_CURE: Final = "set TEMPORAL_NAMESPACE, or: temporal operator namespace create --namespace NAME"


async def _namespace(server: ServerSide) -> list[Finding]:
    await server.namespace_answers()
    return [Finding("namespace", "good", server.namespace)]


async def _search_attributes(server: ServerSide) -> list[Finding]:
    missing = connection.missing_search_attributes(await server.search_attributes())
    if not missing:
        return [Finding("search attributes", "good", f"{len(names.SEARCH_ATTRIBUTES)} registered")]
    commands = "; ".join(connection.registration_commands(missing, server.namespace))
    said = f"missing: {', '.join(missing)} (the first worker, submit or limiter set registers them where that is permitted)"
    return [Finding("search attributes", "bad", said, commands)]


async def _worker(server: ServerSide) -> list[Finding]:
    counts = {queue: await server.pollers(queue, kind) for queue, kind in QUEUES.items()}
    silent = [queue for queue, count in counts.items() if not count]
    if not silent:
        return [Finding("worker", "good", f"polls {', '.join(counts)}")]
    return [Finding("worker", "bad", f"nobody polls {', '.join(silent)}", "headgate worker")]


async def _limiter(server: ServerSide) -> list[Finding]:
    running = await server.limiters()
    if running:
        projects = ", ".join(workflow_id.removeprefix(names.rate_limiter_id("")) for workflow_id in running)
        return [Finding("limiter", "good", f"runs for {projects}")]
    cure = "nothing: the first request of a project starts it; other quotas than Google's: headgate limiter set"
    return [Finding("limiter", "note", "none runs yet", cure)]


async def store_finding(location: str) -> Finding:
    """Whether an object can be written, read back and deleted."""
    path, probe = f"doctor/{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        store = Store.open(location)
        async with asyncio.timeout(STORE_WITHIN_S):
            await store.put(path, probe)
            same = await store.get(path) == probe
            await store.delete(path)
    except TimeoutError:
        return Finding("store", "bad", f"no answer within {STORE_WITHIN_S:g} s", "check HEADGATE_STORE and the network")
    except HeadgateError as error:
        return Finding("store", "bad", str(error), "set HEADGATE_STORE to a folder or bucket that can be written")
    if not same:
        return Finding(
            "store", "bad", f"{store.location} gave back something else than was written", "use another store"
        )
    return Finding("store", "good", f"{store.location} can be written")


async def inbox_finding(database: Database) -> Finding:
    """Whether the bridge could drain the inbox, and what waits there."""
    from starter.inbox import Inbox  # the driver is loaded where there is a database

    cure = "check HEADGATE_INBOX_URL, the password of headgate_bridge and the migrations (docs/supabase-bridge.md)"
    try:
        async with asyncio.timeout(INBOX_WITHIN_S):
            inbox = await Inbox.open(database)
            try:
                waits, oldest_s, why = await inbox.waiting()
            finally:
                await inbox.close()
    except TimeoutError:
        return Finding("inbox", "bad", f"{database.location} does not answer within {INBOX_WITHIN_S:g} s", cure)
    except Exception as error:
        return Finding("inbox", "bad", f"{database.location} cannot be used: {database.said(error)}", cure)
    if oldest_s <= INBOX_LATE_S:
        return Finding("inbox", "good", f"{database.location} can be drained, {waits} rows wait")
    said = f"{waits} rows wait at {database.location}, the oldest for {oldest_s:.0f} s{f': {why}' if why else ''}"
    return Finding("inbox", "note", said, "headgate bridge")


async def projection_finding(database: Database) -> Finding:
    """Whether workers could tell people there how requests stand."""
    from activities.read_model import ReadModel  # the driver is loaded where there is a database

    model = ReadModel(database)
    try:
        await model.check()
    except HeadgateError as error:
        cure = "check HEADGATE_PROJECTION_URL, the password of headgate_projector and the migrations (docs/supabase-projection.md)"
        return Finding("projection", "bad", str(error), cure)
    finally:
        await model.close()
    return Finding("projection", "good", f"{database.location} can be told how requests stand")


async def credential_findings(settings: Settings) -> list[Finding]:
    """One finding a user, as the worker would resolve it; none quotes a secret."""
    file = settings.credentials
    if file is None:
        if is_loopback(urlsplit(settings.sheets_url).hostname or ""):
            return [Finding("credentials", "good", f"none needed at {settings.sheets_url}: a user's name is its token")]
        found = await _credential("anybody", {"type": "adc"}, Path(), settings)
        cure = "write a TOML file with [users.NAME] and type = ..., and set HEADGATE_CREDENTIALS to its path"
        return [
            Finding(
                "credentials",
                found.state,
                f"HEADGATE_CREDENTIALS is not set, so every user is the same: {found.said}",
                cure,
            )
        ]
    try:
        users = tomllib.loads(file.read_text(encoding="utf-8")).get("users")
    except OSError as error:
        return [
            Finding("credentials", "bad", f"{file} cannot be read: {error.strerror}", "correct HEADGATE_CREDENTIALS")
        ]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):  # the error's own words may quote a secret
        return [Finding("credentials", "bad", f"{file} is not valid TOML", f"correct {file}")]
    if not isinstance(users, dict) or not users:
        return [Finding("credentials", "bad", f"{file} has no table [users.NAME]", f"add a user to {file}")]
    findings = [await _credential(name, entry, file, settings) for name, entry in users.items()]
    if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        findings.append(Finding("credentials", "note", f"others on this machine may read {file}", f"chmod 600 {file}"))
    return findings


def key_findings(folder: Path | None) -> list[Finding]:
    """One finding for each key that signs what receivers are told; none where no folder is configured, as nobody needs one."""
    if folder is None:
        return []
    keys = Keys(folder)
    make = f"openssl rand -hex 32 > {folder}/default{KEY_ENDING}"
    try:
        names = keys.names()
    except HeadgateError as error:
        return [Finding("notify keys", "bad", str(error), "correct HEADGATE_NOTIFY_KEYS, or make the folder")]
    if not names:
        return [Finding("notify keys", "note", f"{folder} has no file NAME{KEY_ENDING}", make)]
    return [_key(keys, name) for name in names]


def _key(keys: Keys, name: str) -> Finding:
    subject, file = f"notify key {name}", keys.path(name)
    try:
        keys.key(name)
        hosts = keys.hosts(name)
    except HeadgateError as error:
        return Finding(subject, "bad", str(error), f"correct {file}, or remove it")
    if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return Finding(subject, "note", f"others on this machine may read {file}", f"chmod 600 {file}")
    return Finding(subject, "good", "signs for any host" if hosts is None else f"signs for {', '.join(sorted(hosts))}")


async def _credential(name: str, entry: object, file: Path, settings: Settings) -> Finding:
    subject, cure = f"user {name}", f"correct [users.{name}] in {file}"
    if not re.fullmatch(NAME_PATTERN, name):
        return Finding(subject, "bad", "its name cannot be a user's", f"take 1 to 128 of A-Z a-z 0-9 _ . @ - in {file}")
    try:
        user = UserCredentials.model_validate(entry)
        one = Credentials(settings.sheets_url, {name: user}, file.parent, settings.allow_foreign_host)
        async with asyncio.timeout(CREDENTIAL_WITHIN_S):
            await asyncio.to_thread(one.auth, name)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        return Finding(subject, "bad", f"{'.'.join(map(str, first['loc']))}: {first['msg']}", cure)
    except HeadgateError as error:
        return Finding(subject, "bad", str(error), cure)
    except TimeoutError:
        return Finding(subject, "bad", f"its credentials did not load within {CREDENTIAL_WITHIN_S:g} s", cure)
    except GoogleAuthError:
        return Finding(
            subject, "bad", f"{user.type}: google-auth finds no credentials", "gcloud auth application-default login"
        )
    if user.type == "static_token" and settings.sheets_url == SHEETS_URL:
        return Finding(subject, "note", "a static token, which at Google ends within the hour", "use a service_account")
    return Finding(subject, "good", user.type)


def tell(surroundings: Surroundings, findings: list[Finding], *, as_json: bool) -> int:
    """The exit code: 3 if a finding is bad, else 0."""
    healthy = all(finding.state != "bad" for finding in findings)
    if as_json:
        surroundings.answer({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = {"good": "ok  ", "note": "note", "bad": "BAD "}[finding.state]
            surroundings.text(f"{mark}  {finding.subject}: {finding.said}")
            if finding.cure:
                surroundings.text(f"        do: {finding.cure}")
    return 0 if healthy else 3
