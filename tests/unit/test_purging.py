"""`purge` removes everything of a request that is over, and nothing of any other; the file system is the judge."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from activities import layout
from activities.leftovers import leftovers
from activities.purging import kept, purge
from activities.results import Results, read_results
from activities.store import Store
from headgate.messages.sending import BatchDone
from headgate.messages.words import State
from starter.service import UnknownRequest
from tests.unit.fake_service import FakeService, Ran, lines, one_sentence, ran
from tests.unit.test_plan_activity import append, planned, submitted

DAY_S = 86_400


class Remembers(FakeService):
    """A server on which some requests run, some are over, and the others are forgotten."""

    def __init__(self, running: Sequence[str] = (), ended: Sequence[str] = ()) -> None:
        super().__init__()
        self.runs, self.ends = running, ended

    async def over(self, request_id: str) -> State | None:
        if request_id in self.runs:
            return None
        if request_id in self.ends:
            return "completed"
        raise UnknownRequest(f"there is no request {request_id!r}")


@pytest.fixture(params=["memory", "folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store.open("memory://" if request.param == "memory" else str(tmp_path))


async def filled(store: Store, request_id: str) -> None:
    """A request with everything that a request can have in the store."""
    text = b"\n".join([append(1), append(2), b"{"])
    await planned(store, await submitted(store, text, request_id))
    await store.put(layout.input_path(request_id, "0" * 64), b"another")
    await store.put(layout.titles_path(request_id, 0), b"{}")
    for batch in range(2):
        await store.put(layout.journal_path(request_id, batch), b"{}")
        await Results(store).record(request_id, batch, b"", BatchDone(batch=batch, succeeded=1, failed=0))


async def paths(store: Store) -> set[str]:
    return {path async for path in store.list("requests")}


async def test_everything_of_the_request_goes_and_nothing_else(store: Store) -> None:
    await filled(store, "r")
    before = await paths(store)
    for other in ("r2", "r.retry1"):
        await filled(store, other)
    everything = await paths(store)
    found = await kept(store, "r")
    assert found.objects == len(before) > 8
    await purge(store, "r")
    assert await paths(store) == everything - before
    assert (await kept(store, "r")).objects == 0
    await purge(store, "r")


async def test_no_folder_is_left_on_a_disk(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    await filled(store, "r")
    await purge(store, "r")
    assert list((tmp_path / "requests").iterdir()) == []


async def test_a_purge_that_is_cut_off_leaves_nothing_to_read_or_retry(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the input and the plan's record are gone, no operation is told to be unprocessed, and none can be handed in again."""
    await filled(store, "r")

    async def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    request = await submitted(store, append(7), "r")
    monkeypatch.setattr(store, "delete_folder", cut_off)
    with pytest.raises(KeyboardInterrupt):
        await purge(store, "r")
    assert [result async for result in read_results(store, "r", closed=True)] == []
    left = await leftovers(store, request, "cancelled", include_unprocessed=True)
    assert left.taken == 0


def environ(folder: Path) -> dict[str, str]:
    return {"HEADGATE_STORE": str(folder)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with four requests: one that runs, one that is over, a forgotten one, and a young one."""
    for request_id in ("runs", "over", "forgotten", "young"):
        file = tmp_path / "input.jsonl"
        file.write_bytes(lines({"id": "a"}))
        arguments = ("submit", file, "--project", "p", "--id", request_id)
        assert ran(*arguments, environ=environ(tmp_path)).code == 0
        if request_id != "young":
            for path in (tmp_path / "requests" / request_id).rglob("*"):
                os.utime(path, times=(time.time() - 31 * DAY_S,) * 2)
    return tmp_path


def purged(folder: Path, *arguments: str, stdin: bytes = b"") -> Ran:
    service = Remembers(running=["runs"], ended=["over", "young"])
    return ran("purge", *arguments, service=service, environ=environ(folder), stdin=stdin)


def there(folder: Path) -> set[str]:
    return {path.name for path in (folder / "requests").iterdir()}


def test_by_id(folder: Path) -> None:
    found = purged(folder, "over", "--yes", "--json")
    assert (found.code, found.documents[0]["purged"], found.documents[0]["objects"]) == (0, ["over"], 1)
    assert there(folder) == {"runs", "forgotten", "young"}
    assert purged(folder, "forgotten", "--yes").out.splitlines()[1].startswith("what remains: the history")
    assert there(folder) == {"runs", "young"}


def test_by_age(folder: Path) -> None:
    found = purged(folder, "--older-than", "30d", "--yes", "--json")
    assert found.documents[0]["purged"] == ["forgotten", "over"]
    assert found.documents[0]["still_running"] == 1
    assert there(folder) == {"runs", "young"}
    assert purged(folder, "--older-than", "30d").out.startswith("nothing to remove")


def test_what_a_schedule_is_starting_is_kept(folder: Path) -> None:
    """The server knows no such request yet, and its input may be old: no worker has come by to start it."""
    service = Remembers(running=["runs"], ended=["over", "young"])
    service.scheduled.starting = ("forgotten",)
    found = ran("purge", "--older-than", "30d", "--yes", "--json", service=service, environ=environ(folder))
    assert (found.documents[0]["purged"], found.documents[0]["still_running"]) == (["over"], 2)
    assert one_sentence(ran("purge", "forgotten", "--yes", service=service, environ=environ(folder)).err)
    assert there(folder) == {"runs", "forgotten", "young"}


@pytest.mark.parametrize("answer", [b"", b"n\n", b"\n", b"yes please\n"])
def test_it_asks_first(folder: Path, answer: bytes) -> None:
    found = purged(folder, "--older-than", "4w", stdin=answer)
    assert found.code == 2
    assert "Remove input, plan, journals and results of 2 requests (2 objects" in found.err
    assert len(there(folder)) == 4


@pytest.mark.parametrize("answer", [b"y\n", b"YES\n"])
def test_a_yes_confirms(folder: Path, answer: bytes) -> None:
    assert purged(folder, "over", stdin=answer).code == 0
    assert len(there(folder)) == 3


@pytest.mark.parametrize(
    "arguments",
    [("runs", "--yes"), ("nope", "--yes"), (), ("over", "--older-than", "1d"), ("--older-than", "soon"), ("..",)],
)
def test_what_cannot_be_purged_is_a_mistake(folder: Path, arguments: tuple[str, ...]) -> None:
    found = purged(folder, *arguments)
    assert found.code == 2
    assert one_sentence(found.err)
    assert len(there(folder)) == 4
