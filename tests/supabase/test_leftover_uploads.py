"""Leftover uploads go from their bucket by its S3 form, while a bridge runs; all other files stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg
import pytest
from aiohttp import web

from activities.store import Store
from headgate.errors import Unreachable
from headgate.settings import Settings
from starter import leftover_uploads
from starter.leftover_uploads import LeftoverUploads
from tests.eventually import eventually
from tests.supabase.front_door import FrontDoor
from tests.supabase.platform import s3
from tests.supabase.platform.storage import Storage

KEYS = s3.Keys("tests", "a secret of the bucket")
CONTENT = b"12345"


@dataclass(frozen=True)
class Bucket:
    """The uploads of one front door: rows and files."""

    door: FrontDoor
    storage: Storage
    environ: dict[str, str]

    async def announced(self, content: bytes = CONTENT, then: str = "") -> str:
        """The path of a request's file that has come, and what its row says `then` (SQL)."""
        request_id = await self.door.upload(CONTENT)
        path = f"{self.door.organisation}/{request_id}"
        await self.door.sql(
            "update storage.objects set metadata = jsonb_build_object('size', %s::int) where name = %s",
            len(content),
            path,
        )
        self.put(path, content)
        if then:
            await self.door.sql(f"update public.bulk_requests set {then} where id = %s", request_id)
        return path

    def put(self, path: str, content: bytes = CONTENT) -> None:
        """A file, without a row."""
        file = self.storage._path("inputs", path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    async def lies(self, path: str) -> tuple[bool, bool]:
        """Whether there is a file, and whether a row."""
        rows = await self.door.sql("select name from storage.objects where name = %s", path)
        return self.storage.content("inputs", path) is not None, bool(rows)

    def store(self, **environ: str) -> Store:
        uploads = Settings.from_environ({**self.environ, **environ}).uploads
        assert uploads is not None
        return Store.open(uploads.location, uploads.bucket, "HEADGATE_UPLOADS")

    def leftovers(self, **environ: str) -> LeftoverUploads:
        return LeftoverUploads(self.door.inbox, self.store(**environ))


@pytest.fixture
async def bucket(door: FrontDoor, tmp_path: Path) -> AsyncIterator[Bucket]:
    storage = Storage(door.database.url("supabase_admin"), tmp_path / "storage", [], KEYS)
    app = web.Application()
    app.router.add_routes(storage.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    environ = {
        "HEADGATE_UPLOADS": "s3://inputs",
        "HEADGATE_UPLOADS_ENDPOINT": f"http://127.0.0.1:{runner.addresses[0][1]}/storage/v1/s3",
        "HEADGATE_UPLOADS_KEY": KEYS.key_id,
        "HEADGATE_UPLOADS_SECRET": KEYS.secret,
        "HEADGATE_UPLOADS_REGION": KEYS.region,
    }
    yield Bucket(door, storage, environ)
    await runner.cleanup()


LONG_OVER = "status = 'failed', finished_at = now() - interval '2 days'"


async def test_a_bridge_removes_what_nobody_needs_and_nothing_else(bucket: Bucket) -> None:
    """Also where Temporal is away: nothing of it is needed for that."""
    gone = f"{bucket.door.organisation}/gone"
    await bucket.door.sql(
        "insert into storage.objects (bucket_id, name, created_at) values ('inputs', %s, now() - interval '2 days')",
        gone,
    )
    bucket.put(gone)
    longer = await bucket.announced(CONTENT * 2)
    left_over = {
        gone,
        longer,
        *[
            await bucket.announced(then=LONG_OVER.replace("failed", over))
            for over in ("completed", "cancelled", "failed")
        ],
    }
    needed = {
        await bucket.announced(),
        await bucket.announced(then="status = 'planning'"),
        await bucket.announced(then="status = 'cancelled', finished_at = now()"),
    }
    process = await bucket.door.bridge("127.0.0.1:1", "--sweep", "1", **bucket.environ)

    async def all_gone() -> bool:
        return not any([any(await bucket.lies(path)) for path in left_over])

    await eventually(all_gone, 30)
    assert await bucket.door.finished(process) == 0
    for path in needed:
        assert await bucket.lies(path) == (True, True)
    # The place is free again for the file that was declared.
    await bucket.door.sql(
        "insert into storage.objects (bucket_id, name, metadata) values ('inputs', %s, '{\"size\": 5}')", longer
    )
    request_id = longer.partition("/")[2]
    await bucket.door.command(request_id, "finalize")
    assert (await bucket.door.request(request_id))["status"] == "submitted"
    assert bucket.door.log.count("Upload removed") == len(left_over)
    assert KEYS.secret not in bucket.door.log


async def test_they_are_removed_a_page_at_a_time(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftover_uploads, "PAGE", 2)
    paths = sorted([await bucket.announced(then=LONG_OVER) for _ in range(5)])
    leftovers = bucket.leftovers()
    for removed, last in ((2, paths[1]), (4, paths[3]), (5, ""), (5, "")):
        await leftovers.remove()
        assert leftovers.last == last
        assert [(await bucket.lies(path)) for path in paths] == [(number >= removed,) * 2 for number in range(5)]


async def test_one_bridge_removes_at_a_time(bucket: Bucket) -> None:
    path = await bucket.announced(then=LONG_OVER)
    with psycopg.connect(bucket.door.url, autocommit=True) as other:
        other.execute(leftover_uploads._ALONE)
        await bucket.leftovers().remove()
        assert await bucket.lies(path) == (True, True)

    async def removed() -> bool:
        await bucket.leftovers().remove()
        return not any(await bucket.lies(path))

    await eventually(removed)


async def test_a_bucket_that_refuses_is_named_without_its_secret(bucket: Bucket) -> None:
    path = await bucket.announced(then=LONG_OVER)
    with pytest.raises(Unreachable, match="Check HEADGATE_UPLOADS") as refused:
        await bucket.leftovers(HEADGATE_UPLOADS_SECRET="another-secret").remove()
    assert "another-secret" not in str(refused.value)
    assert await bucket.lies(path) == (True, True)


@dataclass(frozen=True)
class Deleting:
    """A bucket to which something happens right `before` it removes a file."""

    store: Store
    before: Callable[[str], Awaitable[None]]
    location: str = "the bucket"

    async def delete(self, path: str) -> None:
        await self.before(path)
        await self.store.delete(path)


def deleting(bucket: Bucket, before: Callable[[str], Awaitable[None]]) -> LeftoverUploads:
    """The leftovers of a bucket to which something happens right `before` it removes a file."""
    return LeftoverUploads(bucket.door.inbox, cast("Store", Deleting(bucket.store(), before)))


async def test_a_file_that_cannot_be_removed_keeps_none_of_the_others(bucket: Bucket) -> None:
    paths = sorted([await bucket.announced(then=LONG_OVER) for _ in range(4)])

    async def refuse(path: str) -> None:
        if path == paths[1]:
            raise Unreachable("The bucket cannot be reached: access to this key is denied.")

    leftovers = deleting(bucket, refuse)
    with pytest.raises(Unreachable):
        await leftovers.remove()
    await leftovers.remove()
    assert [(await bucket.lies(path)) == (True, True) for path in paths] == [False, True, False, False]
    with pytest.raises(Unreachable):  # which is tried anew, each time round
        await leftovers.remove()


async def test_a_file_that_is_needed_again_meanwhile_stays(bucket: Bucket) -> None:
    """Of two files of another length than declared the second one is put anew, while the first one is removed."""
    paths = sorted([await bucket.announced(CONTENT * 2) for _ in range(2)])

    async def put_anew(path: str) -> None:
        await bucket.door.sql("update storage.objects set metadata = '{\"size\": 5}' where name = %s", paths[1])

    await deleting(bucket, put_anew).remove()
    assert [await bucket.lies(path) for path in paths] == [(False, False), (True, True)]


async def test_a_bridge_that_lost_its_turn_removes_nothing_more(bucket: Bucket) -> None:
    """Its lock goes with the connection, and others remove from then on."""
    paths = sorted([await bucket.announced(then=LONG_OVER) for _ in range(2)])

    async def lose_the_turn(path: str) -> None:
        with psycopg.connect(bucket.door.database.url("supabase_admin")) as superuser:
            superuser.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and usename = 'headgate_bridge'"
            )

    with pytest.raises(psycopg.Error):
        await deleting(bucket, lose_the_turn).remove()
    assert [await bucket.lies(path) for path in paths] == [(False, False), (True, True)]


async def test_files_that_lie_elsewhere_are_told_of_once(
    bucket: Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "headgate.bridge")
    paths = [await bucket.announced(then=LONG_OVER) for _ in range(2)]
    leftovers = LeftoverUploads(bucket.door.inbox, Store.open(str(tmp_path / "elsewhere")))
    for _ in range(4):
        await leftovers.remove()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "HEADGATE_UPLOADS is not where the files lie" in said[0]
    assert [await bucket.lies(path) for path in paths] == [(True, True)] * 2


async def test_a_bridge_that_carries_once_removes_nothing(bucket: Bucket) -> None:
    """It has time enough: Temporal, to which it has something to carry, takes connections and does not answer."""
    path = await bucket.announced(then=LONG_OVER)
    await bucket.door.submit()
    mute = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with mute:
        address = f"127.0.0.1:{mute.sockets[0].getsockname()[1]}"
        process = await bucket.door.bridge(address, "--once", "--sweep", "1", **bucket.environ)
        assert await asyncio.wait_for(process.wait(), 60) == 3
    assert await bucket.lies(path) == (True, True)
