"""What the example page watches, without a page: its own TypeScript on the real supabase-js, against the whole platform."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.eventually import eventually
from tests.supabase.platform.client import DenoClient, deno_client
from tests.supabase.platform.functions import Unavailable
from tests.supabase.platform.project import Project
from tests.supabase.platform.relay import Faults, Relay
from tests.supabase.tenant import Tenant, tenant

#: Less than the page's silence: only a message can have told it.
BY_MESSAGE = 4.0


@pytest.fixture
async def mine(project: Project) -> Tenant:
    if project.hosted:
        pytest.skip("a hosted project cannot be broken")
    return await tenant(project)


@pytest.fixture
async def relay(mine: Tenant) -> AsyncIterator[Relay]:
    """The relay, whose faults end with the test."""
    yield mine.project.stand_ins.relay
    mine.project.stand_ins.relay.faults = Faults()


@pytest.fixture
async def client(mine: Tenant) -> AsyncIterator[DenoClient]:
    try:
        async with deno_client(mine.project.url, mine.project.key, mine.user.token) as client:
            yield client
    except Unavailable as missing:
        pytest.skip(str(missing))


async def test_a_new_request_is_found_while_another_sends(mine: Tenant, relay: Relay, client: DenoClient) -> None:
    """Whatever is heard of the other one, it says nothing of what was lost of this one."""
    running = mine.request()
    mine.update(running, status="running", operations_total=1000)
    listed = await client.watch_organisation_on_page(str(mine.organisation))
    await eventually(lambda: f"request:{running}" in relay.joined and listed.link == "live")
    await mine.project.stand_ins.gateway.falls_silent()
    relay.faults.lose = lambda row: str(row["topic"]).startswith("org:")
    unheard = mine.request()

    def found() -> bool:
        mine.update(running, operations_succeeded=mine.row(running)["operations_succeeded"] + 1)
        return any(told["id"] == unheard for told in listed.requests)

    await eventually(found, timeout=20, interval=0.5)
    assert relay.faults.lost


async def test_turns_in_the_line_are_shown_and_nothing_is_read(mine: Tenant, relay: Relay, client: DenoClient) -> None:
    """They are no news in the audit; what keeps a request out of the line may be."""
    request, gateway = mine.request(), mine.project.stand_ins.gateway
    mine.update(request, status="running", operations_total=9)
    listed = await client.watch_organisation_on_page(str(mine.organisation))
    watched = await client.watch_on_page(request)
    await eventually(lambda: relay.joined == [f"org:{mine.organisation}", f"request:{request}"] and listed.last)
    await gateway.falls_silent()
    with gateway.readings() as readings:
        for status, cause in [("waiting", "quota"), ("running", ""), ("waiting", "behind"), ("running", "")] * 3:
            mine.update(request, status=status, waiting_cause=cause)
            await eventually(lambda: all(mine.shows(told.last, request) for told in (listed, watched)))
        assert readings == []
        mine.update(request, status="waiting", waiting_cause="circuit")
        await eventually(lambda: [path for path in readings if path.endswith(request)])


async def test_the_bar_of_a_cancelled_request_moves_until_it_is_over(
    mine: Tenant, relay: Relay, client: DenoClient
) -> None:
    request = mine.request()
    topic = f"request:{request}"
    listed = await client.watch_organisation_on_page(str(mine.organisation))
    await eventually(lambda: topic in relay.joined and listed.link == "live")
    mine.update(request, status="cancelled", operations_total=10, operations_succeeded=3)
    await eventually(lambda: mine.shows(listed.last, request))
    mine.update(request, operations_succeeded=7)
    await eventually(lambda: mine.shows(listed.last, request), timeout=BY_MESSAGE)
    mine.end(request, operations_unprocessed=3)
    await eventually(lambda: mine.shows(listed.last, request), timeout=BY_MESSAGE)
    await eventually(lambda: topic not in relay.joined)
