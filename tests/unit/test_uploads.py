"""An uploaded input counts once it is in the store and is what was said; afterwards the upload does not matter."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.layout import input_path
from activities.plan import PlanActivities
from activities.results import read_results
from activities.store import Store
from activities.uploads import Uploads
from headgate.errors import InvalidRequest, Unreachable
from headgate.messages.requests import BulkRequest, PlanSummary
from headgate.settings import Settings

LINES = b'{"op": "read", "spreadsheet": "s", "range": "A1", "user": "ada"}\n' * 3
PATH = "0190-org/0191-request"


def request_for(text: bytes, **more: Any) -> BulkRequest:
    fields = {"id": "r", "project": "p", "uploaded": PATH, "input_bytes": len(text), **more}
    return BulkRequest.model_validate({"input_sha256": hashlib.sha256(text).hexdigest(), **fields})


@pytest.fixture
def places(tmp_path: Path) -> tuple[Store, Store]:
    """The uploads and the store."""
    return Store.open(str(tmp_path / "uploads")), Store.open(str(tmp_path / "store"))


async def planned(request: BulkRequest, places: tuple[Store, Store], lags_s: float = 0.05) -> PlanSummary:
    source, store = places
    return await ActivityEnvironment().run(PlanActivities(store, uploads=Uploads(source, lags_s)).plan, request)


async def refusal(request: BulkRequest, places: tuple[Store, Store]) -> str:
    """Why it is final, and nothing is in the store."""
    with pytest.raises(ApplicationError) as found:
        await planned(request, places)
    assert found.value.non_retryable
    assert found.value.type == InvalidRequest.__name__
    assert not await places[1].exists(input_path(request.id, request.input_sha256))
    return found.value.message


async def test_an_upload_becomes_the_input(places: tuple[Store, Store]) -> None:
    await places[0].put(PATH, LINES)
    assert (await planned(request_for(LINES), places)).operations == 3
    assert await places[1].get(input_path("r", hashlib.sha256(LINES).hexdigest())) == LINES


async def test_a_later_overwrite_changes_nothing(places: tuple[Store, Store]) -> None:
    await places[0].put(PATH, LINES)
    first = await planned(request_for(LINES), places)
    await places[0].put(PATH, b"something else")
    assert await planned(request_for(LINES), places) == first


async def test_taken_and_not_planned_yet_an_overwrite_changes_nothing(places: tuple[Store, Store]) -> None:
    await places[0].put(PATH, LINES)
    request = request_for(LINES)
    await ActivityEnvironment().run(Uploads(places[0]).take, request, places[1])
    await places[0].delete(PATH)
    assert (await planned(request, places)).operations == 3


async def test_another_content_is_final(places: tuple[Store, Store]) -> None:
    await places[0].put(PATH, LINES.replace(b"A1", b"A2"))
    assert "SHA-256" in await refusal(request_for(LINES), places)


async def test_a_part_is_final(places: tuple[Store, Store]) -> None:
    await places[0].put(PATH, LINES[:-1])
    assert f"{len(LINES) - 1} bytes and not the {len(LINES)}" in await refusal(request_for(LINES), places)


async def test_an_upload_that_is_missing_is_final_after_a_while(places: tuple[Store, Store]) -> None:
    assert "was not uploaded" in await refusal(request_for(LINES), places)


async def test_an_upload_that_lags_is_waited_for(places: tuple[Store, Store]) -> None:
    waiting = asyncio.create_task(planned(request_for(LINES), places, lags_s=10.0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await places[0].put(PATH, LINES)
    assert (await waiting).operations == 3


async def test_what_is_too_large_is_not_read(places: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    await places[0].put(PATH, LINES + b"\n")
    monkeypatch.setattr(Store, "open_blocks", None)
    assert f"larger than the {len(LINES)} bytes" in await refusal(request_for(LINES), places)


async def test_what_grows_while_it_is_read_is_refused_as_soon_as_it_is_seen(
    places: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [LINES, b"\n", LINES]
    left = iter(blocks)

    async def endless(self: Store, path: str) -> Any:
        for block in left:
            yield block

    await places[0].put(PATH, LINES)
    monkeypatch.setattr(Store, "open_blocks", endless)
    assert "larger than" in await refusal(request_for(LINES), places)
    assert [*left] == [LINES]


async def test_a_large_upload_passes_in_blocks(places: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred mebibytes, of which only a few are held at a time: the emulation of a source counts what is taken ahead."""
    block, count = b"x" * 1024 * 1024, 100
    beats: list[Any] = []
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(block)

    async def made(self: Store, path: str) -> Any:
        for _ in range(count):
            yield block

    await places[0].put(PATH, b"x")
    monkeypatch.setattr(Store, "open_blocks", made)
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *said: beats.append(said)
    request = request_for(b"", input_sha256=digest.hexdigest(), input_bytes=count * len(block))
    await environment.run(Uploads(places[0]).take, request, places[1])
    assert await places[1].size(input_path("r", request.input_sha256)) == count * len(block)
    assert len(beats) == count


