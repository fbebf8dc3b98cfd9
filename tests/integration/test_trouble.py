"""Steering in bad moments, refusals late, and messages from people who typed too little: every request still ends, once."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.stack import Stack, append


@pytest.mark.parametrize("signal", ["reprioritise", "report", "grant"])
async def test_a_signal_that_says_too_little_changes_nothing(stack: Stack, signal: str) -> None:
    """Sent from the Web UI with no input at all."""
    sheet = f"mute-{signal}"
    stack.spreadsheets(sheet)
    handle = await stack.submit(await stack.project(), [append(f"{signal}{n}", sheet) for n in range(3)])
    await handle.signal(signal)
    assert (await asyncio.wait_for(handle.result(), 30)).operations.succeeded == 3
