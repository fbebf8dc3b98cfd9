"""The relay keeps Realtime's word towards supabase-py's own client; a raw socket asks what that client would not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psycopg
import pytest
from aiohttp import web
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

from tests.eventually import eventually
from tests.supabase.platform import seed
from tests.supabase.platform.postgres import Postgres
from tests.supabase.platform.relay import Relay
from tests.supabase.platform.tokens import SigningKey
from tests.supabase.platform.wire import ARRAYS, OBJECTS, SERVER_BROADCAST

KEY = SigningKey("a secret of thirty-two characters, or more")
PRIVATE: Any = {"config": {"private": True, "broadcast": {"ack": False, "self": False}, "presence": None}}


@pytest.fixture(scope="module")
def postgres(each_postgres: Postgres) -> Postgres:
    return each_postgres


class Site:
    """A relay on a database of its own, with one member of one organisation, and somebody else."""

    def __init__(self, postgres: Postgres, relay: Relay, url: str, database: str) -> None:
        self.relay = relay
        self.url = url
        self._owner = postgres.url("postgres", database)
        with self.connection() as connection:
            self.organisation = seed.organisation(connection)
            self.member, self.stranger = seed.user(connection), seed.user(connection)
            seed.membership(connection, self.organisation, self.member)

    @property
    def topic(self) -> str:
        return f"org:{self.organisation}"

    def connection(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._owner)

    def send(self, number: int, topic: str = "") -> None:
        """Commits one message."""
        with self.connection() as connection:
            payload = json.dumps({"number": number})
            connection.execute("select realtime.send(%s, 'count', %s, true)", (payload, topic or self.topic))


@pytest.fixture
async def site(postgres: Postgres) -> AsyncIterator[Site]:
    database = postgres.database()
    url = postgres.url("supabase_admin", database)
    async with Relay(url, [KEY.jwk()], KEY.anonymous_token(), "sb_publishable_tests") as relay:
        application = web.Application()
        application.router.add_get("/realtime/v1/websocket", relay.websocket)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        server = web.TCPSite(runner, "127.0.0.1", 0)
        await server.start()
        host, port = runner.addresses[0][:2]
        try:
            yield Site(postgres, relay, f"http://{host}:{port}/realtime/v1", database)
        finally:
            relay.drop_connections()
            await runner.cleanup()


class Listener:
    """What supabase-py's client heard on one topic."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.states: list[str] = []
        self.words: list[str] = []


@asynccontextmanager
async def listening(site: Site, token: str, topic: str = "", private: Any = PRIVATE) -> AsyncIterator[Listener]:
    heard = Listener()
    client = AsyncRealtimeClient(site.url, token="sb_publishable_tests", initial_backoff=0.05)
    await client.connect()
    await client.set_auth(token)
    channel = client.channel(topic or site.topic, private)
    channel.on_broadcast("count", lambda message: heard.numbers.append(message["payload"]["number"]))
    channel.on_system(lambda message: heard.words.append(message.message))

    def state(status: RealtimeSubscribeStates, error: Exception | None) -> None:
        heard.states.append(status.value)
        if error:
            heard.words.append(str(error))

    await channel.subscribe(state)
    try:
        yield heard
    finally:
        await client.close()


async def test_a_member_hears_what_is_committed_in_order(site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        assert heard.states == ["SUBSCRIBED"]
        for number in range(20):
            site.send(number)
        await eventually(lambda: heard.numbers == list(range(20)))


async def test_what_is_rolled_back_is_never_heard(site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        with site.connection() as connection:
            connection.execute("select realtime.send('{\"number\": 1}', 'count', %s, true)", (site.topic,))
            connection.rollback()
        site.send(2)
        await eventually(lambda: heard.numbers)
        assert heard.numbers == [2]


@pytest.mark.parametrize("who", ["stranger", "nobody", "expired", "forged"])
async def test_others_are_refused(site: Site, who: str) -> None:
    token = {
        "stranger": KEY.user_token(str(site.stranger)),
        "nobody": "sb_publishable_tests",
        "expired": KEY.user_token(str(site.member), seconds=-1),
        "forged": SigningKey("another secret of thirty-two characters").user_token(str(site.member)),
    }[who]
    async with listening(site, token) as heard:
        assert heard.states == ["CHANNEL_ERROR"]
        expected = {"expired": "Token has expired", "forged": "JwtSignatureError"}.get(who, "do not have permissions")
        assert expected in heard.words[0]
        site.send(1)
        assert site.relay.joined == []
        assert heard.numbers == []


async def test_public_channels_are_refused(site: Site) -> None:
    public: Any = {"config": {"private": False, "broadcast": None, "presence": None}}
    async with listening(site, KEY.user_token(str(site.member)), private=public) as heard:
        assert "only allows private channels" in heard.words[0]


async def test_a_token_that_ends_closes_its_channel(site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member), seconds=2)) as heard:
        await eventually(lambda: "CLOSED" in heard.states)
        assert any("Token has expired" in words for words in heard.words)
        assert site.relay.joined == []


async def test_a_removed_member_hears_until_its_token_is_renewed(site: Site) -> None:
    async with socket(site, OBJECTS) as client:
        await client.join(site.topic, KEY.user_token(str(site.member)))
        with site.connection() as connection:
            connection.execute("delete from memberships where user_id = %s", (site.member,))
        site.send(1)
        assert (await client.next("broadcast"))["payload"]["payload"]["number"] == 1
        await client.say(site.topic, "access_token", {"access_token": KEY.user_token(str(site.member), seconds=60)})
        assert "permission" in (await client.next("system"))["payload"]["message"]
        await client.next("phx_close")
        assert site.relay.joined == []


