"""What a bridge looks after now and then: requests that are open in the database and over in Temporal, and a clock that stepped."""

from __future__ import annotations

from typing import Final

import psycopg

from headgate.databases import Database
from headgate.errors import Unreachable
from headgate.inbox_outcomes import LONGEST_PAUSE_S
from starter.bridge_log import log
from starter.carrying import Carrier
from starter.inbox import Inbox

#: Requests that are looked at in one go.
PAGE: Final = 200


async def sweep(database: Database, carrier: Carrier, stale_s: float, last: str = "") -> str:
    """A page of requests of which nothing was heard for so long (s), from behind the id `last`; those that are over are ended.

    Rows that wait longer than any pause are made due as well.

    Returns where the next page goes on (`""`: at the beginning). Raises psycopg's errors, OSError and Unreachable.
    """
    inbox = await Inbox.open(database)
    try:
        if hurried := await inbox.hurry(2 * LONGEST_PAUSE_S):
            log.warning("The database's clock was set back", extra={"rows": hurried})
        ids = await inbox.stale(stale_s, last, PAGE)
        for request_id in ids:
            try:
                how = await carrier.ended(request_id)
                if how is not None and await inbox.end_stale(request_id, stale_s, how):
                    facts = {"request": request_id, "status": how.status, "why": how.why}
                    log.warning("Request ended", extra=facts)
            except (psycopg.Error, OSError, Unreachable):
                raise
            except Exception:  # one that cannot be read keeps none of the others
                log.exception("Request cannot be looked at", extra={"request": request_id})
    finally:
        await inbox.close()
    return ids[-1] if len(ids) == PAGE else ""
