"""What openapi.json says is what the functions do: schemathesis tries what nobody here wrote, against the whole stack."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.supabase.platform import functions, seed
from tests.supabase.platform.postgres import Unavailable
from tests.supabase.platform.project import Project

#: Whatever is sent: no crash, nothing that is not described, and what breaks the description is refused.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance"
)
BUDGET_S = 30


async def test_the_functions_do_what_they_are_described_to_do(project: Project, tmp_path: Path) -> None:
    try:
        # Not by the tests' gateway, which refuses lines that a real one passes on, in words of its own.
        url = project.stand_ins.gateway.upstreams["/functions/v1"]
    except Unavailable as hosted:
        pytest.skip(str(hosted))
    user = await project.sign_up()
    with psycopg.connect(project.database_url) as connection:
        organisation = seed.organisation(connection)
        seed.membership(connection, organisation, UUID(user.id), "admin")
    description = tmp_path / "openapi.json"
    description.write_text(json.dumps(_for(organisation)))
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        *("run", description, "--url", url, "--checks", CHECKS, "--max-time", str(BUDGET_S)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--request-timeout", "20", "--seed", "7"),
        *("--header", f"Authorization: Bearer {user.token}", "--header", f"apikey: {project.key}"),
        *("--continue-on-failure", "--warnings", "off", "--output-sanitize", "true", "--generation-database", "none"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    text = said.decode()
    assert process.returncode == 0, text[-8000:]
    with psycopg.connect(project.database_url) as connection:
        made = connection.execute(
            "select (select count(*) from public.bulk_requests where organisation_id = %(it)s),"
            " (select count(*) from public.commands where organisation_id = %(it)s)",
            {"it": organisation},
        ).fetchone()
    # It was no tour of refusals.
    assert made is not None
    assert made[0] > 10, (made, text[-2000:])


def _for(organisation: UUID) -> dict[str, Any]:
    """The description with an organisation that exists. Any object is taken as an operation: it is looked at later."""
    described: dict[str, Any] = json.loads((functions.FUNCTIONS / "openapi.json").read_bytes())
    schemas = described["components"]["schemas"]
    schemas["Submission"]["properties"]["organisation"] = {"type": "string", "enum": [str(organisation)]}
    schemas["Operation"] = {"type": "object"}
    return described
