"""One stack for the tests that share the session's server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.integration.stack import Stack, running_stack


@pytest.fixture(scope="session")
async def stack(temporal_client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Workers and emulator on the shared server."""
    async with running_stack(temporal_client, tmp_path_factory.mktemp("stack")) as made:
        yield made
