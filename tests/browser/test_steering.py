"""What a person presses in the Web UI, and what the emulator then sees: it counts the calls."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect

from tests.browser.site import QUOTA, Site
from tests.browser.web_ui import WebUi
from tests.eventually import eventually
from tests.integration.stack import Handle

#: A pause acts within 2 s (design, promise 5); so much longer without a call means that it holds.
ACTS_WITHIN_S = 2.0
HOLDS_FOR_S = 4.0


@pytest.fixture
async def running(site: Site) -> AsyncIterator[Handle]:
    """A request of the test's own, with calls under way; it ends with the test."""
    number = time.monotonic_ns()
    handle = await site.submit(f"steered-{number}", 4000, (f"sheet-{number}",), owner="billing")
    await eventually(lambda: len(arrivals(site, handle)) > 2, 30)
    yield handle
    if (await site.view(handle)).state != "cancelled":
        await handle.signal("cancel")
    await handle.result()


def sheet(handle: Handle) -> str:
    """The spreadsheet that the request writes to."""
    return handle.id.replace("bulk/steered", "sheet")


def arrivals(site: Site, handle: Handle) -> list[float]:
    """When the request's calls arrived at the emulator, by the monotonic clock."""
    return [call["arrived"] for call in site.stack.calls(sheet(handle))]


async def test_update_pause_stops_the_calls_and_signal_resume_lets_them_go_on(
    ui: WebUi, site: Site, running: Handle
) -> None:
    await ui.open(running.id)
    await ui.send("Update", "pause", '{"by": "ana"}')
    told = time.monotonic()
    await eventually(lambda: time.monotonic() - arrivals(site, running)[-1] > HOLDS_FOR_S, 30)
    made = arrivals(site, running)
    assert made[-1] < told + ACTS_WITHIN_S
    await ui.open_compact_history()
    await expect(ui.event("Workflow Update", "pause", "paused by ana")).to_be_visible()
    await ui.open_tab("User Metadata")
    for said in ("paused · ", f"Calls {len(made)} of", "paused by ana: send the update resume to go on"):
        await expect(ui.said("current-details")).to_contain_text(said)
    await ui.open_list('HeadgateState="paused"')
    await expect(ui.row(running.id)).to_be_visible()
    assert arrivals(site, running) == made

    await ui.open(running.id)
    await ui.send("Signal", "resume")
    await eventually(lambda: len(arrivals(site, running)) > len(made), QUOTA.window_ns / 1e9 + ACTS_WITHIN_S)
    await ui.open_tab("User Metadata")
    await expect(ui.said("current-details")).not_to_contain_text("paused")


async def test_a_command_that_cannot_come_true_says_why_and_changes_nothing(ui: WebUi, running: Handle) -> None:
    await ui.open(running.id)
    dialog = await ui.choose("Update")
    await ui.fill_in(dialog, "reprioritise", '{"to": "at once"}')
    await ui.submit(dialog)
    await expect(dialog.get_by_text("'at once' is no priority")).to_be_visible()
    await expect(dialog.get_by_text("Traceback").or_(dialog.get_by_text('File "'))).to_have_count(0)


async def test_update_reprioritise_takes_one_small_object(ui: WebUi, site: Site, running: Handle) -> None:
    await ui.open(running.id)
    await ui.send("Update", "reprioritise", '{"to": "urgent"}')
    assert (await site.view(running)).priority == "urgent"
    await ui.open_list('HeadgatePriority="urgent" AND HeadgateState="running"')
    await expect(ui.row(running.id)).to_be_visible()


async def test_request_cancellation_ends_it_in_good_order(ui: WebUi, site: Site, running: Handle) -> None:
    """The blue button: every operation has an outcome, and what was not sent is unprocessed."""
    await ui.open(running.id)
    await ui.request_cancellation()
    view = await running.result()
    counts = view.operations
    assert view.state == "cancelled"
    assert counts.unprocessed > 0
    assert counts.succeeded + counts.failed + counts.unprocessed == 4000
    assert len(site.stack.counted(sheet(running))) == counts.succeeded
    await ui.open(running.id)
    await ui.open_tab("User Metadata")
    for said in ("cancelled · ", "unprocessed", "cancelled by"):
        await expect(ui.said("current-details")).to_contain_text(said)
