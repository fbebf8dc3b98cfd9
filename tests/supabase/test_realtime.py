"""Whatever breaks between the row and a client: it ends in the state of the row, without a reload.

Our TypeScript client runs on supabase-js; supabase-py's client listens raw, and shows what Realtime itself says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

from tests.eventually import eventually
from tests.supabase.platform import functions
from tests.supabase.platform.client import DenoClient, Json, Watched, deno_client
from tests.supabase.platform.postgres import Unavailable
from tests.supabase.platform.project import Project, StandIns, running_project
from tests.supabase.platform.relay import Faults, Relay
from tests.supabase.platform.wire import Message
from tests.supabase.tenant import Tenant, tenant

#: Silence after which the client reads by itself: shorter than a product's, so that tests end.
PACE = {"quietMs": 1000, "slowMs": 2000}
#: Longer than the longest pause before a lost connection or a refused join is tried again.
SOON = 25.0
GUESSES = [
    "org:not-a-uuid",
    "org:",
    "request:",
    "request:%",
    "request:*",
    "org:' or true --",
    "request:'; drop table public.bulk_requests --",
    "request:a' union select 1 --",
    "REQUEST:x",
    "x",
]


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Project]:
    """A project of this module's own: its Postgres is stopped and started."""
    try:
        async with running_project(tmp_path_factory.mktemp("site")) as project:
            if project.hosted:
                pytest.skip("a hosted project cannot be broken")
            yield project
    except (Unavailable, functions.Unavailable) as missing:
        pytest.skip(str(missing))


@pytest.fixture
def parts(site: Project) -> StandIns:
    return site.stand_ins


@pytest.fixture
async def relay(parts: StandIns) -> AsyncIterator[Relay]:
    """The relay, whose faults end with the test."""
    yield parts.relay
    parts.relay.faults = Faults()
    await eventually(lambda: parts.relay.ready)


@pytest.fixture
async def mine(site: Project) -> Tenant:
    return await tenant(site)


@pytest.fixture
async def client(mine: Tenant) -> AsyncIterator[DenoClient]:
    async with deno_client(mine.project.url, mine.project.key, mine.user.token) as client:
        yield client


class Heard:
    """What supabase-py's client heard on one topic."""

    def __init__(self) -> None:
        self.progress: list[Json] = []
        self.others: list[tuple[str, Json]] = []
        self.states: list[str] = []
        self.words: list[str] = []

    @property
    def last(self) -> Json:
        return self.progress[-1] if self.progress else {}

    @property
    def newest(self) -> Json:
        return max(self.progress, key=lambda said: int(said["revision"]), default={})


@asynccontextmanager
async def listening(project: Project, token: str, topic: str) -> AsyncIterator[tuple[Heard, AsyncRealtimeClient]]:
    heard = Heard()
    client = AsyncRealtimeClient(f"{project.url}/realtime/v1", token=project.key, initial_backoff=0.1, max_retries=20)
    await client.connect()
    await client.set_auth(token)
    options: Any = {"config": {"private": True, "broadcast": None, "presence": None}}
    channel = client.channel(topic, options)
    channel.on_broadcast("progress", lambda message: heard.progress.append(message["payload"]))
    for event in ("request", "command"):
        channel.on_broadcast(event, lambda message: heard.others.append((message["event"], message["payload"])))

    def state(status: RealtimeSubscribeStates, error: Exception | None) -> None:
        heard.states.append(status.value)
        heard.words.append(str(error or ""))

    await channel.subscribe(state)
    try:
        yield heard, client
    finally:
        await client.close()


async def live(client: DenoClient, request: str) -> Watched:
    """A watching that has joined and knows the row."""
    watched = await client.watch(request, **PACE)
    await eventually(lambda: watched.link == "live" and watched.last, timeout=SOON)
    return watched


async def converges(mine: Tenant, watched: Watched, request: str) -> None:
    await eventually(lambda: mine.shows(watched.last, request), timeout=SOON)
    revisions = [told["revision"] for told in watched.requests]
    assert revisions == sorted(revisions), "a request never goes back"


