"""Outside scripts on a real server: they and bulk requests share one quota, and the emulator's ledger is the witness."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from headgate.errors import InvalidRequest, NoToken, Unreachable
from headgate.message import SECOND_NS
from headgate.messages.tokens import LimiterSettings
from headgate.messages.views import LimiterView
from starter.connection import address_of
from starter.tokens import headgate_tokens
from tests.conftest import StartServer
from tests.eventually import eventually
from tests.integration.stack import FAST, WINDOW, Stack
from workflows.names import rate_limiter_id

PER_WINDOW = 5
TIGHT = FAST.model_copy(update={"read_per_user": PER_WINDOW})


async def limiter(stack: Stack, project: str) -> LimiterView:
    """What the limiter says of itself."""
    handle = stack.client.get_workflow_handle(rate_limiter_id(project))
    view: LimiterView = await handle.query("show", result_type=LimiterView)
    return view


async def queued(stack: Stack, project: str, booked: int) -> LimiterView:
    """The limiter's view once it has booked exactly so many."""

    async def so_many() -> LimiterView | None:
        view = await limiter(stack, project)
        return view if view.booked == booked else None

    view = await eventually(so_many)
    assert view is not None
    return view


@asynccontextmanager
async def reader(stack: Stack, spreadsheet: str, user: str = "bot") -> AsyncIterator[Any]:
    """Makes one read of the spreadsheet, as the user."""
    url = f"{stack.emulator.url}/v4/spreadsheets/{spreadsheet}/values/Orders!A1:B2"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {user}"}, trust_env=False) as http:

        async def read() -> None:
            assert (await http.get(url)).status_code == 200

        yield read


async def test_a_script_and_a_bulk_request_share_one_quota(stack: Stack) -> None:
    """Both want more than a window holds, of one user: no window is over, and both end."""
    stack.spreadsheets("inside", "outside")
    project = await stack.project()
    ranges = [f"Orders!A{n}:B{n}" for n in range(1, 60)]
    lines = [{"id": f"i{n}", "op": "read", "spreadsheet": "inside", "range": r} for n, r in enumerate(ranges)]
    handle = await stack.submit(project, lines, operations_per_call=1)
    await eventually(lambda: len(stack.calls("inside")) >= 5, timeout=30)
    async with (
        reader(stack, "outside") as read,
        headgate_tokens(project, "bot", "read", calls=40, owner="nightly", client=stack.client) as tokens,
    ):

        async def caller() -> None:
            async for _ in tokens:
                await read()

        await asyncio.wait_for(asyncio.gather(*(caller() for _ in range(4))), 120)
    view = await asyncio.wait_for(handle.result(), 120)
    assert view.operations.succeeded == len(lines)
    assert len(stack.calls("outside")) == 40
    both = stack.worst("inside", "outside")
    assert both["read_per_user"] <= FAST.read_per_user
    assert both["read_per_project"] <= FAST.read_per_project
    arrivals = sorted(call["arrived"] for call in stack.calls("inside", "outside"))
    assert arrivals[-1] - arrivals[0] > WINDOW, "there was no need to share: this test says nothing"


async def test_a_script_that_leaves_early_hands_its_tokens_back(stack: Stack) -> None:
    """It used a full window, and four callers of it wait: their places go back, and the next window is another script's."""
    stack.spreadsheets("left-early")
    project = await stack.project(TIGHT)
    async with reader(stack, "left-early") as read:
        async with headgate_tokens(project, "bot", "read", client=stack.client) as tokens:
            for _ in range(PER_WINDOW):
                await tokens.take()
                await read()
            waiting = [asyncio.create_task(tokens.take()) for _ in range(4)]
            before = await queued(stack, project, PER_WINDOW + 4)
        for refused in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(refused, InvalidRequest)
        after = await limiter(stack, project)
        assert (before.booked, after.booked) == (PER_WINDOW + 4, PER_WINDOW)
        async with asyncio.timeout(WINDOW + 4):
            async with headgate_tokens(project, "bot", "read", calls=PER_WINDOW, client=stack.client) as tokens:
                async for _ in tokens:
                    await read()
    assert len(stack.calls("left-early")) == 2 * PER_WINDOW
    assert stack.worst("left-early")["read_per_user"] <= PER_WINDOW


