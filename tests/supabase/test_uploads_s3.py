"""Uploads in a bucket of their own, in the form in which Supabase Storage offers it: signed, under a path of its own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from temporalio.testing import ActivityEnvironment

import worker
from activities.layout import input_path
from activities.store import Store
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest
from headgate.settings import Settings
from tests.supabase.platform import s3
from tests.supabase.platform.storage import Storage

LINES = b'{"op": "read", "spreadsheet": "s", "range": "A1"}\n' * 40_000
KEYS = s3.Keys("tests", "a secret of the bucket")
NAME = "acme/request"


@pytest.fixture
async def environ(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The uploads' variables, of a storage that has one file."""
    storage = Storage("postgresql://nobody@127.0.0.1:1/none", tmp_path / "storage", [], KEYS)
    file = storage._path("inputs", NAME)
    file.parent.mkdir(parents=True)
    file.write_bytes(LINES)
    app = web.Application()
    app.router.add_routes(storage.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield {
        "HEADGATE_STORE": str(tmp_path / "store"),
        "HEADGATE_UPLOADS": "s3://inputs",
        "HEADGATE_UPLOADS_ENDPOINT": f"http://127.0.0.1:{port}/storage/v1/s3",
        "HEADGATE_UPLOADS_KEY": KEYS.key_id,
        "HEADGATE_UPLOADS_SECRET": KEYS.secret,
        "HEADGATE_UPLOADS_REGION": KEYS.region,
    }
    await runner.cleanup()


def request_for(text: bytes, uploaded: str = NAME) -> BulkRequest:
    sha256 = hashlib.sha256(text).hexdigest()
    return BulkRequest(id="r", project="p", uploaded=uploaded, input_sha256=sha256, input_bytes=len(text))


async def taken(environ: dict[str, str], request: BulkRequest) -> bytes | None:
    settings = Settings.from_environ(environ)
    store = Store.open(settings.store)
    uploads = worker._uploads(settings)
    object.__setattr__(uploads, "lags_s", 0.1)
    await ActivityEnvironment().run(uploads.take, request, store)
    return await store.get(input_path(request.id, request.input_sha256))


async def test_an_upload_in_a_bucket_is_taken(environ: dict[str, str]) -> None:
    assert await taken(environ, request_for(LINES)) == LINES


async def test_credentials_of_the_store_are_none_of_the_uploads(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may be a bucket with keys in the environment, even temporary ones."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "of-the-store")
    assert await taken(environ, request_for(LINES)) == LINES


async def test_what_is_not_in_the_bucket_is_the_callers_mistake(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="was not uploaded"):
        await taken(environ, request_for(LINES, "acme/other"))


async def test_a_wrong_secret_is_the_operators_mistake_and_names_no_secret(environ: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match="Check HEADGATE_UPLOADS") as found:
        await taken({**environ, "HEADGATE_UPLOADS_SECRET": "another-secret"}, request_for(LINES))
    assert "another-secret" not in str(found.value)
