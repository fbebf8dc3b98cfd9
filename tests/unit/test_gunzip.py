"""Gzip is recognised by its bytes, unpacked with bounded memory, and taken whole or not at all; `gzip` is the judge."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.errors import InvalidRequest
from headgate.gunzip import MAGIC, MOST_AT_ONCE, unpacked


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The data in blocks of these sizes, repeated; an empty block is one, too."""
    at = number = 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        number += 1
        yield data[at : at + size]
        at += size


CUTS = st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), CUTS, st.integers(0, 9))
def test_members_come_back_joined_however_the_blocks_are_cut(
    parts: list[bytes], sizes: list[int], padding: int
) -> None:
    packed = b"".join(map(gzip.compress, parts)) + b"\0" * padding
    assert b"".join(unpacked(cut(packed, sizes), "x")) == b"".join(parts) == gzip.decompress(packed)


@given(st.binary(max_size=100).filter(lambda data: not data.startswith(MAGIC)), CUTS)
def test_anything_else_passes_through(data: bytes, sizes: list[int]) -> None:
    assert b"".join(unpacked(cut(data, sizes), "x")) == data


@given(st.binary(min_size=1, max_size=200), st.data())
def test_what_is_cut_off_is_refused(data: bytes, draw: st.DataObject) -> None:
    packed = gzip.compress(data)
    kept = draw.draw(st.integers(len(MAGIC), len(packed) - 1))
    with pytest.raises(InvalidRequest, match=r"^orders\.gz is gzip that is cut off after [\d,]+ unpacked bytes"):
        list(unpacked([packed[:kept]], "orders.gz"))


@pytest.mark.parametrize("place", [3, 12, -6, -2])
def test_what_is_damaged_is_refused(place: int) -> None:
    packed = bytearray(gzip.compress(b"some text " * 50))
    packed[place] ^= 0xFF
    with pytest.raises(InvalidRequest, match=r"^x is (damaged gzip|gzip that is cut off)"):
        list(unpacked([bytes(packed)], "x"))


def test_what_follows_is_not_passed_over() -> None:
    with pytest.raises(InvalidRequest, match="damaged"):
        list(unpacked([gzip.compress(b"a") + b"junk"], "x"))


def test_a_bomb_takes_no_memory() -> None:
    packed = gzip.compress(b"\0" * 200_000_000, 9)
    tracemalloc.start()
    sizes = [len(block) for block in unpacked([packed], "x")]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) == 200_000_000
    assert max(sizes) <= MOST_AT_ONCE
    assert most < 8 * MOST_AT_ONCE
