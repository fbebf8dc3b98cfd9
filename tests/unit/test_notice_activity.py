"""A notice goes to the address in the store, signed by the key in the folder, and nowhere that it may not."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import ActivityEnvironment

from activities.keys import Keys
from activities.layout import notify_path
from activities.notices import MOST_AT_ONCE, NoticeActivities, address_of, document, keep_address
from activities.purging import purge
from activities.store import Store
from activities.webhook import WITHIN_S, Key, Webhook
from headgate.errors import HeadgateError, InvalidRequest, NotDelivered
from headgate.message import SECOND_NS
from headgate.messages.notices import Notice, TellNotice
from headgate.messages.requests import BulkRequest
from headgate.settings import NotifySettings
from tests.unit.test_webhook import Receiver, receiver
from workflows import policies

__all__ = ["receiver"]

SECRET = "correct horse battery staple"
REQUEST = BulkRequest(id="orders-7", project="p", nonce="n1", owner="team", notify="ops")
ORDER = TellNotice(
    request_id="orders-7",
    nonce="n1",
    key="ops",
    project="p",
    owner="team",
    notice=Notice(
        id="e1",
        sequence=3,
        event="paused",
        state="paused",
        at_ns=1_900_000_000 * SECOND_NS,
        by="ana",
        operations={"total": 9, "failed": 1},
        calls={"made": 2},
    ),
)


@pytest.fixture
def store() -> Store:
    return Store.open("memory://")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "ops.key").write_text(SECRET)
    return tmp_path


async def tell(activities: NoticeActivities, order: TellNotice = ORDER) -> None:
    await ActivityEnvironment().run(activities.notify, order)


async def refusal(activities: NoticeActivities, kind: type[HeadgateError]) -> str:
    """What the attempt says; another attempt that may do better is no noise in the log."""
    with pytest.raises((ApplicationError, HeadgateError)) as caught:
        await tell(activities)
    if isinstance(caught.value, ApplicationError):
        assert (caught.value.type, caught.value.category) == (kind.__name__, ApplicationErrorCategory.BENIGN)
    else:
        assert type(caught.value) is kind is InvalidRequest
    assert "in-the-address" not in str(caught.value)
    assert SECRET not in str(caught.value)
    return str(caught.value)


async def test_a_notice_arrives_signed_by_the_key_that_it_names(store: Store, keys: Path, receiver: Receiver) -> None:
    """Every attempt has the same id and the same document, so the receiver can drop a repeat."""
    await keep_address(store, REQUEST, f"{receiver.url}/in-the-address?t=x")
    activities = NoticeActivities(store, NotifySettings(keys=keys, loopback=True))

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=503)

    receiver.answer = refuse
    assert "503" in await refusal(activities, NotDelivered)
    receiver.answer = None
    await tell(activities)
    (path, first, body), (_, second, again) = receiver.requests
    assert path == "/in-the-address?t=x"
    assert first["Headgate-Event-Id"] == second["Headgate-Event-Id"] == "e1"
    assert first["Headgate-Key"] == "ops"
    assert body == again
    at_s, _, _ = first["Headgate-Signature"].partition(",")
    expected = hmac.new(SECRET.encode(), at_s.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
    assert first["Headgate-Signature"] == f"{at_s},v1={expected}"


def test_the_document_is_for_any_reader() -> None:
    """Instants are text: an integer of nanoseconds is more than most readers of JSON can hold."""
    assert json.loads(document(ORDER)) == {
        "type": "headgate.request",
        "id": "e1",
        "sequence": 3,
        "event": "paused",
        "state": "paused",
        "by": "ana",
        "why": "",
        "operations": {"total": 9, "failed": 1},
        "calls": {"made": 2},
        "request": "orders-7",
        "project": "p",
        "owner": "team",
        "at": "2030-03-17T17:46:40Z",
    }


async def test_a_redirect_leads_nowhere(store: Store, keys: Path, receiver: Receiver) -> None:
    await keep_address(store, REQUEST, f"{receiver.url}/in-the-address")

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{receiver.url}/elsewhere"})

    receiver.answer = redirect
    said = await refusal(NoticeActivities(store, NotifySettings(keys=keys, loopback=True)), NotDelivered)
    assert "redirects are not followed" in said
    assert [path for path, *_ in receiver.requests] == ["/in-the-address"]


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("169.254.169.254",), ("::1",)])
async def test_a_host_that_is_inside_is_sent_nothing(
    store: Store, keys: Path, receiver: Receiver, addresses: Sequence[str]
) -> None:
    """Also where it is inside by one of its addresses only; no other attempt would do better."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    def webhook(url: str, key: Key, loopback: bool, **more: object) -> Webhook:
        return Webhook(url, key, loopback, resolve=resolve)

    await keep_address(store, REQUEST, f"https://hooks.example:{receiver.port}/in-the-address")
    activities = NoticeActivities(store, NotifySettings(keys=keys, loopback=True), webhook)
    assert "not public" in await refusal(activities, InvalidRequest)
    assert not receiver.requests


async def test_this_machine_is_for_tests(store: Store, keys: Path, receiver: Receiver) -> None:
    await keep_address(store, REQUEST, f"{receiver.url}/in-the-address")
    activities = NoticeActivities(store, NotifySettings(keys=keys))
    assert "HEADGATE_NOTIFY_LOOPBACK=1" in await refusal(activities, InvalidRequest)
    assert not receiver.requests


