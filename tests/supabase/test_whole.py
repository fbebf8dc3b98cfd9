"""From sign-in to done through everything: what Realtime said last is the row, is what Temporal says, is what the emulator counts."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from tests.eventually import eventually
from tests.supabase.person import OVER, Json, Person, Watching, as_lines
from tests.supabase.platform.client import deno_client
from tests.supabase.whole import Organisation, Whole

#: Long enough for a pause to come in between, short enough for a test.
CALLS = 16
SQL = "'); drop table public.bulk_requests; -- \" $$ \\ \u2019 %s {0}"


@pytest.fixture(scope="module")
async def acme(whole: Whole) -> Organisation:
    """An organisation, whose people submit."""
    return await whole.organisation("Acme Trading")


async def agree(whole: Whole, said: Json, request: str, ids: Sequence[str], *spreadsheets: str) -> Json:
    """The row, once Realtime, Postgres, Temporal and the emulator tell the same of a request that is over."""
    view = await whole.result(request)
    row = await whole.row(request)
    assert {"status": row["status"], "version": row["version"], "revision": row["revision"]} == {
        name: said[name] for name in ("status", "version", "revision")
    }
    assert row["status"] == view.state
    assert row["version"] == view.version
    counts = {name: row[f"operations_{name}"] for name in ("total", "succeeded", "failed", "unprocessed")}
    assert counts == said["operations"] == {name: getattr(view.operations, name) for name in counts}
    calls = {name: row[f"calls_{name}"] for name in ("planned", "made", "retried")}
    assert calls == said["calls"] == {name: getattr(view.calls, name) for name in calls}
    assert row["failures"] == view.failures
    assert whole.written(*spreadsheets) == dict.fromkeys(ids, 1)
    return row


async def steered(whole: Whole, person: Person, request: str, spreadsheet: str, heard: Watching) -> None:
    """Pauses a request that runs, looks whether the API is left alone, and lets it go on."""
    await eventually(lambda: whole.calls(spreadsheet), 60)
    command = await person.command(request, "pause")
    answer = (await eventually(lambda: [a for a in heard.answers(command["id"]) if a["status"] != "pending"], 20))[-1]
    assert answer["status"] == "accepted", answer
    await person.until(request, "paused", within=20)
    await eventually(lambda: heard.last.get("status") == "paused", 20)
    calls = await whole.falls_silent(spreadsheet)
    assert calls < CALLS, "it was over before it could be paused"
    again = await person.command(request, "resume")
    assert again["sequence"] > command["sequence"]


async def test_lines_in_the_call_from_sign_in_to_done(whole: Whole, acme: Organisation) -> None:
    person = await whole.person(acme, "member")
    sheet = whole.spreadsheet()
    lines = whole.lines(sheet, CALLS)
    request = await person.submit(lines, name="Prices", order="strict", idempotency_key="prices-1")
    replay = await person.submit(lines, name="Prices", order="strict", idempotency_key="prices-1")
    assert replay["id"] == request["id"]
    async with person.watching(f"request:{request['id']}") as heard:
        await steered(whole, person, request["id"], sheet, heard)
        await eventually(lambda: heard.last.get("status") in OVER, 90)
        row = await agree(whole, heard.last, request["id"], whole.appended(lines), sheet)
        states = [said["status"] for said in heard.of("progress")]
        assert {"running", "paused", "completed"} <= set(states)
        versions = [said["version"] for said in heard.of("progress")]
        assert versions == sorted(versions)
    assert row["status"] == "completed"
    history = await person.history(request["id"])
    kinds = [event["kind"] for event in history["events"]]
    assert kinds[-1] == "submitted"
    assert kinds.count("command") == kinds.count("answered") == 2
    assert {command["status"] for command in history["commands"]} == {"accepted"}


async def test_a_file_through_storage_from_sign_in_to_done(whole: Whole, acme: Organisation) -> None:
    person = await whole.person(acme, "admin")
    sheet = whole.spreadsheet()
    lines = whole.lines(sheet, CALLS)
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    request = await person.submit_file(content, name="Prices of a file", order="strict")
    async with person.watching(f"request:{request['id']}") as heard:
        await steered(whole, person, request["id"], sheet, heard)
        await eventually(lambda: heard.last.get("status") in OVER, 90)
        row = await agree(whole, heard.last, request["id"], whole.appended(lines), sheet)
    assert row["status"] == "completed"
    assert row["input_sha256"]
    assert row["input_path"] == f"{acme.id}/{request['id']}"


@pytest.mark.parametrize("way", ["operations", "file"])
async def test_supabase_js_from_submit_to_done(whole: Whole, acme: Organisation, way: str) -> None:
    account = await whole.account(acme, "member")
    sheet = whole.spreadsheet()
    lines = whole.lines(sheet, CALLS)
    async with deno_client(whole.project.url, whole.project.key, account.token) as client:
        submission = {"organisation": acme.id, "name": "Prices", "order": "strict", way: as_lines(lines)}
        request = (await client.call("submit", submission))["id"]
        watched = await client.watch(request)
        await eventually(lambda: whole.calls(sheet), 60)
        command = await client.call("command", request, "pause", {})
        accepted = {"id": command["id"], "status": "accepted"}
        await eventually(lambda: any(accepted.items() <= answer.items() for answer in watched.commands), 20)
        await eventually(lambda: watched.last["status"] == "paused", 20)
        assert await whole.falls_silent(sheet) < CALLS, "it was over before it could be paused"
        await client.call("command", request, "resume", {})
        await eventually(lambda: watched.last["status"] in OVER, 90)
        row = await agree(whole, watched.last, request, whole.appended(lines), sheet)
        assert watched.troubles == []
    assert row["status"] == "completed"
    assert bool(row["input_path"]) == (way == "file")


async def test_what_failed_is_retried_and_what_may_not_be_said_is_refused(whole: Whole, acme: Organisation) -> None:
    person = await whole.person(acme, "member")
    sheet = whole.spreadsheet()
    good = whole.lines(sheet, 2)
    foreign = {**whole.append("foreign", sheet), "user": "somebody-elses-credential"}
    lost = {**whole.append("lost", sheet), "range": "Later!A:B"}
    request = await person.submit([*good, foreign, lost, "this is no operation"])
    done = await person.until(request["id"], *OVER)
    assert done["operations"] == {"total": 5, "succeeded": 2, "failed": 3, "unprocessed": 0}
    letters = {letter["id"]: letter for letter in (await person.history(request["id"]))["dead_letters"]}
    assert "somebody-elses-credential" in letters["foreign"]["reason"] or "user" in letters["foreign"]["reason"]
    assert letters["foreign"]["applied"] == letters["lost"]["applied"] == "no"
    assert whole.written(sheet) == dict.fromkeys(whole.appended(good), 1)

    late = await person.command(request["id"], "pause")
    refused = await eventually(lambda: answered(person, request["id"], late["id"]), 20)
    assert refused["status"] == "refused"
    assert refused["answer"]

    whole.add_sheet(sheet, "Later")
    retry = await person.command(request["id"], "retry_failed")
    accepted = await eventually(lambda: answered(person, request["id"], retry["id"]), 30)
    assert accepted["status"] == "accepted", accepted
    child = f"{request['id']}.retry1"

    async def there() -> Json:
        return next((r for r in (await person.history())["requests"] if r["id"] == child and r["status"] in OVER), {})

    again = await eventually(there, 60, 0.2)
    assert again["operations"]["succeeded"] == 1
    assert whole.values(sheet, "Later") == [["lost", 1]]


async def test_values_that_look_like_sql_arrive_as_they_are(whole: Whole, acme: Organisation) -> None:
    person = await whole.person(acme, "member")
    sheet = whole.spreadsheet()
    line = {**whole.append("sql", sheet), "values": [[SQL, "=1+1", "<script>alert(1)</script>", "\u0000".strip("\0")]]}
    request = await person.submit([line], name=SQL)
    done = await person.until(request["id"], *OVER)
    assert done["name"] == SQL
    assert done["status"] == "completed", done
    assert whole.values(sheet)[0][:3] == [SQL, "=1+1", "<script>alert(1)</script>"]


async def test_twenty_requests_of_two_organisations_at_once(whole: Whole) -> None:
    people = [await whole.person(await whole.organisation(name), "member") for name in ("North", "South")]
    plans: list[tuple[Person, str, list[dict[str, Any]]]] = []
    for number in range(20):
        sheet = whole.spreadsheet()
        plans.append((people[number % 2], sheet, whole.lines(sheet, 4)))
    async with people[0].watching(f"org:{people[0].organisation}") as north:
        made = await asyncio.gather(*(person.submit(lines, name=sheet) for person, sheet, lines in plans))
        ended = await asyncio.gather(
            *(
                person.until(request["id"], *OVER, within=120)
                for (person, _, _), request in zip(plans, made, strict=True)
            )
        )
        assert {done["status"] for done in ended} == {"completed"}
        assert len({request["id"] for request in made}) == 20
        for _, sheet, lines in plans:
            assert whole.written(sheet) == dict.fromkeys(whole.appended(lines), 1)
        own = {r["id"] for r, (p, _, _) in zip(made, plans, strict=True) if p is people[0]}
        heard = {said["id"] for said in north.of("request")}
        assert heard == own, "Realtime told an organisation of requests that are not its own, or not of all its own"
    for person in people:
        seen = {request["id"] for request in (await person.history())["requests"]}
        assert seen == {r["id"] for r, (p, _, _) in zip(made, plans, strict=True) if p is person}
    foreign = made[1]["id"]
    assert (await people[0].refused(f"history/{foreign}", method="GET"))[0] == 404
    status, _ = await people[0].refused("command", {"id": str(uuid.uuid4()), "request": foreign, "command": "cancel"})
    assert status in (403, 404)


async def answered(person: Person, request: str, command: str) -> Json:
    """The command, once it has an answer; {} before."""
    commands = (await person.history(request))["commands"]
    return next((c for c in commands if c["id"] == command and c["status"] != "pending"), {})
