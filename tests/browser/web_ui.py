"""The Temporal Web UI as a person uses it: what can be opened, pressed and read. Every wait is Playwright's own.

Much of a page is there twice, for narrow and wide windows: what is meant is always the one that can be seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlencode

from playwright.async_api import FrameLocator, Locator, Page, expect

Tab = Literal["Timeline", "Event History", "Pending Activities", "Queries", "User Metadata", "Search Attributes"]
Box = Literal["summary", "details", "current-details"]
#: What the page says once a command was delivered.
TAKEN: Final = {"Signal": "Workflow signaled.", "Update": "Update successful"}


@dataclass
class WebUi:
    """One page of a browser; `root` is the address of the namespace's pages."""

    page: Page
    root: str

    async def open_list(self, query: str = "") -> None:
        """The list of workflows, filtered by a visibility query."""
        await self.page.goto(f"{self.root}/workflows?{urlencode({'query': query})}")
        await expect(self.page.get_by_test_id("workflows-summary-table-header-cell-Workflow ID")).to_be_visible()

    def row(self, workflow_id: str) -> Locator:
        """The workflow's row in the list."""
        rows = self.page.get_by_test_id("workflows-summary-configurable-table-row")
        return rows.filter(has=self.page.get_by_role("link", name=workflow_id, exact=True))

    async def add_columns(self, *attributes: str) -> None:
        """Choose columns of the list, which the browser remembers; some that say little make room for them."""
        await self.page.get_by_test_id("workflows-summary-table-configuration-button").click()
        for label in ("Run ID", "Type", "Start", "End"):
            await self.page.get_by_test_id(f"orderable-list-item-{label}-remove-button").click()
        for attribute in attributes:
            await self.page.get_by_test_id(f"orderable-list-item-{attribute}-add-button").click()
        await self.page.get_by_test_id("drawer-close-button").click()

    async def filter_by(self, value: str) -> None:
        """Press the filter of a cell that shows this value, as a person does who wants more of its kind."""
        cells = self.page.get_by_test_id("workflows-summary-table-body-cell")
        cell = cells.filter(has_text=re.compile(rf"^\s*{re.escape(value)}\b")).first
        await cell.hover()
        await cell.locator("#filter-button").click()

    def chip(self, attribute: str) -> Locator:
        """The filter that is on for an attribute."""
        return self.page.get_by_role("button").filter(has_text=re.compile(rf"^\s*{attribute}\s*="), visible=True)

    async def open(self, workflow_id: str) -> None:
        """A workflow's page, on its timeline."""
        await self.page.goto(f"{self.root}/workflows/{quote(workflow_id, safe='')}")
        await self.shows(workflow_id)

    async def shows(self, workflow_id: str) -> None:
        """It is this workflow's page."""
        heading = self.page.get_by_test_id("workflow-id-heading").filter(visible=True)
        await expect(heading).to_contain_text(re.compile(rf"^\s*{re.escape(workflow_id)}\b"))

    async def open_tab(self, tab: Tab) -> None:
        """One of the tabs of a workflow's page."""
        await self.page.get_by_role("tab", name=tab).or_(self.page.get_by_role("link", name=tab)).first.click()

    def box(self, name: Box) -> FrameLocator:
        """What the tab User Metadata renders as Markdown."""
        return self.page.frame_locator(f"#user-metadata-{name}")

    def said(self, name: Box) -> Locator:
        """The text of such a box."""
        return self.box(name).locator("main")

    async def refresh_details(self) -> str:
        """What the current details say after R was pressed."""
        async with self.page.expect_response(re.compile(r"/query/__temporal_workflow_metadata")):
            await self.page.keyboard.press("r")
        return await self.said("current-details").inner_text()

    async def choose(self, kind: Literal["Signal", "Update"]) -> Locator:
        """The dialog *Send a Signal* or *Send an Update* with its list of handlers open."""
        await self.page.get_by_role("button", name="More Actions").filter(visible=True).click()
        await self.page.get_by_role("menuitem", name=re.compile(rf"^\s*Send an? {kind}")).filter(visible=True).click()
        dialog = self.page.get_by_test_id(f"{kind.lower()}-confirmation-modal").filter(visible=True)
        await dialog.get_by_test_id(f"{kind.lower()}-select-button").click()
        return dialog

    def handler(self, dialog: Locator, name: str) -> Locator:
        """A handler in the dialog's open list, with its description."""
        return dialog.get_by_role("option", name=re.compile(rf"^\s*{name}\b"))

    async def fill_in(self, dialog: Locator, handler: str, data: str = "") -> None:
        """Choose a handler, and type its data."""
        await self.handler(dialog, handler).click()
        if data:
            await dialog.locator("[contenteditable][role=textbox]").fill(data)

    async def submit(self, dialog: Locator) -> None:
        """Press *Submit*."""
        await dialog.get_by_test_id("confirm-modal-button").click()

    async def send(self, kind: Literal["Signal", "Update"], handler: str, data: str = "") -> None:
        """Send a command that is taken: the dialog closes and the page says so."""
        dialog = await self.choose(kind)
        await self.fill_in(dialog, handler, data)
        await self.submit(dialog)
        await expect(self.page.get_by_role("log").get_by_text(TAKEN[kind])).to_be_visible()
        await expect(dialog).to_be_hidden()

    async def request_cancellation(self) -> None:
        """The page's main button, and its confirmation."""
        await self.page.get_by_role("button", name="Request Cancellation").filter(visible=True).click()
        dialog = self.page.get_by_test_id("cancel-confirmation-modal").filter(visible=True)
        await self.submit(dialog)
        await expect(dialog).to_be_hidden()

    async def ask(self, query: str) -> str:
        """The answer to a query."""
        await self.open_tab("Queries")
        await self.page.get_by_test_id("query-select-button").click()
        await self.page.get_by_role("option", name=query).filter(visible=True).click()
        await self.page.get_by_role("button", name="Run Query").click()
        answer = self.page.get_by_test_id("query-result").or_(self.page.locator("[data-language=json].cm-content"))
        await expect(answer.last).to_contain_text("{")
        return await answer.last.inner_text()

    def event(self, *texts: str | re.Pattern[str]) -> Locator:
        """Rows of the event history that hold all these texts."""
        rows = self.page.get_by_test_id("event-summary-row")
        for text in texts:
            rows = rows.filter(has_text=text)
        return rows

    async def open_compact_history(self) -> None:
        """The event history with what belongs together in one row."""
        await self.open_tab("Event History")
        await self.page.get_by_test_id("compact").click()
