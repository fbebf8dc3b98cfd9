"""The machine's own Chromium, driven by Playwright: nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, async_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHOSEN: Final = "HEADGATE_CHROMIUM"
MISSING: Final = (
    "no Chromium on this machine, so nobody looked at the Web UI: `make chromium` installs one where apt can, "
    f"elsewhere install Chromium or Chrome, or name its program in {CHOSEN}"
)
#: No sandbox: it cannot be had by root, nor in most containers. The pages are our own.
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS: Final = 20_000


def found() -> str | None:
    """The program that is to be driven; None where there is none."""
    return os.environ.get(CHOSEN) or next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def launched(program: str) -> AsyncIterator[Browser]:
    """A headless browser with an empty profile; it ends with the block."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()