async def test_what_is_sent_while_the_relay_is_down_is_lost(site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        await site.relay.stop()
        site.send(1)
        await site.relay.start()
        await eventually(lambda: site.relay.joined == [site.topic])
        site.send(2)
        await eventually(lambda: heard.numbers)
        assert heard.numbers == [2]


async def test_a_restart_of_postgres_is_survived_without_a_rejoin(postgres: Postgres, site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        await asyncio.to_thread(postgres.restart)
        await eventually(lambda: site.relay.ready)
        site.send(1)
        await eventually(lambda: heard.numbers == [1])
        assert heard.states == ["SUBSCRIBED"]
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        assert heard.states == ["SUBSCRIBED"]


async def test_every_nth_is_lost_and_counted(site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        site.relay.faults.lose_every(3)
        for number in range(1, 10):
            site.send(number)
        await eventually(lambda: heard.numbers == [1, 2, 4, 5, 7, 8])
        assert len(site.relay.faults.lost) == 3


async def test_delay_keeps_the_order(site: Site) -> None:
    async with listening(site, KEY.user_token(str(site.member))) as heard:
        site.relay.faults.delay = 0.2
        site.send(1)
        site.relay.faults.delay = 0.0
        site.send(2)
        await eventually(lambda: heard.numbers == [1, 2])


async def test_ready_is_told_to_who_asked_once_it_is_so(site: Site) -> None:
    async with socket(site, OBJECTS) as client:
        await site.relay.lose_database(True)
        await client.join(site.topic, KEY.user_token(str(site.member)), replication_ready=True)
        site.send(1)
        await site.relay.lose_database(False)
        assert (await client.next("system"))["payload"]["status"] == "ok"
        site.send(2)
        assert (await client.next("broadcast"))["payload"]["payload"]["number"] == 2


@pytest.mark.parametrize("vsn", [OBJECTS, ARRAYS])
async def test_nobody_hears_what_clients_send_themselves(site: Site, vsn: str) -> None:
    token = KEY.user_token(str(site.member))
    async with socket(site, vsn) as forger, socket(site, vsn) as client:
        await forger.join(site.topic, token)
        await client.join(site.topic, token)
        await forger.say(site.topic, "broadcast", {"type": "broadcast", "event": "count", "payload": {"number": 666}})
        await forger.say("", "heartbeat", {})
        await forger.next("phx_reply")
        site.send(1)
        assert (await client.next("broadcast"))["payload"]["payload"]["number"] == 1


async def test_leaving_ends_it(site: Site) -> None:
    async with socket(site, ARRAYS) as client:
        await client.join(site.topic, KEY.user_token(str(site.member)))
        assert site.relay.joined == [site.topic]
        await client.say(site.topic, "phx_leave", {})
        await client.next("phx_reply")
        await client.next("phx_close")
        assert site.relay.joined == []


@pytest.mark.parametrize(
    "topic",
    [
        "org:not-a-uuid",
        "org:",
        "request:",
        "org:' or true --",
        "request:%",
        "org:*",
        "x",
        "request:a' union select 1 --",
        "org:00000000-0000-0000-0000-000000000000",
        "realtime:org",
        "é" * 90,
    ],
)
async def test_guessed_topics_are_refused(site: Site, topic: str) -> None:
    async with listening(site, KEY.user_token(str(site.member)), topic) as heard:
        assert heard.states == ["CHANNEL_ERROR"]
        assert "do not have permissions" in heard.words[0]


class Socket:
    """A websocket that speaks one vsn by hand."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse, vsn: str) -> None:
        self._connection = connection
        self._vsn = vsn

    async def say(self, topic: str, event: str, payload: dict[str, Any]) -> None:
        topic = f"realtime:{topic}" if topic else "phoenix"
        if self._vsn == ARRAYS:
            await self._connection.send_json(["1", "1", topic, event, payload])
        else:
            message = {"topic": topic, "event": event, "payload": payload, "ref": "1", "join_ref": "1"}
            await self._connection.send_json(message)

    async def join(self, topic: str, token: str, replication_ready: bool = False) -> None:
        config = {"private": True, "broadcast": {"replication_ready": replication_ready}}
        await self.say(topic, "phx_join", {"config": config, "access_token": token})
        assert (await self.next("phx_reply"))["payload"]["status"] == "ok"

    async def next(self, event: str) -> dict[str, Any]:
        """The next message, which must be of this event."""
        frame = await self._connection.receive(timeout=10)
        if isinstance(frame.data, bytes):
            kind, topic, name, meta, _ = frame.data[:5]
            assert kind == SERVER_BROADCAST
            body = {"event": "broadcast", "payload": {"payload": json.loads(frame.data[5 + topic + name + meta :])}}
        elif self._vsn == ARRAYS:
            body = dict(zip(("join_ref", "ref", "topic", "event", "payload"), json.loads(frame.data), strict=True))
        else:
            body = json.loads(frame.data)
        assert body["event"] == event, body
        return body


@asynccontextmanager
async def socket(site: Site, vsn: str) -> AsyncIterator[Socket]:
    url = f"{site.url}/websocket?apikey=sb_publishable_tests&vsn={vsn}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as connection:
        yield Socket(connection, vsn)
