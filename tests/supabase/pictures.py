"""`python -m tests.supabase.pictures`: the pictures of the example page in docs/pictures, taken of the scene of `make front-door`."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import Locator, Page, expect

from tests.browser.chromium import MISSING, found, launched
from tests.browser.pictures import FOLDER
from tests.eventually import eventually
from tests.supabase.person import OVER, signed_in
from tests.supabase.show import PASSWORD, mistakes, orders, staged
from tests.supabase.whole import Whole, running_whole

WIDTH: Final = 1000


async def take(page: Page, name: str, height: int) -> None:
    """What the window shows, down to this height."""
    path = FOLDER / f"front-door-{name}.png"
    await page.screenshot(path=path, animations="disabled", clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


async def take_all(whole: Whole, page: Page) -> None:
    """The list with requests in several states, and one of them that is paused in the middle."""
    scene = await staged(whole)
    ana = await signed_in(whole.project.url, whole.project.key, "ana@example.com", PASSWORD, scene.organisation)
    mixed = await ana.submit([*orders(whole, "mixed", 24), *mistakes()], name="Orders of the week", order="strict")
    await ana.until(mixed["id"], *OVER, within=120)
    await ana.submit(orders(whole, "stock", 120), name="Stock levels", priority="urgent", order="strict")
    await page.goto(f"{whole.project.url}/example/")
    await page.get_by_label("Email").fill("ana@example.com")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    urgent = page.locator(".row", has_text="Stock levels")
    await eventually(lambda: _at_least(urgent, 20), 90)
    await take(page, "list", 520)
    await urgent.get_by_role("link").click()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".title .state")).to_have_text("Paused", timeout=30_000)
    await expect(page.get_by_role("region", name="What happened")).to_contain_text("accepted")
    await expect(page.locator(".toast.visible")).to_have_count(0, timeout=30_000)
    await take(page, "request", 820)
    await page.get_by_role("link", name="Bulk requests").click()
    await page.get_by_role("link", name="Orders of the week").click()
    await expect(page.get_by_role("region", name="Dead letters")).to_contain_text("no-such-operation")
    await page.emulate_media(color_scheme="dark")
    await take(page, "failures", 760)


async def _at_least(row: Locator, percent: int) -> bool:
    return int(await row.get_by_role("progressbar").get_attribute("aria-valuenow") or 0) >= percent


async def main() -> None:
    """Takes all pictures anew."""
    program = found()
    if program is None:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        async with launched(program) as browser, running_whole(Path(folder)) as whole:
            context = await browser.new_context(
                viewport={"width": WIDTH, "height": 900}, timezone_id="UTC", locale="en-GB", reduced_motion="reduce"
            )
            await take_all(whole, await context.new_page())


if __name__ == "__main__":
    asyncio.run(main())
