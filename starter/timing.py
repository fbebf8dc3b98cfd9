"""When a request is to begin, as people say it: `--start-at`, `--every`, `--overlap`, `--time-zone`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from headgate.errors import InvalidRequest
from headgate.schedules import LAST_YEAR, Overlap, Timing, repetition

StartAt = Annotated[
    str | None,
    typer.Option(
        metavar="INSTANT",
        help="Begin then and not now: ISO 8601, such as 2030-03-17T06:00 (local time, or that of --time-zone) or 2030-03-17T05:00Z.",
    ),
]
Every = Annotated[
    str | None,
    typer.Option(
        metavar="SPAN|CRON",
        help="Again and again: 30min, 6h, 1d, 1h30min, or cron as '0 6 * * 1-5'. With --start-at not before then.",
    ),
]
ItsOverlap = Annotated[
    Overlap | None,
    typer.Option(
        help="With --every, if one is due while the one before it still runs. skip (default): it is left out; "
        "buffer-one: one waits for its end; allow-all: both run.",
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a cron expression (default UTC) and of --start-at: Europe/Zurich, for one."),
]


def timing(
    start_at: str | datetime | None,
    every: str | timedelta | None,
    overlap: Overlap | None = None,
    time_zone: str | None = None,
) -> Timing | None:
    """What these options mean together; None for a request that begins at once. Whether it is past is not looked at here."""
    if start_at is None and every is None:
        if overlap is not None or time_zone is not None:
            raise InvalidRequest("--overlap and --time-zone are for schedules: add --every or --start-at")
        return None
    if every is None and overlap is not None:
        raise InvalidRequest("--overlap is for what is repeated: add --every, or leave it out")
    every_s, cron = _repetition(every) if every is not None else (0, "")
    zone = None if time_zone is None else _zone(time_zone)
    if zone is not None and start_at is None and not cron:
        raise InvalidRequest("--time-zone is for a cron expression or --start-at: a span counts in UTC")
    return Timing(
        at_s=0 if start_at is None else _seconds(start_at, zone),
        every_s=every_s,
        cron=cron,
        zone=time_zone if time_zone and cron else "UTC",
        overlap=overlap or "skip",
    )


def _repetition(every: str | timedelta) -> tuple[int, str]:
    if isinstance(every, str):
        return repetition(every)
    if every % timedelta(seconds=1):
        raise InvalidRequest(f"--every {every} must be of whole seconds")
    return repetition(f"{every // timedelta(seconds=1)}s")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest(
            f"--time-zone {name[:80]!r} is not known here: name one such as Europe/Zurich or UTC"
        ) from None


def _seconds(said: str | datetime, zone: tzinfo | None) -> int:
    """Seconds since 1970, up to the next whole one; without a zone of its own an instant is in `zone`, else in local time."""
    try:
        at = datetime.fromisoformat(said) if isinstance(said, str) else said
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"--start-at {str(said)[:80]!r} is no instant: write it in ISO 8601, such as 2030-03-17T06:00 or 2030-03-17T05:00Z"
        ) from None
    if not 1970 < at.year <= LAST_YEAR:
        raise InvalidRequest(f"--start-at {said} must be before the year {LAST_YEAR + 1}, and not past")
    return -int(-at.timestamp() // 1)
