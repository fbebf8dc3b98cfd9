"""Requests with rows in the front door's database, and a witness there of every write to them, in nobody's code but Postgres'."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from activities.results import read_results
from activities.store import Store
from activities.submission import store_input
from benchmarks.rig import PROJECT, Rig
from headgate.databases import Database as Where
from headgate.message import SECOND_NS
from headgate.messages.carried import BulkInput
from headgate.messages.requests import BulkRequest
from headgate.messages.views import ProgressView
from tests.integration.stack import Handle, Stack
from tests.supabase.conftest import Database
from tests.supabase.platform import seed
from workflows import names
from workflows.starting import start_options

WITNESS = """
create table private.witness (id text, version bigint, status text, counted bigint, at timestamptz not null default clock_timestamp());
create function private.see() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into private.witness (id, version, status, counted) values (new.id, new.version, new.status,
    new.operations_total + new.operations_succeeded + new.operations_failed + new.calls_made);
  return null;
end $$;
create trigger z_witness after insert or update on public.bulk_requests for each row execute function private.see();
"""


def projector_of(database: Database) -> Where:
    """The database as the worker's setting has it."""
    found = Where.from_environ({"URL": database.url("headgate_projector")}, "URL")
    assert found is not None
    return found


class FrontDoor:
    """One organisation with requests that the bridge has started."""

    def __init__(self, database: Database) -> None:
        self.url = database.url()
        with psycopg.connect(self.url) as connection:
            connection.execute(WITNESS)
            self.organisation: UUID = seed.organisation(connection)

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """As the owner, who sees everything."""
        return psycopg.connect(self.url, row_factory=dict_row)

    def row_for(self, **columns: Any) -> tuple[str, int]:
        """A new request's id and the instant of its row (ns), as the bridge leaves it: planning."""
        request_id = str(uuid4())
        fields = {"id": request_id, "organisation_id": self.organisation, "operations": "{}\n", **columns}
        names = ", ".join(fields)
        with self.connect() as connection:
            made = connection.execute(
                f"insert into public.bulk_requests ({names}) values ({', '.join('%s' for _ in fields)}) returning created_at",
                [*fields.values()],
            ).fetchone()
            connection.execute("select private.request_started(%s)", [request_id])
        assert made is not None
        return request_id, _ns(made["created_at"])

    async def submit(self, stack: Stack, project: str, lines: Iterable[Any], **options: Any) -> Handle:
        """A request with a row, started as the bridge would."""
        request_id, at_ns = self.row_for()
        return await stack.submit(
            project, lines, id=request_id, organisation=str(self.organisation), submitted_at_ns=at_ns, **options
        )

    async def hand_in(self, running: Rig, lines: Iterable[Any], **options: Any) -> str:
        """The same, on a rig whose worker has processes of its own; returns the request's id."""
        request_id, at_ns = self.row_for()
        store = Store.open(running.environ["HEADGATE_STORE"])
        text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        stored = await store_input(store, request_id, [text])
        fields: dict[str, Any] = {"organisation": str(self.organisation), "operations_per_call": 1, **options}
        request = BulkRequest(
            id=request_id,
            project=PROJECT,
            user="u0",
            owner=str(self.organisation),
            input_sha256=stored.sha256,
            input_bytes=stored.size,
            nonce=request_id,
            submitted_at_ns=at_ns,
            **fields,
        )
        await running.client.start_workflow(
            names.BULK_REQUEST_TYPE,
            BulkInput(request=request, release=names.RELEASE),
            **start_options(request, summary="front door", indexed=True),
        )
        return request_id

    def row(self, handle: Handle | str) -> dict[str, Any]:
        """What people read of a request."""
        with self.connect() as connection:
            found = connection.execute("select * from public.bulk_requests where id = %s", [_id(handle)]).fetchone()
        return found or {}

    def says(self, handle: Handle | str, status: str) -> bool:
        """Whether people read this status."""
        return bool(self.row(handle)["status"] == status)

    def ended(self, handle: Handle | str) -> dict[str, Any]:
        """What people read of a request that is over; nothing while they do not know it."""
        row = self.row(handle)
        return row if row and row["finished_at"] is not None else {}

    def letters(self, handle: Handle | str) -> set[tuple[int, str, str, str]]:
        """Its dead letters."""
        with self.connect() as connection:
            found = connection.execute(
                "select * from public.dead_letters where request_id = %s", [_id(handle)]
            ).fetchall()
        letters = {(one["line"], one["operation_id"], one["reason"], one["applied"]) for one in found}
        assert len(letters) == len(found)
        return letters

    def seen(self, *handles: Handle | str) -> dict[str, list[dict[str, Any]]]:
        """What the witness saw, by request, in the order of the writes."""
        writes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        with self.connect() as connection:
            for one in connection.execute("select * from private.witness order by at"):
                writes[one["id"]].append(one)
        return {_id(handle): writes[_id(handle)] for handle in handles} if handles else dict(writes)


def _id(handle: Handle | str) -> str:
    return handle if isinstance(handle, str) else handle.id.removeprefix("bulk/")


def _ns(at: datetime) -> int:
    return int(at.timestamp()) * SECOND_NS + at.microsecond * 1000


def most_in_a_second(writes: Sequence[dict[str, Any]]) -> int:
    """The most writes in any sliding second."""
    times = [one["at"].timestamp() for one in writes]
    return max((sum(first <= at < first + 1.0 for at in times) for first in times), default=0)


def shows(row: dict[str, Any], view: ProgressView) -> bool:
    """Whether a row says what the workflow said."""
    return _as_told(row) == {
        "id": view.id,
        "status": view.state,
        "priority": view.priority,
        "version": view.version,
        "operations": (
            view.operations.total,
            view.operations.succeeded,
            view.operations.failed,
            view.operations.unprocessed,
        ),
        "calls": (view.calls.planned, view.calls.made, view.calls.retried),
        "failures": view.failures,
        "waiting": (view.waiting.reason, view.waiting.cause),
    }


def _as_told(row: dict[str, Any]) -> dict[str, Any]:
    counts = ("total", "succeeded", "failed", "unprocessed")
    return {
        **{name: row[name] for name in ("id", "status", "priority", "version", "failures")},
        "operations": tuple(row[f"operations_{name}"] for name in counts),
        "calls": (row["calls_planned"], row["calls_made"], row["calls_retried"]),
        "waiting": (row["waiting_reason"], row["waiting_cause"]),
    }


async def failed_results(store: Store, handle: Handle) -> set[tuple[int, str, str, str]]:
    """What `headgate results --failed` prints of it, through the command line's own reader."""
    found = [one async for one in read_results(store, _id(handle), "failed")]
    return {(one["line"], one["id"], one["reason"], one["applied"]) for one in found}
