"""The store: input, plans, frozen bodies and results as objects in a local folder or a bucket.

What holds, for every kind of store:

1. An object appears whole or not at all. A local write goes to a staging file (`<name>#1`, never listed) and is then linked
   or renamed into place, so a process killed in the middle leaves nothing that a reader could see.
2. `put_new` has one winner. Who loses, or cannot tell because an answer was lost, hears False and reads what is stored.
3. A store that cannot be reached raises `Unreachable`, with a sentence that names the store, never its credentials.

A power cut is not covered on a local folder: the operating system is not asked to flush.
"""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, MemoryStore, from_url

from activities.lines import LINE_LIMIT, split_lines
from activities.streams import joined
from headgate.errors import InvalidRequest, Unreachable

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

BLOCK_BYTES: Final = 1024 * 1024
#: Up to this size a stream is put in one piece, which buckets do best.
_ONE_PIECE_BYTES: Final = 5 * 1024 * 1024
#: Short: a longer outage is waited out by the activity's retry policy, where people can see it.
_RETRIES: Final[RetryConfig] = {"max_retries": 4, "retry_timeout": timedelta(seconds=20)}
#: Paths that are file names as they are.
_PLAIN_PATH: Final = re.compile(r"[a-z0-9]+(/[a-z0-9]+)*")
_SCHEMES: Final = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss")


class Entry(NamedTuple):
    """One object: its size in bytes, and when it was last written (seconds since 1970, the store's clock)."""

    path: str
    size: int
    modified_s: float


