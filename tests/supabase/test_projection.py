"""How requests stand is in the front door's database: soon, in order, seldom, and at the end in any case.

The witness is a trigger in Postgres, and what the workflow itself says.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import Client

from headgate.messages.views import Control
from tests.eventually import eventually
from tests.integration.stack import Stack, append, running_stack
from tests.supabase.conftest import Database
from tests.supabase.platform.postgres import Postgres
from tests.supabase.projected import FrontDoor, failed_results, most_in_a_second, projector_of, shows


@pytest.fixture(scope="module")
def shared(postgres: Postgres) -> Iterator[Database]:
    name = postgres.database()
    yield Database(postgres, name)
    postgres.drop(name)


@pytest.fixture(scope="module")
def door(shared: Database) -> FrontDoor:
    return FrontDoor(shared)


@pytest.fixture(scope="module")
async def stack(
    temporal_client: Client, shared: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("projected")
    uploads = folder / "uploads"
    async with running_stack(temporal_client, folder, projection=projector_of(shared), uploads=uploads) as made:
        yield made


async def test_a_request_is_shown_from_its_start_to_its_end(stack: Stack, door: FrontDoor) -> None:
    """With a pause that is seen within two seconds, and with its dead letters."""
    stack.spreadsheets("shown-1", "shown-2")
    lines = [append(f"{s}/{n}", s, user=s) for n in range(30) for s in ("shown-1", "shown-2")]
    lines += [append("lost", "nowhere"), append("again", "shown-1"), append("again", "shown-1")]
    handle = await door.submit(stack, await stack.project(), lines, operations_per_call=1)
    await eventually(lambda: door.row(handle)["calls_made"] > 0, timeout=20)
    for command, state in (("pause", "paused"), ("resume", "running")):
        await handle.execute_update(command, Control(by="ana"))
        said_at = time.monotonic()
        await eventually(lambda state=state: door.row(handle)["status"] == state, timeout=5)
        assert time.monotonic() - said_at <= 2.0
        called = len(stack.calls("shown-1"))
        if command == "resume":
            await eventually(lambda called=called: len(stack.calls("shown-1")) > called, timeout=20)
    view = await handle.result()
    await eventually(lambda: door.row(handle)["finished_at"] is not None, timeout=10)
    row = door.row(handle)
    assert shows(row, view)
    assert row["error"] is None
    assert row["results_location"] == f"requests/{view.id}"
    assert door.letters(handle) == await failed_results(stack.store, handle)
    assert len(door.letters(handle)) == view.operations.failed == 2
    (writes,) = door.seen(handle).values()
    versions = [one["version"] for one in writes]
    assert versions == sorted(versions)
    assert len({*versions[2:]}) == len(versions[2:])
    assert most_in_a_second(writes[2:]) == 1
