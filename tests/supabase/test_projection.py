"""How requests stand is in the front door's database: soon, in order, seldom, and at the end in any case.

The witness is a trigger in Postgres, and what the workflow itself says.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.contrib.pydantic import pydantic_data_converter

from activities.store import Store
from headgate.message import SECOND_NS
from headgate.messages.requests import BulkRequest
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import Control, ProgressView
from starter.devserver import DevServer
from tests.eventually import eventually
from tests.integration.stack import Handle, Stack, append, running_stack
from tests.supabase.conftest import Database
from tests.supabase.platform.postgres import Postgres
from tests.supabase.projected import FrontDoor, failed_results, most_in_a_second, projector_of, shows
from workflows.names import SEARCH_ATTRIBUTES

#: Forty writes a second: fifty requests take a quarter of a minute.
FIFTY = LimiterSettings(
    write_per_project=200, write_per_user=200, window_ns=5 * SECOND_NS, spreadsheet_spacing_ns=20_000_000
)


@pytest.fixture(scope="module")
def shared(postgres: Postgres) -> Iterator[Database]:
    name = postgres.database()
    yield Database(postgres, name)
    postgres.drop(name)


@pytest.fixture(scope="module")
def door(shared: Database) -> FrontDoor:
    return FrontDoor(shared)


@pytest.fixture(scope="module")
async def stack(shared: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """On a server of its own: on the shared one other workers, which know no read model, may take the work."""
    folder = tmp_path_factory.mktemp("projected")
    uploads = folder / "uploads"
    async with DevServer(SEARCH_ATTRIBUTES, ui_port=None, say=print) as server:
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        async with running_stack(client, folder, projection=projector_of(shared), uploads=uploads) as made:
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
        await eventually(partial(door.says, handle, state), timeout=5)
        assert time.monotonic() - said_at <= 2.0
    called = len(stack.calls("shown-1"))
    await eventually(lambda: len(stack.calls("shown-1")) > called, timeout=20)
    view = await handle.result()
    row = await eventually(partial(door.ended, handle))
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


async def test_fifty_requests_are_each_written_at_most_once_a_second(stack: Stack, door: FrontDoor) -> None:
    """And each ends as its workflow said, with versions that only grow."""
    sheets = [f"fifty-{n}" for n in range(50)]
    stack.spreadsheets(*sheets)
    project = await stack.project(FIFTY)
    handles = [
        await door.submit(stack, project, [append(f"{s}/{n}", s, user=s) for n in range(8)], operations_per_call=1)
        for s in sheets
    ]
    views = await asyncio.gather(*(handle.result() for handle in handles))
    for handle, view in zip(handles, views, strict=True):
        row = await eventually(partial(door.ended, handle), timeout=20)
        assert shows(row, view)
        assert view.operations.succeeded == 8
    for writes in door.seen(*handles).values():
        told = [one for one in writes if one["version"]]
        assert most_in_a_second(told) == 1
        versions = [one["version"] for one in told]
        assert versions == sorted({*versions})
    written = [len(writes) for writes in door.seen(*handles).values()]
    assert min(written) >= 3, "progress was shown on the way"


async def test_what_failed_goes_again_with_a_row_of_its_own(stack: Stack, door: FrontDoor) -> None:
    """While the request is paused, whose own row stays as it is."""
    stack.spreadsheets("again")
    lines = [append("bad", "again-nowhere"), *(append(f"good-{n}", "again") for n in range(30))]
    handle = await door.submit(stack, await stack.project(), lines, operations_per_call=1)
    await eventually(lambda: door.row(handle)["operations_failed"] == 1, timeout=20)
    await handle.execute_update("pause", Control(by="ana"))
    await handle.execute_update("retry_failed", Control(by="ana"))
    retry = stack.client.get_workflow_handle(f"{handle.id}.retry1", result_type=ProgressView)
    view = await retry.result()
    row = await eventually(partial(door.ended, view.id))
    assert shows(row, view)
    assert (row["organisation_id"], row["operations_failed"], row["name"]) == (
        door.organisation,
        1,
        f"retry of {door.row(handle)['id']}",
    )
    assert len(door.letters(view.id)) == 1
    await eventually(partial(door.says, handle, "paused"), timeout=2)
    await handle.execute_update("cancel", Control(by="ana"))
    over = await handle.result()
    row = await eventually(partial(door.ended, handle))
    assert shows(row, over)
    assert row["operations_unprocessed"] == over.operations.unprocessed > 0


async def test_counts_of_a_paused_request_are_those_of_its_last_calls(stack: Stack, door: FrontDoor) -> None:
    """What was under way when it was paused is shown once it has ended, though no order goes any more."""
    stack.spreadsheets("quiet")
    lines = [append(f"quiet/{n}", "quiet") for n in range(60)]
    with stack.faults({"kind": "write", "every": 1, "effect": "delay", "seconds": 3.0}):
        handle = await door.submit(stack, await stack.project(), lines, operations_per_call=1)
        await eventually(lambda: stack.arrivals("quiet"), timeout=20)
        await handle.execute_update("pause", Control(by="ana"))
        await eventually(partial(door.says, handle, "paused"))

        assert door.row(handle)["operations_succeeded"] == 0
        await eventually(lambda: door.row(handle)["operations_succeeded"] == len(stack.arrivals("quiet")), timeout=20)
        assert shows(door.row(handle), await stack.view(handle))
    await handle.execute_update("cancel", Control(by="ana"))
    await handle.result()


async def test_an_upload_is_planned_and_one_that_is_wrong_fails_with_a_sentence(stack: Stack, door: FrontDoor) -> None:
    """Right, wrong, missing, too large: people read why in the row; nothing was sent of the wrong ones."""
    assert stack.settings.uploads is not None
    uploads = Store.open(stack.settings.uploads.location)
    stack.spreadsheets("upload-right", "upload-wrong")
    project = await stack.project()
    told: dict[str, Handle] = {}
    for name, change in {
        "right": lambda text: text,
        "wrong": lambda text: text.replace(b"upload", b"uplaod"),
        "too large": lambda text: text + b" ",
        "missing": None,
    }.items():
        sheet = "upload-right" if name == "right" else "upload-wrong"
        text = json.dumps(append(f"upload/{name}", sheet)).encode()
        request_id, at_ns = door.row_for()
        request = BulkRequest(
            id=request_id, project=project, user="bot", nonce=request_id, organisation=str(door.organisation),
            uploaded=f"{door.organisation}/{request_id}", input_sha256=hashlib.sha256(text).hexdigest(),
            input_bytes=len(text), submitted_at_ns=at_ns,
        )  # fmt: skip
        if change is not None:
            await uploads.put(request.uploaded, change(text))
        told[name] = await stack.start(request)
    view = await told.pop("right").result()
    assert shows(await eventually(partial(door.ended, view.id)), view)
    assert stack.counted("upload-right") == {"upload/right": 1}
    says = {"wrong": "SHA-256", "too large": "larger than", "missing": "was not uploaded"}
    for name, handle in told.items():
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        row = await eventually(partial(door.ended, handle), timeout=20)
        assert row["status"] == "failed"
        assert says[name] in row["error"]
        assert row["error"][0].isupper()
        assert row["error"].endswith(".")
    assert not stack.calls("upload-wrong")
