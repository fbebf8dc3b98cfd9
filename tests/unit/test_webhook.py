"""A webhook arrives signed, once for each delivery, and nowhere but where it may go."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from activities.webhook import Key, Webhook, is_public, literal_address, look_up
from headgate.errors import HeadgateError, InvalidRequest, NotDelivered

SECRET = "correct horse battery staple"
KEY = Key("alerts-2030", SECRET.encode())
BODY = b'{"sentence": "\xc3\xa9"}'
AT = 1_900_000_000.7


@dataclass
class Receiver:
    """What arrived, and what is answered."""

    url: str = ""
    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path_qs, dict(request.headers), await request.read()))
        return await self.answer(request) if self.answer else web.Response(status=204)


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        receiver.port = runner.addresses[0][1]
        receiver.url = f"http://127.0.0.1:{receiver.port}"
        yield receiver
    finally:
        await runner.cleanup()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening() as found:
        yield found


def resolving(*addresses: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that gives these addresses for any host."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def refusal(webhook: Webhook, kind: type[HeadgateError]) -> str:
    with pytest.raises(kind) as caught:
        await webhook.deliver("e-1", BODY)
    return str(caught.value)


async def test_a_delivery_is_signed_and_named(receiver: Receiver) -> None:
    """The receiver checks the signature with nothing but the key, the header and the body."""
    webhook = Webhook(f"{receiver.url}/hooks/7?token=x", KEY, loopback=True, now=lambda: AT)
    await webhook.deliver("e-1", BODY)
    ((path, headers, body),) = receiver.requests
    assert path == "/hooks/7?token=x"
    assert body == BODY
    assert headers["Content-Type"] == "application/json"
    assert headers["Headgate-Event-Id"] == "e-1"
    assert headers["Headgate-Key"] == "alerts-2030"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    expected = hmac.new(SECRET.encode(), b"1900000000." + body, hashlib.sha256).hexdigest()
    assert headers["Headgate-Signature"] == f"t=1900000000,v1={expected}"


async def test_the_documents_way_to_verify_is_right(receiver: Receiver) -> None:
    """The lines of docs/notifications.md accept what is sent, and nothing that was changed on the way."""
    text = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")
    code = next(block for block in text.split("```python\n")[1:] if "hmac" in block).partition("```")[0]
    names: dict[str, Callable[[bytes, str, bytes], bool]] = {}
    exec(code, names)
    genuine = names["genuine"]
    await Webhook(receiver.url, KEY, loopback=True).deliver("e-1", BODY)
    await Webhook(receiver.url, KEY, loopback=True, now=lambda: AT).deliver("e-1", BODY)
    (_, fresh, body), (_, old, _) = receiver.requests
    signature = fresh["Headgate-Signature"]
    assert genuine(SECRET.encode(), signature, body)
    assert not genuine(SECRET.encode(), signature, body + b" ")
    assert not genuine(b"another", signature, body)
    assert not genuine(SECRET.encode(), old["Headgate-Signature"], body)
    for broken in ("", "t=1", "v1=x", "t=x,v1=y", f"t={int(time.time())},v1=é", "nonsense"):
        assert not genuine(SECRET.encode(), broken, body)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
async def test_anything_but_a_success_is_worth_another_attempt(status: int, receiver: Receiver) -> None:
    """A receiver that is being deployed answers anything; a redirect is no success, and is not followed."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": f"{receiver.url}/elsewhere"}, text="leak me")

    receiver.answer = answer
    said = await refusal(Webhook(receiver.url, KEY, loopback=True), NotDelivered)
    assert str(status) in said
    assert "leak" not in said
    assert [path for path, *_ in receiver.requests] == ["/"]


async def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    """The status is all that counts; nobody keeps a worker busy with what comes after it."""
    gone = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except (ConnectionError, asyncio.CancelledError):
            gone.set()
            raise

    receiver.answer = answer
    async with asyncio.timeout(10):
        await Webhook(receiver.url, KEY, loopback=True).deliver("e-1", BODY)
        await gone.wait()


