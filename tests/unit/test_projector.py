"""The projector of a process: the newest of every request, soon, and nobody waits for a database that is away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from activities import projector as module
from activities.projector import Projector
from activities.read_model import ReadModel, Written
from headgate.databases import Database
from headgate.errors import NotProjected
from headgate.messages.projections import Projection
from headgate.messages.requests import BulkRequest
from headgate.messages.views import CallCounts, OperationCounts, ProgressView
from tests.eventually import eventually


def told(version: int, request_id: str = "r", organisation: str = "o") -> Projection:
    request = BulkRequest(id=request_id, project="p", organisation=organisation)
    view = ProgressView(
        id=request_id,
        state="running",
        priority="normal",
        owner="o",
        operations=OperationCounts(),
        calls=CallCounts(),
        version=version,
    )
    return Projection(request=request, progress=view)


class Remembering(ReadModel):
    """A read model in memory; `away`, `early` and `refused` are as a test wants them."""

    def __init__(self) -> None:
        super().__init__(Database(url="postgresql://nobody@127.0.0.1:1/none", location="memory"), timedelta())
        self.writes: list[dict[str, int]] = []
        self.away = False
        self.early: frozenset[str] = frozenset()
        self.refused: dict[str, str] = {}
        self.attempts = 0

    async def write(self, projections: Sequence[Projection], locations: Sequence[str | None]) -> Written:
        self.attempts += 1
        if self.away:
            raise NotProjected("the read model is away")
        written = {one.request.id: one.progress.version for one in projections}
        self.writes.append({name: v for name, v in written.items() if name not in self.early})
        return Written(self.early & written.keys(), {n: why for n, why in self.refused.items() if n in written})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.05)


async def test_the_newest_is_told_and_the_older_ones_never() -> None:
    model = Remembering()
    projector = Projector(model)
    for version in (1, 3, 2):
        projector.offer(told(version).request, told(version).progress)
    async with projector.running():
        await eventually(lambda: model.writes)
    assert model.writes == [{"r": 3}]


async def test_many_requests_are_told_together() -> None:
    model = Remembering()
    projector = Projector(model)
    async with projector.running():
        for number in range(50):
            one = told(1, f"r{number}")
            projector.offer(one.request, one.progress)
        await eventually(lambda: sum(map(len, model.writes)) == 50)
    assert len(model.writes) <= 2


async def test_a_database_that_is_away_delays_nobody_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    model = Remembering()
    model.away = True
    projector = Projector(model)
    with caplog.at_level(logging.INFO, "headgate.projector"):
        async with projector.running():
            for version in range(1, 1000):
                began = time.perf_counter()
                projector.offer(told(version).request, told(version).progress)
                assert time.perf_counter() - began < 0.5
            await eventually(lambda: model.attempts >= 3)
            with pytest.raises(NotProjected, match="does not have version 1000"):
                await projector.put(told(1000), within_s=0.1)
            model.away = False
            await eventually(lambda: model.writes)
    assert model.writes == [{"r": 1000}]
    assert [record.getMessage() for record in caplog.records] == [
        "Read model away: everything else goes on",
        "Read model back",
    ]


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_HELD", 10)
    model = Remembering()
    projector = Projector(model)
    for number in range(25):
        one = told(1, f"r{number}")
        projector.offer(one.request, one.progress)
    async with projector.running():
        await eventually(lambda: model.writes)
    assert [*model.writes[0]] == [f"r{number}" for number in range(15, 25)]


async def test_what_came_too_early_is_told_later_and_put_waits_for_it() -> None:
    model = Remembering()
    model.early = frozenset({"r"})
    projector = Projector(model)
    async with projector.running():
        putting = asyncio.create_task(projector.put(told(1)))
        await eventually(lambda: model.attempts >= 2)
        assert not putting.done()
        model.early = frozenset()
        await asyncio.wait_for(putting, 5)
    assert model.writes[-1] == {"r": 1}


async def test_put_is_content_with_something_newer() -> None:
    model = Remembering()
    projector = Projector(model)
    projector.offer(told(9).request, told(9).progress)
    putting = asyncio.create_task(projector.put(told(4)))
    await asyncio.sleep(0)
    async with projector.running():
        await asyncio.wait_for(putting, 5)
    assert model.writes == [{"r": 9}]


async def test_a_row_that_is_refused_is_told_to_who_waits_and_forgotten() -> None:
    model = Remembering()
    model.refused = {"r": "it is wrong"}
    projector = Projector(model)
    async with projector.running():
        with pytest.raises(NotProjected, match="it is wrong"):
            await projector.put(told(1))
        other = told(1, "other")
        await asyncio.wait_for(projector.put(other), 5)
    assert model.writes[-1] == {"other": 1}


async def test_the_end_of_the_process_tells_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY_S", 30.0)
    model = Remembering()
    projector = Projector(model)
    async with projector.running():
        await projector.put(told(1))
        projector.offer(told(2).request, told(2).progress)
    assert model.writes == [{"r": 1}, {"r": 2}]


async def test_the_end_of_the_process_waits_for_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_S", 0.1)
    model = Remembering()
    model.early = frozenset({"r"})
    projector = Projector(model)
    projector.offer(told(2).request, told(2).progress)
    async with asyncio.timeout(5), projector.running():
        pass


async def test_without_a_database_nothing_is_told_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    projector = Projector(None)
    async with projector.running():
        projector.offer(told(1, organisation="").request, told(1).progress)
        assert not caplog.records
        for _ in range(3):
            projector.offer(told(1).request, told(1).progress)
    (said,) = caplog.records
    assert "HEADGATE_PROJECTION_URL" in said.getMessage()


async def test_a_real_refused_connection_names_no_password() -> None:
    where: Any = Database.from_environ({"URL": "postgresql://projector:very-secret@127.0.0.1:1/headgate"}, "URL")
    with pytest.raises(NotProjected, match=r"127\.0\.0\.1:1") as found:
        await ReadModel(where).reach()
    assert "very-secret" not in str(found.value)
