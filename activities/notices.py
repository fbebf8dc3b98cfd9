"""Telling the receiver of a bulk request: a signed webhook, whose address comes from the store and whose key from a folder.

Suggested policies: `workflows.policies.NOTICE` and `LAST_NOTICE`. Repeating is theirs; every delivery of a notice carries its
id, so that the receiver can drop repeats.

1. The address is in no payload, log or error: it may hold a secret of the receiver's. It goes when the request is purged.
2. What the worker lacks (a key, a turn) is mended or passes, so it is tried again; where nothing may be sent is not.
3. At most `MOST_AT_ONCE` deliveries are under way in a process: receivers that never answer leave its room to sending.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.keys import Keys
from activities.layout import notify_path
from activities.store import Store
from activities.webhook import Key, Webhook
from headgate.errors import InvalidRequest, NotDelivered
from headgate.messages.notices import TellNotice
from headgate.messages.requests import BulkRequest
from headgate.progress import instant
from headgate.settings import NotifySettings, check_webhook

MOST_AT_ONCE: Final = 50


async def keep_address(store: Store, request: BulkRequest, url: str) -> None:
    """The request's receiver is known, before the request is."""
    await store.put(notify_path(request.id, request.nonce), url.encode())


async def address_of(store: Store, request_id: str, nonce: str) -> str | None:
    """Who is told of the request; None once it was purged."""
    found = await store.get(notify_path(request_id, nonce))
    return None if found is None else found.decode()


@dataclass
class NoticeActivities:
    """Dependencies: the store, and the keys. `webhook` makes what delivers; one TLS context serves them all."""

    store: Store
    settings: NotifySettings
    webhook: Callable[..., Webhook] = Webhook
    _tls: ssl.SSLContext = field(default_factory=httpx.create_ssl_context, repr=False)
    _under_way: int = 0

    @activity.defn
    async def notify(self, order: TellNotice) -> None:
        """Tell of one notice; fails with `NotDelivered` for another attempt, `InvalidRequest` where none would do better.

        A receiver that is away is its own affair: such an attempt is no warning in the worker's log.
        """
        try:
            await self._deliver_in_turn(order)
        except NotDelivered as error:
            benign = ApplicationErrorCategory.BENIGN
            raise ApplicationError(str(error), type=type(error).__name__, category=benign) from None

    async def _deliver_in_turn(self, order: TellNotice) -> None:
        if self._under_way >= MOST_AT_ONCE:
            raise NotDelivered("other receivers are being told just now: this one's turn comes")
        self._under_way += 1
        try:
            await self._deliver(order)
        finally:
            self._under_way -= 1

    async def _deliver(self, order: TellNotice) -> None:
        url = await address_of(self.store, order.request_id, order.nonce)
        if url is None:
            raise InvalidRequest("the store has no address to tell any more: the request was purged")
        check_webhook(url, loopback=self.settings.loopback, name="--notify", flag="HEADGATE_NOTIFY_LOOPBACK")
        key = await asyncio.to_thread(self._key, order.key, url)
        webhook = self.webhook(url, key, self.settings.loopback, tls=self._tls)
        await webhook.deliver(order.notice.id, document(order))

    def _key(self, name: str, url: str) -> Key:
        if self.settings.keys is None:
            raise NotDelivered("this worker has no keys to sign with: set HEADGATE_NOTIFY_KEYS for every worker")
        keys = Keys(self.settings.keys)
        try:
            key = keys.key(name)
        except InvalidRequest as error:  # somebody will put the key there
            raise NotDelivered(str(error)) from None
        keys.check_host(name, url)
        return key


def document(order: TellNotice) -> bytes:
    """The JSON that a receiver gets; the instant in ISO 8601 and UTC, since few readers keep integers beyond 2^53."""
    notice = order.notice
    said = {
        "type": "headgate.request",
        **notice.model_dump(exclude={"at_ns"}),
        "request": order.request_id,
        "project": order.project,
        "owner": order.owner,
        "at": instant(notice.at_ns),
    }
    return json.dumps(said, ensure_ascii=False).encode()
