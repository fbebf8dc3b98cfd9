"""Timeouts and retry policies of the activities: where repeating is decided.

`send_lease` sends in its first attempt only; the attempts after it recall what is recorded. Its heartbeat timeout is longer
than a lease lives, so that no token is alive in two attempts. `resend_batch` is the retry behaviour itself: it names the
pause before each attempt by `next_retry_delay`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

from workflows import names

#: From its departure a call and its answer take 190 s at the most (reference/sheets.md 1.3); a lease adds its horizon and its lanes' later calls.
LONGEST_CALL: Final = timedelta(seconds=190)

SEND: Final[dict[str, Any]] = {
    "task_queue": names.SEND_QUEUE,
    "start_to_close_timeout": LONGEST_CALL + timedelta(seconds=60),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=10)
    ),
}
RESEND: Final[dict[str, Any]] = {
    "task_queue": names.SEND_QUEUE,
    "start_to_close_timeout": LONGEST_CALL + timedelta(seconds=60),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=64)
    ),
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}
PLAN: Final[dict[str, Any]] = {
    "task_queue": names.PLAN_QUEUE,
    "start_to_close_timeout": timedelta(hours=6),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)),
}
#: Somebody waits for the answer, and the request that retries does not end before it: no longer than this.
RETRY: Final[dict[str, Any]] = {
    "task_queue": names.PLAN_QUEUE,
    "start_to_close_timeout": timedelta(minutes=9),
    "schedule_to_close_timeout": timedelta(minutes=9),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10)),
}
#: Of a request that is over: a million results are read for minutes, and only the commands that came after this one wait.
#: The attempts outlast an outage of some twenty minutes.
RETRY_OVER: Final[dict[str, Any]] = {
    "task_queue": names.PLAN_QUEUE,
    "start_to_close_timeout": timedelta(hours=1),
    "schedule_to_close_timeout": timedelta(hours=2),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=60), maximum_attempts=30
    ),
}
#: No run of it is longer, not even one that no worker knows.
RETRY_OVER_WITHIN: Final = timedelta(hours=3)
ASK: Final[dict[str, Any]] = {
    "task_queue": names.SEND_QUEUE,
    "start_to_close_timeout": timedelta(seconds=20),
    "retry_policy": RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=10)),
}
#: A receiver may be away for some minutes; an alert that is older than that is no news, and the log has it.
ALERT: Final[dict[str, Any]] = {
    "task_queue": names.SEND_QUEUE,
    "start_to_close_timeout": timedelta(seconds=30),
    "schedule_to_close_timeout": timedelta(minutes=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=60),
        non_retryable_error_types=["InvalidRequest"],
    ),
}
#: While its request runs a notice waits so long for a receiver that is away; then the next one has its turn.
NOTICE: Final[dict[str, Any]] = {
    "task_queue": names.SEND_QUEUE,
    "start_to_close_timeout": timedelta(seconds=30),
    "schedule_to_close_timeout": timedelta(hours=1),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=60),
        non_retryable_error_types=["InvalidRequest"],
    ),
}
#: The end of a request is news for longer, and nothing waits for it.
LAST_NOTICE: Final[dict[str, Any]] = {**NOTICE, "schedule_to_close_timeout": timedelta(days=1)}
#: Something newer will be there to be shown, and waits for this one: so often it is tried. It writes beside the sending.
PROJECT: Final[dict[str, Any]] = {
    "task_queue": names.SEND_QUEUE,
    "start_to_close_timeout": timedelta(seconds=20),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=5)
    ),
}
#: The end is shown, however long the database is away. It reads results: computing, which senders have no time for.
PROJECT_FINAL: Final[dict[str, Any]] = {
    "task_queue": names.PLAN_QUEUE,
    "start_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": timedelta(seconds=30),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=10)
    ),
}
