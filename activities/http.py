"""The wire: one connection pool a user, retries and redirects off, and no byte of a request before its token's time.

The request is made ready before the token's time: connection open, headers composed. It then waits inside the socket's
write, and time is checked in the same step of the event loop that hands the bytes to the socket. A token whose time has
passed raises `StaleToken` and nothing was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from activities.clock import ServerClock
from activities.credentials import Credentials
from headgate.errors import (
    AnswerTooLarge,
    HeadgateError,
    InvalidRequest,
    NoReply,
    NoReplyInTime,
    StaleToken,
    Unreachable,
)

SECOND_NS = 1_000_000_000
#: So long a call may take from its departure to the end of its answer. The server stops a request at 180 s; giving up
#: earlier would make every slow answer a lost one (reference/sheets.md 1.3).
WITHIN_S = 190
TIMEOUT = httpx.Timeout(connect=10, read=WITHIN_S, write=30, pool=10)
#: No more of an answer is taken: reads that ask for so much go in halves, and who never ends takes no memory.
LARGEST_ANSWER = 64 * 1024 * 1024


@dataclass(slots=True)
class Departure:
    """When a request may leave: in [at_ns, latest_ns] of the server's clock, unless it is `held`. `left_ns` is when it did.

    From then on `within` is the time for its answer.
    """

    clock: ServerClock
    at_ns: int
    latest_ns: int
    left_ns: int = 0
    held: Callable[[], bool] | None = None
    within: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))

    async def due(self) -> None:
        """Wait for the token's time."""
        while (wait := self.at_ns - self.clock.now_ns()) > 0:
            await asyncio.sleep(wait / SECOND_NS)

    def leave(self) -> None:
        """Say that the bytes go now, or that it is too late for them."""
        now = self.clock.now_ns()
        if now > self.latest_ns or (self.held is not None and self.held()):
            raise StaleToken
        self.left_ns = now
        self.within.reschedule(asyncio.get_running_loop().time() + WITHIN_S)


_departure: ContextVar[Departure | None] = ContextVar("departure", default=None)


class _Stream(httpcore.AsyncNetworkStream):
    """A socket whose first write of a request waits for the request's departure."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        departure = _departure.get()
        if departure is not None and not departure.left_ns:
            await departure.due()
            if self._reader.at_eof():
                raise httpcore.ConnectError("the connection was closed before the request left")
            departure.leave()
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            self._writer.write(buffer)
            async with asyncio.timeout(timeout):
                await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # An idle connection that can be read has been closed by the other side, or speaks out of turn.
            return self._reader.at_eof() or bool(getattr(self._reader, "_buffer", b""))
        if info == "ssl_object":
            return self._writer.get_extra_info("ssl_object")
        return self._writer.get_extra_info({"client_addr": "sockname", "server_addr": "peername"}.get(info, info))


class _Backend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        with _mapped(httpcore.ConnectTimeout, httpcore.ConnectError):
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(host, port)
        return _Stream(reader, writer)


@contextlib.contextmanager
def _mapped(timed_out: type[Exception], broken: type[Exception]) -> Any:
    try:
        yield
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except (OSError, ssl.SSLError) as error:
        raise broken(str(error)) from error


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers with lower-case names, body; when the call left and when the answer was whole (ns)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    left_ns: int
    ended_ns: int


@dataclass(slots=True)
class Wire:
    """Sends calls. `base_url` is the API's root."""

    base_url: str
    credentials: Credentials
    clock: ServerClock
    _clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    async def send(
        self,
        user: str,
        method: str,
        target: str,
        body: bytes,
        at_ns: int,
        latest_ns: int,
        held: Callable[[], bool] | None = None,
    ) -> Answer:
        """Send one call with a token for [at_ns, latest_ns], unless it is `held` at that moment.

        Raises `StaleToken`, `Unreachable` or `InvalidRequest` when nothing was sent, `NoReply` when it was and no readable
        answer came: `NoReplyInTime` and `AnswerTooLarge` say why.
        """
        departure = Departure(self.clock, at_ns, latest_ns, held=held)
        mark = _departure.set(departure)
        try:
            client = self._client(user)
            headers = {"content-type": "application/json"} if body else {}
            request = client.build_request(method, self.base_url + target, content=body or None, headers=headers)
            async with departure.within:
                response = await client.send(request, follow_redirects=False, stream=True)
                body = await _whole(response)
        except TimeoutError:
            if not departure.left_ns:
                raise Unreachable("the API could not be reached in time") from None
            raise NoReplyInTime(f"the answer to a call that was sent did not end within {WITHIN_S} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            what = f"{type(error).__name__}: {error}"[:200]
            if not departure.left_ns:
                raise Unreachable(f"the API could not be reached: {what}") from error
            kind = NoReplyInTime if isinstance(error, httpx.ReadTimeout) else NoReply
            raise kind(f"no answer to a call that was sent: {what}") from error
        except HeadgateError:
            raise
        except Exception as error:  # from a library, or a token that no header can carry; its text may hold a secret
            if not departure.left_ns:
                raise InvalidRequest(f"a call cannot be made: {type(error).__name__}") from None
            raise NoReply(f"no answer to a call that was sent: {type(error).__name__}") from None
        finally:
            _departure.reset(mark)
        names = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, names, body, departure.left_ns, self.clock.now_ns())

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()

    def _client(self, user: str) -> httpx.AsyncClient:
        client = self._clients.get(user)
        if client is None:
            context = _tls_context()
            transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
            # httpx offers no way to give its pool another socket layer; the pool itself does.
            transport._pool = httpcore.AsyncConnectionPool(
                ssl_context=context,
                max_connections=64,
                max_keepalive_connections=64,
                keepalive_expiry=30,
                http1=True,
                http2=False,
                retries=0,
                network_backend=_Backend(),
            )
            client = httpx.AsyncClient(
                transport=transport, timeout=TIMEOUT, auth=self.credentials.auth(user), trust_env=False
            )
            self._clients[user] = client
        return client


async def _whole(response: httpx.Response) -> bytes:
    """The body, unpacked. Raises AnswerTooLarge."""
    body = bytearray()
    try:
        async for block in response.aiter_bytes():
            body += block
            if len(body) > LARGEST_ANSWER:
                raise AnswerTooLarge(f"the answer is larger than {LARGEST_ANSWER:,} bytes: ask for less at once")
    finally:
        await response.aclose()
    return bytes(body)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """One for all users: making it takes tens of milliseconds, in which no token could be used."""
    return httpx.create_ssl_context()


@contextlib.asynccontextmanager
async def open_wire(base_url: str, credentials: Credentials, clock: ServerClock) -> AsyncIterator[Wire]:
    """A wire that closes its connections at the end."""
    wire = Wire(base_url, credentials, clock)
    try:
        yield wire
    finally:
        await wire.aclose()
