"""Calls over a real loopback socket: quota, ledger, faults, admin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from emulator.faults import FaultPlan, InvalidRule, Seen
from emulator.server import Emulator, EmulatorSettings

CELL = "/v4/spreadsheets/S/values/A1"
APPEND = f"{CELL}:append?valueInputOption=RAW"
ROW = {"values": [["x"]]}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(EmulatorSettings(spreadsheets=("S",))) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=emulator.url, timeout=5) as http:
        yield http


async def applied_rows(client: httpx.AsyncClient) -> int:
    shown = (await client.get("/admin/spreadsheets/S")).json()
    return len(shown["Sheet1"])


async def set_fault(client: httpx.AsyncClient, **rule: Any) -> None:
    answer = await client.put("/admin/faults", json=[rule])
    assert answer.status_code == 200, answer.text


async def test_the_61st_write_of_a_user_is_a_429_and_other_users_go_on(client: httpx.AsyncClient) -> None:
    mine = {"Authorization": "Bearer me"}
    answers = [await client.post(APPEND, json=ROW, headers=mine) for _ in range(61)]
    assert [answer.status_code for answer in answers] == [200] * 60 + [429]
    error = answers[-1].json()["error"]
    assert error["details"][0]["metadata"]["quota_limit"] == "WriteRequestsPerMinutePerUser"
    assert "retry-after" not in answers[-1].headers
    assert (await client.post(APPEND, json=ROW, headers={"Authorization": "Bearer you"})).status_code == 200
    assert (await client.get(CELL, headers=mine)).status_code == 200
    assert await applied_rows(client) == 61


async def test_the_verdict_counts_arrivals_refused_ones_too(client: httpx.AsyncClient) -> None:
    await client.put("/admin/quota", json={"write_per_user": 2})
    for _ in range(3):
        await client.post(APPEND, json=ROW, headers={"Authorization": "Bearer me"})
    verdict = (await client.get("/admin/verdict")).json()
    [mine] = [b for b in verdict["buckets"] if (b["level"], b["kind"]) == ("user", "write")]
    assert (mine["limit"], mine["calls"], mine["passed"], mine["refused"]) == (2, 3, 2, 1)
    assert (mine["worst_window"], mine["worst_window_passed"]) == (3, 2)
    assert verdict["within_limits"] is False
    assert verdict["refused"] == 1


async def test_tokens_are_assigned_to_projects(client: httpx.AsyncClient) -> None:
    await client.put("/admin/projects", json={"a": "one", "b": "two"})
    await client.put("/admin/quota", json={"write_per_project": 1})
    statuses = [
        (await client.post(APPEND, json=ROW, headers={"Authorization": f"Bearer {token}"})).status_code
        for token in ("a", "b", "a")
    ]
    assert statuses == [200, 200, 429]


async def test_the_ledger_has_every_call_and_every_apply_in_order(client: httpx.AsyncClient) -> None:
    await client.post(APPEND, json=ROW)
    await client.get(CELL)
    await client.post("/v4/spreadsheets/S:batchUpdate", json={"requests": []})
    ledger = (await client.get("/admin/ledger")).json()
    assert [(c["method"], c["kind"], c["status"], c["applied"]) for c in ledger["calls"]] == [
        ("spreadsheets.values.append", "write", 200, True),
        ("spreadsheets.values.get", "read", 200, False),
        ("spreadsheets.batchUpdate", "write", 400, False),
    ]
    assert [entry["call"] for entry in ledger["applies"]] == [0]
    assert ledger["started"] <= ledger["calls"][0]["arrived"] <= ledger["calls"][1]["arrived"] <= ledger["now"]
    later = (await client.get("/admin/ledger?since=2")).json()
    assert [call["number"] for call in later["calls"]] == [2]


async def test_an_arrival_is_taken_before_the_latency(client: httpx.AsyncClient) -> None:
    await client.put("/admin/latency", json={"latency_ms": 60})
    await asyncio.gather(*(client.get(CELL) for _ in range(3)))
    calls = (await client.get("/admin/ledger")).json()["calls"]
    assert all(call["answered"] - call["arrived"] >= 0.06 for call in calls)
    verdict = (await client.get("/admin/verdict")).json()
    assert verdict["max_in_flight"] == {"S": 3}


@pytest.mark.parametrize(
    ("rule", "status", "rows"),
    [
        ({"effect": "error", "status": 503}, 503, 0),
        ({"effect": "error", "status": 500, "when": "after"}, 500, 1),
        ({"effect": "error", "status": 504, "when": "after"}, 504, 1),
        ({"effect": "html", "status": 502}, 502, 0),
        ({"effect": "html", "status": 503, "when": "after"}, 503, 1),
        ({"effect": "throttle", "level": "project"}, 429, 0),
        ({"effect": "unauthorized"}, 401, 0),
        ({"effect": "forbidden"}, 403, 0),
        ({"effect": "quota_500"}, 500, 0),
        ({"effect": "delay", "seconds": 0.01}, 200, 1),
        ({"effect": "drip", "seconds": 0.02}, 200, 1),
    ],
)
async def test_a_fault_answers_for_the_api_and_applies_or_not(
    client: httpx.AsyncClient, rule: dict[str, Any], status: int, rows: int
) -> None:
    await set_fault(client, **rule, times=1)
    answer = await client.post(APPEND, json=ROW)
    assert answer.status_code == status
    assert await applied_rows(client) == rows
    assert (await client.post(APPEND, json=ROW)).status_code == 200
    [call, _] = (await client.get("/admin/ledger")).json()["calls"]
    assert (call["status"], call["applied"]) == (status, bool(rows))
    assert call["fault"] is not None


@pytest.mark.parametrize(
    ("rule", "error", "rows"),
    [
        ({"effect": "close"}, httpx.RemoteProtocolError, 0),
        ({"effect": "close", "when": "after"}, httpx.RemoteProtocolError, 1),
        ({"effect": "reset", "when": "after"}, httpx.ReadError, 1),
        ({"effect": "truncate"}, httpx.RemoteProtocolError, 1),
    ],
)
async def test_a_lost_answer_leaves_the_call_applied_or_not(
    client: httpx.AsyncClient, rule: dict[str, Any], error: type[Exception], rows: int
) -> None:
    await set_fault(client, **rule, times=1)
    with pytest.raises(error):
        await client.post(APPEND, json=ROW)
    assert await applied_rows(client) == rows


async def test_a_zombie_applies_after_its_client_has_gone(client: httpx.AsyncClient) -> None:
    await set_fault(client, effect="zombie", seconds=0.3, times=1)
    with pytest.raises(httpx.ReadTimeout):
        await client.post(APPEND, json=ROW, timeout=0.1)
    assert await applied_rows(client) == 0
    async with asyncio.timeout(5):
        while not (await client.get("/admin/ledger")).json()["applies"]:
            await asyncio.sleep(0.02)
    assert await applied_rows(client) == 1


async def test_errors_come_in_the_older_envelope_when_it_is_asked_for(client: httpx.AsyncClient) -> None:
    asked = (await client.get("/v4/spreadsheets/none?$.xgafv=1")).json()["error"]
    assert asked["errors"][0]["reason"] == "notFound"
    assert "status" not in asked
    await set_fault(client, effect="error", status=400, envelope="v1", message="No.")
    injected = (await client.get(CELL)).json()["error"]
    assert injected["errors"] == [{"message": "No.", "domain": "global", "reason": "badRequest"}]


async def test_a_payload_and_a_url_have_a_most_of_bytes(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"{CELL}?valueInputOption=RAW", content=b" " * 10_485_761)
    assert answer.status_code == 400
    assert "Request payload size exceeds the limit: 10485760 bytes." in answer.text
    ranges = "&".join(["ranges=A1:B2"] * 2000)
    assert (await client.get(f"/v4/spreadsheets/S/values:batchGet?{ranges}")).status_code == 414


async def test_a_reset_starts_anew(client: httpx.AsyncClient) -> None:
    await client.post(APPEND, json=ROW)
    await client.post("/admin/reset")
    assert await applied_rows(client) == 0
    assert (await client.get("/admin/ledger")).json()["calls"] == []


async def test_an_admin_makes_spreadsheets_with_titles_and_private_ones(client: httpx.AsyncClient) -> None:
    await client.put("/admin/spreadsheets/T", json={"titles": ["Orders", "Log"]})
    await client.put("/v4/spreadsheets/T/values/Log!B1?valueInputOption=USER_ENTERED", json={"values": [["=1+1"]]})
    assert (await client.get("/admin/spreadsheets/T")).json() == {"Orders": [], "Log": [[None, "=1+1"]]}
    await client.put("/admin/spreadsheets/P", json={"private": True})
    refused = await client.get("/v4/spreadsheets/P")
    assert refused.json()["error"]["message"] == "The caller does not have permission"


async def test_bad_fault_rules_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.put("/admin/faults", json=[{"effect": "melt"}])).status_code == 400
    with pytest.raises(InvalidRule):
        FaultPlan([{"effect": "close", "wen": "after"}], seed=0, now=0.0)


def seen(**given: Any) -> Seen:
    call = {"method": "spreadsheets.values.append", "kind": "write", "spreadsheet": "S", "user": "u"}
    return Seen(**{**call, "path": "/v4/spreadsheets/S/values/A1", "body": b"{}", "at": 0.0, **given})


def fired(rule: dict[str, Any], calls: list[Seen], seed: int = 0) -> list[int]:
    plan = FaultPlan([{"effect": "close", **rule}], seed=seed, now=0.0)
    return [number for number, call in enumerate(calls, 1) if plan.choose(call)]


def test_a_rule_fires_when_it_is_due() -> None:
    calls = [seen() for _ in range(6)]
    assert fired({"nth": 3}, calls) == [3]
    assert fired({"nth": [1, 6]}, calls) == [1, 6]
    assert fired({"every": 2}, calls) == [2, 4, 6]
    assert fired({"times": 2}, calls) == [1, 2]
    assert fired({"between": [1, 2]}, [seen(at=at) for at in (0.5, 1.0, 1.9, 2.0)]) == [2, 3]


def test_a_rule_fits_what_it_names() -> None:
    calls = [seen(), seen(kind="read", method="spreadsheets.get"), seen(user="v", body=b"order-7", path="/v4/x")]
    assert fired({"kind": "read"}, calls) == [2]
    assert fired({"method": "spreadsheets.values.*"}, calls) == [1, 3]
    assert fired({"user": "v"}, calls) == [3]
    assert fired({"body": "order-7"}, calls) == [3]
    assert fired({"path": "values/A1$"}, calls) == [1, 2]
    assert fired({"in_flight": 1}, [seen(), seen(in_flight=1), seen(in_flight=2)]) == [2, 3]


def test_chance_is_the_same_at_every_run_of_a_seed() -> None:
    calls = [seen() for _ in range(200)]
    assert fired({"probability": 0.2}, calls, seed=1) == fired({"probability": 0.2}, calls, seed=1)
    assert fired({"probability": 0.2}, calls, seed=1) != fired({"probability": 0.2}, calls, seed=2)
