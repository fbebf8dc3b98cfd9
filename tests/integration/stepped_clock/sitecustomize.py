"""Preloaded into a worker's processes by PYTHONPATH: their wall clock is off by what the file HEADGATE_TEST_CLOCK says (s).

Shifts `time.time`, `time.time_ns` and `datetime.now`, also for modules that take them by name later. The monotonic clock is
left alone, as a step of a host's clock leaves it alone.
"""

from __future__ import annotations

import datetime as dt
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

_time, _time_ns, _sleep, _now = time.time, time.time_ns, time.sleep, dt.datetime.now
_off = 0.0


class _Stepped(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _now(tz) + dt.timedelta(seconds=_off)

    @classmethod
    def utcnow(cls) -> Any:
        return _now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=_off)


def _follow(path: Path) -> None:
    global _off
    while True:
        told = float(path.read_text() or 0) if path.exists() else 0.0
        if told != _off:
            _off = told
            print(f"clock stepped: {os.getpid()} is at {time.time():.0f}", file=sys.stderr, flush=True)
        _sleep(0.05)


if "HEADGATE_TEST_CLOCK" in os.environ and "--role" in sys.orig_argv:
    time.time = lambda: _time() + _off
    time.time_ns = lambda: _time_ns() + int(_off * 1e9)
    dt.datetime = _Stepped  # type: ignore[misc]
    threading.Thread(target=_follow, args=(Path(os.environ["HEADGATE_TEST_CLOCK"]),), daemon=True).start()