async def test_a_key_that_is_missing_is_waited_for(store: Store, tmp_path: Path, receiver: Receiver) -> None:
    """Another worker may have it, or somebody puts it there: it counts from then on."""
    await keep_address(store, REQUEST, receiver.url)
    assert "HEADGATE_NOTIFY_KEYS" in await refusal(NoticeActivities(store, NotifySettings(loopback=True)), NotDelivered)
    activities = NoticeActivities(store, NotifySettings(keys=tmp_path, loopback=True))
    assert "ops.key cannot be read" in await refusal(activities, NotDelivered)
    assert not receiver.requests
    (tmp_path / "ops.key").write_text(SECRET)
    await tell(activities)
    assert len(receiver.requests) == 1


async def test_a_key_signs_for_its_hosts_only(store: Store, keys: Path, receiver: Receiver) -> None:
    """Who may choose the receiver must not get a signature that another receiver trusts."""
    activities = NoticeActivities(store, NotifySettings(keys=keys, loopback=True))
    await keep_address(store, REQUEST, receiver.url)
    (keys / "ops.hosts").write_text("hooks.example\n")
    assert "it is for hooks.example" in await refusal(activities, InvalidRequest)
    assert not receiver.requests
    (keys / "ops.hosts").write_text("hooks.example\n127.0.0.1\n")
    await tell(activities)
    assert len(receiver.requests) == 1


async def test_the_address_is_that_of_the_submission_and_goes_with_the_request(store: Store, keys: Path) -> None:
    """Whoever submits the same id again redirects nothing."""
    await keep_address(store, REQUEST, "https://hooks.example/in-the-address")
    await keep_address(store, REQUEST.model_copy(update={"nonce": "n2"}), "https://other.example")
    assert await address_of(store, "orders-7", "n1") == "https://hooks.example/in-the-address"
    await purge(store, "orders-7")
    assert [path async for path in store.list("requests")] == []
    said = await refusal(NoticeActivities(store, NotifySettings(keys=keys)), InvalidRequest)
    assert "was purged" in said


def test_a_nonce_leads_out_of_no_folder() -> None:
    for nonce in ("", "../x", "a/b"):
        with pytest.raises(InvalidRequest):
            notify_path("orders-7", nonce)


async def test_receivers_that_never_answer_leave_room_for_sending(store: Store, keys: Path, receiver: Receiver) -> None:
    """Beyond so many at once a delivery ends at once, to be tried again; afterwards there is room."""
    await keep_address(store, REQUEST, receiver.url)
    activities = NoticeActivities(store, NotifySettings(keys=keys, loopback=True))
    answer = asyncio.Event()
    all_there = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        if len(receiver.requests) == MOST_AT_ONCE:
            all_there.set()
        await answer.wait()
        return web.Response(status=204)

    receiver.answer = wait
    under_way = [asyncio.create_task(tell(activities)) for _ in range(MOST_AT_ONCE)]
    async with asyncio.timeout(10):
        await all_there.wait()
    assert "turn comes" in await refusal(activities, NotDelivered)
    answer.set()
    await asyncio.gather(*under_way)
    await tell(activities)
    assert len(receiver.requests) == MOST_AT_ONCE + 1


def test_the_names_of_keys(tmp_path: Path) -> None:
    for name in ("b.key", "a.key", "a.hosts", "readme"):
        (tmp_path / name).write_text(SECRET)
    assert Keys(tmp_path).names() == ["a", "b"]
    with pytest.raises(InvalidRequest, match="must be 1 to 128"):
        Keys(tmp_path).key("../a")
    with pytest.raises(InvalidRequest, match="none cannot be read"):
        Keys(tmp_path / "none").names()


@pytest.mark.parametrize("policy", [policies.NOTICE, policies.LAST_NOTICE])
def test_the_policies_give_an_attempt_the_time_that_a_delivery_may_take(policy: dict[str, object]) -> None:
    """The last state is tried for a day."""
    assert policy["start_to_close_timeout"].total_seconds() > WITHIN_S  # type: ignore[attr-defined]
    assert policy["retry_policy"].non_retryable_error_types == [InvalidRequest.__name__]  # type: ignore[attr-defined]
    assert policies.LAST_NOTICE["schedule_to_close_timeout"].total_seconds() == 86_400


@pytest.mark.parametrize(("secret", "known"), [(SECRET, True), ("another secret altogether", False)])
async def test_the_documents_receiver_takes_what_is_sent(
    store: Store, tmp_path: Path, secret: str, known: bool
) -> None:
    """The code of docs/notifications.md, as it stands there: each notice once, repeats and latecomers dropped, strangers refused."""
    text = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text(encoding="utf-8")
    said: list[tuple[str, str]] = []
    names: dict[str, Any] = {"print": lambda request, event, counts: said.append((request, event))}
    for block in text.split("```python\n")[1:]:
        exec(block.partition("```")[0], names)
    names["KEYS"]["ops"] = SECRET.encode()
    (tmp_path / "ops.key").write_text(secret + "\n")
    quiet = type("Quiet", (names["Receiver"],), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            await keep_address(store, REQUEST, f"http://127.0.0.1:{server.server_port}/")
            activities = NoticeActivities(store, NotifySettings(keys=tmp_path, loopback=True))
            for sequence in (3, 3, 2, 4):
                notice = ORDER.notice.model_copy(update={"sequence": sequence, "id": f"e{sequence}"})
                order = ORDER.model_copy(update={"notice": notice})
                if known:
                    await tell(activities, order)
                else:
                    with pytest.raises(ApplicationError, match="401"):
                        await tell(activities, order)
        finally:
            await asyncio.to_thread(server.shutdown)
    assert said == [("orders-7", "paused")] * (2 if known else 0)
    assert names["last"] == ({"orders-7": 4} if known else {})