async def test_a_silent_receiver_is_given_up(receiver: Receiver) -> None:
    never = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    receiver.answer = answer
    said = await refusal(Webhook(receiver.url, KEY, loopback=True, within_s=0.2), NotDelivered)
    assert said == "the webhook gave no answer: TimeoutError"
    never.set()


async def test_nobody_there_is_worth_another_attempt() -> None:
    webhook = Webhook("http://localhost:1", KEY, loopback=True, resolve=resolving("127.0.0.1"))
    assert "cannot be reached" in await refusal(webhook, NotDelivered)


async def test_a_host_that_is_not_found_is_worth_another_attempt() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError("no such host")

    assert "cannot be found" in await refusal(Webhook("https://hooks.example", KEY, resolve=resolve), NotDelivered)
    assert "no address" in await refusal(Webhook("https://hooks.example", KEY, resolve=resolving()), NotDelivered)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata of most clouds
        "100.64.0.1",
        "0.0.0.0",
        "192.0.0.8",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",  # nobody's public name is written so
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::808:808",
        "2002:7f00:1::",
        "2002:808:808::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "3fff::1",
        "192.88.99.1",
        "localhost",
        "",
    ],
)
async def test_no_address_that_is_not_public(address: str) -> None:
    """However it is written, and even if the host has a public address too; nothing is sent to either."""
    assert not is_public(address)
    webhook = Webhook("https://hooks.example", KEY, resolve=resolving("8.8.8.8", address))
    assert "not public" in await refusal(webhook, InvalidRequest)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_fine(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1", "https://[fd00::1]/", "https://2130706433", "https://0x7f.1/", "https://0/"]
)
async def test_no_way_to_write_a_private_address(url: str) -> None:
    """What the system's resolver makes of a number is checked, not the text."""
    assert "not public" in await refusal(Webhook(url, KEY), InvalidRequest)


async def test_a_name_is_looked_up_once_and_the_connection_goes_there(receiver: Receiver) -> None:
    """A name that is public when it is checked and private when it is used (DNS rebinding) gains nothing."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    webhook = Webhook(f"http://rebinding.localhost:{receiver.port}", KEY, loopback=True, resolve=resolve)
    await webhook.deliver("e-1", BODY)
    assert asked == ["rebinding.localhost"]
    assert receiver.requests[0][1]["Host"] == f"rebinding.localhost:{receiver.port}"


async def test_the_next_checked_address_is_tried(receiver: Receiver) -> None:
    webhook = Webhook(
        f"http://localhost:{receiver.port}", KEY, loopback=True, resolve=resolving("127.0.0.2", "127.0.0.1")
    )
    await webhook.deliver("e-1", BODY)
    assert len(receiver.requests) == 1


async def test_a_name_server_that_is_silent_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What sending does in other threads goes on, however many receivers are being looked up."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(30) and [])
    looking = [asyncio.create_task(look_up("hooks.example", 443)) for _ in range(40)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(lambda: 7) == 7
    finally:
        release.set()
    assert await asyncio.gather(*looking) == [[]] * 40


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("[fd00::1]", "fd00::1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("hooks.example", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_a_host_that_spells_an_address_is_known_without_a_look_up(host: str, address: str | None) -> None:
    assert literal_address(host) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example", "https://"),
        ("http://8.8.8.8", "https://"),
        ("http://127.0.0.1:1", "this machine"),
        ("https://localhost", "this machine"),
        ("https://ana:secret@hooks.example", "take them out"),
        ("https://hooks.example/#secret", "take them out"),
        ("ftp://hooks.example", "https://"),
        ("hooks.example", "is not an address"),
        ("https://", "is not an address"),
        ("https://hooks.example/\x7fsecret", "cannot be used"),
        ("https://hooks_.ex\u2028ample/", "cannot be used"),
    ],
)
def test_where_no_webhook_may_go(url: str, why: str) -> None:
    """This machine only behind the flag, everybody else only by TLS."""
    with pytest.raises(InvalidRequest, match=why) as caught:
        Webhook(url, KEY)
    assert "secret" not in str(caught.value)


async def test_the_flag_for_tests_opens_this_machine_and_no_other() -> None:
    with pytest.raises(InvalidRequest):
        Webhook("http://hooks.example", KEY, loopback=True)
    webhook = Webhook("http://localhost:1", KEY, loopback=True, resolve=resolving("10.0.0.1"))
    assert "not public" in await refusal(webhook, InvalidRequest)
    webhook = Webhook("https://hooks.example", KEY, loopback=True, resolve=resolving("127.0.0.1"))
    assert "not public" in await refusal(webhook, InvalidRequest)


async def test_no_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look the name up again, and see what is told."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    await Webhook(receiver.url, KEY, loopback=True).deliver("e-1", BODY)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("event_id", ["", "a b", "a\r\nEvil: 1", "é", "x" * 129])
async def test_an_id_that_no_header_can_carry_is_refused(event_id: str, receiver: Receiver) -> None:
    with pytest.raises(InvalidRequest):
        await Webhook(receiver.url, KEY, loopback=True).deliver(event_id, BODY)
    assert not receiver.requests


def contexts(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS with a certificate for the name, and a client's that trusts it."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    unencrypted = serialization.NoEncryption()
    secret = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    file = folder / "certificate.pem"
    file.write_bytes(secret + pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_checks_the_host_although_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    """The certificate must be the host's, `Host` names it, and one for another host is refused before anything is sent."""
    server, client = contexts("hooks.example", tmp_path)
    async with listening(server) as receiver:

        def webhook(host: str) -> Webhook:
            url = f"https://{host}:{receiver.port}/x"
            return Webhook(url, KEY, resolve=resolving("127.0.0.1"), permitted=lambda _: True, tls=client)

        await webhook("hooks.example").deliver("e-1", BODY)
        assert receiver.requests[0][1]["Host"] == f"hooks.example:{receiver.port}"
        assert "certificate" in await refusal(webhook("other.example"), NotDelivered)
        assert len(receiver.requests) == 1


