"""`make pictures`: the pictures of the Web UI that README and docs show, taken of a site like that of the tests.

Each is cropped to what it is about, in the colours and the time zone that everybody sees, without a machine's name or paths.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import FloatRect, Locator, Page, expect

from tests.browser.chromium import MISSING, found, launched
from tests.browser.site import BAD, Site, running_site
from tests.browser.web_ui import WebUi
from tests.eventually import eventually

FOLDER: Final = Path(__file__).parents[2] / "docs" / "pictures"
SHEETS: Final = ("orders-north", "orders-south", "orders-east")
COLUMNS: Final = ("HeadgateState", "HeadgateOwner", "HeadgatePriority", "HeadgatePercent")
WIDTH: Final = 1440
HEIGHT: Final = 1100
MARGIN: Final = 12


class Album:
    """Takes the pictures of one page."""

    def __init__(self, ui: WebUi) -> None:
        self.ui = ui
        self.page: Page = ui.page

    async def dialog(self, name: str, dialog: Locator) -> None:
        """A dialog, and nothing of the page behind it."""
        box = await dialog.bounding_box()
        assert box is not None, name
        await self._take(name, box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])

    async def part(self, name: str, first: Locator, last: Locator) -> None:
        """The page's whole width, without the bar at its left, from the top of `first` to the bottom of `last`."""
        top, bottom = await first.bounding_box(), await last.bounding_box()
        left = await self.page.locator("main").first.bounding_box()
        assert top
        assert bottom
        assert left
        await self._take(name, left["x"], top["y"] - MARGIN, WIDTH, bottom["y"] + bottom["height"] + MARGIN)

    async def _take(self, name: str, left: float, top: float, right: float, bottom: float) -> None:
        await self.page.evaluate("document.fonts.ready")
        x, y = max(0.0, left), max(0.0, top)
        path = FOLDER / f"{name}.png"
        clip = FloatRect(x=x, y=y, width=right - x, height=min(bottom, HEIGHT) - y)
        await self.page.screenshot(path=path, clip=clip, animations="disabled")
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")

    async def metadata(self, name: str, *said: str) -> None:
        """A request's page with summary, details and current details, which say all this."""
        await self.ui.open_tab("User Metadata")
        await self.ui.refresh_details()
        for words in said:
            await expect(self.ui.said("current-details")).to_contain_text(words)
        boxes = self.ui.said("current-details"), self.ui.said("details")
        await self.part(name, self.heading, boxes[await _lower(*boxes)])

    @property
    def heading(self) -> Locator:
        return self.page.get_by_test_id("workflow-id-heading").filter(visible=True)


async def _lower(*boxes: Locator) -> int:
    """Which of the boxes ends further down."""
    found = [await box.bounding_box() for box in boxes]
    ends = [box["y"] + box["height"] if box else 0.0 for box in found]
    return ends.index(max(ends))


async def take_all(site: Site, ui: WebUi) -> None:
    """All pictures, in the order of a day: one request is over, one runs, one waits for a spreadsheet that fails."""
    album, page = Album(ui), ui.page
    finished = await site.submit("morning", 9, SHEETS, owner="sales", priority="urgent", more=BAD)
    await finished.result()
    nightly = await site.submit("nightly", 240, SHEETS, owner="billing", more=BAD[:1])
    with site.stack.faults({"spreadsheet": "archive", "kind": "write", "effect": "error", "status": 503}):
        stuck = await site.submit("archive", 5, ("archive",), owner="ops", priority="low")
        await eventually(lambda: len(site.stack.calls(*SHEETS)) > 90, 120)

        await ui.open(nightly.id)
        await album.metadata("running", "Ready about", "Steer it")
        dialog = await ui.choose("Update")
        await album.dialog("commands", dialog)
        await ui.fill_in(dialog, "pause", '{"by": "ana"}')
        await album.dialog("pause", dialog)
        await ui.submit(dialog)
        await expect(dialog).to_be_hidden()
        await album.metadata("paused", "paused by ana")
        await ui.open_compact_history()
        await expect(ui.event("paused by ana")).to_be_visible()
        heading = page.get_by_role("heading", name="Event History").filter(visible=True)
        await album.part("history", heading, ui.event().nth(7))
        dialog = await ui.choose("Update")
        await ui.fill_in(dialog, "reprioritise", '{"to": "first"}')
        await ui.submit(dialog)
        await expect(dialog.get_by_text("is no priority")).to_be_visible()
        await album.dialog("refused", dialog)

        await ui.open(stuck.id)
        await ui.open_tab("Pending Activities")
        await expect(page.get_by_text("waits for a token").filter(visible=True).first).to_be_visible(timeout=60_000)
        await page.get_by_text("Last Worker Identity").filter(visible=True).evaluate("e => e.parentElement.remove()")
        why = page.get_by_text("waits for a token").filter(visible=True).first
        await album.part("waiting", page.get_by_role("heading", name="resend_batch").filter(visible=True), why)

        await ui.open_list('WorkflowType="BulkRequestWorkflow"')
        await page.get_by_role("button", name="Collapse saved views").click()
        await ui.add_columns(*COLUMNS)
        await expect(ui.row(nightly.id)).to_contain_text("paused")
        heading = page.get_by_role("heading", name=re.compile(r"\d+ Workflows"))
        await album.part("list", heading, ui.row(finished.id))

    await ui.open(finished.id)
    await album.metadata("finished", "completed", "2 failed")
    await nightly.signal("cancel")
    await asyncio.gather(nightly.result(), stuck.result())


@asynccontextmanager
async def looking() -> AsyncIterator[tuple[Site, WebUi]]:
    """A site and a browser at it."""
    program = found()
    if program is None:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        async with launched(program) as browser, running_site(Path(folder)) as site:
            context = await browser.new_context(
                viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC", locale="en-GB"
            )
            yield site, WebUi(await context.new_page(), site.root)


async def main() -> None:
    """Takes all pictures anew."""
    FOLDER.mkdir(exist_ok=True)
    async with looking() as (site, ui):
        await take_all(site, ui)


if __name__ == "__main__":
    asyncio.run(main())
