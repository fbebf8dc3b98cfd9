"""What an emulator is started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class EmulatorSettings:
    """Google's default quotas, no latency, no faults (reference: sheets, 1.1)."""

    quota: bool = True
    read_per_project: int = 300
    read_per_user: int = 60
    write_per_project: int = 300
    write_per_user: int = 60
    window: float = 60.0
    window_mode: Literal["sliding", "fixed"] = "sliding"
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    faults: Sequence[Mapping[str, Any]] = ()
    create_missing: bool = False
    spreadsheets: Sequence[str] = ()
    seed: int = 0
    retry_after: int | None = None
    """Seconds in a Retry-After header of a 429; a real one has none."""
    delete_without_match: Literal["nothing", "error"] = "nothing"
    """What deleteDeveloperMetadata does that matches nothing: not known of Google (reference: sheets, 11)."""
    projects: Mapping[str, str] = field(default_factory=dict)
    """Token -> project, for the tokens that are not in the one default project."""
    ledger_calls: int = 500_000
    """Calls kept word for word; older ones are dropped from the ledger, never from the verdict."""
