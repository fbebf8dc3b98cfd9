"""The limiter's checkpoint under full load is small, and a round is short: 1,000 waiters with 1,000 users.

Each waiter has four lanes (4,096 are allowed over all), a user and spreadsheets with names as long as real ones. After two
simulated minutes of full load: bytes of the checkpoint's JSON (bar: 512 KiB), and milliseconds to dump and to restore (JSON
included; the median of nine).

The bar for a workflow task of the limiter is 200 ms. Here that is the pure work of a round: grant, standings where they are
due, next round, and the grants' own JSON; `view`, which the workflow's details are made of, stands apart. `raised` reads what
the worker measured of whole tasks.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final

from benchmarks.simulated import Clockwork, Holder
from headgate.checkpoint import dump, restore
from headgate.limiter import Limiter
from headgate.messages.carried import LimiterCheckpoint
from headgate.messages.tokens import LimiterSettings
from headgate.ordering import CLASSES

BAR_BYTES: Final = 512 * 1024
LANES: Final = 4
LOADED_S: Final = 120
REPEATS: Final = 9


def _waiting(waiters: int) -> list[Holder]:
    return [
        Holder(
            f"bulk/20260801-120000-{n:04}",
            f"team-{n % 100}",
            CLASSES[n % 3],
            lanes=LANES,
            user=f"service-account-{n:04}@example-project.iam.gserviceaccount.com",
            spreadsheet=f"1AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_{n:04}",
        )
        for n in range(waiters)
    ]


def measure(per_project: int, per_user: int, waiters: int) -> dict[str, Any]:
    """One setting; the restored limiter has to be the dumped one."""
    limiter = Limiter(LimiterSettings(write_per_project=per_project, write_per_user=per_user), epoch=1)
    clockwork = Clockwork(limiter, _waiting(waiters), tell=lambda grant: grant.model_dump_json())
    clockwork.run(LOADED_S)
    rounds = clockwork.round_s
    text = dump(limiter).model_dump_json()
    again = dump(restore(LimiterCheckpoint.model_validate_json(text))).model_dump_json()
    return {
        "bytes": len(text.encode()),
        "share_of_bar": len(text.encode()) / BAR_BYTES,
        "dump_ms": _median_ms(lambda: dump(limiter).model_dump_json()),
        "restore_ms": _median_ms(lambda: restore(LimiterCheckpoint.model_validate_json(text))),
        "view_ms": _median_ms(lambda: limiter.view("bench", clockwork.now)),
        "round_trip_is_exact": again == text,
        "round_ms": {
            "p50": statistics.median(rounds) * 1e3,
            "p99": statistics.quantiles(rounds, n=100, method="inclusive")[98] * 1e3,
            "max": max(rounds) * 1e3,
        },
        "rounds": len(rounds),
        "tokens_per_round": len(clockwork.given) / len(rounds),
        "booked": sum(len(bucket.times) for bucket in limiter.buckets.quotas.values()),
    }


def _median_ms(run: Callable[[], object]) -> float:
    took = []
    for _ in range(REPEATS):
        began = perf_counter()
        run()
        took.append(perf_counter() - began)
    return statistics.median(took) * 1e3


async def main(size: int = 1_000) -> dict[str, Any]:
    """Google's default quotas, and raised ones."""
    return {
        "bar_bytes": BAR_BYTES,
        "waiters": size,
        "300 a minute, 60 a user": measure(300, 60, size),
        "8000 a minute, 600 a user": measure(8_000, 600, size),
    }
