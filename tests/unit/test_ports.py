"""A process that is killed gets its port again when it is started anew."""

from __future__ import annotations

import random
import socket

import pytest

from benchmarks import ports


def test_no_connection_is_given_a_port_that_lasts() -> None:
    first = ports.lasting("port", 3)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as connection:
        given = connection.getsockname()[1]
    assert first + 3 <= ports.ephemeral_from() <= given


def test_all_in_a_row_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = ports.lasting("port", 5)
    places = iter([free, free + 2])
    monkeypatch.setattr(random, "randrange", lambda low, high: next(places))
    with socket.create_server(("127.0.0.1", free + 1)):
        assert ports.lasting("port", 3) == free + 2
