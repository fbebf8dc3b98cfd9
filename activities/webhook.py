"""Webhooks: signed notifications to an address outside, which no internal service can be reached by.

1. The host is looked up once for each delivery. Every address it has must be public, and the connection goes to one of
   the addresses that were checked, never to the outcome of another look-up; TLS and `Host` still name the host.
2. No redirect is followed, no proxy of the environment is used, and of the answer nothing but its status is read.
3. The key is in no `repr`, log, payload or error; nor is the address, which may hold a secret of the receiver's.
4. A delivery may arrive twice; both have the same `Headgate-Event-Id`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Self

import httpcore
import httpx

from headgate.errors import HeadgateError, InvalidRequest, NotDelivered
from headgate.settings import WebhookSettings, check_webhook, is_loopback

#: A whole delivery, the look-up included, is given up after this, well inside the activity's own timeout.
WITHIN_S: Final = 20.0
TIMEOUTS: Final = {"connect": 4.0, "read": 15.0, "write": 10.0, "pool": 5.0}
MOST_ADDRESSES: Final = 4
SHORTEST_KEY: Final = 16
LONGEST_KEY: Final = 4096

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
#: Not all releases of Python know these as special: IETF protocols (Teredo among them), 6to4 and its relays, documentation.
_SPECIAL: Final = tuple(
    ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2002::/16", "3fff::/20")
)
#: RFC 6052: what a resolver makes of an IPv4 address for a network that has only IPv6.
_NAT64: Final = IPv6Network("64:ff9b::/96")

#: Threads of their own: a name server that does not answer for a receiver must not hold up who looks up the API's host.
_LOOK_UPS: Final = ThreadPoolExecutor(8, "webhook-look-up")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and is no other way to write one that may not."""
    try:
        ip: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
        elif ip not in _GLOBAL_UNICAST:
            return False
    special = ip.is_multicast or ip.is_reserved or any(ip in network for network in _SPECIAL)
    return ip.is_global and not special


def literal_address(host: str) -> str | None:
    """The address that a host spells, also in a way that resolvers take and few people know (`127.1`); None: it is a name."""
    try:
        return str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        return str(IPv4Address(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return None


async def look_up(host: str, port: int) -> Sequence[str]:
    """Every address that the system's resolver has for the host."""
    look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True, slots=True)
class Key:
    """A named secret that signs: HMAC-SHA256 over the instant (Unix, s), a full stop and the body."""

    name: str
    secret: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path, name: str) -> Key:
        """The key in a file, white space around it taken off; raises `InvalidRequest` with what to mend."""
        try:
            with path.open("rb") as file:
                secret = file.read(LONGEST_KEY + 1).strip()
        except OSError as error:
            raise InvalidRequest(f"the key file {path} cannot be read: {error.strerror}") from None
        if not SHORTEST_KEY <= len(secret) <= LONGEST_KEY:
            raise InvalidRequest(
                f"the key file {path} must hold {SHORTEST_KEY} to {LONGEST_KEY} bytes: `openssl rand -hex 32` makes a key"
            )
        return cls(name, secret)

    def sign(self, at_s: int, body: bytes) -> str:
        """The value of the header `Headgate-Signature`."""
        return f"t={at_s},v1={hmac.new(self.secret, b'%d.%b' % (at_s, body), hashlib.sha256).hexdigest()}"


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, whatever the host is called."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver. `loopback` permits this machine, and nothing else that is not public; the rest is for tests."""

    url: str = field(repr=False)
    key: Key
    loopback: bool = False
    resolve: Resolve = look_up
    permitted: Callable[[str], bool] = is_public
    tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context, repr=False)
    now: Callable[[], float] = time.time
    within_s: float = WITHIN_S

    def __post_init__(self) -> None:
        check_webhook(self.url, loopback=self.loopback)
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL:
            raise InvalidRequest("the webhook's address cannot be used: take out what no address may hold") from None

    @classmethod
    def open(cls, settings: WebhookSettings) -> Self:
        """The webhook that the settings name, its key read from the file."""
        return cls(settings.url, Key.read(settings.key_file, settings.key_name), settings.loopback)

    async def deliver(self, event_id: str, body: bytes) -> None:
        """Post a JSON document once.

        Raises `NotDelivered` when another attempt may do better, `InvalidRequest` when nothing may be sent there.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.@:/-]{1,128}", event_id):
            raise InvalidRequest("an event's id must be 1 to 128 letters, digits or _ . @ : / -")
        try:
            async with asyncio.timeout(self.within_s):
                status = await self._post(event_id, body)
        except HeadgateError:
            raise
        except httpcore.ConnectError as error:  # before a byte of the request: its text says what is wrong with TLS
            raise NotDelivered(f"the webhook cannot be reached: {error}"[:200]) from None
        except Exception as error:  # from a library, whose text may hold what nobody should read
            raise NotDelivered(f"the webhook gave no answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            redirected = ", and redirects are not followed" if 300 <= status < 400 else ""
            raise NotDelivered(f"the webhook answered {status}{redirected}")

    async def _post(self, event_id: str, body: bytes) -> int:
        url = httpx.URL(self.url)
        host = url.raw_host.decode("ascii")
        addresses = await self._addresses(host, url.port or (443 if url.scheme == "https" else 80))
        at_s = int(self.now())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "headgate",
            "Headgate-Event-Id": event_id,
            "Headgate-Key": self.key.name,
            "Headgate-Signature": self.key.sign(at_s, body),
        }
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self.tls, max_connections=1, retries=0, network_backend=_Pinned(addresses)
            ) as pool,
            pool.stream(
                "POST", target, headers=list(headers.items()), content=body, extensions={"timeout": TIMEOUTS}
            ) as answer,
        ):
            return answer.status

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self.resolve(host, port)
        except (OSError, ValueError):
            raise NotDelivered("the webhook's host cannot be found") from None
        if not found:
            raise NotDelivered("the webhook's host has no address")
        permitted = _is_here if self.loopback and is_loopback(host) else self.permitted
        if not all(permitted(address) for address in found):
            raise InvalidRequest(
                "the webhook's host has an address that is not public, so nothing was sent: name another host"
            )
        return found[:MOST_ADDRESSES]


def _is_here(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False
