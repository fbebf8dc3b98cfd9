"""What a person reads in the Web UI: the list, a running, a waiting and a finished request. The emulator is the oracle of counts."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import expect
from temporalio.api.sdk.v1 import WorkflowMetadata

from tests.browser.site import BAD, PROJECT, QUOTA, USER, Site
from tests.browser.web_ui import WebUi
from tests.eventually import eventually
from tests.integration.stack import Handle
from workflows import names

INTERNAL = ("grant", "report")


@pytest.fixture(scope="module")
async def running(site: Site) -> AsyncIterator[Handle]:
    """A request that runs for as long as the tests look at it."""
    handle = await site.submit("nightly", 4000, ("orders-north", "orders-south"), owner="billing", more=BAD[:1])
    await eventually(lambda: site.stack.calls("orders-north"), 30)
    yield handle
    await handle.signal("cancel")
    await handle.result()


@pytest.fixture(scope="module")
async def finished(site: Site) -> Handle:
    """A request that is over, two of whose operations have failed."""
    handle = await site.submit("morning", 6, ("orders-north",), owner="sales", priority="urgent", more=BAD)
    await handle.result()
    return handle


async def test_the_list_shows_and_filters_by_what_is_indexed(ui: WebUi, running: Handle, finished: Handle) -> None:
    await ui.open_list(f'WorkflowType="{names.BULK_REQUEST_TYPE}"')
    await ui.add_columns("HeadgateState", "HeadgateOwner", "HeadgatePriority", "HeadgatePercent")
    for said in ("running", "billing", "normal"):
        await expect(ui.row(running.id)).to_contain_text(said)
    for said in ("completed", "sales", "urgent", "100"):
        await expect(ui.row(finished.id)).to_contain_text(said)
    await ui.filter_by("completed")
    await expect(ui.row(finished.id)).to_be_visible()
    await expect(ui.row(running.id)).to_be_hidden()
    await expect(ui.chip("HeadgateState")).to_contain_text("completed")


async def test_a_running_request_says_what_it_is_and_how_far(ui: WebUi, site: Site, running: Handle) -> None:
    await ui.open(running.id)
    await ui.open_tab("User Metadata")
    await expect(ui.said("summary")).to_contain_text(f"nightly.jsonl · 4,001 lines · project {PROJECT}")
    for said in (USER, "billing", "priority normal", "headgate results nightly"):
        await expect(ui.said("details")).to_contain_text(said)
    now = ui.said("current-details")
    await expect(now).to_contain_text(re.compile("^\\s*(running|waiting) · "))
    for said in ("of 4,001 operations done, 1 failed", "Ready about", "calls a minute", "Steer it", "op must be"):
        await expect(now).to_contain_text(said)
    made = sum(call["status"] == 200 for call in site.stack.calls("orders-north", "orders-south"))
    told = re.search(r"Calls ([\d,]+) of 4,002", await ui.refresh_details())
    assert told, "the number of calls"
    assert int(told[1].replace(",", "")) == pytest.approx(made, abs=QUOTA.write_per_user)


async def test_the_details_lead_to_what_is_being_sent_and_to_the_limiter(ui: WebUi, running: Handle) -> None:
    await ui.open(running.id)
    await ui.open_tab("User Metadata")
    links = ui.said("current-details").get_by_role("link")
    for name, heading in (("What is being sent", running.id), ("the limiter", names.rate_limiter_id(PROJECT))):
        async with ui.page.expect_popup() as opened:
            await links.filter(has_text=name).click()
        other = WebUi(await opened.value, ui.root)
        await other.shows(heading)
        await other.page.close()


async def test_every_command_is_listed_with_its_description(ui: WebUi, running: Handle) -> None:
    """By signal and by update, in a person's words; what is not for people says so."""
    await ui.open(running.id)
    described: WorkflowMetadata = await running.query("__temporal_workflow_metadata")
    known = {"Signal": described.definition.signal_definitions, "Update": described.definition.update_definitions}
    for kind, definitions in known.items():
        handlers = {definition.name: definition.description for definition in definitions}
        assert handlers.keys() >= {"pause", "resume", "reprioritise", "cancel"}
        dialog = await ui.choose("Signal" if kind == "Signal" else "Update")
        for name, description in handlers.items():
            assert description, f"{kind} {name} has no description"
            assert description.startswith("Internal") == (name in INTERNAL), name
            await expect(ui.handler(dialog, name)).to_contain_text(description)
        await ui.page.reload()
    await ui.open_tab("User Metadata")
    steer = ui.said("current-details").locator("p").filter(has_text="Steer it")
    await expect(steer).to_be_visible()
    named = [re.sub(r"[{].*", "", text) for text in await steer.locator("code").all_inner_texts()]
    updates = {definition.name for definition in known["Update"]}
    assert {name for name in named if name} == updates


async def test_the_timeline_names_what_was_sent_where(ui: WebUi, running: Handle) -> None:
    await ui.open(running.id)
    label = re.compile(rf"send_lease • \d+ calls?(: {USER} to orders-(north|south)| to 2 spreadsheets)")
    await expect(ui.page.get_by_text(label).first).to_be_visible()


async def test_progress_can_be_asked_for(ui: WebUi, running: Handle) -> None:
    await ui.open(running.id)
    answer = json.loads(await ui.ask("progress"))
    assert answer["id"] == "nightly"
    assert answer["operations"]["total"] == 4001
    assert answer["state"] in ("running", "waiting")


async def test_a_call_that_waits_says_why_in_words(ui: WebUi, site: Site) -> None:
    """The last failure without a stack trace, and what the attempt does just now."""
    with site.stack.faults({"spreadsheet": "broken", "kind": "write", "effect": "error", "status": 503}):
        handle = await site.submit("stuck", 5, ("broken",), owner="ops")
        await ui.open(handle.id)
        await ui.open_tab("Pending Activities")
        await expect(ui.page.get_by_role("heading", name="resend_batch").filter(visible=True)).to_be_visible()
        for said in ("The service is currently unavailable.", "waits for a token: spreadsheet broken fails"):
            await expect(ui.page.get_by_text(said).filter(visible=True).first).to_be_visible(timeout=60_000)
        await expect(ui.page.get_by_text(re.compile(r"File \".*\", line \d+"))).to_have_count(0)
        await ui.open_compact_history()
        await expect(ui.event("resend_batch", f"again: {USER} to broken").first).to_be_visible()
    assert (await handle.result()).operations.succeeded == 5


async def test_a_finished_request_keeps_its_last_word(ui: WebUi, site: Site, finished: Handle) -> None:
    """Also for details, which a worker has to replay."""
    assert len(site.stack.counted("orders-north")) >= 6
    await ui.open(finished.id)
    await expect(ui.page.get_by_text('"succeeded": 6').filter(visible=True).first).to_be_visible()
    await ui.open_tab("User Metadata")
    last = ui.said("current-details")
    for said in ("completed · 8 of 8 operations done, 2 failed", "100 %", "no sheet named", "op must be"):
        await expect(last).to_contain_text(said)
    for gone in ("Ready", "Steer it", "Waits"):
        await expect(last).not_to_contain_text(gone)
