"""The example page in a real browser, against everything that runs behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.async_api import Browser, FilePayload, Locator, Page, expect

from tests.browser.chromium import MISSING, PATIENCE_MS, found, launched
from tests.eventually import eventually
from tests.supabase.person import as_lines
from tests.supabase.platform.example import EXAMPLE, build, type_errors
from tests.supabase.platform.functions import Unavailable
from tests.supabase.platform.project import User
from tests.supabase.whole import Organisation, Whole

#: Long enough for a pause to come in between.
CALLS = 20


def test_the_page_builds_and_its_types_hold(tmp_path: Path) -> None:
    try:
        folder = build(tmp_path, "https://project.supabase.co", "sb_publishable_key")
        errors = type_errors()
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert errors == ""
    assert {path.name for path in folder.iterdir()} == {"app.js", "config.json", "index.html", "mark.svg", "style.css"}


def test_the_page_has_no_way_to_take_data_for_html() -> None:
    sources = {path.name: path.read_text() for path in (EXAMPLE / "src").glob("*.ts")}
    assert sources
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "srcdoc", "eval("):
        assert not [name for name, source in sources.items() if way in source], way


@pytest.fixture(scope="module")
async def chromium(whole: Whole) -> AsyncIterator[Browser]:
    """The machine's browser."""
    program = found()
    if program is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=PATIENCE_MS)
    async with launched(program) as browser:
        yield browser


@pytest.fixture(scope="module")
async def acme(whole: Whole) -> Organisation:
    """The organisation whose people look."""
    return await whole.organisation("Acme Trading")


@dataclass
class Screen:
    """One person at the page, in a browser of their own; `faults` is what the browser complained of."""

    page: Page
    root: str
    faults: list[str]

    async def open(self, route: str = "#/") -> None:
        await self.page.goto("about:blank")
        await self.page.goto(f"{self.root}{route}")

    async def sign_in(self, account: User) -> None:
        await self.page.get_by_label("Email").fill(account.email)
        await self.page.get_by_label("Password").fill(account.password)
        await self.page.get_by_role("button", name="Sign in").click()

    async def submit(self, name: str, lines: list[dict[str, Any]] | bytes, *, strict: bool = True) -> str:
        """Hands over a new request as a person does, a file where it is bytes; the request's id."""
        await self.page.get_by_role("link", name="New request").click()
        await self.page.get_by_label("Name").fill(name)
        if isinstance(lines, bytes):
            file: FilePayload = {"name": "orders.jsonl", "mimeType": "application/x-ndjson", "buffer": lines}
            await self.page.locator("#file").set_input_files(file)
        else:
            await self.page.get_by_label("or paste lines").fill(as_lines(lines))
        if strict:
            await self.page.get_by_label("Order").select_option("strict")
        await self.page.get_by_role("button", name="Submit").click()
        await self.page.wait_for_url("**/#/requests/*")
        return self.page.url.rpartition("/")[2]

    @property
    def state(self) -> Locator:
        return self.page.locator(".title .state")

    async def done(self, bar: Locator | None = None) -> int:
        """Where the bar stands, in per cent, as a screen reader hears it."""
        bar = bar or self.page.get_by_role("progressbar", name="Progress", exact=True)
        return int(await bar.get_attribute("aria-valuenow") or 0)


@pytest.fixture
async def look(whole: Whole, chromium: Browser) -> AsyncIterator[Callable[[], Awaitable[Screen]]]:
    """Opens the page for one more person. At the end no browser has anything to complain of."""
    if whole.project.hosted:
        pytest.skip("the page of a hosted project is served elsewhere")
    async with AsyncExitStack() as contexts:
        screens: list[Screen] = []

        async def open_page() -> Screen:
            context = await chromium.new_context(
                viewport={"width": 1100, "height": 900}, timezone_id="UTC", locale="en-GB", reduced_motion="reduce"
            )
            contexts.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            page = await context.new_page()
            screen = Screen(page, f"{whole.project.url}/example/", [])
            page.on("pageerror", lambda error: screen.faults.append(str(error)))
            page.on("dialog", lambda dialog: screen.faults.append(f"a dialog: {dialog.message}"))
            screens.append(screen)
            await screen.open()
            return screen

        yield open_page
        assert [fault for screen in screens for fault in screen.faults] == []


