"""Fences across requests on a real server: whoever writes next removes what expired, and cleaning removes the rest."""

from __future__ import annotations

import asyncio

import pytest

from activities import fences as fences_module
from activities.fences import Fences
from activities.layout import fence_path
from headgate.apis.sheets.fences import Fence
from headgate.message import SECOND_NS
from starter.calling import calling
from starter.connection import address_of
from starter.fencing import clean
from tests.eventually import eventually
from tests.integration.stack import Stack, append


def marks(stack: Stack, spreadsheet: str) -> set[int]:
    """The ids of the fences that exist, as the emulator has them."""
    return set(stack.emulator.library.get(spreadsheet).metadata)


async def busy() -> bool:
    return False


async def idle() -> bool:
    return True


async def test_the_next_request_removes_the_fences_of_one_that_is_over(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of the last batch of a lane, by another user's lane; the rows stand once."""
    monkeypatch.setattr(fences_module, "FENCE_LIVES_NS", SECOND_NS)
    stack.spreadsheets("marked")
    project = await stack.project()
    first = [append(f"m{n}", "marked") for n in range(4)]
    await (await stack.submit(project, first, operations_per_call=1)).result()
    left = marks(stack, "marked")
    assert left, "the last batch's fence cannot have been removed by its own lane"
    known = Fences(stack.store)
    assert {fence.id for fence in await known.alive("marked")} == left
    await asyncio.sleep(1.5)
    second = [append("n", "marked", user="other")]
    await (await stack.submit(project, second)).result()
    assert not marks(stack, "marked") & left
    assert {fence.id for fence in await known.alive("marked")} == marks(stack, "marked")
    assert len(marks(stack, "marked")) == 1
    assert stack.counted("marked") == {f"m{n}": 1 for n in range(4)} | {"n": 1}


async def test_no_room_for_a_fence_is_a_wait_and_the_expired_ones_go(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spreadsheet full of our own old marks: the batch removes them by itself and then writes."""
    monkeypatch.setattr(fences_module, "FENCE_LIVES_NS", SECOND_NS)
    stack.spreadsheets("crowded")
    project = await stack.project()
    sheet = stack.emulator.library.get("crowded")
    old = [Fence.of("old", "crowded", 0, n, "0") for n in range(2_600)]
    for fence in old:
        entry = {"metadataId": fence.id, "metadataKey": "hg", "metadataValue": fence.value, "visibility": "DOCUMENT"}
        sheet.put_metadata({**entry, "location": {"spreadsheet": True, "locationType": "SPREADSHEET"}, "project": "p"})
    await Fences(stack.store).put_down("crowded", [fence.id for fence in old], 1, "old/1")
    handle = await stack.submit(project, [append("x", "crowded")])
    view = await asyncio.wait_for(handle.result(), 120)
    assert (view.operations.succeeded, view.operations.failed) == (1, 0)
    assert stack.counted("crowded") == {"x": 1}
    assert len(marks(stack, "crowded")) < 2_600 - 150


async def test_cleaning_removes_what_is_old_and_spares_what_a_request_may_need(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known and expired ones go at once; unknown ones only once they have been seen for a life, with no request under way."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", address_of(stack.client))
    stack.spreadsheets("dusty")
    project = await stack.project()
    lines = [append(f"d{n}", "dusty") for n in range(3)]
    await (await stack.submit(project, lines, operations_per_call=1)).result()
    known = Fences(stack.store)
    young = marks(stack, "dusty")
    async with calling(stack.settings, "bot", "dusty", project) as caller:
        cleaned = await clean(known, caller, "dusty", idle)
        assert (cleaned.removed, cleaned.young, cleaned.adopted) == (0, len(young), 0)
        first = (await known.alive("dusty"))[0]
        lost = first.id
        await known.store.delete(fence_path("dusty", *first))
        monkeypatch.setattr(fences_module, "FENCE_LIVES_NS", SECOND_NS)
        await asyncio.sleep(1.5)
        cleaned = await clean(known, caller, "dusty", busy)
        assert (cleaned.removed, cleaned.adopted, cleaned.left) == (len(young) - 1, 0, 1)
        assert marks(stack, "dusty") == {lost}
        cleaned = await clean(known, caller, "dusty", idle)
        assert (cleaned.removed, cleaned.adopted) == (0, 1)

        async def gone() -> bool:
            return (await clean(known, caller, "dusty", idle)).removed == 1

        await eventually(gone, timeout=10)
    assert marks(stack, "dusty") == set()
    assert [path async for path in known.store.list("fences/dusty")] == []
    assert (await stack.shown(project)).booked > 0, "each call had its token"
