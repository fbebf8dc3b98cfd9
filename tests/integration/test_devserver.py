"""The real server: it starts, answers, keeps its history in a file, and ends when it is asked to."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from starter.devserver import DevServer, ServerUnavailable
from tests.conftest import StartServer
from tests.eventually import eventually
from workflows.names import SEARCH_ATTRIBUTES


async def test_search_attributes_are_registered(temporal_client: Client) -> None:
    known = await temporal_client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="default")
    )
    assert SEARCH_ATTRIBUTES.keys() <= known.custom_attributes.keys()


async def test_search_attributes_can_be_used_at_once(start_server: StartServer) -> None:
    server = await start_server(search_attributes={"Colour": "Keyword"})
    client = await Client.connect(server.address)
    colour = SearchAttributePair(SearchAttributeKey.for_keyword("Colour"), "blue")
    await client.start_workflow(
        "Anything", id="blue", task_queue="none", search_attributes=TypedSearchAttributes([colour])
    )

    async def found() -> bool:
        return [run.id async for run in client.list_workflows("Colour = 'blue'")] == ["blue"]

    await eventually(found)


async def test_a_database_file_keeps_history_over_a_restart(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(db=tmp_path / "folder" / "temporal.db")
    address = server.address
    client = await Client.connect(address)
    started = await client.start_workflow("Anything", id="kept", task_queue="none")
    await started.signal("remember", "this")

    await server.stop()
    await server.start()

    assert server.address == address
    again = (await Client.connect(address)).get_workflow_handle("kept")
    assert (await again.describe()).status == WorkflowExecutionStatus.RUNNING
    assert len((await again.fetch_history()).events) == 3


async def test_history_survives_a_crash_of_the_server(start_server: StartServer, tmp_path: Path) -> None:
    server = await start_server(db=tmp_path / "temporal.db")
    client = await Client.connect(server.address)
    await client.start_workflow("Anything", id="kept", task_queue="none")

    await server.stop(abruptly=True)
    await server.start()

    again = (await Client.connect(server.address)).get_workflow_handle("kept")
    assert (await again.describe()).status == WorkflowExecutionStatus.RUNNING


async def test_a_taken_port_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerUnavailable, match=rf"port {port} on 127\.0\.0\.1 cannot be used"):
            await DevServer({}, port=port, ui_port=None).start()
        with pytest.raises(ServerUnavailable, match=rf"UI port {port}"):
            await DevServer({}, ui_port=port).start()


async def test_what_the_server_says_as_it_fails_is_in_the_error(start_server: StartServer) -> None:
    with pytest.raises(ServerUnavailable, match="Nonsense"):
        await start_server(search_attributes={"Colour": "Nonsense"})


async def test_dynamic_config_reaches_the_server(start_server: StartServer) -> None:
    """An id of 51 characters is too long for a server that allows 50."""
    server = await start_server(dynamic_config=["limit.maxIDLength=50"])
    client = await Client.connect(server.address, identity="test")
    await client.start_workflow("Anything", id="x" * 50, task_queue="none")
    with pytest.raises(RPCError, match="length exceeds limit"):
        await client.start_workflow("Anything", id="x" * 51, task_queue="none")


COMMAND = """
from starter.devserver import run_server
run_server({"Colour": "Keyword"}, port=0, ui_port=0, say=lambda line: print(line, flush=True))
"""


async def command_that_answers(log: Path) -> tuple[asyncio.subprocess.Process, int, int]:
    """`headgate server` in a process of its own, with the ports of the server and of its UI."""
    with log.open("w") as out:
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-c", COMMAND, stdout=out, start_new_session=True
        )
    said = await eventually(lambda: "Temporal UI" in log.read_text() and log.read_text(), timeout=60)
    port, ui_port = (int(line.rsplit(":", 1)[1]) for line in str(said).splitlines()[-2:])
    return command, port, ui_port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("signum", "send"), [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)])
async def test_the_command_runs_until_a_signal(
    signum: signal.Signals, send: Callable[[int, int], None], tmp_path: Path
) -> None:
    """SIGTERM as a service manager sends it, to the one process; SIGINT as a terminal does, to the whole group."""
    command, port, ui_port = await command_that_answers(tmp_path / "log")
    client = await Client.connect(f"127.0.0.1:{port}")
    assert await client.service_client.check_health()
    assert listens(ui_port)
    send(command.pid, signum)
    assert await asyncio.wait_for(command.wait(), 10) == 0
    assert not listens(port)


async def test_the_server_ends_with_its_killed_owner(tmp_path: Path) -> None:
    command, port, _ = await command_that_answers(tmp_path / "log")
    command.kill()
    await command.wait()
    await eventually(lambda: not listens(port), timeout=10)