async def test_a_cancelled_script_hands_its_tokens_back(stack: Stack) -> None:
    """As at Ctrl-C: what it has taken stays booked, the rest is free."""
    project = await stack.project(TIGHT)
    taken = []

    async def script() -> None:
        async with headgate_tokens(project, "bot", "read", client=stack.client) as tokens:

            async def caller() -> None:
                taken.append(await tokens.take())

            await asyncio.gather(*(caller() for _ in range(2 * PER_WINDOW)))

    running = asyncio.create_task(script())
    await queued(stack, project, 2 * PER_WINDOW)
    await eventually(lambda: len(taken) == PER_WINDOW)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    view = await limiter(stack, project)
    assert view.booked == PER_WINDOW


async def test_a_limiter_is_started_where_there_is_none(stack: Stack) -> None:
    """By a client that knows nothing of pydantic, for a project that nobody has configured."""
    plain = await Client.connect(address_of(stack.client))
    async with headgate_tokens("outside-new", "bot", "read", calls=3, client=plain) as tokens:
        assert [token.number async for token in tokens] == [1, 2, 3]
    view = await limiter(stack, "outside-new")
    assert view.settings == LimiterSettings()
    assert view.booked == 3


async def test_a_limiter_that_is_lost_in_the_middle_is_revived(stack: Stack) -> None:
    """The new one is quiet until the calls of the lost one have left the window, and then the script goes on."""
    stack.spreadsheets("lost")
    project = await stack.project(TIGHT)
    async with (
        reader(stack, "lost") as read,
        headgate_tokens(project, "bot", "read", calls=2 * PER_WINDOW, client=stack.client) as tokens,
    ):
        async for token in tokens:
            await read()
            if token.number == PER_WINDOW - 1:
                await stack.client.get_workflow_handle(rate_limiter_id(project)).terminate()
    assert len(stack.calls("lost")) == 2 * PER_WINDOW
    assert stack.worst("lost")["read_per_user"] <= PER_WINDOW


async def test_a_429_that_a_script_met_pauses_the_quota(stack: Stack) -> None:
    """The limiter counts it, and gives the next token of that user a second later at the soonest."""
    project = await stack.project()
    async with headgate_tokens(project, "bot", "read", client=stack.client) as tokens:
        first = await tokens.take()
        await tokens.throttled("user")
        assert (await limiter(stack, project)).throttled == 1
        assert (await tokens.take()).at_ns - first.at_ns >= SECOND_NS


async def test_who_cannot_wait_for_a_window_is_told_what_it_waits_for(stack: Stack) -> None:
    project = await stack.project(TIGHT)
    async with headgate_tokens(project, "bot", "read", client=stack.client, wait_for=timedelta(seconds=1.5)) as tokens:
        await asyncio.gather(*(tokens.take() for _ in range(PER_WINDOW)))
        with pytest.raises(NoToken, match="user bot is at its 5 reads"):
            await tokens.take()


async def test_a_server_that_went_away_is_said(start_server: StartServer) -> None:
    """Where there was none from the beginning, `connect` says so; here it went between connecting and the first question."""
    server = await start_server()
    client = await Client.connect(server.address)
    await server.stop()
    with pytest.raises(Unreachable, match="does not answer"):
        async with headgate_tokens("p", "bot", "read", client=client):
            pass


async def test_the_example_runs(stack: Stack) -> None:
    """As the page says, as a process of its own: one call a token, by the user that it names."""
    stack.spreadsheets("shop-example")
    project = await stack.project()
    command = [sys.executable, "-m", "starter.examples.outside", "--project", project, "--user", "ana", "--calls", "4"]
    command += ["--spreadsheet", "shop-example", "--range", "Orders!A1:B2"]
    environ = {
        **os.environ,
        "TEMPORAL_ADDRESS": address_of(stack.client),
        "HEADGATE_SHEETS_URL": stack.emulator.url,
    }
    done = await asyncio.to_thread(
        subprocess.run, command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4
    assert [(call["user"], call["status"]) for call in stack.calls("shop-example")] == [("ana", 200)] * 4
    assert (await limiter(stack, project)).booked == 4


async def test_the_example_explains_itself_and_its_mistakes() -> None:
    """`--help` names every option; a mistake is one sentence and exit code 2."""
    command = [sys.executable, "-m", "starter.examples.outside"]
    helped, mistaken = await asyncio.gather(
        *(
            asyncio.to_thread(
                subprocess.run, [*command, *more], capture_output=True, text=True, timeout=60, check=False
            )
            for more in (["--help"], ["--calls", "0"])
        )
    )
    assert helped.returncode == 0
    assert "--spreadsheet" in helped.stdout
    assert (mistaken.returncode, mistaken.stderr) == (2, "InvalidRequest: calls=0 must be at least 1\n")
