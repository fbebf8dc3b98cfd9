"""One Temporal server for the whole session, and as many more as a test asks for.

A tier that needs a server fails where none can be had: it never skips.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
from hypothesis import settings
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from starter.devserver import DevServer
from workflows.names import SEARCH_ATTRIBUTES

# Time is measured in benchmarks: an example that is slow on a busy machine is no failure.
settings.register_profile("headgate", deadline=None)
settings.load_profile("headgate")

StartServer: TypeAlias = Callable[..., Awaitable[DevServer]]


@pytest.fixture(scope="session")
async def temporal_server() -> AsyncIterator[DevServer]:
    """The server that all tests share: default settings, no UI, history in memory."""
    async with DevServer(SEARCH_ATTRIBUTES, ui_port=None, say=print) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal_server: DevServer) -> Client:
    """A client of the shared server that speaks pydantic."""
    return await Client.connect(temporal_server.address, data_converter=pydantic_data_converter)


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Starts a server of the test's own, with the options of DevServer; it ends with the test."""
    async with AsyncExitStack() as servers:

        async def start(**options: Any) -> DevServer:
            options = {"search_attributes": SEARCH_ATTRIBUTES, "ui_port": None, "say": print, **options}
            return await servers.enter_async_context(DevServer(**options))

        yield start
