"""The wire against real sockets: nothing leaves before a token's time or after it, and every end has its own name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from activities.clock import ServerClock
from activities.credentials import Credentials
from activities.http import Wire, open_wire
from headgate.errors import AnswerTooLarge, NoReply, NoReplyInTime, StaleToken, Unreachable

MS = 1_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server that notes when bytes arrive and answers as it is told."""

    def __init__(self) -> None:
        self.connections = 0
        self.arrivals: list[tuple[int, bytes]] = []
        self.answers: list[bytes | None] = []
        self.pauses_s: list[float] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await reader.read(65536):
            self.arrivals.append((time.monotonic_ns(), head))
            answer = self.answers.pop(0) if self.answers else OK
            if answer is None:
                break
            await self._say(writer, answer)
        writer.close()

    async def _say(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        """The answer; with pauses, the answers that are left as its pieces, each after its pause."""
        while self.pauses_s:
            await asyncio.sleep(self.pauses_s.pop(0))
            writer.write(answer)
            answer = (self.answers.pop(0) if self.answers else None) or b""
        writer.write(answer)


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, str]]:
    made = Peer()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    async with server:
        yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def wire(peer: tuple[Peer, str]) -> AsyncIterator[Wire]:
    clock = ServerClock()
    clock.started(datetime.now(UTC))
    async with open_wire(peer[1], Credentials(peer[1]), clock) as made:
        yield made


async def test_bytes_leave_at_the_tokens_time_and_the_connection_is_open_before(
    peer: tuple[Peer, str], wire: Wire
) -> None:
    """The server has the connection early, the first byte not before `at`."""
    asked = time.monotonic_ns()
    at = wire.clock.now_ns() + 250 * MS
    answer = await wire.send("bot", "GET", "/v4/spreadsheets/s", b"", at, at + 300 * MS)
    arrived = peer[0].arrivals[0][0] - asked
    assert answer.status == 200
    assert at <= answer.left_ns <= at + 100 * MS
    assert 249 * MS <= arrived <= 400 * MS


async def test_a_stale_token_sends_nothing(peer: tuple[Peer, str], wire: Wire) -> None:
    """Not one byte of the request arrives, and the next call goes out as if nothing had been."""
    now = wire.clock.now_ns()
    with pytest.raises(StaleToken):
        await wire.send("bot", "POST", "/x", b"{}", now - 400 * MS, now - 100 * MS)
    assert peer[0].arrivals == []
    at = wire.clock.now_ns()
    await wire.send("bot", "POST", "/x", b"{}", at, at + 300 * MS)
    assert len(peer[0].arrivals) >= 1


async def test_a_connection_serves_many_calls_and_each_user_has_its_own(peer: tuple[Peer, str], wire: Wire) -> None:
    """Keep-alive works through the gate; pools are a user's own, and so is the token."""
    for user in ("a", "a", "a", "b"):
        at = wire.clock.now_ns()
        await wire.send(user, "GET", "/x", b"", at, at + 300 * MS)
    assert peer[0].connections == 2
    tokens = [head.split(b"uthorization: Bearer ")[1].split(b"\r\n")[0] for _, head in peer[0].arrivals]
    assert tokens == [b"a", b"a", b"a", b"b"]


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b"nonsense\r\n\r\n"])
async def test_a_call_that_left_without_a_readable_answer_is_no_reply(
    peer: tuple[Peer, str], wire: Wire, answer: bytes | None
) -> None:
    """Closed, cut short or not HTTP: the effect is unknown. Nothing is sent again on its own."""
    peer[0].answers = [answer, None] if answer is None else [answer]
    at = wire.clock.now_ns()
    sending = asyncio.ensure_future(wire.send("bot", "POST", "/x", b"{}", at, at + 300 * MS))
    if answer and answer.startswith(b"HTTP"):
        await asyncio.sleep(0)
        while not peer[0].arrivals:
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    else:
        with pytest.raises(NoReply):
            await sending
    requests = [head for _, head in peer[0].arrivals if head.startswith(b"POST")]
    assert len(requests) == 1


ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8\r\n" + b"x" * 8 + b"\r\n"


@pytest.mark.parametrize(
    ("limit", "value", "kind", "why"),
    [
        ("LARGEST_ANSWER", 7, AnswerTooLarge, "larger than 7 bytes"),
        ("WITHIN_S", 0.2, NoReplyInTime, "did not end within 0.2 s"),
    ],
)
async def test_an_answer_that_does_not_end_is_none_and_leaves_nothing_behind(
    peer: tuple[Peer, str],
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: float,
    kind: type[NoReply],
    why: str,
) -> None:
    monkeypatch.setattr(f"activities.http.{limit}", value)
    peer[0].answers = [ENDLESS]
    at = wire.clock.now_ns()
    with pytest.raises(kind, match=why):
        await wire.send("bot", "POST", "/x", b"{}", at, at + 300 * MS)
    monkeypatch.undo()
    at = wire.clock.now_ns()
    assert (await wire.send("bot", "GET", "/x", b"", at, at + 300 * MS)).body == b"{}"
    assert peer[0].connections == 2, "nobody reads on where an answer was left"


async def test_headers_and_body_have_one_time_together(
    peer: tuple[Peer, str], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each comes within the time, counted from the one before; the whole answer does not, and nobody waits on."""
    monkeypatch.setattr("activities.http.WITHIN_S", 0.5)
    peer[0].answers = [OK[:-2], b"{}"]
    peer[0].pauses_s = [0.35, 0.35]
    at = wire.clock.now_ns()
    with pytest.raises(NoReplyInTime, match="did not end"):
        await wire.send("bot", "GET", "/x", b"", at, at + 300 * MS)


async def test_the_wait_for_a_token_takes_nothing_from_the_time_for_an_answer(
    peer: tuple[Peer, str], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time begins when the bytes leave."""
    monkeypatch.setattr("activities.http.WITHIN_S", 0.6)
    peer[0].answers, peer[0].pauses_s = [OK], [0.2]
    at = wire.clock.now_ns() + 700 * MS
    answer = await wire.send("bot", "GET", "/x", b"", at, at + 300 * MS)
    assert answer.body == b"{}"


async def test_a_host_that_refuses_connections_was_sent_nothing() -> None:
    """`Unreachable`: no call was made, no token was spent."""
    clock = ServerClock()
    clock.started(datetime.now(UTC))
    async with open_wire("http://127.0.0.1:9", Credentials("http://127.0.0.1:9"), clock) as wire:
        at = clock.now_ns()
        with pytest.raises(Unreachable):
            await wire.send("bot", "GET", "/x", b"", at, at + 300 * MS)


async def test_a_redirect_and_a_401_come_back_as_they_are(peer: tuple[Peer, str], wire: Wire) -> None:
    """One token, one call: nothing is followed, nothing is signed anew and resent."""
    peer[0].answers = [
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    ]
    for status in (302, 401):
        at = wire.clock.now_ns()
        assert (await wire.send("bot", "GET", "/x", b"", at, at + 300 * MS)).status == status
    assert len(peer[0].arrivals) == 2
