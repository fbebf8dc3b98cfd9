"""The TypeScript client, on the real supabase-js in Deno, against the whole platform."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import pytest

from tests.eventually import eventually
from tests.supabase.platform.client import CLIENT, CONFIG, PROGRAM, DenoClient, Json, Refused, deno_client, prepare
from tests.supabase.platform.functions import Unavailable, deno, environment
from tests.supabase.platform.gateway import Gateway
from tests.supabase.platform.project import BUCKET, Project
from tests.supabase.tenant import Tenant, tenant

OPERATIONS = [{"id": str(number)} for number in range(3)]


@pytest.fixture
async def mine(project: Project) -> Tenant:
    return await tenant(project)


@pytest.fixture
async def client(mine: Tenant) -> AsyncIterator[DenoClient]:
    try:
        async with deno_client(mine.project.url, mine.project.key, mine.user.token) as client:
            yield client
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def gateway(project: Project) -> Iterator[Gateway]:
    """The gateway, whose faults end with the test."""
    gateway = project.stand_ins.gateway
    before = gateway.lose_answer
    yield gateway
    gateway.lose_answer = before
    gateway.down.clear()


def first(times: int, method: str, part: str) -> Callable[[str, str], bool]:
    """True for the first calls of such a method and path."""
    seen = 0

    def lost(its_method: str, path: str) -> bool:
        nonlocal seen
        if its_method == method and part in path:
            seen += 1
            return seen <= times
        return False

    return lost


@pytest.mark.parametrize("command", [("check",), ("lint",), ("fmt", "--check")], ids=" ".join)
def test_the_sources_are_strict_and_tidy(command: tuple[str, ...]) -> None:
    try:
        prepare()
    except Unavailable as missing:
        pytest.skip(str(missing))
    done = subprocess.run(
        [str(deno()), *command, "--quiet", "--config", str(CONFIG), *map(str, CLIENT.glob("*.ts")), str(PROGRAM)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_request_is_submitted_once_for_its_key(mine: Tenant, client: DenoClient) -> None:
    submission = {
        "organisation": str(mine.organisation),
        "name": "Prices",
        "idempotency_key": "k",
        "operations": OPERATIONS,
    }
    made = await client.call("submit", submission)
    assert made["status"] == "submitted"
    assert made["name"] == "Prices"
    again = await client.call("submit", submission)
    assert again["id"] == made["id"]
    with pytest.raises(Refused) as refused:
        await client.call("submit", {**submission, "name": "Other"})
    assert refused.value.code == "conflict"


async def test_a_file_is_uploaded_and_released(mine: Tenant, client: DenoClient) -> None:
    file = "".join(json.dumps(operation) + "\n" for operation in OPERATIONS)
    made = await client.call("submit", {"organisation": str(mine.organisation), "file": file})
    row = mine.row(made["id"])
    assert row["status"] == "submitted"
    assert row["input_sha256"] == hashlib.sha256(file.encode()).hexdigest()
    if not mine.project.hosted:
        assert mine.project.stand_ins.storage.content(BUCKET, row["input_path"]) == file.encode()


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/submit"), ("PUT", "/storage/v1/object/upload/sign"), ("POST", "/finalize")]
)
async def test_a_lost_answer_makes_no_second_request(
    mine: Tenant, client: DenoClient, gateway: Gateway, method: str, path: str
) -> None:
    gateway.lose_answer = first(2, method, path)
    made = await client.call("submit", {"organisation": str(mine.organisation), "file": '{"id": "1"}\n'})
    with mine.connection() as connection:
        rows = connection.execute(
            "select id, status from bulk_requests where organisation_id = %s", (mine.organisation,)
        ).fetchall()
    assert rows == [{"id": made["id"], "status": "submitted"}]


async def test_a_lost_answer_makes_no_second_command(mine: Tenant, client: DenoClient, gateway: Gateway) -> None:
    request = mine.request()
    gateway.lose_answer = first(2, "POST", "/command")
    said = await client.call("command", request, "pause")
    assert (said["command"], said["sequence"], said["status"]) == ("pause", 1, "pending")
    with mine.connection() as connection:
        rows = connection.execute("select id::text from commands where request_id = %s", (request,)).fetchall()
    assert rows == [{"id": said["id"]}]


async def test_commands_carry_what_they_say(mine: Tenant, client: DenoClient) -> None:
    request, mark = mine.request(), str(uuid4())
    said = await client.call("command", request, "reprioritise", {"to": "urgent", "id": mark})
    assert (said["id"], said["to"]) == (mark, "urgent")
    again = await client.call("command", request, "reprioritise", {"to": "urgent", "id": mark})
    assert again["sequence"] == said["sequence"]
    with pytest.raises(Refused) as refused:
        await client.call("command", request, "cancel", {"id": mark})
    assert refused.value.code == "conflict"


async def test_refusals_keep_the_front_doors_words(mine: Tenant, client: DenoClient, project: Project) -> None:
    theirs = await tenant(project)
    request = theirs.request()
    for call in (
        ("command", request, "pause"),
        ("submit", {"organisation": str(theirs.organisation), "operations": OPERATIONS}),
    ):
        with pytest.raises(Refused) as refused:
            await client.call(*call)
        assert (refused.value.code, refused.value.error["status"]) == ("forbidden", 403)
    with pytest.raises(Refused) as refused:
        await client.call("history", request)
    assert refused.value.code == "not_found"
    with mine.connection() as connection:
        connection.execute(
            "update private.accounts set submits_per_minute = 1 where organisation_id = %s", (mine.organisation,)
        )
    submission = {"organisation": str(mine.organisation), "operations": OPERATIONS}
    await client.call("submit", submission)
    with pytest.raises(Refused) as refused:
        await client.call("submit", submission)
    assert refused.value.code == "too_many"
    assert 0 < refused.value.error["retryAfter"] <= 60


async def test_a_front_door_that_is_away_is_said_to_be(mine: Tenant, client: DenoClient, gateway: Gateway) -> None:
    gateway.down.add("/functions/v1")
    with pytest.raises(Refused) as refused:
        await client.call("list", {})
    assert refused.value.code == "unavailable"


async def test_history_has_what_happened(mine: Tenant, client: DenoClient) -> None:
    request = mine.request(name="Prices")
    await client.call("command", request, "pause")
    history = await client.call("history", request)
    assert [event["kind"] for event in history["events"]] == ["command", "submitted"]
    assert [command["command"] for command in history["commands"]] == ["pause"]
    listed = await client.call("list", {"organisation": str(mine.organisation), "limit": 1})
    assert [found["id"] for found in listed["requests"]] == [request]


async def test_a_watched_request_is_told_as_it_goes(mine: Tenant, client: DenoClient) -> None:
    request = mine.request(name="Prices")
    watched = await client.watch(request)
    await eventually(lambda: watched.link == "live" and watched.last)
    assert watched.last["name"] == "Prices"
    mine.update(request, status="running", operations_total=10)
    for done in range(1, 10):
        mine.update(request, operations_succeeded=done)
    await eventually(lambda: mine.shows(watched.last, request))
    mine.update(request, operations_succeeded=9, operations_failed=1, failures={"quota": 1}, status="completed")
    await eventually(lambda: mine.shows(watched.last, request))
    revisions = [told["revision"] for told in watched.requests]
    assert revisions == sorted(revisions)
    assert watched.last["name"] == "Prices"
    assert watched.troubles == []


async def test_commands_answers_are_told(mine: Tenant, client: DenoClient) -> None:
    request = mine.request()
    watched = await client.watch(request)
    await eventually(lambda: watched.link == "live")
    said = await client.call("command", request, "pause")
    with mine.connection() as connection:
        connection.execute("select private.command_answered(%s, 'accepted', 'paused')", (said["id"],))
    await eventually(lambda: [told["status"] for told in watched.commands] == ["pending", "accepted"])


async def test_nothing_is_left_once_all_is_over(mine: Tenant, client: DenoClient) -> None:
    """The process ends by itself: no timer, no channel, no connection holds it."""
    over, running = mine.request(), mine.request()
    mine.end(over, status="cancelled")
    first_watched, second_watched = await client.watch(over), await client.watch(running)
    await eventually(lambda: first_watched.last and second_watched.link == "live")
    mine.end(running, status="failed", error="no")
    await eventually(lambda: second_watched.last.get("error") == "no")
    assert await client.end_of_input(seconds=15) == 0


async def test_what_is_cancelled_is_told_until_its_last_calls_have_ended(mine: Tenant, client: DenoClient) -> None:
    request = mine.request()
    mine.update(request, status="cancelled", operations_total=10, operations_succeeded=3)
    watched = await client.watch(request)
    await eventually(lambda: watched.link == "live" and watched.last)
    mine.update(request, operations_succeeded=7)
    await eventually(lambda: mine.shows(watched.last, request))
    mine.end(request, operations_unprocessed=3, results_location="s3://results/it")
    await eventually(lambda: mine.shows(watched.last, request) and watched.last["finished_at"])
    assert watched.last["results_location"] == "s3://results/it"
    assert await client.end_of_input(seconds=15) == 0


async def test_stopping_leaves_nothing(mine: Tenant, client: DenoClient) -> None:
    watched, listed = await client.watch(mine.request()), await client.watch_organisation(str(mine.organisation))
    await eventually(lambda: watched.link == "live" and listed.link == "live")
    await client.call("stop", watched.number)
    await client.call("stop", listed.number)
    assert await client.end_of_input(seconds=15) == 0


async def test_two_watchings_share_a_topic_and_end_apart(mine: Tenant, client: DenoClient) -> None:
    request = mine.request()
    watched, twice = await client.watch(request), await client.watch(request)
    await eventually(lambda: watched.link == "live" and watched.last and twice.last)
    await client.call("stop", watched.number)
    mine.update(request, status="running")
    await eventually(lambda: mine.shows(twice.last, request))
    assert watched.last["status"] != "running"
    again = await client.watch(request)
    await eventually(lambda: mine.shows(again.last, request))


async def test_what_is_not_ones_own_is_not_watched(client: DenoClient, project: Project) -> None:
    theirs = await tenant(project)
    watched = await client.watch(theirs.request())
    await eventually(lambda: watched.troubles)
    assert watched.troubles[0]["code"] == "not_found"
    assert watched.requests == []
    assert await client.end_of_input(seconds=15) == 0


async def test_an_organisations_requests_are_told(mine: Tenant, client: DenoClient) -> None:
    listed = await client.watch_organisation(str(mine.organisation))
    await eventually(lambda: listed.link == "live" and listed.lists)
    assert listed.lists[-1] == []
    first_request, second_request = mine.request(name="first"), mine.request(name="second")

    def told() -> list[tuple[str, str, str]]:
        return [(found["id"], found["name"], found["status"]) for found in (listed.lists or [[]])[-1]]

    await eventually(lambda: told() == [(second_request, "second", "submitted"), (first_request, "first", "submitted")])
    mine.update(first_request, status="running", operations_total=5)

    def running(found: Json) -> bool:
        return bool(found["id"] == first_request and found["status"] == "running" and found["operations"]["total"] == 5)

    await eventually(lambda: any(map(running, listed.lists[-1])))