def never_back(listed: Watched, order: list[str]) -> None:
    """No list tells less of a request than one before it; each goes through these states."""
    told: dict[str, list[Json]] = {}
    for requests in listed.lists:
        for request in requests:
            told.setdefault(request["id"], []).append(request)
    for requests in told.values():
        for how in ("revision", "version"):
            assert [r[how] for r in requests] == sorted(r[how] for r in requests)
        states = [r["status"] for r in requests]
        assert states == sorted(states, key=order.index), "a request never goes back"


def same(said: Json, row: Json) -> bool:
    """Whether a message says what is in the row."""
    return (
        bool(said)
        and all(said[name] == row[name] for name in ("id", "status", "priority", "revision", "version"))
        and said["operations"]
        == {name: row[f"operations_{name}"] for name in ("total", "succeeded", "failed", "unprocessed")}
    )


async def test_what_realtime_said_last_is_the_row(site: Project, mine: Tenant) -> None:
    request = mine.request()
    async with listening(site, mine.user.token, f"request:{request}") as (heard, _):
        mine.update(request, status="running", operations_total=50)
        for done in range(1, 51):
            mine.update(request, operations_succeeded=done)
        mine.update(request, status="completed")
        await eventually(lambda: same(heard.last, mine.row(request)))
        revisions = [said["revision"] for said in heard.progress]
        assert revisions == list(range(2, 54)), "one message for each revision"


async def test_postgres_is_restarted(
    site: Project, mine: Tenant, parts: StandIns, relay: Relay, client: DenoClient
) -> None:
    request = mine.request()
    watched = await live(client, request)
    async with listening(site, mine.user.token, f"request:{request}") as (heard, _):
        mine.update(request, status="running", operations_total=10)
        await asyncio.to_thread(parts.postgres.restart, "immediate")
        mine.update(request, operations_succeeded=4)
        await converges(mine, watched, request)
        await eventually(lambda: relay.ready)
        mine.update(request, operations_succeeded=5)
        await converges(mine, watched, request)
        await eventually(lambda: same(heard.newest, mine.row(request)))


async def test_the_relay_is_restarted(site: Project, mine: Tenant, relay: Relay, client: DenoClient) -> None:
    request = mine.request()
    watched = await live(client, request)
    async with listening(site, mine.user.token, f"request:{request}") as (heard, _):
        await relay.stop()
        mine.update(request, status="running", operations_total=10)
        await eventually(lambda: watched.link == "broken")
        await converges(mine, watched, request)
        await relay.start()
        await eventually(lambda: relay.joined == [f"request:{request}"] * 2, timeout=SOON)
        await eventually(lambda: watched.link == "live")
        mine.update(request, operations_succeeded=10, status="completed")
        await converges(mine, watched, request)
        await eventually(lambda: same(heard.newest, mine.row(request)))


@pytest.mark.parametrize("n", [2, 3])
async def test_every_nth_message_is_lost(mine: Tenant, relay: Relay, client: DenoClient, n: int) -> None:
    request = mine.request()
    watched = await live(client, request)
    relay.faults.lose_every(n)
    mine.update(request, status="running", operations_total=20)
    for done in range(1, 21):
        mine.update(request, operations_succeeded=done)
    await converges(mine, watched, request)
    assert relay.faults.lost


@pytest.mark.parametrize("status", ["running", "completed"])
async def test_the_last_message_is_lost(mine: Tenant, relay: Relay, client: DenoClient, status: str) -> None:
    request = mine.request()
    watched = await live(client, request)
    mine.update(request, status="running", operations_total=1)
    await converges(mine, watched, request)
    relay.faults.lose = lambda _: True
    mine.update(request, status=status, operations_failed=1, failures={"quota": 1})
    await converges(mine, watched, request)
    assert relay.faults.lost


