"""Our top-level names are ours: a package that installs the same name would be merged into our folders without a word."""

from __future__ import annotations

from importlib.metadata import packages_distributions

import pytest


@pytest.mark.parametrize("name", ["headgate", "activities", "workflows", "starter", "emulator", "worker"])
def test_nobody_else_installs_our_names(name: str) -> None:
    """Only this project's distribution provides it."""
    assert set(packages_distributions().get(name, ["headgate"])) == {"headgate"}