@pytest.mark.parametrize("path", ["../secret", "a/../../b", "/etc/passwd", "a//b", "a/.hidden", "a b"])
async def test_a_path_that_leaves_the_uploads_is_refused(places: tuple[Store, Store], path: str) -> None:
    assert "is no path among the uploads" in await refusal(request_for(LINES, uploaded=path), places)


async def test_a_worker_without_uploads_leaves_it_to_another(places: tuple[Store, Store]) -> None:
    """Somebody will set it: no fault of the caller's."""
    with pytest.raises(Unreachable, match="set HEADGATE_UPLOADS"):
        await ActivityEnvironment().run(PlanActivities(places[1]).plan, request_for(LINES))


async def test_a_user_that_may_not_be_used_is_a_dead_letter_that_names_nobody_else(tmp_path: Path) -> None:
    text = b"".join(
        b'{"op": "read", "spreadsheet": "s", "range": "A1", "id": "%s", "user": "%s"}\n' % (user, user)
        for user in (b"ada", b"bot", b"eve", b"zoe")
    )
    text += b'{"op": "read", "spreadsheet": "s", "range": "A1", "id": "none"}\n'
    store = Store.open(str(tmp_path))
    request = request_for(text, uploaded="", user="bot", users=["ada", "zoe"], organisation="o")
    await store.put(input_path("r", request.input_sha256), text)
    plans = PlanActivities(store, frozenset({"ada", "bot", "eve", "mallory"}))
    summary = await ActivityEnvironment().run(plans.plan, request)
    refused = {one["id"]: one["reason"] async for one in read_results(store, "r", "failed")}
    assert summary.dead_letters == 2
    assert refused.keys() == {"eve", "zoe"}
    assert "'eve' is not one whose credentials you may use" in refused["eve"]
    assert "no credentials for user 'zoe'" in refused["zoe"]
    others = {"ada", "bot", "mallory"}
    assert not [name for why in refused.values() for name in others if f"{name}" in why]


def test_a_bucket_of_its_own_is_spoken_to_as_it_says_and_never_shown() -> None:
    environ = {
        "HEADGATE_UPLOADS": "s3://inputs",
        "HEADGATE_UPLOADS_ENDPOINT": "https://abc.supabase.co/storage/v1/s3",
        "HEADGATE_UPLOADS_REGION": "eu-central-1",
        "HEADGATE_UPLOADS_KEY": "the-key",
        "HEADGATE_UPLOADS_SECRET": "the-secret",
        "HEADGATE_PROJECTION_URL": "postgresql://headgate_projector:the-password@db.abc.supabase.co/postgres",
    }
    settings = Settings.from_environ(environ)
    assert settings.uploads is not None
    store = Store.open(settings.uploads.location, settings.uploads.bucket, "HEADGATE_UPLOADS")
    shown = f"{settings!r} {settings.uploads!r} {store!r}"
    assert not [word for word in ("the-key", "the-secret", "the-password") if word in shown]
    assert settings.uploads.bucket["aws_endpoint"] == environ["HEADGATE_UPLOADS_ENDPOINT"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"HEADGATE_UPLOADS": "/srv/uploads"}, "are a bucket's"),
        ({"HEADGATE_UPLOADS_SECRET": ""}, "belong together"),
        ({"HEADGATE_UPLOADS_ENDPOINT": "http://storage.example.com"}, "HEADGATE_UPLOADS_ENDPOINT .* must start with https"),
        ({"HEADGATE_PROJECTION_URL": "mysql://db/x"}, "HEADGATE_PROJECTION_URL is not an address"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(changed: dict[str, str], said: str) -> None:
    environ = {"HEADGATE_UPLOADS": "s3://inputs", "HEADGATE_UPLOADS_KEY": "k", "HEADGATE_UPLOADS_SECRET": "s"}
    with pytest.raises(InvalidRequest, match=said):
        Settings.from_environ({**environ, **changed})