async def test_it_is_read_now_and_then_however_much_is_heard(mine: Tenant, parts: StandIns, client: DenoClient) -> None:
    """What was lost of one thing is not made good by what is heard of another."""
    request = mine.request()
    watched = await live(client, request)
    mine.update(request, status="running", operations_total=1000)
    await converges(mine, watched, request)
    told = len(watched.requests)
    with parts.gateway.readings() as readings:

        def more() -> bool:
            mine.update(request, operations_succeeded=mine.row(request)["operations_succeeded"] + 1)
            return len(readings) > 5

        await eventually(more, timeout=SOON, interval=PACE["quietMs"] / 5000)
    assert len(watched.requests) - told > 2 * len(readings), "nothing was heard"


async def test_what_a_message_leaves_out_is_read(mine: Tenant, client: DenoClient) -> None:
    request = mine.request(name="Prices")
    watched = await live(client, request)
    mine.update(request, status="running", operations_total=9, operations_failed=2, failures={"bad": 2})
    await converges(mine, watched, request)
    assert watched.last["name"] == "Prices"


async def test_replication_is_not_ready_at_the_join(mine: Tenant, relay: Relay, client: DenoClient) -> None:
    request = mine.request()
    await relay.lose_database(True)
    watched = await client.watch(request)
    await eventually(lambda: watched.link == "live" and watched.last)
    mine.update(request, status="running", operations_total=3)
    await relay.lose_database(False)
    # The product's pace, and less than its silence: only the word that it is ready can have helped.
    await eventually(lambda: mine.shows(watched.last, request), timeout=4)


async def test_joins_are_refused_for_a_while(mine: Tenant, relay: Relay, client: DenoClient) -> None:
    request = mine.request()
    relay.faults.refuse_joins = "Realtime is initializing the project connection"
    watched = await client.watch(request, **PACE)
    await eventually(lambda: watched.link == "broken" and watched.last)
    mine.update(request, status="running")
    await converges(mine, watched, request)
    relay.faults.refuse_joins = ""
    await eventually(lambda: watched.link == "live", timeout=SOON)


async def test_a_token_expires_and_another_comes(mine: Tenant, parts: StandIns, relay: Relay) -> None:
    short = parts.signing.user_token(mine.user.id, mine.user.email, seconds=4)
    request = mine.request()
    async with deno_client(mine.project.url, mine.project.key, short) as client:
        watched = await live(client, request)
        await eventually(lambda: watched.link == "broken")
        mine.update(request, status="running")
        await eventually(lambda: watched.troubles, timeout=SOON)
        assert watched.troubles[-1]["code"] == "unauthenticated"
        await client.call("token", parts.signing.user_token(mine.user.id, mine.user.email))
        await converges(mine, watched, request)
        await eventually(lambda: watched.link == "live", timeout=SOON)
        mine.update(request, operations_total=1)
        await converges(mine, watched, request)
    assert relay.faults.lost == []


async def test_a_token_renewed_in_time_is_never_noticed(mine: Tenant, parts: StandIns) -> None:
    first = parts.signing.user_token(mine.user.id, mine.user.email, seconds=5)
    request = mine.request()
    async with deno_client(mine.project.url, mine.project.key, first) as client:
        watched = await live(client, request)
        await client.call("token", parts.signing.user_token(mine.user.id, mine.user.email))
        await asyncio.sleep(5.5)  # Past the expiry of the first one.
        mine.update(request, status="running")
        await converges(mine, watched, request)
        assert watched.links == ["joining", "live"]


async def test_a_removed_member_hears_no_more_once_its_token_is_renewed(
    site: Project, mine: Tenant, parts: StandIns, relay: Relay, client: DenoClient
) -> None:
    request = mine.request()
    watched = await live(client, request)
    async with listening(site, mine.user.token, f"request:{request}") as (heard, raw):
        with mine.connection() as connection:
            connection.execute("delete from memberships where user_id = %s", (mine.user.id,))
        renewed = parts.signing.user_token(mine.user.id, mine.user.email, seconds=1800)
        await client.call("token", renewed)
        await raw.set_auth(renewed)
        await eventually(lambda: relay.joined == [])
        await eventually(lambda: watched.troubles, timeout=SOON)
        assert watched.troubles[-1]["code"] == "not_found"
        before = len(watched.requests), len(heard.progress)
        mine.update(request, status="running")
        # A message is sent and none arrives: another's is the sign that it would have.
        other = await tenant(site)
        others = other.request()
        async with listening(site, other.user.token, f"request:{others}") as (beside, _):
            other.update(others, status="running")
            await eventually(lambda: beside.progress)
        assert (len(watched.requests), len(heard.progress)) == before