class Store:
    """One place for objects; `location` names it without credentials."""

    def __init__(
        self, backend: ObjectStore, location: str, folder: Path | None = None, setting: str = "HEADGATE_STORE"
    ) -> None:
        self._backend = backend
        self._setting = setting
        self._folder = folder
        self.location = location

    @classmethod
    def open(cls, location: str, bucket: Mapping[str, str] | None = None, setting: str = "HEADGATE_STORE") -> Self:
        """The store at a path, a `file://` URL, a bucket's URL or, for tests, `memory://`.

        `bucket` are settings of a bucket that has its own, by obstore's names; `setting` is what names the store.
        """
        parts = urlsplit(location)
        if parts.scheme == "memory":
            return cls(MemoryStore(), location)
        if parts.scheme in _SCHEMES:
            shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
            try:
                return cls(from_url(location, retry_config=_RETRIES, **_settings(bucket)), shown, setting=setting)
            except (BaseError, ValueError) as error:
                raise InvalidRequest(
                    f"The store {shown} cannot be used: {_first_line(error)}. Check {setting} and the bucket's own settings."
                ) from None
        if parts.scheme == "file":
            return cls._open_folder(Path(unquote(parts.path)), setting)
        if "://" in location:
            raise InvalidRequest(
                f"A store cannot be of the kind {parts.scheme!r}: set {setting} to a folder, or to a URL with s3://, gs:// or az://."
            )
        return cls._open_folder(Path(location).expanduser(), setting)

    @classmethod
    def _open_folder(cls, folder: Path, setting: str) -> Self:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(folder.resolve()), str(folder), folder.resolve(), setting)
        except (BaseError, OSError) as error:
            raise Unreachable(
                f"The folder {folder} cannot be used as a store: {_first_line(error)}. Set {setting} to a folder that you can write to."
            ) from None

    def __repr__(self) -> str:
        return f"Store({self.location!r})"

    def shown(self, path: str) -> str:
        """Where an object or a folder lies, for people elsewhere: whose machine has the store's folder is not theirs to know."""
        return path if self._folder is not None else f"{self.location.rstrip('/')}/{path}"

    async def put_new(self, path: str, payload: bytes) -> bool:
        """True if this call stored the object; False, and nothing changes, if there was one already."""
        with self._reaching():
            try:
                await obstore.put_async(self._backend, path, payload, mode="create")
            except AlreadyExistsError:
                return False
        return True

    async def put(self, path: str, payload: bytes) -> None:
        """The object is this payload; readers see the old one or the new one, whole."""
        with self._reaching():
            await obstore.put_async(self._backend, path, payload, use_multipart=False)

    async def put_stream(self, path: str, blocks: AsyncIterable[bytes] | Iterable[bytes]) -> tuple[str, int]:
        """The object is the blocks joined, replaced as a whole at the end; returns its SHA-256 in hexadecimal and its size.

        An error out of `blocks` leaves what was there before.
        """
        digest = hashlib.sha256()
        size = 0

        async def measured(rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal size
            async for block in rest:
                digest.update(block)
                size += len(block)
                yield block

        pieces = measured(joined(blocks, BLOCK_BYTES))
        head = []
        async for block in pieces:
            head.append(block)
            if size > _ONE_PIECE_BYTES:
                with self._reaching():
                    await obstore.put_async(self._backend, path, _followed(head, pieces), max_concurrency=4)
                return digest.hexdigest(), size
        await self.put(path, b"".join(head))
        return digest.hexdigest(), size

    async def get(self, path: str) -> bytes | None:
        """The whole object, or None if there is none."""
        with self._reaching():
            try:
                found = await obstore.get_async(self._backend, path)
                return bytes(await found.bytes_async())
            except FileNotFoundError:
                return None

    async def get_range(self, path: str, start: int, length: int) -> bytes | None:
        """Up to `length` bytes of the object from `start`, fewer where it ends; None if there is no object."""
        if length <= 0:
            return b""
        with self._reaching():
            try:
                return bytes(await obstore.get_range_async(self._backend, path, start=start, length=length))
            except FileNotFoundError:
                return None

    async def exists(self, path: str) -> bool:
        """Whether there is such an object.

        A folder is asked directly: every write asks, and a thread for each would cost ten times as much.
        """
        with self._reaching():
            if self._folder is not None and _PLAIN_PATH.fullmatch(path):
                return (self._folder / path).is_file()
            try:
                await obstore.head_async(self._backend, path)
            except FileNotFoundError:
                return False
        return True

    async def size(self, path: str) -> int | None:
        """How many bytes the object has, or None if there is none."""
        with self._reaching():
            try:
                return (await obstore.head_async(self._backend, path))["size"]
            except FileNotFoundError:
                return None

    async def open_blocks(self, path: str) -> AsyncGenerator[bytes, None]:
        """The object in blocks of about a mebibyte; raises FileNotFoundError if there is none."""
        with self._reaching():
            try:
                found = await obstore.get_async(self._backend, path)
            except FileNotFoundError:
                found = None
            if found is not None:
                async for block in found.stream(min_chunk_size=BLOCK_BYTES):
                    yield bytes(block)
                return
        raise FileNotFoundError(path)

    def open_lines(self, path: str, limit: int = LINE_LIMIT) -> AsyncIterator[bytes | None]:
        """The lines of the object without their endings, a line beyond `limit` bytes as None; FileNotFoundError as above."""
        return split_lines(self.open_blocks(path), limit)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """The paths below a folder in the order of their names, however the store orders them; one folder in memory at a time."""
        with self._reaching():
            found = await obstore.list_with_delimiter_async(self._backend, prefix)
        files = [entry["path"] for entry in found["objects"]]
        folders = [f"{folder}/" for folder in found["common_prefixes"]]
        for path in sorted(files + folders):
            if not path.endswith("/"):
                yield path
                continue
            async for below in self.list(path.removesuffix("/")):
                yield below

    async def folders(self, prefix: str) -> builtins.list[str]:
        """The names of the folders right below a folder, in order."""
        with self._reaching():
            found = await obstore.list_with_delimiter_async(self._backend, prefix)
        return sorted(below.rstrip("/").rpartition("/")[2] for below in found["common_prefixes"])

    async def contents(self, prefix: str) -> AsyncIterator[Entry]:
        """Every object below a folder, in any order."""
        with self._reaching():
            async for some in obstore.list(self._backend, prefix):
                for entry in some:
                    yield Entry(entry["path"], entry["size"], entry["last_modified"].timestamp())

    async def delete_folder(self, prefix: str) -> None:
        """There is no object below this folder any more, nor, on a local disk, the folder itself."""
        with self._reaching():
            async for some in obstore.list(self._backend, prefix):
                await obstore.delete_async(self._backend, [entry["path"] for entry in some])
            if isinstance(self._backend, LocalStore) and self._backend.prefix is not None:
                await asyncio.to_thread(shutil.rmtree, Path(self._backend.prefix, prefix), ignore_errors=True)

    async def delete(self, path: str) -> None:
        """There is no such object, whether there was one or not."""
        with self._reaching():
            try:
                await obstore.delete_async(self._backend, path)
            except FileNotFoundError:
                return

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise Unreachable(
                f"The store {self.location} cannot be reached: {_first_line(error)}. "
                f"Check {self._setting}, the network and the permissions; what is under way goes on when it answers."
            ) from None  # the original may carry a signed URL


def _settings(bucket: Mapping[str, str] | None) -> dict[str, Any]:
    """A bucket on this machine may be spoken to without TLS: what it is reached by was checked before."""
    if not bucket:
        return {}
    plain = bucket.get("aws_endpoint", "").startswith("http://")
    return {"config": dict(bucket), "client_options": {"allow_http": plain}}


def _first_line(error: Exception) -> str:
    """The first line of an error, without what follows a URL's question mark (which may hold a signature), and bounded."""
    line = str(error).partition("\n")[0] or type(error).__name__
    return " ".join(word.partition("?")[0] for word in line.split())[:300].rstrip(".")


async def _followed(head: Iterable[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for block in head:
        yield block
    async for block in rest:
        yield block