async def test_the_key_shows_nowhere(receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not in a repr, not in the log of any library, not in an error or what led to it; nor does the address."""
    file = tmp_path / "alerts.key"
    file.write_text(SECRET)
    url = f"{receiver.url}/in-the-address"
    webhook = Webhook(url, Key.read(file, "alerts"), loopback=True)
    shown = [repr(webhook), str(webhook.key), json.dumps([webhook.key.name])]
    with caplog.at_level(logging.DEBUG):
        await webhook.deliver("e-1", BODY)

        async def answer(request: web.Request) -> web.Response:
            raise web.HTTPInternalServerError

        receiver.answer = answer
        for broken in (
            webhook,
            Webhook("http://localhost:1/in-the-address", webhook.key, loopback=True, resolve=resolving("127.0.0.1")),
            Webhook("https://hooks.example/in-the-address", webhook.key, resolve=resolving("10.0.0.1")),
            Webhook(url, Key("a\nb", SECRET.encode()), loopback=True),  # a library refuses this header
        ):
            with pytest.raises(HeadgateError) as caught:
                await broken.deliver("e-1", BODY)
            shown.append("".join(traceback.format_exception(caught.value)))
    for text in shown:
        assert SECRET not in text
        assert "in-the-address" not in text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("content", [b"  " + SECRET.encode() + b"\r\n", SECRET.encode()])
def test_a_key_is_what_its_file_holds_without_the_space_around_it(content: bytes, tmp_path: Path) -> None:
    """An editor's line end is no part of a secret."""
    file = tmp_path / "k"
    file.write_bytes(content)
    assert Key.read(file, "k") == Key("k", SECRET.encode())


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"nothing\.key cannot be read: No such file"):
        Key.read(tmp_path / "nothing.key", "k")
    for content in (b"", b"short", b"x" * 4097):
        (tmp_path / "bad.key").write_bytes(content)
        with pytest.raises(InvalidRequest, match=r"must hold 16 to 4096 bytes: .*openssl") as caught:
            Key.read(tmp_path / "bad.key", "k")
        assert "short" not in str(caught.value)