async def test_others_are_refused_by_both_clients(
    site: Project, mine: Tenant, relay: Relay, client: DenoClient
) -> None:
    other = await tenant(site)
    for topic in (f"request:{other.request()}", f"org:{other.organisation}"):
        state, reason = await client.call("join", topic)
        assert state == "CHANNEL_ERROR"
        assert "do not have permissions" in reason
        async with listening(site, mine.user.token, topic) as (heard, _):
            assert heard.states == ["CHANNEL_ERROR"]
        assert relay.joined == []


@pytest.mark.parametrize("guess", GUESSES)
async def test_guessed_topics_are_refused_by_both_clients(
    site: Project, mine: Tenant, relay: Relay, client: DenoClient, guess: str
) -> None:
    state, reason = await client.call("join", guess)
    assert state == "CHANNEL_ERROR"
    assert "do not have permissions" in reason
    async with listening(site, mine.user.token, guess) as (heard, _):
        assert heard.states == ["CHANNEL_ERROR"]
    assert relay.joined == []
    with mine.connection() as connection:
        connection.execute("select 1 from public.bulk_requests limit 1")


@pytest.mark.parametrize(
    "spelling",
    [
        "ORG:{org}",
        "org:{upper}",
        "org:{org} ",
        " org:{org}",
        "org:{org}\n",
        "org:{{{org}}}",
        "org:{org}:x",
        "org:%",
        "org:{org}*",
        "Request:{request}",
        "request:{request_upper}",
        "request:{request}/",
        "request:{request}\u200b",
        "request:_%",
        "request",
    ],
)
async def test_a_members_own_topics_have_one_spelling(site: Project, mine: Tenant, relay: Relay, spelling: str) -> None:
    request, org = mine.request(), str(mine.organisation)
    topic = spelling.format(org=org, upper=org.upper(), request=request, request_upper=request.upper())
    async with listening(site, mine.user.token, topic) as (heard, _):
        assert heard.states == ["CHANNEL_ERROR"]
    assert relay.joined == []
    async with listening(site, mine.user.token, f"org:{org}") as (heard, _):
        assert heard.states == ["SUBSCRIBED"]


async def test_an_organisations_list_converges(mine: Tenant, relay: Relay, client: DenoClient) -> None:
    listed = await client.watch_organisation(str(mine.organisation), **PACE)
    await eventually(lambda: listed.link == "live" and listed.lists)
    relay.faults.lose_every(2)
    requests = [mine.request(name=str(number)) for number in range(6)]
    for request in requests:
        mine.update(request, status="running")
    mine.update(requests[0], status="completed")
    await relay.restart()

    def told() -> list[tuple[str, str]]:
        return [(found["id"], found["status"]) for found in listed.lists[-1]]

    wanted = [(request, "running") for request in reversed(requests[1:])] + [(requests[0], "completed")]
    await eventually(lambda: told() == wanted, timeout=SOON)
    never_back(listed, ["submitted", "running", "completed"])


