"""What `headgate bridge` is made of, by its settings and flags; what it says; and how its process ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

from activities.store import Store
from headgate import senders
from headgate.databases import EXAMPLE
from headgate.errors import InvalidRequest
from starter.bridge import Bridge, Pace
from starter.carrying import Carrier
from starter.connection import connect
from starter.leftover_uploads import removing_leftover_uploads
from starter.surroundings import Surroundings
from worker import Line, log_to_stderr

#: Rows wait where Temporal does not answer: a short try is enough.
CONNECT_WITHIN_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The flags."""

    at_once: int
    poll_s: float
    sweep_s: float
    once: bool = False
    as_json: bool = False


class JsonLine(Line):
    """The same line as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {"at": at, "level": record.levelname, "message": record.getMessage(), **self.facts(record)}
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str, ensure_ascii=False)


async def bridge(surroundings: Surroundings, wishes: Wishes) -> None:
    """Carries rows until the end is asked for, or once. Raises InvalidRequest without an inbox, Unreachable for `once` alone."""
    settings = surroundings.settings
    if settings.inbox is None:
        raise InvalidRequest(f"HEADGATE_INBOX_URL is not set: name the database of the front door, like {EXAMPLE}")
    log_to_stderr(JsonLine() if wishes.as_json else Line())
    reach = partial(
        connect, within_s=CONNECT_WITHIN_S, identity=senders.worker("bridge", os.getpid(), socket.gethostname())
    )
    made = Bridge(
        settings.inbox,
        Carrier(reach, Store.open(settings.store), fences=settings.fences),
        Pace(at_once=wishes.at_once, poll_s=wishes.poll_s, sweep_s=wishes.sweep_s),
    )
    facts = {key: value for key, value in asdict(wishes).items() if key != "as_json"}
    logging.getLogger("headgate.bridge").info("Bridge started", extra={"inbox": settings.inbox.location, **facts})
    async with nullcontext() if wishes.once else removing_leftover_uploads(settings, wishes.sweep_s):
        await until_told(made, once=wishes.once)
    logging.getLogger("headgate.bridge").info("Bridge ended", extra=dict(made.counts))
    if wishes.once and wishes.as_json:
        surroundings.answer(dict(made.counts))


async def until_told(bridge: Bridge, *, once: bool) -> None:
    """The bridge's work, in a process that SIGTERM or SIGINT end in good order, and a second SIGINT at once."""
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(bridge.drain() if once else bridge.run())
    interrupts = 0

    def interrupted() -> None:
        nonlocal interrupts
        interrupts += 1
        bridge.end()
        if interrupts > 1:
            work.cancel()

    loop.add_signal_handler(signal.SIGTERM, bridge.end)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        with suppress(asyncio.CancelledError):  # what was under way is undone, and done again by whoever comes next
            await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
