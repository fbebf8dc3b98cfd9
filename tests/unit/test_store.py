"""The store keeps its three promises on a local folder and in memory."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from activities.lines import BOM, LineSplitter
from activities.store import Store
from headgate.errors import InvalidRequest, Unreachable


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open("memory://" if request.param == "memory" else str(tmp_path / "a store"))


async def test_put_new_has_one_winner(store: Store) -> None:
    """Of many writers at once exactly one stores the object, and everybody reads its bytes."""
    payloads = [b"%d" % number * 1000 for number in range(20)]
    won = await asyncio.gather(*(store.put_new("a/b", payload) for payload in payloads))
    assert sum(won) == 1
    assert await store.get("a/b") == payloads[won.index(True)]
    assert not await store.put_new("a/b", b"late")


async def test_put_replaces_and_get_finds(store: Store) -> None:
    """What is not there is None; what was replaced is gone."""
    assert await store.get("x") is None
    assert not await store.exists("x")
    await store.put("x", b"one")
    await store.put("x", b"two words")
    assert await store.get("x") == b"two words"
    assert await store.get_range("x", 4, 100) == b"words"
    assert await store.get_range("x", 4, 0) == b""
    assert await store.get_range("y", 0, 1) is None
    assert await store.exists("x")
    await store.delete("x")
    await store.delete("x")
    assert await store.get("x") is None


@pytest.mark.parametrize("sizes", [[], [0], [5], [3_000_000, 3_000_000, 1], [100] * 60_000])
async def test_put_stream_measures_what_it_stores(store: Store, sizes: list[int]) -> None:
    """The digest and the count are those of the stored bytes, for small and for large streams, sync and async."""
    whole = b"".join(b"%d" % (size % 7) * size for size in sizes)

    async def blocks() -> AsyncIterator[bytes]:
        for size in sizes:
            yield b"%d" % (size % 7) * size

    expected = (hashlib.sha256(whole).hexdigest(), len(whole))
    assert await store.put_stream("s", blocks()) == expected
    assert await store.put_stream("t", [b"%d" % (size % 7) * size for size in sizes]) == expected
    assert await store.get("s") == whole
    assert await store.get("t") == whole


@pytest.mark.parametrize("size", [10, 9_000_000])
async def test_a_stream_that_breaks_leaves_what_was_there(store: Store, size: int) -> None:
    """An error out of the source is the caller's, and the old object stays."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * size
        raise RuntimeError("the source broke")

    await store.put("s", b"old")
    with pytest.raises(RuntimeError, match="the source broke"):
        await store.put_stream("s", broken())
    assert await store.get("s") == b"old"
    assert [path async for path in store.list("")] == ["s"]


async def test_list_is_in_the_order_of_names(store: Store) -> None:
    """Folders and objects come out in one order, and only those below the prefix."""
    paths = ["a/0/2", "a/0/10", "a/00", "a/1/1", "a/b", "ab/1"]
    for path in reversed(paths):
        await store.put(path, b"")
    assert [path async for path in store.list("a")] == ["a/0/10", "a/0/2", "a/00", "a/1/1", "a/b"]
    assert [path async for path in store.list("none")] == []


async def test_lines_are_streamed_with_a_limit(store: Store) -> None:
    """Lines come without endings; a byte order mark goes; a line beyond the limit is None; the next one is whole."""
    await store.put("l", b"\xef\xbb\xbfone\r\n\n" + b"x" * 3_000_000 + b"\nlast")
    assert [line async for line in store.open_lines("l", limit=1000)] == [b"one", b"", None, b"last"]
    with pytest.raises(FileNotFoundError):
        [line async for line in store.open_lines("missing")]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_how_blocks_are_cut_does_not_matter(step: int) -> None:
    """The same lines come out whatever the blocks are."""
    text = b"\xef\xbb\xbfab\r\n12345\n123456\n1234567\n\xef\xbb\xbfx\n\n1234567890123\r\n12345\r"
    splitter = LineSplitter(limit=5)
    lines = [line for start in range(0, len(text), step) for line in splitter.feed(text[start : start + step])]
    assert lines + splitter.finish() == [b"ab", b"12345", None, None, BOM + b"x", b"", None, b"12345"]


def test_a_long_last_line_is_reported() -> None:
    """A line beyond the limit is None at the end of the input too."""
    splitter = LineSplitter(limit=3)
    assert splitter.feed(b"12345") == []
    assert splitter.feed(b"6") == []
    assert splitter.finish() == [None]
    assert LineSplitter().finish() == []


def test_places_that_cannot_be_a_store_are_refused(tmp_path: Path) -> None:
    """The error says what to set; nothing of a URL's credentials is repeated."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreachable, match="Set HEADGATE_STORE to a folder"):
        Store.open(str(tmp_path / "file" / "below"))
    with pytest.raises(InvalidRequest, match="kind 'ftp'"):
        Store.open("ftp://somewhere/x")
    assert "secret" not in repr(Store.open("s3://key:secret@bucket/below?token=secret&region=us-east-1"))


def test_a_file_url_names_a_folder(tmp_path: Path) -> None:
    """A path and its `file://` URL are the same store, with spaces as well."""
    folder = tmp_path / "a b%"
    assert Store.open(folder.as_uri()).location == str(folder)
    assert folder.is_dir()


async def test_a_store_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is typed, names the store and gives away no key."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDSECRET",
        "AWS_SECRET_ACCESS_KEY": "verysecret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    store = Store.open("s3://bucket/below")
    with pytest.raises(Unreachable, match=r"The store s3://bucket/below cannot be reached") as caught:
        await store.get("x")
    assert "SECRET" not in str(caught.value).upper()


async def test_a_folder_that_cannot_be_written_to_is_unreachable(tmp_path: Path) -> None:
    """What is in the way of an object is told as the store's trouble."""
    store = Store.open(str(tmp_path))
    (tmp_path / "a").write_text("a file where a folder has to be")
    with pytest.raises(Unreachable, match="Check HEADGATE_STORE"):
        await store.put_new("a/b", b"x")


_WRITER = """
import asyncio, sys
from activities.store import Store

async def main() -> None:
    store = Store.open(sys.argv[1])
    number = 0
    print("ready", flush=True)
    while True:
        await store.put_new(f"new/{number:06d}", b"n" * 400_000)
        await store.put("replaced", b"%d" % (number % 10) * 400_000)
        await store.put_stream("streamed", [b"%d" % (number % 10) * 400_000] * 20)
        number += 1

asyncio.run(main())
"""


def test_kill_9_in_the_middle_of_a_put_leaves_no_half_object(tmp_path: Path) -> None:
    """Whatever moment a writer is killed at, every object that can be seen is whole."""
    store = Store.open(str(tmp_path))
    for wait in (0.01, 0.05, 0.11):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": "."},
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(wait)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        asyncio.run(_every_object_is_whole(store))
    assert asyncio.run(store.put_new("new/999999", b"works on"))


async def _every_object_is_whole(store: Store) -> None:
    async for path in store.list(""):
        found = await store.get(path)
        assert found is not None
        assert len(found) == (8_000_000 if path == "streamed" else 400_000)
        assert len(set(found)) == 1