async def test_from_sign_in_to_done(whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]) -> None:
    screen = await look()
    account = await whole.account(acme, "member")
    await screen.sign_in(account)
    await expect(screen.page.get_by_role("heading", name="Bulk requests")).to_be_focused()
    sheet = whole.spreadsheet()
    lines = whole.lines(sheet, CALLS)
    request = await screen.submit("Prices", lines)
    await expect(screen.page.get_by_role("heading", name="Prices")).to_be_visible()

    await eventually(screen.done, 60)
    before = await screen.done()
    await eventually(lambda: _more(screen, before), 30)

    await screen.page.get_by_role("button", name="Pause").click()
    await expect(screen.state).to_have_text("Paused")
    await expect(screen.page.get_by_role("button", name="Pause")).to_be_hidden()
    calls = await whole.falls_silent(sheet)
    assert 0 < calls < CALLS
    await expect(screen.page.get_by_role("button", name="Resume")).to_be_focused()

    await screen.page.get_by_label("Priority").select_option("urgent")
    await expect(screen.page.locator(".title .priority")).to_have_text("urgent")
    assert (await whole.view(request)).priority == "urgent"

    await screen.page.reload()
    await expect(screen.state).to_have_text("Paused")
    await expect(screen.page.locator(".title .priority")).to_have_text("urgent")
    await expect(screen.page.get_by_label("Priority")).to_have_value("urgent")

    await screen.page.get_by_role("button", name="Resume").press("Enter")
    await expect(screen.state).to_have_text("Completed", timeout=90_000)
    await expect(screen.page.get_by_role("progressbar", name="Progress")).to_have_attribute("aria-valuenow", "100")
    assert whole.written(sheet) == dict.fromkeys(whole.appended(lines), 1)
    events = screen.page.get_by_role("region", name="What happened")
    for told in ("asked to pause", "asked for priority urgent", "asked to resume", "submitted the request"):
        await expect(events).to_contain_text(f"{account.email} {told}")
    await expect(screen.page.get_by_role("button", name="Cancel")).to_be_hidden()


