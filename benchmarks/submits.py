"""How many submits a second the front door takes on this machine, and how long each waits: Deno, lite, Postgres, eight clients.

No bar: PostgREST, Auth and the gateway are stand-ins. What is told is the cost of the functions' own way: a token checked,
a body read and hashed, one insert with its triggers. The tables say whether each was kept once.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg

from benchmarks.readings import percentiles
from tests.supabase.platform import seed
from tests.supabase.platform.project import Project, User, running_project

CLIENTS = 8
SUBMITS = 800
WARM_UP = 40
LINES = 20


async def main(size: int = SUBMITS) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="headgate-submits-") as folder:
        async with running_project(Path(folder)) as project:
            user = await project.sign_up()
            with psycopg.connect(project.database_url) as connection:
                organisation = seed.organisation(connection, submits_per_minute=1_000_000)
                seed.membership(connection, organisation, UUID(user.id), "member")
            # Not through the tests' gateway, which reads and writes every body once more in this process.
            url = project.stand_ins.gateway.upstreams["/functions/v1"]
            return {
                "clients": CLIENTS,
                "lines_per_submit": LINES,
                "submit": await _measured(project, url, user, organisation, size, again=False),
                "replay": await _measured(project, url, user, organisation, size // 4, again=True),
            }


async def _measured(
    project: Project, url: str, user: User, organisation: UUID, count: int, *, again: bool
) -> dict[str, Any]:
    """`again`: each with a key that exists, so it costs one select more and keeps nothing."""
    before = _kept(project, organisation)
    key = str(uuid4())
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    headers = {"authorization": f"Bearer {user.token}", "content-type": "application/json", "apikey": project.key}
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30, trust_env=False) as http:

        async def submit(number: int) -> float:
            body = _body(organisation, key if again else f"{key}-{number}")
            began = time.perf_counter()
            answer = await http.post("/submit", content=body)
            assert answer.status_code in ((200, 201) if again else (201,)), answer.text
            return time.perf_counter() - began

        async def client(numbers: Sequence[int]) -> list[float]:
            return [await submit(number) for number in numbers]

        await asyncio.gather(*(client(range(-n - 1, -WARM_UP - 1, -CLIENTS)) for n in range(CLIENTS)))
        began = time.perf_counter()
        waits = await asyncio.gather(*(client(range(n, count, CLIENTS)) for n in range(CLIENTS)))
        seconds = time.perf_counter() - began
    kept = _kept(project, organisation) - before
    return {
        "submits": count,
        "per_second": round(count / seconds, 1),
        "milliseconds": percentiles([round(wait * 1000, 1) for each in waits for wait in each]),
        "each_kept_once": kept == (1 if again else count + WARM_UP),
    }


def _body(organisation: UUID, key: str) -> bytes:
    operation = {"op": "append", "spreadsheet": "s", "range": "Orders!A:C", "values": [["o-1", 12.5, True]]}
    operations = [{**operation, "id": f"o-{line}"} for line in range(LINES)]
    return json.dumps({"organisation": str(organisation), "idempotency_key": key, "operations": operations}).encode()


def _kept(project: Project, organisation: UUID) -> int:
    with psycopg.connect(project.database_url) as connection:
        row = connection.execute(
            "select count(*) from public.bulk_requests b join private.inbox i on i.request_id = b.id"
            " where b.organisation_id = %s and i.kind = 'start'",
            (organisation,),
        ).fetchone()
    assert row is not None
    return int(row[0])
