"""Ports for processes that are killed and started again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from starter.devserver import claim
from starter.temporal_cli import ServerUnavailable

LOWEST: Final = 10_000
#: Where the kernel does not say: connections get their ports from here on (Linux' default; RFC 6335 has 49152).
EPHEMERAL_FROM: Final = 32_768
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def lasting(what: str, count: int) -> int:
    """The first of `count` free ports in a row, of those that the kernel gives to no connection.

    Of the others a connection may take one while its owner is away; then it cannot be had before that one is gone, and for a
    minute after.
    """
    below = ephemeral_from()
    while True:
        first = random.randrange(LOWEST, below - count)
        try:
            for port in range(first, first + count):
                claim(what, port)
        except ServerUnavailable:
            continue
        return first


def ephemeral_from() -> int:
    """The lowest port that a connection may get by itself."""
    return int(_RANGE.read_text().split()[0]) if _RANGE.exists() else EPHEMERAL_FROM
