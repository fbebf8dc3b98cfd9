"""Each process of the worker serves its metrics where the settings say, and a wrong setting is said in one sentence."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import urllib.request

import worker
from headgate.settings import PROCESSES


async def process(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
    """A worker whose Temporal server is away."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        env={**os.environ, "TEMPORAL_ADDRESS": "127.0.0.1:1", **environ},
        stderr=asyncio.subprocess.PIPE,
    )


def test_a_limiters_counts_are_on_the_first_port() -> None:
    """The order of the processes is that of the ports, and there are as many as the settings keep free."""
    assert [*worker.ROLES] == ["workflows", "send", "plan"]
    assert len(worker.ROLES) == PROCESSES


async def test_a_process_serves_its_metrics(unused_tcp_port: int) -> None:
    role = await process("--role", "send", HEADGATE_METRICS_PORT=str(unused_tcp_port - 1))
    assert role.stderr is not None
    url = f"http://127.0.0.1:{unused_tcp_port}/metrics"
    line = await asyncio.wait_for(role.stderr.readline(), 30)
    assert f"INFO Metrics served url={url}" in line.decode()
    answer = await asyncio.to_thread(urllib.request.urlopen, url, timeout=10)
    assert answer.status == 200
    role.terminate()
    assert await asyncio.wait_for(role.wait(), 10) == 0


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        role = await process("--role", "workflows", HEADGATE_METRICS_PORT=str(port))
        _, said = await asyncio.wait_for(role.communicate(), 30)
    assert role.returncode == 1
    assert f"metrics cannot be served at 127.0.0.1:{port}, see HEADGATE_METRICS_PORT" in said.decode()
    assert "Traceback" not in said.decode()


async def test_a_wrong_setting_ends_the_worker_with_a_sentence() -> None:
    """Nothing is started, and started again, for a setting that only a person can mend."""
    supervisor = await process(HEADGATE_ALERT_WEBHOOK="http://hooks.example/secret", HEADGATE_ALERT_KEY_FILE="/keys/k")
    _, said = await asyncio.wait_for(supervisor.communicate(), 30)
    assert supervisor.returncode == 2
    assert (
        said.decode()
        .splitlines()[-1]
        .endswith('ERROR Settings refused why="HEADGATE_ALERT_WEBHOOK must start with https://."')
    )
