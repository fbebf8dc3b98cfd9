"""One browser and one site for the tier. Without a browser the tier is skipped, and the session says so at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.chromium import MISSING, PATIENCE_MS, found, launched
from tests.browser.site import Site, running_site
from tests.browser.web_ui import WebUi


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    """The machine's Chromium."""
    program = found()
    if program is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=PATIENCE_MS)
    async with launched(program) as browser:
        yield browser


@pytest.fixture(scope="package")
async def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A server of the tier's own, whose list shows nobody else's requests; it ends before other tiers begin."""
    async with running_site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of a browser that remembers nothing."""
    context = await browser.new_context(viewport={"width": 1400, "height": 1000}, timezone_id="UTC")
    context.set_default_timeout(PATIENCE_MS)
    yield await context.new_page()
    await context.close()


@pytest.fixture
def ui(page: Page, site: Site) -> WebUi:
    """The site's Web UI on that page."""
    return WebUi(page, site.root)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A tier that nobody ran must not look like one that passed."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any(MISSING in str(report.longrepr) for report in skipped):
        terminalreporter.section("THE WEB UI WAS NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(MISSING, red=True)
