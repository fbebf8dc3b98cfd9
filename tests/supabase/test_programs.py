"""The lock of the programs: it installs wherever npm is, and names no registry."""

from __future__ import annotations

import json

from tests.supabase.platform.postgres import NODE_MODULES

LOCK = NODE_MODULES.with_name("package-lock.json")


def test_the_lock_holds_all_that_npm_ci_asks_for() -> None:
    """Newer npm leaves out what this system has no use for, and then refuses its own lock: `npm run lock` does not."""
    packages = json.loads(LOCK.read_bytes())["packages"]
    wanted = {
        (name, optional) for name, package in packages.items() for optional in package.get("optionalDependencies", {})
    }
    assert len(wanted) > 10
    missing = sorted(
        optional
        for name, optional in wanted
        if f"{name}/node_modules/{optional}" not in packages and f"node_modules/{optional}" not in packages
    )
    assert missing == [], "lock it anew with `npm run lock` in tests/supabase/npm"
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_every_pin_is_exact() -> None:
    pins = json.loads(LOCK.with_name("package.json").read_bytes())["dependencies"]
    assert [name for name, pin in pins.items() if not pin.removeprefix("npm:deno@")[0].isdigit()] == []