async def test_an_organisations_list_never_goes_back(
    mine: Tenant, parts: StandIns, relay: Relay, client: DenoClient
) -> None:
    """A message that comes late, and a reading that began before the message that comes first."""
    request = mine.request()
    mine.update(request, status="running", priority="low")
    topic = f"org:{mine.organisation}"
    listed = await client.watch_organisation(str(mine.organisation), **PACE)
    await eventually(lambda: listed.link == "live" and (listed.lists or [[]])[-1])
    row = mine.row(request)

    async def said(ahead: int, **changed: str) -> None:
        message = {"id": request, "name": "", "status": "running", "priority": "low", **changed}
        numbers = {name: row[name] + ahead for name in ("revision", "version")}
        payload = {"type": "broadcast", "event": "request", "payload": {**message, **numbers}}
        await relay.deliver(Message(f"realtime:{topic}", "broadcast", payload))

    def shown() -> tuple[str, str]:
        return listed.lists[-1][0]["status"], listed.lists[-1][0]["priority"]

    parts.gateway.down.add("/functions/v1")
    try:
        await said(2, status="completed", priority="urgent")
        await said(1, status="paused")
        # Its reading fails, so whatever was said has been taken by now.
        await eventually(lambda: listed.troubles, timeout=SOON)
        assert shown() == ("completed", "urgent")
    finally:
        parts.gateway.down.discard("/functions/v1")
    with parts.gateway.readings() as readings:
        # The second begins once the first is taken.
        await eventually(lambda: len(readings) > 1, timeout=SOON)
    assert shown() == ("completed", "urgent")
    mine.update(request, status="paused", operations_total=5)
    await eventually(lambda: listed.lists[-1][0]["revision"] == row["revision"] + 1, timeout=SOON)
    assert shown() == ("completed", "urgent")
    mine.end(request, status="completed", priority="urgent", operations_succeeded=5)
    await eventually(lambda: mine.shows(listed.lists[-1][0], request), timeout=SOON)
    never_back(listed, ["running", "completed"])


async def test_turns_in_the_line_are_told_and_nothing_is_read(
    mine: Tenant, parts: StandIns, client: DenoClient
) -> None:
    request = mine.request()
    mine.update(request, status="running")
    listed = await client.watch_organisation(str(mine.organisation), quietMs=60_000, slowMs=60_000)
    await eventually(lambda: listed.link == "live" and listed.lists)
    await parts.gateway.falls_silent()
    with parts.gateway.readings() as readings:
        for status in ["waiting", "running"] * 5:
            mine.update(request, status=status)
            await eventually(lambda: listed.lists[-1][0]["status"] == mine.row(request)["status"])
        assert readings == []
        mine.update(request, status="paused", operations_total=5)
        await eventually(lambda: mine.shows(listed.lists[-1][0], request))
        assert readings


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_it_ends_at_the_row(
    site: Project, mine: Tenant, relay: Relay, client: DenoClient, seed: int
) -> None:
    chance = random.Random(seed)
    requests = [mine.request() for _ in range(2)]
    watched = [await client.watch(request, **PACE) for request in requests]

    def update() -> None:
        request = chance.choice(requests)
        row = mine.row(request)
        failed = row["operations_failed"] + chance.randrange(2)
        mine.update(
            request,
            status=chance.choice(["running", "waiting", "paused"]),
            operations_total=100,
            operations_succeeded=row["operations_succeeded"] + chance.randrange(3),
            operations_failed=failed,
            failures={"bad": failed},
        )

    async def restarted() -> None:
        await relay.stop()
        update()
        await relay.start()

    def lossy(share: float, delay: float = 0.0) -> None:
        relay.faults.lose, relay.faults.delay = lambda _: chance.random() < share, delay

    breaks: list[Callable[[], Any]] = [
        restarted,
        relay.drop_connections,
        relay.expire_all,
        lambda: relay.lose_database(chance.random() < 0.5),
        lambda: lossy(0.5),
        lambda: lossy(0.1, delay=0.3),
        lambda: lossy(0.0),
    ]
    for _ in range(40):
        update()
        if chance.random() < 0.3:
            happening = chance.choice(breaks)()
            if asyncio.iscoroutine(happening):
                await happening
        await asyncio.sleep(chance.random() / 10)
    await relay.lose_database(False)
    relay.faults = Faults()
    for told, request in zip(watched, requests, strict=True):
        await converges(mine, told, request)
    await eventually(lambda: [told.link for told in watched] == ["live", "live"], timeout=SOON)
    for request in requests:
        mine.end(request, status="completed")
    for told, request in zip(watched, requests, strict=True):
        await converges(mine, told, request)
    assert await client.end_of_input(seconds=30) == 0