async def test_a_file_goes_through_storage_and_is_seen_by_nobody_else(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    mine, theirs = await look(), await look()
    await mine.sign_in(await whole.account(acme, "member"))
    zebra = await whole.organisation("Zebra Imports")
    await theirs.sign_in(await whole.account(zebra, "admin"))
    sheet = whole.spreadsheet()
    padding = "x" * 4000
    lines = [{**whole.append(f"{sheet}-{n}", sheet), "values": [[f"{sheet}-{n}", padding]]} for n in range(300)]
    content = as_lines(lines).encode()
    assert len(content) > 1_000_000
    request = await mine.submit("A large file", content, strict=False)
    await expect(mine.state).to_have_text("Completed", timeout=90_000)
    assert whole.written(sheet) == dict.fromkeys(whole.appended(lines), 1)
    assert (await whole.row(request))["input_path"]

    await expect(theirs.page.get_by_text("Nothing has been submitted yet")).to_be_visible()
    await theirs.open(f"#/requests/{request}")
    await expect(theirs.page.get_by_role("alert")).to_contain_text("There is no such request")
    await expect(theirs.page.get_by_text("A large file")).to_have_count(0)


async def test_names_and_reasons_are_text_and_a_viewer_has_no_buttons(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    member = await whole.person(acme, "member")
    sheet = whole.spreadsheet()
    lines = [whole.append("good", sheet), {**whole.append(attack, sheet), "range": f"{attack}!A:B"}]
    request = await member.submit([*lines, {**whole.append("no", f"javascript:{attack}")}], name=attack)
    await member.until(request["id"], "completed")
    viewer = await look()
    await viewer.sign_in(await whole.account(acme, "viewer"))
    row = viewer.page.locator(f'[data-request="{request["id"]}"]')
    await expect(row.get_by_role("link", name=attack)).to_be_visible()
    await expect(viewer.page.get_by_role("link", name="New request")).to_have_count(0)
    await row.get_by_role("link", name=attack).click()
    await expect(viewer.page.get_by_role("heading", name=attack)).to_be_visible()
    await expect(viewer.page.get_by_role("region", name="Dead letters")).to_contain_text(attack)
    assert await viewer.page.locator("main img, main script").count() == 0
    for name in ("Pause", "Resume", "Cancel", "Retry failed"):
        await expect(viewer.page.get_by_role("button", name=name)).to_be_hidden()
    await viewer.open("#/new")
    await expect(viewer.page.get_by_role("heading", name="Bulk requests")).to_be_visible()


async def test_a_lost_connection_and_lost_messages_are_made_good(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    await screen.sign_in(await whole.account(acme, "admin"))
    sheet = whole.spreadsheet()
    lines = whole.lines(sheet, CALLS)
    request = await screen.submit("Dropped", lines)
    await eventually(screen.done, 60)
    relay = whole.project.stand_ins.relay
    relay.faults.lose_every(2)
    await relay.restart()
    await expect(screen.page.locator(".link")).to_have_attribute("data-link", "live")
    await expect(screen.state).to_have_text("Completed", timeout=120_000)
    relay.faults.lose_every(0)
    row = await whole.row(request)
    await expect(screen.page.get_by_text(f"{row['operations_succeeded']} of {row['operations_total']}")).to_be_visible()


async def test_what_could_not_be_read_is_complained_of_until_it_is_read(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    await screen.sign_in(await whole.account(acme, "member"))
    request = await (await whole.person(acme, "member")).submit(whole.lines(whole.spreadsheet(), 2), name="Unseen")
    await screen.open(f"#/requests/{request['id']}")
    await expect(screen.state).to_have_text("Completed", timeout=60_000)
    stand_ins = whole.project.stand_ins
    stand_ins.gateway.down.add("/functions/v1")
    try:
        stand_ins.relay.drop_connections()
        alert = screen.page.get_by_role("alert").filter(visible=True)
        await expect(alert).to_contain_text("Try again in a moment", timeout=60_000)
    finally:
        stand_ins.gateway.down.discard("/functions/v1")
    await expect(alert).to_have_count(0, timeout=60_000)


async def test_a_page_that_cannot_be_read_at_first_is_read_later_by_itself(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    await screen.sign_in(await whole.account(acme, "member"))
    await expect(screen.page.get_by_role("heading", name="Bulk requests")).to_be_visible()
    request = await (await whole.person(acme, "member")).submit(whole.lines(whole.spreadsheet(), 2), name="Away")
    gateway = whole.project.stand_ins.gateway
    gateway.down.add("/functions/v1")
    try:
        await screen.open(f"#/requests/{request['id']}")
        alert = screen.page.get_by_role("alert").filter(visible=True)
        await expect(alert).to_contain_text("Try again in a moment", timeout=60_000)
        await expect(screen.page.get_by_role("heading", name="This request cannot be shown")).to_have_count(0)
    finally:
        gateway.down.discard("/functions/v1")
    await expect(screen.page.get_by_role("heading", name="Away")).to_be_visible(timeout=60_000)
    await expect(alert).to_have_count(0)


async def test_what_was_pressed_in_vain_stays_said_until_it_is_dismissed(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    await screen.sign_in(await whole.account(acme, "member"))
    await screen.submit("In vain", whole.lines(whole.spreadsheet(), CALLS))
    await eventually(screen.done, 60)
    gateway, answer = whole.project.stand_ins.gateway, screen.page.locator(".answer")
    gateway.down.add("/functions/v1")
    try:
        await screen.page.get_by_role("button", name="Pause").click()
        await expect(answer).to_have_text("Pausing…")
        await expect(answer).to_be_empty()
    finally:
        gateway.down.discard("/functions/v1")
    await expect(screen.page.locator(".toast")).to_contain_text("In vain is completed", timeout=90_000)
    alert = screen.page.get_by_role("alert").filter(visible=True)
    await expect(alert).to_contain_text("Try again in a moment")
    await screen.page.get_by_role("button", name="Dismiss").click()
    await expect(alert).to_have_count(0)


async def test_what_replaces_an_answer_is_shown_in_its_place(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    """A command that was recorded while no worker ran is refused later, or carried out."""
    screen = await look()
    await screen.sign_in(await whole.account(acme, "member"))
    request = await screen.submit("Recorded", whole.lines(whole.spreadsheet(), CALLS))
    await eventually(screen.done, 60)
    await screen.page.get_by_role("button", name="Pause").click()
    answer = screen.page.locator(".answer")
    await expect(answer).to_contain_text("Paused by")
    async with await psycopg.AsyncConnection.connect(whole.project.database_url) as connection:
        await connection.execute(
            "update commands set status = 'refused', answer = 'the request is over' where request_id = %s", (request,)
        )
    await expect(answer).to_have_text("Refused: the request is over")


async def test_what_is_not_there_shows_no_state_and_no_connection(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    await screen.sign_in(await whole.account(acme, "member"))
    await expect(screen.page.get_by_role("heading", name="Bulk requests")).to_be_visible()
    await screen.open("#/requests/nothing")
    await expect(screen.page.get_by_role("heading", name="This request cannot be shown")).to_be_visible()
    await expect(screen.state).to_be_hidden()
    await expect(screen.page.locator(".title .priority")).to_be_hidden()
    await expect(screen.page.locator(".link")).to_be_hidden()


async def test_reasons_can_be_read_on_a_telephone(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    await screen.page.set_viewport_size({"width": 360, "height": 740})
    await screen.sign_in(await whole.account(acme, "member"))
    person = await whole.person(acme, "member")
    line = {**whole.append("x", whole.spreadsheet()), "id": "no-such-operation", "op": "upsert"}
    request = await person.submit([line], name="n" * 200)
    await person.until(request["id"], "completed")
    await screen.open(f"#/requests/{request['id']}")
    reason = screen.page.get_by_role("cell").nth(2)
    await expect(reason).to_contain_text("op must be")
    box = await reason.bounding_box()
    assert box is not None
    assert box["width"] > 140, "a reason is a column of single words"
    assert await screen.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
        "the page itself is too wide"
    )


async def test_what_is_refused_is_said_in_a_sentence(
    whole: Whole, acme: Organisation, look: Callable[[], Awaitable[Screen]]
) -> None:
    screen = await look()
    account = await whole.account(acme, "member")
    await screen.sign_in(replace(account, password="wrong-password"))
    await expect(screen.page.get_by_role("alert")).to_contain_text("Check the email address and the password.")
    await screen.sign_in(account)
    await screen.page.get_by_role("link", name="New request").click()
    await screen.page.get_by_role("button", name="Submit").click()
    await expect(screen.page.get_by_role("alert").filter(visible=True)).to_contain_text("There is nothing to submit.")
    await screen.page.get_by_role("button", name="Sign out").click()
    await expect(screen.page.get_by_role("heading", name="Sign in")).to_be_visible()
    await screen.page.reload()
    await expect(screen.page.get_by_role("heading", name="Sign in")).to_be_visible()


async def _more(screen: Screen, before: int) -> bool:
    return await screen.done() > before
