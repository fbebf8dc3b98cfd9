"""Who is told what becomes of a request: the address and the key of `--notify`, checked before anything is stored."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Final

import httpx
import typer

from activities.keys import Keys
from activities.webhook import is_public, literal_address
from headgate.errors import InvalidRequest
from headgate.messages.words import NAME_PATTERN
from headgate.settings import NotifySettings, check_webhook, is_loopback

DEFAULT_KEY: Final = "default"
LONGEST_ADDRESS: Final = 2048

Notify = Annotated[
    str,
    typer.Option(
        metavar="URL",
        help="Tell this https address when it has started, is paused, resumed, over, or has its first failed operation.",
    ),
]
NotifyKey = Annotated[
    str,
    typer.Option(metavar="NAME", help=f"The key that signs it, one of the worker's; {DEFAULT_KEY!r} if missing."),
]


@dataclass(frozen=True, slots=True)
class Receiver:
    """An address that may be told, and the name of the key that signs."""

    url: str = field(repr=False)
    key: str


def receiver(url: str, key: str, settings: NotifySettings) -> Receiver | None:
    """Who is to be told; None: nobody. Raises `InvalidRequest` for what can never be delivered to, without a look-up.

    Where the keys are in reach, so must the one that is named be; otherwise the worker looks for it.
    """
    if not url:
        if key:
            raise InvalidRequest("--notify-key says who signs: add --notify URL, or leave it out")
        return None
    check_webhook(url, loopback=settings.loopback, name="--notify", flag="HEADGATE_NOTIFY_LOOPBACK")
    if len(url) > LONGEST_ADDRESS:
        raise InvalidRequest(f"--notify has more than {LONGEST_ADDRESS} characters: take a shorter address")
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        raise InvalidRequest("--notify cannot be used: take out what no address may hold") from None
    address = literal_address(host)
    if address is not None and not is_public(address) and not (settings.loopback and is_loopback(host)):
        raise InvalidRequest("--notify names an address that is not public: nothing would ever be sent there")
    name = key or DEFAULT_KEY
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRequest(f"--notify-key {name[:140]!r} must be 1 to 128 of A-Z a-z 0-9 _ . @ -")
    if settings.keys is not None:
        keys = Keys(settings.keys)
        known = keys.names()
        if name not in known:
            raise InvalidRequest(f"there is no key {name!r} to sign with; there are: {', '.join(known) or 'none'}")
        keys.check_host(name, url)
    return Receiver(url, name)
